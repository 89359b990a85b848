import { expect, it } from "vitest";
import { sleep } from "../core/async.ts";
import type { Bench } from "./database-bed.ts";
import { describeChange, Replica, take, takeChanges, takeChunk } from "./replica.ts";
import { createItems, ITEMS, openShop, tableRows, write } from "./source-shop.ts";

const WRITERS = 4;

/** Cuts while many write (G1, G3). */
export function registerWriters(bench: () => Bench): void {
  it("loses nothing, invents nothing, cuts no transaction and keeps the order of each row", async () => {
    const { sql, log, layouts } = await openShop(bench());
    await sql.run("INSERT INTO items (id, name, qty) VALUES (0, 'shared', 0), (1, 'shared', 0)");
    const replica = new Replica(layouts);
    const batchOfTag = new Map<string, number>();
    const rowsOfTag = new Map<string, number>();
    const counters: Record<string, number[]> = { "0": [], "1": [] };
    const takeOne = async () => {
      const { cut, changes } = await take(log.batches);
      replica.apply(changes);
      for (const { row } of changes) {
        const [id, name, qty] = (row ?? []) as (string | null)[];
        if (name === "shared") counters[id ?? ""]?.push(Number(qty));
        else if (name != null && cut.header !== null) {
          expect(batchOfTag.get(name) ?? cut.header.batch).toBe(cut.header.batch);
          batchOfTag.set(name, cut.header.batch);
          rowsOfTag.set(name, (rowsOfTag.get(name) ?? 0) + 1);
        }
      }
    };
    let writing = true;
    const reading = (async () => {
      for (; writing; await sleep(2)) await takeOne();
    })();
    const committed = await Promise.all(
      Array.from({ length: WRITERS }, (_, writer) => write(bench(), writer)),
    ).finally(() => {
      writing = false;
    });
    await reading;
    await takeOne();
    expect([...rowsOfTag.keys()].sort()).toEqual(committed.flat().sort());
    expect(new Set(rowsOfTag.values())).toEqual(new Set([3]));
    for (const values of Object.values(counters)) {
      expect(values).toEqual(values.map((_, i) => i));
    }
    expect(replica.rows(ITEMS)).toEqual(await tableRows(sql));
    expect((await log.batches.last())?.batch).toBeGreaterThan(1);
  });

  it("lets an open transaction delay nobody but itself", async () => {
    if (!bench().dialect.concurrentWriters) return;
    const { sql, log } = await openShop(bench());
    const slow = await bench().sql();
    await slow.run(bench().dialect.begin);
    await slow.run("INSERT INTO items (id, name) VALUES (1, 'slow')");
    await sql.run("INSERT INTO items (id, name) VALUES (2, 'quick')");
    expect((await takeChanges(log.batches)).map(describeChange)).toEqual(["insert 2,quick,null"]);
    await sql.run("INSERT INTO items (id, name) VALUES (3, 'quick')");
    expect((await takeChanges(log.batches)).map(describeChange)).toEqual(["insert 3,quick,null"]);
    await slow.run("COMMIT");
    expect((await takeChanges(log.batches)).map(describeChange)).toEqual(["insert 1,slow,null"]);
  });

  it("purges beside an open transaction, which may have rows anywhere among those that go", async () => {
    if (!bench().dialect.concurrentWriters) return;
    const { sql, log } = await openShop(bench());
    const slow = await bench().sql();
    await slow.run(bench().dialect.begin);
    for (let id = 1; id <= 40; id++) {
      const writer = id % 4 === 0 ? slow : sql;
      await writer.run(`INSERT INTO items (id, name) VALUES (${id}, 'row')`);
      if (id % 10 === 0) await takeChanges(log.batches);
    }
    await log.batches.purge((await log.batches.last())?.batch ?? 0);
    await slow.run("COMMIT");
    expect(await takeChanges(log.batches)).toHaveLength(10);
  });

  it("waits with capture until nobody can write past it", async () => {
    const sql = await createItems(bench());
    const log = await bench().log();
    const early = await bench().sql();
    await early.run(bench().dialect.begin);
    await early.run("INSERT INTO items (id, name) VALUES (1, 'before')");
    const table = await bench().captureTable(ITEMS, { columns: ["id", "name", "qty"] });
    const capturing = log.capture([table]);
    await sleep(50);
    await early.run("INSERT INTO items (id, name) VALUES (2, 'before')");
    await early.run("COMMIT");
    const replica = new Replica(await capturing);
    const request = { table: bench().name(ITEMS), after: null, maxRows: 10, maxBytes: 1 << 20 };
    const { changes, chunk } = await takeChunk(log.batches, request);
    replica.apply(changes);
    replica.copy(chunk);
    expect(replica.rows(ITEMS)).toEqual(await tableRows(sql));
    expect(replica.rows(ITEMS)).toHaveLength(2);
  });
}
