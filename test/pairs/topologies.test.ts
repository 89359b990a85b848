// More than one source, target or link.
import { describe, expect, test } from "vitest";
import { available, type DatabaseKind } from "../servers/index.ts";
import { CUSTOMERS, ORDERS } from "../support/shop-tables.ts";
import { transaction } from "../support/sql-client.ts";
import { PATIENCE_MS, type QueueKind, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow } from "../support/test-tables.ts";

interface Shape {
  readonly kinds: readonly [DatabaseKind, DatabaseKind, DatabaseKind];
  readonly queue: QueueKind;
}

const SHAPES: readonly Shape[] = [
  { kinds: ["sqlite", "sqlite", "sqlite"], queue: "embedded" },
  { kinds: ["postgres", "mariadb", "sqlite"], queue: "nats" },
  { kinds: ["mariadb", "postgres-newest", "postgres"], queue: "embedded" },
];

for (const shape of SHAPES) {
  const { kinds, queue } = shape;
  const missing = [...kinds, ...(queue === "nats" ? (["nats"] as const) : [])].some(
    (name) => !available(name),
  );
  describe.skipIf(missing)(`${kinds.join(", ")} over ${queue}`, () => registerShape(shape));
}

const TABLES = [CUSTOMERS, ORDERS];
const NAMES = TABLES.map(({ name }) => name);

function registerShape({ kinds: [a, b, c], queue }: Shape): void {
  const make = () => TestBed.make({ a, b, c }, { queue });

  async function fill(bed: TestBed, name: string, from = 1): Promise<void> {
    const sql = await bed.sql(name);
    await transaction(sql, async () => {
      for (let id = from; id < from + 30; id++) {
        await insertRow(sql, CUSTOMERS, { id, name: `${name} ${id}`, credit: id });
        await insertRow(sql, ORDERS, { id, customer_id: id, total: "1.5", status: "new" });
      }
    });
  }

  test("one source to two targets; one that lags holds nobody back", async () => {
    await using bed = await make();
    await createTables(await bed.sql("a"), a, TABLES);
    await fill(bed, "a");
    const pipeline = await bed.start(
      bed.define([
        { from: "a", to: "b", tables: NAMES },
        { from: "a", to: "c", tables: ["customers"] },
      ]),
    );
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    for (const table of TABLES) await bed.expectSame(table, { from: "a", to: "b" });
    await bed.expectSame(CUSTOMERS, { from: "a", to: "c" });

    const held = await bed.sql("b");
    await held.begin();
    await held.run("UPDATE customers SET credit = credit WHERE id = 1");
    await (await bed.sql("a")).run("UPDATE customers SET credit = 5");
    await pipeline.waitFor({ sync: "a->c", timeoutMs: PATIENCE_MS });
    await bed.expectSame(CUSTOMERS, { from: "a", to: "c" });
    await held.rollback();
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(CUSTOMERS, { from: "a", to: "b" });
  });

  test("two sources into one target", async () => {
    await using bed = await make();
    for (const name of ["a", "b"] as const) {
      await createTables(await bed.sql(name), bed.database(name).kind, TABLES);
      await fill(bed, name);
    }
    const named = (prefix: string) => NAMES.map((table) => ({ table, as: `${prefix}_${table}` }));
    const pipeline = await bed.start(
      bed.define([
        { from: "a", to: "c", tables: named("a") },
        { from: "b", to: "c", tables: named("b") },
      ]),
    );
    await (await bed.sql("a")).run("UPDATE customers SET credit = 7 WHERE id < 9");
    await (await bed.sql("b")).run("DELETE FROM orders WHERE id > 9");
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    for (const from of ["a", "b"]) {
      for (const table of TABLES) {
        await bed.expectSame(table, { from, to: "c", as: `${from}_${table.name}` });
      }
    }
  });

  test("a chain: what waitFor has waited for is at its end", async () => {
    await using bed = await make();
    await createTables(await bed.sql("a"), a, TABLES);
    await fill(bed, "a");
    const pipeline = await bed.start(
      bed.define([
        { from: "b", to: "c", tables: NAMES },
        { from: "a", to: "b", tables: NAMES },
      ]),
    );
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    for (const table of TABLES) await bed.expectSame(table, { from: "a", to: "c" });
    for (let turn = 0; turn < 5; turn++) {
      await (await bed.sql("a")).run(`UPDATE customers SET credit = ${turn} WHERE id > ${turn}`);
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.expectSame(CUSTOMERS, { from: "a", to: "c" });
    }
    await transaction(await bed.sql("a"), async () => {
      const sql = await bed.sql("a");
      await sql.run("DELETE FROM orders WHERE id < 5");
      await sql.run("DELETE FROM customers WHERE id < 5");
    });
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    for (const table of TABLES) await bed.expectSame(table, { from: "a", to: "c" });
  });

  test("a chain: a glob leaves out a column of a table that the link before has yet to make", async () => {
    await using bed = await make();
    await createTables(await bed.sql("a"), a, TABLES);
    await createTables(await bed.sql("b"), b, [CUSTOMERS]);
    await fill(bed, "a");
    const pipeline = await bed.start(
      bed.define([
        { from: "a", to: "b", tables: NAMES },
        { from: "b", to: "c", tables: [{ table: "*", except: ["status"] }] },
      ]),
    );
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    const orders = await (await bed.sql("c")).rows("SELECT * FROM orders");
    expect(orders.length).toBeGreaterThan(0);
    expect(orders.filter((row) => "status" in row)).toEqual([]);
  });

  test("a target and a table added later get their own copy, and the others go on", async () => {
    await using bed = await make();
    const source = await bed.sql("a");
    await createTables(source, a, TABLES);
    await fill(bed, "a");
    const alone = await bed.start(bed.define([{ from: "a", to: "b", tables: ["customers"] }]));
    await alone.waitFor({ timeoutMs: PATIENCE_MS });
    await source.run("UPDATE customers SET credit = 1");
    await alone.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(alone);

    await source.run("UPDATE customers SET credit = 2");
    const both = await bed.start(
      bed.define([
        { from: "a", to: "b", tables: NAMES },
        { from: "a", to: "c", tables: NAMES },
      ]),
    );
    await source.run("UPDATE customers SET credit = credit + 1 WHERE id > 10");
    await both.waitFor({ timeoutMs: PATIENCE_MS });
    for (const to of ["b", "c"]) {
      for (const table of TABLES) await bed.expectSame(table, { from: "a", to });
    }
    const copied = async () => {
      const { syncs } = await both.status();
      const lines = syncs.flatMap(({ name, tables }) =>
        tables.map(({ table, rowsCopied }) => `${name} ${table.split(".").at(-1)} ${rowsCopied}`),
      );
      return lines.sort();
    };
    // What b had is not copied again.
    const wanted = ["a->b customers 0", "a->b orders 30", "a->c customers 30", "a->c orders 30"];
    await expect.poll(copied, { timeout: PATIENCE_MS }).toEqual(wanted);
  });
}
