import { expect, it } from "vitest";
import { sleep } from "../core/async.ts";
import { type Bench, numbers } from "./database-bed.ts";
import { take, takeChanges } from "./replica.ts";
import { createItems, ITEMS, openShop } from "./source-shop.ts";

/** No wake-up may take longer; most take milliseconds. */
const PROMPT_MS = 1_000;

/** The log itself: who holds it, what is told of it, what is purged (G2, G5). */
export function registerLog(bench: () => Bench): void {
  it("has one holder at a time, and the next one goes on", async () => {
    const { sql, source, log } = await openShop(bench());
    await sql.run("INSERT INTO items (id) VALUES (1)");
    await takeChanges(log.batches);
    const other = await bench().source();
    expect(await other.openChangeLog()).toBeNull();
    expect(await source.openChangeLog()).toBeNull();
    const last = await log.batches.last();
    await log.close();
    const next = await bench().log(other);
    expect(next.timeline).toBe(log.timeline);
    expect(await next.batches.last()).toEqual(last);
    expect(await source.openChangeLog()).toBeNull();
  });

  it("wakes soon after a commit, and not before", async () => {
    const { sql, log } = await openShop(bench());
    const { begin, concurrentWriters } = bench().dialect;
    for (let i = 0; i < 5; i++) {
      let woken = false;
      const waiting = log.waitForChanges(new AbortController().signal).then(() => {
        woken = true;
      });
      await sql.run(begin);
      await sql.run(`INSERT INTO items (id) VALUES (${i})`);
      await sleep(30);
      // A wake-up for nothing is allowed where writers overlap; a cut then finds nothing.
      if (!concurrentWriters) expect(woken).toBe(false);
      const start = performance.now();
      await sql.run("COMMIT");
      await waiting;
      let { changes } = await take(log.batches);
      while (changes.length === 0) {
        await log.waitForChanges(AbortSignal.timeout(PROMPT_MS));
        ({ changes } = await take(log.batches));
        if (performance.now() - start > PROMPT_MS) break;
      }
      expect(changes).toHaveLength(1);
      expect(performance.now() - start).toBeLessThan(PROMPT_MS);
    }
  });

  it("never sleeps over a change that is already there, whether some are expected or not", async () => {
    const { sql, log } = await openShop(bench());
    for (let i = 0; i < 6; i++) {
      await sql.run(`INSERT INTO items (id) VALUES (${i})`);
      const start = performance.now();
      await log.waitForChanges(AbortSignal.timeout(10_000), i % 2 === 1);
      expect(performance.now() - start).toBeLessThan(PROMPT_MS);
      await takeChanges(log.batches);
    }
  });

  it("sleeps while nothing comes, and ends when told", async () => {
    const { sql, log } = await openShop(bench());
    await sql.run("INSERT INTO items (id) VALUES (1)");
    await takeChanges(log.batches);
    const start = performance.now();
    await log.waitForChanges(AbortSignal.timeout(200));
    expect(performance.now() - start).toBeGreaterThan(150);
    await log.waitForChanges(AbortSignal.abort());
  });

  it("remembers who reads it and how far", async () => {
    const { source, log } = await openShop(bench());
    await log.subscribers.set("a->b", 3);
    await log.subscribers.set("a->b", 4);
    await log.subscribers.set("a->c", 1);
    await log.subscribers.remove("a->c");
    await log.subscribers.remove("a->nobody");
    await log.close();
    const again = await bench().log(source);
    expect([...(await again.subscribers.list())]).toEqual([["a->b", 4]]);
  });

  it("tells which history it has, for whom it is kept, and how they let go", async () => {
    const sql = await createItems(bench());
    const catalog = await bench().catalog();
    expect(await catalog.logHolders()).toBeNull();
    expect(await catalog.timeline()).toBeNull();
    const log = await bench().log();
    expect(await catalog.logHolders()).toEqual([]);
    expect(await catalog.timeline()).toBe(log.timeline);
    await log.subscribers.set("a->b's", 4);
    const [holder] = (await catalog.logHolders()) ?? [];
    expect(holder).toMatchObject({ sync: "a->b's", confirmed: 4 });
    await sql.run(holder?.release ?? "");
    expect(await catalog.logHolders()).toEqual([]);
  });

  it("tells how much it holds", async () => {
    const { sql, log } = await openShop(bench());
    expect(await log.stats()).toMatchObject({ rows: 0 });
    await sql.run(`INSERT INTO items (id, name) SELECT n, 'some text' FROM ${numbers(500)}`);
    await take(log.batches);
    const full = await log.stats();
    // The count may be the server's own estimate, which lags; the retention bound is in bytes.
    expect(full.rows).toBeGreaterThanOrEqual(0);
    expect(full.bytes).toBeGreaterThan(0);
  });

  it("leaves no trace when it is uninstalled, and the tables work on", async () => {
    const sql = await createItems(bench());
    const objects = async () => (await sql.rows(bench().dialect.objects)).map(String).sort();
    const before = await objects();
    const log = await bench().log();
    await log.capture([await bench().captureTable(ITEMS)]);
    await sql.run("INSERT INTO items (id) VALUES (1)");
    await takeChanges(log.batches);
    expect(await objects()).not.toEqual(before);
    await log.close();
    const catalog = await bench().catalog();
    expect((await catalog.planUninstall()).length).toBeGreaterThan(0);
    await catalog.uninstall();
    expect(await catalog.planUninstall()).toEqual([]);
    expect(await objects()).toEqual(before);
    await sql.run("INSERT INTO items (id) VALUES (2)");
    const again = await bench().log();
    expect(again.timeline).not.toBe(log.timeline);
    expect(await again.batches.last()).toBeNull();
  });
}
