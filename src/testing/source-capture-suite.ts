import { expect, it } from "vitest";
import { type TidemarkError, toTidemarkError } from "../core/errors.ts";
import type { CaptureTable } from "../core/source.ts";
import { formatTable } from "../core/table.ts";
import type { Row } from "../core/value.ts";
import type { Bench } from "./database-bed.ts";
import { describeChange, Replica, take, takeChanges, takeChunk } from "./replica.ts";
import { createItems, ITEMS, openShop, tableRows } from "./source-shop.ts";

/** What is logged of which change (G1). */
export function registerCapture(bench: () => Bench): void {
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
    const columns = ["id", "name", "qty"];
    const table = await bench().captureTable(ITEMS, { columns });
    const told = async () =>
      (await source.diagnose([table])).flatMap(({ severity, message }) =>
        severity === "ok" ? [] : [message],
      );
    // What is told of the server is told with and without it.
    const before = await told();
    for (const statement of bench().dialect.bumpTrigger(ITEMS)) await sql.run(statement);
    const findings = await told();
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
      outcome === "TM-CAPTURE-BROKEN" || findings.some((message) => !before.includes(message));
    expect({ isRight, says }).not.toEqual({ isRight: false, says: false });
  });

  it("names all tables that were made anew, while it works and at its start, with one command for all", async () => {
    const sql = await bench().sql();
    const names = ["books", "pages", "words"];
    const make = async (name: string) => {
      await sql.run(`CREATE TABLE ${name} (id INTEGER PRIMARY KEY, n INTEGER)`);
      return bench().captureTable(name);
    };
    const tables: CaptureTable[] = [];
    for (const name of names) tables.push(await make(name));
    const source = await bench().source();
    const log = await bench().log(source);
    await log.capture(tables);
    await take(log.batches);
    for (const name of names) await sql.run(`DROP TABLE ${name}`);
    for (const name of names) await make(name);
    await sql.run("INSERT INTO words VALUES (1, 1)");
    const all = names.map((_, index) => formatTable((tables[index] as CaptureTable).schema.name));
    const told = {
      code: "TM-CAPTURE-BROKEN",
      fix: expect.stringContaining(`tidemark resync ${all.join(" ")}, `),
      details: { tables: all },
    };
    const looking: Promise<unknown> = log.batches.look?.() ?? take(log.batches);
    await expect(looking).rejects.toMatchObject(told);
    await log.close();
    const again = await bench().log(source);
    const refused = await again.capture(tables).catch(toTidemarkError);
    expect(refused).toMatchObject(told);
    const { message, fix } = refused as TidemarkError;
    expect(message).toContain(`The same is true of ${all.slice(1).join(", ")}.`);
    expect(fix?.match(/tidemark resync/g)).toHaveLength(1);
    await expect(source.planCapture(tables)).rejects.toMatchObject(told);
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
