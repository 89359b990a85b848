import { describe, expect, it } from "vitest";
import { sleep } from "../core/async.ts";
import type { Change, Layout } from "../core/change.ts";
import { toTidemarkError } from "../core/errors.ts";
import { timelineHash } from "../core/hash.ts";
import type { ChangeLog, Source } from "../core/source.ts";
import type { Row } from "../core/value.ts";
import {
  type Bench,
  type DatabaseBed,
  numbers,
  refuses,
  type SqlSession,
  useBench,
} from "./database-bed.ts";
import {
  all,
  type Copied,
  describeChange,
  Replica,
  readToEnd,
  sorted,
  take,
  takeChanges,
  takeChunk,
} from "./replica.ts";

/** The source contract (src/core/source.ts), run against one adapter. */
export function registerSourceSuite(name: string, createBed: () => Promise<DatabaseBed>): void {
  describe(`source contract: ${name}`, () => {
    const bench = useBench(createBed);
    describe("capture", () => registerCapture(() => bench.now));
    describe("batches", () => registerBatches(() => bench.now));
    describe("concurrent writers", () => registerWriters(() => bench.now));
    describe("chunks", () => registerChunks(() => bench.now));
    describe("log", () => registerLog(() => bench.now));
    describe("catalog", () => registerCatalog(() => bench.now));
  });
}

/** A table that is captured, and all it takes to change it and to see the changes. */
interface Shop {
  readonly sql: SqlSession;
  readonly source: Source;
  readonly log: ChangeLog;
  readonly layouts: readonly Layout[];
}

const ITEMS = "items";

async function createItems(bench: Bench): Promise<SqlSession> {
  const { integer, text } = bench.dialect;
  const sql = await bench.sql();
  await sql.run(
    `CREATE TABLE items (id ${integer} NOT NULL PRIMARY KEY, name ${text}, qty ${integer}, secret ${text})`,
  );
  return sql;
}

async function openShop(
  bench: Bench,
  options: { readonly columns?: readonly string[]; readonly filters?: readonly string[] } = {},
): Promise<Shop> {
  const sql = await createItems(bench);
  const source = await bench.source();
  const log = await bench.log(source);
  const columns = options.columns ?? ["id", "name", "qty"];
  const layouts = await log.capture([await bench.captureTable(ITEMS, { ...options, columns })]);
  return { sql, source, log, layouts };
}

async function tableRows(sql: SqlSession): Promise<readonly Row[]> {
  return sorted(await sql.rows("SELECT id, name, qty FROM items"));
}

function registerCapture(bench: () => Bench): void {
  it("logs inserts, updates and deletes in order", async () => {
    const { sql, log } = await openShop(bench());
    await sql.run("INSERT INTO items (id, name, qty) VALUES (1, 'a', 1)");
    await sql.run("UPDATE items SET qty = 2 WHERE id = 1");
    await sql.run("DELETE FROM items WHERE id = 1");
    const changes = await takeChanges(log.batches);
    expect(changes.map(describeChange)).toEqual(["insert 1,a,1", "update 1,a,2", "delete from 1"]);
  });

  it("logs nothing that is rolled back, savepoints included", async () => {
    const { sql, log } = await openShop(bench());
    const { begin } = bench().dialect;
    await sql.run(begin);
    await sql.run("INSERT INTO items (id, name) VALUES (1, 'never')");
    await sql.run("ROLLBACK");
    await sql.run(begin);
    await sql.run("INSERT INTO items (id, name) VALUES (2, 'kept')");
    await sql.run("SAVEPOINT a");
    await sql.run("INSERT INTO items (id, name) VALUES (3, 'never')");
    await sql.run("UPDATE items SET name = 'never' WHERE id = 2");
    await sql.run("ROLLBACK TO SAVEPOINT a");
    await sql.run("INSERT INTO items (id, name) VALUES (4, 'kept')");
    await sql.run("COMMIT");
    const changes = await takeChanges(log.batches);
    expect(changes.map(describeChange)).toEqual(["insert 2,kept,null", "insert 4,kept,null"]);
  });

  it("tells the old key when a key changes", async () => {
    const { sql, log, layouts } = await openShop(bench());
    await sql.run("INSERT INTO items (id, name, qty) VALUES (1, 'a', 1), (2, 'b', 2)");
    const replica = new Replica(layouts);
    replica.apply(await takeChanges(log.batches));
    await sql.run("UPDATE items SET id = 3 WHERE id = 1");
    const changes = await takeChanges(log.batches);
    expect(changes.flatMap(({ keyBefore }) => keyBefore ?? [])).toContain("1");
    replica.apply(changes);
    expect(replica.rows(ITEMS)).toEqual(await tableRows(sql));
  });

  it("gives no key before where the key stayed", async () => {
    const { sql, log } = await openShop(bench());
    await sql.run("INSERT INTO items (id, name, qty) VALUES (1, 'a', 1)");
    await sql.run("UPDATE items SET id = 1, qty = 5");
    const changes = await takeChanges(log.batches);
    expect(changes.map(({ keyBefore }) => keyBefore)).toEqual([null, null]);
  });

  it("follows a row that is deleted and inserted again in one transaction", async () => {
    const { sql, log, layouts } = await openShop(bench());
    await sql.run("INSERT INTO items (id, name, qty) VALUES (1, 'a', 1)");
    await sql.run(bench().dialect.begin);
    await sql.run("DELETE FROM items WHERE id = 1");
    await sql.run("INSERT INTO items (id, name, qty) VALUES (1, 'again', 2)");
    await sql.run("COMMIT");
    const replica = new Replica(layouts);
    replica.apply(await takeChanges(log.batches));
    expect(replica.rows(ITEMS)).toEqual([["1", "again", "2"]]);
  });

  it("logs the row as an application's own trigger leaves it", async () => {
    const sql = await createItems(bench());
    for (const statement of bench().dialect.bumpTrigger(ITEMS)) await sql.run(statement);
    const log = await bench().log();
    const columns = ["id", "name", "qty"];
    const replica = new Replica(
      await log.capture([await bench().captureTable(ITEMS, { columns })]),
    );
    await sql.run("INSERT INTO items (id, name, qty) VALUES (1, 'a', 1), (2, 'b', 2)");
    await sql.run("UPDATE items SET qty = 40 WHERE id = 2");
    replica.apply(await takeChanges(log.batches));
    expect(replica.rows(ITEMS)).toEqual(await tableRows(sql));
  });

  it("logs right, or says that it does not, when such a trigger comes later", async () => {
    const { sql, source, log, layouts } = await openShop(bench());
    for (const statement of bench().dialect.bumpTrigger(ITEMS)) await sql.run(statement);
    const columns = ["id", "name", "qty"];
    const findings = await source.diagnose([await bench().captureTable(ITEMS, { columns })]);
    await sql.run("INSERT INTO items (id, name, qty) VALUES (1, 'a', 1), (2, 'b', 2)");
    await sql.run("UPDATE items SET qty = 40 WHERE id = 2");
    const replica = new Replica(layouts);
    const outcome = await takeChanges(log.batches).then(
      (changes) => {
        replica.apply(changes);
        return "taken";
      },
      (error) => toTidemarkError(error).code,
    );
    const isRight = JSON.stringify(replica.rows(ITEMS)) === JSON.stringify(await tableRows(sql));
    const says =
      outcome === "TM-CAPTURE-BROKEN" || findings.some(({ severity }) => severity !== "ok");
    expect({ isRight, says }).not.toEqual({ isRight: false, says: false });
  });

  it("sees TRUNCATE, or the emptying of the table, as far as it says it can", async () => {
    const { sql, source, log, layouts } = await openShop(bench());
    await sql.run("INSERT INTO items (id, name, qty) VALUES (1, 'a', 1), (2, 'b', 2)");
    await sql.run(source.capabilities.truncate ? "TRUNCATE TABLE items" : "DELETE FROM items");
    await sql.run("INSERT INTO items (id, name, qty) VALUES (3, 'c', 3)");
    const changes = await takeChanges(log.batches);
    if (source.capabilities.truncate) expect(changes.map(({ op }) => op)).toContain("truncate");
    const replica = new Replica(layouts);
    replica.apply(changes);
    expect(replica.rows(ITEMS)).toEqual([["3", "c", "3"]]);
  });

  it("evaluates filters on the row after", async () => {
    const filters = ["qty > 10", "secret IS NULL"];
    const { sql, log } = await openShop(bench(), { filters });
    await sql.run("INSERT INTO items (id, name, qty, secret) VALUES (1, 'a', 20, 'x')");
    await sql.run("INSERT INTO items (id, name) VALUES (2, 'null is not true')");
    await sql.run("UPDATE items SET qty = 5 WHERE id = 1");
    // Only a column that is not captured changes, and with it the answer.
    await sql.run("UPDATE items SET secret = NULL WHERE id = 1");
    const changes = await takeChanges(log.batches);
    expect(changes.map((change) => change.filters)).toEqual([
      [true, false],
      [false, true],
      [false, false],
      [false, true],
    ]);
  });

  it("never lets a column into the log that was not asked for", async () => {
    const { sql, log, layouts } = await openShop(bench());
    await sql.run("INSERT INTO items (id, name, secret) VALUES (1, 'a', 'pssst')");
    await sql.run("UPDATE items SET secret = 'pssst2'");
    await sql.run("UPDATE items SET name = 'b'");
    await sql.run("DELETE FROM items");
    const changes = await takeChanges(log.batches);
    expect(JSON.stringify([changes, layouts.map(({ columns }) => columns)])).not.toMatch(
      /pssst|secret/,
    );
    expect(await bench().dialect.dumpLog(sql)).not.toContain("pssst");
  });

  it("stands after one run, and says so", async () => {
    const sql = await createItems(bench());
    const source = await bench().source();
    const table = await bench().captureTable(ITEMS);
    expect((await source.planCapture([table])).statements.length).toBeGreaterThan(0);
    const log = await bench().log(source);
    const first = await log.capture([table]);
    expect((await source.planCapture([table])).statements).toEqual([]);
    expect(await log.capture([table])).toEqual(first);
    await sql.run("INSERT INTO items (id) VALUES (1)");
    expect(await takeChanges(log.batches)).toHaveLength(1);
  });

  it("leaves the capture of other tables alone", async () => {
    const { sql, log, layouts } = await openShop(bench());
    const { integer } = bench().dialect;
    await sql.run(`CREATE TABLE more (id ${integer} NOT NULL PRIMARY KEY)`);
    const both = await log.capture([await bench().captureTable("more")]);
    expect(both).toEqual(expect.arrayContaining([...layouts]));
    await sql.run("INSERT INTO items (id) VALUES (1)");
    await sql.run("INSERT INTO more (id) VALUES (2)");
    const tables = (await takeChanges(log.batches)).map(
      ({ layout }) => both.find(({ id }) => id === layout)?.table.name,
    );
    expect(tables).toEqual([ITEMS, "more"]);
  });

  it("reads rows by the layout they were logged with", async () => {
    const { sql, log, layouts } = await openShop(bench());
    await sql.run("INSERT INTO items (id, name, qty) VALUES (1, 'a', 1)");
    const wider = await log.capture([await bench().captureTable(ITEMS)]);
    await sql.run("INSERT INTO items (id, name, qty, secret) VALUES (2, 'b', 2, 's')");
    const changes = await takeChanges(log.batches);
    const replica = new Replica([...layouts, ...wider]);
    expect(
      changes.map(({ layout, row }) => {
        const names = replica.layout(layout).columns.map((column) => column.name);
        return Object.fromEntries(names.map((name, i) => [name, row?.[i]]));
      }),
    ).toEqual([
      { id: "1", name: "a", qty: "1" },
      { id: "2", name: "b", qty: "2", secret: "s" },
    ]);
  });

  it("takes names as they are", async () => {
    const { integer, text, quote } = bench().dialect;
    const odd = `Sel"ect 'from'; \`x\``;
    const sql = await bench().sql();
    const [table, id, value] = [quote(odd), quote('Or"der'), quote("wert ß 漢")];
    await sql.run(
      `CREATE TABLE ${table} (${id} ${integer} NOT NULL PRIMARY KEY, ${value} ${text})`,
    );
    const log = await bench().log();
    await log.capture([await bench().captureTable(odd, { filters: [`${value} = 'it''s'`] })]);
    await sql.run(`INSERT INTO ${table} (${id}, ${value}) VALUES (1, 'it''s')`);
    await sql.run(`UPDATE ${table} SET ${value} = 'x'`);
    await sql.run(`DELETE FROM ${table}`);
    const request = { table: bench().name(odd), after: null, maxRows: 5, maxBytes: 1000 };
    const { changes, chunk } = await takeChunk(log.batches, request);
    expect(chunk.rows).toEqual([]);
    expect(changes.map(describeChange)).toEqual(["insert 1,it's", "update 1,x", "delete from 1"]);
    expect(changes.slice(0, 2).map(({ filters }) => filters)).toEqual([[true], [false]]);
  });

  it("logs whole rows where there is no key, the same as in a chunk", async () => {
    const { samples, quote } = bench().dialect;
    const sql = await bench().sql();
    const columns = samples.map((sample, i) => `c${i} ${sample.declared}`);
    await sql.run(`CREATE TABLE samples (${columns.join(", ")})`);
    const log = await bench().log();
    const layouts = await log.capture([await bench().captureTable("samples")]);
    expect(layouts.map(({ key }) => key)).toEqual([[]]);
    const literals = samples.map(({ literal }) => literal);
    await sql.run(`INSERT INTO ${quote("samples")} VALUES (${literals.join(", ")})`);
    const request = { table: bench().name("samples"), after: null, maxRows: 5, maxBytes: 1 << 20 };
    const { chunk } = await takeChunk(log.batches, request);
    expect(chunk.rows).toEqual([samples.map(({ canonical }) => canonical)]);
    await sql.run("UPDATE samples SET c0 = NULL");
    await sql.run("DELETE FROM samples");
    const changes = await takeChanges(log.batches);
    const [before] = chunk.rows;
    const updated = [null, ...(before ?? []).slice(1)];
    const rows = changes.flatMap(({ keyBefore, row }) => [keyBefore, row]);
    expect(rows.filter((row) => row !== null)).toEqual([before, updated, updated]);
  });

  it("gives each value in canonical text, the same in log and chunk", async () => {
    const { samples, integer, quote } = bench().dialect;
    const sql = await bench().sql();
    const columns = samples.map((sample, i) => `c${i} ${sample.declared}`);
    await sql.run(
      `CREATE TABLE samples (id ${integer} NOT NULL PRIMARY KEY, ${columns.join(", ")})`,
    );
    const log = await bench().log();
    await log.capture([await bench().captureTable("samples")]);
    const literals = samples.map(({ literal }) => literal);
    await sql.run(`INSERT INTO ${quote("samples")} VALUES (1, ${literals.join(", ")})`);
    const request = { table: bench().name("samples"), after: null, maxRows: 5, maxBytes: 1 << 20 };
    const { changes, chunk } = await takeChunk(log.batches, request);
    const label = (row: Row | null | undefined) =>
      samples.map(({ declared, literal }, i) => [declared, literal, row?.[i + 1]]);
    const expected = samples.map(({ declared, literal, canonical }) => [
      declared,
      literal,
      canonical,
    ]);
    expect(label(changes[0]?.row)).toEqual(expected);
    expect(label(chunk.rows[0])).toEqual(expected);
  });

  it("finds out when capture is broken", async () => {
    const { sql, source } = await openShop(bench());
    const table = await bench().captureTable(ITEMS, { columns: ["id", "name", "qty"] });
    const worst = async () =>
      (await source.diagnose([table])).filter(({ severity }) => severity === "error");
    expect(await worst()).toEqual([]);
    await bench().dialect.breakCapture(sql, ITEMS);
    expect((await worst()).length).toBeGreaterThan(0);
  });
}

function registerBatches(bench: () => Bench): void {
  it("makes no batch of nothing", async () => {
    const { log } = await openShop(bench());
    const { cut, changes } = await take(log.batches);
    expect([cut.header, cut.chunk, changes]).toEqual([null, null, []]);
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
      sizes.push(page.length);
      for (const { row } of page) ids.add(row?.[0]);
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

const WRITERS = 4;
const TRANSACTIONS = 25;

/**
 * One writer: transactions of three rows under one tag, each also counting up one of two rows that
 * all writers share; every fourth is rolled back. Gives the tags it committed.
 */
async function write(bench: Bench, writer: number): Promise<string[]> {
  const sql = await bench.sql();
  const tags: string[] = [];
  for (let i = 0; i < TRANSACTIONS; i++) {
    const id = 1_000 + (writer * TRANSACTIONS + i) * 3;
    const tag = `w${writer}t${i}`;
    const rolledBack = i % 4 === 3;
    await sql.run(bench.dialect.begin);
    await sql.run(`UPDATE items SET qty = qty + 1 WHERE id = ${i % 2}`);
    await sql.run(`INSERT INTO items (id, name) VALUES (${id}, '${tag}'), (${id + 1}, '${tag}')`);
    if (i % 3 === 0) await sleep(1);
    await sql.run(`INSERT INTO items (id, name) VALUES (${id + 2}, '${tag}')`);
    await sql.run(rolledBack ? "ROLLBACK" : "COMMIT");
    if (!rolledBack) tags.push(tag);
  }
  return tags;
}

function registerWriters(bench: () => Bench): void {
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

function registerChunks(bench: () => Bench): void {
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
    const left = await log.batches.cut(whole);
    expect(left.header?.batch).toBe(1);
    await all(left.pages);
    // Its rows were left: another look takes its place.
    const cut = await log.batches.cut(whole);
    if (cut.chunk === null) throw new ReferenceError("no chunk");
    await sql.run("DELETE FROM bag WHERE b = 'before'");
    await sql.run("UPDATE bag SET b = 'later' WHERE a IS NULL");
    const { rows, done } = await readToEnd(cut.chunk);
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
    await refuses(log.batches.cut({ ...whole, after: cut.chunk.cursor }), "TM-SCHEMA-DRIFT");
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
    await refuses(log.batches.cut(other), "TM-CAPTURE-MISSING", "TM-TABLE-MISSING");
  });
}

/** No wake-up may take longer; most take milliseconds. */
const PROMPT_MS = 1_000;

function registerLog(bench: () => Bench): void {
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

  it("never sleeps over a change that is already there", async () => {
    const { sql, log } = await openShop(bench());
    for (let i = 0; i < 5; i++) {
      await sql.run(`INSERT INTO items (id) VALUES (${i})`);
      const start = performance.now();
      await log.waitForChanges(AbortSignal.timeout(10_000));
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

  it("tells how much it holds", async () => {
    const { sql, log } = await openShop(bench());
    expect(await log.stats()).toMatchObject({ rows: 0, oldestAt: null });
    await sql.run(`INSERT INTO items (id, name) SELECT n, 'some text' FROM ${numbers(500)}`);
    await take(log.batches);
    const full = await log.stats();
    // The count may be the server's own estimate, which lags; the retention bound is in bytes.
    expect(full.rows).toBeGreaterThanOrEqual(0);
    expect(full.bytes).toBeGreaterThan(0);
    expect(Math.abs(Date.parse(full.oldestAt ?? "") - Date.now())).toBeLessThan(60_000);
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

function registerCatalog(bench: () => Bench): void {
  it("shows the user's tables and none of ours", async () => {
    const { log } = await openShop(bench());
    await log.capture([]);
    const catalog = await bench().catalog();
    expect(await catalog.listTables()).toEqual([bench().name(ITEMS)]);
  });

  it("describes columns, key, unique keys and references", async () => {
    const { integer, text } = bench().dialect;
    const sql = await bench().sql();
    await sql.run(
      `CREATE TABLE parents (a ${text} NOT NULL, b ${integer} NOT NULL, PRIMARY KEY (b, a))`,
    );
    await sql.run(
      `CREATE TABLE children (id ${integer} NOT NULL PRIMARY KEY, code ${text} UNIQUE, pb ${integer}, pa ${text}, FOREIGN KEY (pb, pa) REFERENCES parents (b, a))`,
    );
    const catalog = await bench().catalog();
    const [parents, children] = await catalog.describe([
      bench().name("parents"),
      bench().name("children"),
    ]);
    expect(parents).toMatchObject({ key: ["b", "a"], uniques: [], foreignKeys: [] });
    expect(children).toMatchObject({ key: ["id"], uniques: [["code"]] });
    expect(children?.columns.map(({ name, nullable }) => [name, nullable])).toEqual([
      ["id", false],
      ["code", true],
      ["pb", true],
      ["pa", true],
    ]);
    expect(children?.foreignKeys).toEqual([
      { columns: ["pb", "pa"], references: bench().name("parents") },
    ]);
  });

  it("takes a unique key of NOT NULL columns where there is no primary key", async () => {
    const { integer, text } = bench().dialect;
    const sql = await bench().sql();
    await sql.run(`CREATE TABLE coded (code ${text} NOT NULL UNIQUE, maybe ${integer} UNIQUE)`);
    const [coded] = await (await bench().catalog()).describe([bench().name("coded")]);
    expect(coded?.key).toEqual(["code"]);
  });

  it("refuses what cannot be captured, by name", async () => {
    const sql = await createItems(bench());
    await sql.run("CREATE VIEW seen AS SELECT id FROM items");
    const catalog = await bench().catalog();
    const misspelt = await catalog.describe([bench().name("itmes")]).catch(toTidemarkError);
    expect(misspelt).toMatchObject({ code: "TM-TABLE-MISSING" });
    expect(JSON.stringify(misspelt)).toContain("items");
    await refuses(catalog.describe([bench().name("seen")]), "TM-TABLE-UNSUPPORTED");
  });
}
