import { expect, it } from "vitest";
import type { Change } from "../core/change.ts";
import { armFailpoint } from "../core/failpoint.ts";
import { timelineHash } from "../core/hash.ts";
import { changesOf } from "../core/row-lines.ts";
import { type Bench, numbers, refuses } from "./database-bed.ts";
import { all, describeChange, take, takeChanges } from "./replica.ts";
import { openShop } from "./source-shop.ts";

/** Cuts, one after the other (G1, G2, G3). */
export function registerBatches(bench: () => Bench): void {
  it("makes no batch of nothing", async () => {
    const { log } = await openShop(bench());
    const { cut, changes } = await take(log.batches);
    expect([cut.header, cut.chunks, changes]).toEqual([null, [], []]);
    expect(await log.batches.last()).toBeNull();
    expect(await log.batches.header(1)).toBeNull();
  });

  it("numbers batches without a hole and chains them", async () => {
    const { sql, log } = await openShop(bench());
    let previous = timelineHash(log.timeline);
    let cutBefore = "";
    for (let n = 1; n <= 4; n++) {
      await sql.run(`INSERT INTO items (id) VALUES (${n})`);
      const { header } = (await take(log.batches)).cut;
      await take(log.batches);
      expect(header).toMatchObject({ timeline: log.timeline, batch: n, prevHash: previous });
      expect(header?.hash).toMatch(/^[0-9a-f]{64}$/);
      expect(Date.parse(header?.cutAt ?? "")).toBeGreaterThanOrEqual(
        Date.parse(header?.committedAt ?? ""),
      );
      expect((header?.committedAt ?? "") >= cutBefore).toBe(true);
      expect(await log.batches.last()).toEqual(header);
      expect(await log.batches.header(n)).toEqual(header);
      previous = header?.hash ?? "";
      cutBefore = header?.cutAt ?? "";
    }
  });

  it("gives the same batch again, also after it was opened anew and more was written", async () => {
    const { sql, source, log } = await openShop(bench());
    await sql.run("INSERT INTO items (id, name) VALUES (1, 'a'), (2, 'b')");
    await sql.run("UPDATE items SET name = 'c'");
    const first = await take(log.batches);
    expect(first.changes).toHaveLength(4);
    await sql.run("DELETE FROM items");
    expect(await all(log.batches.pages(1))).toEqual(first.changes);
    await log.close();
    const again = await bench().log(source);
    expect(again.timeline).toBe(log.timeline);
    expect(await again.batches.last()).toEqual(first.cut.header);
    expect(await all(again.batches.pages(1))).toEqual(first.changes);
    const next = await take(again.batches);
    expect(next.cut.header?.prevHash).toBe(first.cut.header?.hash);
    expect(next.changes.map(describeChange)).toEqual(["delete from 1", "delete from 2"]);
  });

  it("keeps what was cut and never read", async () => {
    const { sql, source, log } = await openShop(bench());
    await sql.run("INSERT INTO items (id) VALUES (1)");
    const { header, pages } = await log.batches.cut();
    for await (const _ of pages) break;
    await log.close();
    const again = await bench().log(source);
    expect(await again.batches.last()).toEqual(header);
    expect(await all(again.batches.pages(1))).toHaveLength(1);
  });

  it("gives a large transaction in pages of bounded size", async () => {
    const { sql, log } = await openShop(bench());
    const count = 12_000;
    await sql.run(
      `INSERT INTO items (id, name, qty) SELECT n, 'a name of some length, to be sure', n FROM ${numbers(count)}`,
    );
    const { header, pages } = await log.batches.cut();
    const sizes: number[] = [];
    const ids = new Set<unknown>();
    for await (const page of pages) {
      const changes = changesOf(page);
      sizes.push(changes.length);
      for (const { row } of changes) ids.add(row?.[0]);
    }
    expect(header?.batch).toBe(1);
    expect(ids.size).toBe(count);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(count);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(count / 2);
  });

  it("purges what it is told and no more", async () => {
    const { sql, log } = await openShop(bench());
    const taken: (readonly Change[])[] = [];
    for (let n = 1; n <= 3; n++) {
      await sql.run(`INSERT INTO items (id) VALUES (${n})`);
      taken.push(await takeChanges(log.batches));
    }
    await sql.run("INSERT INTO items (id) VALUES (4)");
    const last = await log.batches.last();
    await log.batches.purge(2);
    await refuses(all(log.batches.pages(1)), "TM-BATCH-PURGED");
    await refuses(all(log.batches.pages(2)), "TM-BATCH-PURGED");
    expect(await log.batches.header(1)).toBeNull();
    expect(await all(log.batches.pages(3))).toEqual(taken[2]);
    await log.batches.purge(3);
    await refuses(all(log.batches.pages(3)), "TM-BATCH-PURGED");
    expect(await log.batches.last()).toEqual(last);
    await log.batches.purge(3);
    const next = await take(log.batches);
    expect(next.changes.map(describeChange)).toEqual(["insert 4,null,null"]);
    expect(next.cut.header).toMatchObject({ batch: 4, prevHash: last?.hash });
  });

  // Who was put back to what such a purge has taken must hear that it is gone, not find it broken.
  it.each([1, 2])("has purged what a purge was to take that died half way (%i)", async (times) => {
    const { sql, source, log } = await openShop(bench());
    const taken: (readonly Change[])[] = [];
    for (let n = 1; n <= 3; n++) {
      await sql.run(`INSERT INTO items (id) VALUES (${n})`);
      taken.push(await takeChanges(log.batches));
    }
    let isDue = true;
    armFailpoint(`purge-half:kill@${times}`, () => {
      if (isDue) throw new Error("died");
    });
    await log.batches.purge(2).catch(() => {});
    isDue = false;
    await log.close();
    const again = await bench().log(source);
    expect(await again.batches.header(1)).toBeNull();
    await refuses(all(again.batches.pages(1)), "TM-BATCH-PURGED");
    await refuses(all(again.batches.pages(2)), "TM-BATCH-PURGED");
    expect(await all(again.batches.pages(3))).toEqual(taken[2]);
    await sql.run("INSERT INTO items (id) VALUES (4)");
    const next = await take(again.batches);
    expect(next.changes.map(describeChange)).toEqual(["insert 4,null,null"]);
    await again.batches.purge(3);
    await refuses(all(again.batches.pages(3)), "TM-BATCH-PURGED");
    expect(await all(again.batches.pages(4))).toEqual(next.changes);
  });

  it("has purged what a purge that failed half way was to take", async () => {
    const { sql, log } = await openShop(bench());
    for (let n = 1; n <= 3; n++) {
      await sql.run(`INSERT INTO items (id) VALUES (${n})`);
      await takeChanges(log.batches);
    }
    let isDue = true;
    armFailpoint("purge-half:kill@2", () => {
      if (isDue) throw new Error("failed");
    });
    await log.batches.purge(2).catch(() => {});
    isDue = false;
    for (const batch of [1, 2]) await refuses(all(log.batches.pages(batch)), "TM-BATCH-PURGED");
    await log.batches.purge(3);
    await refuses(all(log.batches.pages(3)), "TM-BATCH-PURGED");
    await sql.run("INSERT INTO items (id) VALUES (4)");
    expect((await take(log.batches)).changes.map(describeChange)).toEqual(["insert 4,null,null"]);
  });

  it("counts on from the last number when all was purged and it is opened anew", async () => {
    const { sql, source, log } = await openShop(bench());
    await sql.run("INSERT INTO items (id) VALUES (1)");
    await takeChanges(log.batches);
    const last = await log.batches.last();
    await log.batches.purge(1);
    await log.close();
    await sql.run("INSERT INTO items (id) VALUES (2)");
    const again = await bench().log(source);
    expect(await again.batches.last()).toEqual(last);
    const next = await take(again.batches);
    expect(next.cut.header).toMatchObject({ batch: 2, prevHash: last?.hash });
    expect(next.changes.map(describeChange)).toEqual(["insert 2,null,null"]);
  });
}
