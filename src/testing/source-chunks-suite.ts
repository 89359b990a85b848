import { expect, it } from "vitest";
import { sleep } from "../core/async.ts";
import { type Bench, numbers, refuses } from "./database-bed.ts";
import {
  all,
  type Copied,
  onlyChunk,
  Replica,
  readToEnd,
  sorted,
  take,
  takeChanges,
  takeChunk,
} from "./replica.ts";
import { ITEMS, openShop, tableRows, write } from "./source-shop.ts";

/** Tables read in chunks, among batches (G1, G3). */
export function registerChunks(bench: () => Bench): void {
  const request = (after: string | null, maxRows: number) => ({
    table: bench().name(ITEMS),
    after,
    maxRows,
    maxBytes: 1 << 20,
  });

  it("gives a table without a key in one chunk, as of its cut, however long it is read", async () => {
    const { integer, text } = bench().dialect;
    const sql = await bench().sql();
    await sql.run(`CREATE TABLE bag (a ${integer}, b ${text})`);
    await sql.run(`INSERT INTO bag SELECT n, 'x' FROM ${numbers(3000)}`);
    await sql.run("INSERT INTO bag VALUES (1, 'x'), (NULL, NULL), (NULL, NULL)");
    const log = await bench().log();
    const table = await bench().captureTable("bag");
    await log.capture([table]);
    await sql.run("INSERT INTO bag VALUES (7, 'before')");
    const whole = { table: table.schema.name, after: null, maxRows: 10, maxBytes: 1000 };
    const left = await log.batches.cut([whole]);
    expect(left.header?.batch).toBe(1);
    await all(left.pages);
    // Its rows were left: another look takes its place.
    const chunk = onlyChunk(await log.batches.cut([whole]));
    await sql.run("DELETE FROM bag WHERE b = 'before'");
    await sql.run("UPDATE bag SET b = 'later' WHERE a IS NULL");
    const { rows, done } = await readToEnd(chunk);
    const were = rows.filter(([, b]) => b !== "x");
    expect({ done, rows: rows.length, were: sorted(were) }).toEqual({
      done: true,
      rows: 3004,
      were: sorted([
        ["7", "before"],
        [null, null],
        [null, null],
      ]),
    });
    const changes = await takeChanges(log.batches);
    const gone = changes.flatMap(({ keyBefore }) => (keyBefore === null ? [] : [keyBefore]));
    expect(sorted(gone)).toEqual(sorted(were));
    await refuses(log.batches.cut([{ ...whole, after: chunk.cursor }]), "TM-SCHEMA-DRIFT");
  });

  it("copies a table in the order of its key, bounded in rows and bytes", async () => {
    const { sql, log } = await openShop(bench());
    await sql.run(`INSERT INTO items (id, name) SELECT 999 - n, 'x' FROM ${numbers(1000)}`);
    const ids: number[] = [];
    let after: string | null = null;
    for (let done = false; !done; ) {
      const { chunk }: Copied = await takeChunk(log.batches, request(after, 300));
      expect(chunk.rows.length).toBeLessThanOrEqual(300);
      ids.push(...chunk.rows.map((row) => Number(row[0])));
      ({ done, cursor: after } = chunk);
    }
    expect(ids).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    const long = "x".repeat(150);
    await sql.run(`UPDATE items SET name = '${long}'`);
    await take(log.batches);
    const { chunk } = await takeChunk(log.batches, { ...request(null, 900), maxBytes: 15_000 });
    expect(chunk.rows.length).toBeGreaterThan(0);
    expect(chunk.rows.length).toBeLessThan(400);
    expect(chunk.done).toBe(false);
    const least = await takeChunk(log.batches, { ...request(null, 900), maxBytes: 1 });
    expect(least.chunk.rows.length).toBeGreaterThan(0);
  });

  it("gives tables that are asked for at once in their order, none behind one of which more is left", async () => {
    const { integer } = bench().dialect;
    const sql = await bench().sql();
    const sizes = { few: 3, none: 0, many: 250, one: 1, last: 120 };
    const names = Object.keys(sizes);
    for (const [name, rows] of Object.entries(sizes)) {
      await sql.run(`CREATE TABLE ${name} (id ${integer} PRIMARY KEY, part ${integer})`);
      await sql.run(`INSERT INTO ${name} SELECT n, 0 FROM ${numbers(250)} WHERE n < ${rows}`);
    }
    const log = await bench().log();
    const captured = await Promise.all(names.map((name) => bench().captureTable(name)));
    const layouts = await log.capture(captured);
    const replica = new Replica(layouts);
    const nameOf = new Map(layouts.map(({ id, table }) => [id, table.name]));
    let left = names.map((name) => ({ ...request(null, 100), table: bench().name(name) }));
    while (left.length > 0) {
      for (const name of names) await sql.run(`UPDATE ${name} SET part = part + 1`);
      const { pages, chunks } = await log.batches.cut(left);
      replica.apply(await all(pages));
      expect(chunks.length).toBeGreaterThan(0);
      for (const [i, chunk] of chunks.entries()) {
        const asked = left[i];
        expect(nameOf.get(chunk.layout)).toBe(asked?.table.name);
        replica.copy(await readToEnd(chunk));
        if (!chunk.done) expect(i).toBe(chunks.length - 1);
      }
      left = left.flatMap((asked, i) => {
        const { done = false, cursor = asked.after } = chunks[i] ?? {};
        return done ? [] : [{ ...asked, after: cursor }];
      });
    }
    replica.apply((await take(log.batches)).changes);
    for (const name of names) {
      expect(replica.rows(name)).toEqual(sorted(await sql.rows(`SELECT id, part FROM ${name}`)));
    }
  });

  it("ends at the key that was the last when the copy began", async () => {
    const { sql, log } = await openShop(bench());
    await sql.run("INSERT INTO items (id) VALUES (1), (2), (3)");
    const first = await takeChunk(log.batches, request(null, 2));
    await sql.run("INSERT INTO items (id) VALUES (4)");
    const second = await takeChunk(log.batches, request(first.chunk.cursor, 2));
    expect(second.chunk.rows.map((row) => row[0])).toEqual(["3"]);
    expect(second.chunk.done).toBe(true);
  });

  it("is done at once with an empty table", async () => {
    const { log } = await openShop(bench());
    const { chunk } = await takeChunk(log.batches, request(null, 10));
    expect(chunk).toMatchObject({ rows: [], filters: [], done: true });
  });

  it("evaluates the filters of each row", async () => {
    const { sql, log } = await openShop(bench(), { filters: ["qty > 1"] });
    await sql.run("INSERT INTO items (id, qty) VALUES (1, 1), (2, 2), (3, NULL)");
    const { chunk } = await takeChunk(log.batches, request(null, 10));
    expect(chunk.filters).toEqual([[false], [true], [false]]);
  });

  it("compares keys of several columns and of text as the database does", async () => {
    const { integer, text } = bench().dialect;
    const sql = await bench().sql();
    await sql.run(
      `CREATE TABLE pairs (a ${text} NOT NULL, b ${integer} NOT NULL, PRIMARY KEY (a, b))`,
    );
    const log = await bench().log();
    const layouts = await log.capture([await bench().captureTable("pairs")]);
    for (const a of ["", "a", "B", "Ä", "z", "10", "9", "it''s", "a b"]) {
      await sql.run(`INSERT INTO pairs (a, b) VALUES ('${a}', -1), ('${a}', 0), ('${a}', 10)`);
    }
    const replica = new Replica(layouts);
    let rows = 0;
    let after: string | null = null;
    for (let done = false; !done; ) {
      const next = { ...request(after, 4), table: bench().name("pairs") };
      const { chunk }: Copied = await takeChunk(log.batches, next);
      rows += chunk.rows.length;
      replica.copy(chunk);
      ({ done, cursor: after } = chunk);
    }
    expect(rows).toBe(27);
    expect(replica.rows("pairs")).toEqual(sorted(await sql.rows("SELECT a, b FROM pairs")));
  });

  it("shows the table exactly as of the newest batch while writers run", async () => {
    const { sql, log, layouts } = await openShop(bench());
    await sql.run("INSERT INTO items (id, name, qty) VALUES (0, 'shared', 0), (1, 'shared', 0)");
    const replica = new Replica(layouts);
    replica.apply(await takeChanges(log.batches));
    const lookOnce = async () => {
      const { changes, chunk } = await takeChunk(log.batches, request(null, 100_000));
      replica.apply(changes);
      expect(chunk.done).toBe(true);
      expect(sorted(chunk.rows)).toEqual(replica.rows(ITEMS));
    };
    let writing = true;
    const reading = (async () => {
      for (; writing; await sleep(1)) await lookOnce();
    })();
    await Promise.all([0, 1].map((writer) => write(bench(), writer))).finally(() => {
      writing = false;
    });
    await reading;
    await lookOnce();
  });

  it("gives, with the log, the whole table, however it changes during the copy", async () => {
    const { sql, log, layouts } = await openShop(bench());
    await sql.run(`INSERT INTO items (id, name, qty) SELECT n * 10, 'old', 0 FROM ${numbers(200)}`);
    await take(log.batches);
    // A target that comes later: it has nothing but what it is given from here on.
    const replica = new Replica(layouts);
    let writing = true;
    const writer = await bench().sql();
    const change = (async () => {
      for (let i = 0; writing; i++) {
        const id = (i * 37) % 2_100;
        await writer.run(`DELETE FROM items WHERE id = ${id}`);
        await writer.run(`INSERT INTO items (id, name, qty) VALUES (${id}, 'new', ${i})`);
        await writer.run(`UPDATE items SET id = ${-id - 1} WHERE id = ${(id + 70) % 2_100}`);
        await writer.run(`DELETE FROM items WHERE id = ${-id - 1}`);
        await sleep(1);
      }
    })();
    let after: string | null = null;
    try {
      for (let done = false; !done; ) {
        const { changes, chunk }: Copied = await takeChunk(log.batches, request(after, 9));
        replica.apply(changes);
        replica.copy(chunk);
        ({ done, cursor: after } = chunk);
        await sleep(1);
      }
    } finally {
      writing = false;
      await change;
    }
    replica.apply((await take(log.batches)).changes);
    expect(replica.rows(ITEMS)).toEqual(await tableRows(sql));
  });

  it("refuses a table that is not captured", async () => {
    const { log } = await openShop(bench());
    const other = { ...request(null, 1), table: bench().name("nowhere") };
    await refuses(log.batches.cut([other]), "TM-CAPTURE-MISSING", "TM-TABLE-MISSING");
  });
}
