// Every pair of databases, through a whole pipeline: G1, G3, G4 and G6 as a user sees them.
import { describe, test } from "vitest";
import { definePair } from "../../src/config/define-pair.ts";
import { ALL_PAIRS, available, type TestPair, title } from "../support/pairs.ts";
import { CUSTOMERS, LINES, ORDERS, SHOP, VALUE_ROWS, VALUES } from "../support/shop-tables.ts";
import { type SqlClient, transaction } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow, type TestTable } from "../support/test-tables.ts";

for (const pair of ALL_PAIRS) {
  describe.skipIf(!available(pair))(title(pair), () => registerPairTests(pair));
}

function registerPairTests(pair: TestPair): void {
  const make = () => TestBed.make({ source: pair.source, target: pair.target }, pair);

  test("creates the tables, copies what is there, then follows every kind of change", async () => {
    await using bed = await make();
    const source = await bed.sql("source");
    await createTables(source, pair.source, SHOP);
    await fill(source);
    const definition = definePair(
      {
        from: bed.database("source").url,
        to: bed.database("target").url,
        tables: SHOP.map(({ name }) => name),
        queue: bed.queueUrl,
      },
      bed.folder,
      {},
    );
    const pipeline = await bed.start(definition);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    for (const table of SHOP) await bed.expectSame(table);

    for (const change of changes(source)) {
      await change();
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      for (const table of SHOP) await bed.expectSame(table);
    }
    // Once more, with several batches at hand at once.
    await transaction(source, async () => {
      for (const table of [LINES, ORDERS, CUSTOMERS]) await source.run(`DELETE FROM ${table.name}`);
    });
    await fill(source);
    for (const change of changes(source)) await change();
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    for (const table of SHOP) await bed.expectSame(table);
  });

  test("carries values to the last digit, both copied and followed (G6)", async () => {
    await using bed = await make();
    const source = await bed.sql("source");
    await createTables(source, pair.source, [VALUES]);
    for (const row of VALUE_ROWS) await insertRow(source, VALUES, row);
    const pipeline = await bed.start(
      bed.define([{ from: "source", to: "target", tables: [VALUES.name] }]),
    );
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(VALUES);

    await source.run(`DELETE FROM ${VALUES.name}`);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(VALUES);
    for (const row of VALUE_ROWS) await insertRow(source, VALUES, row);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(VALUES);
    // From something to null and back.
    await source.run(`UPDATE ${VALUES.name} SET small = NULL, note = NULL, data = NULL, at = NULL`);
    await source.run(`UPDATE ${VALUES.name} SET whole = 7, label = 'seven', day = '2024-07-07'`);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(VALUES);
  });

  test("keeps the target's own foreign and unique keys, on all the time (G3)", async () => {
    await using bed = await make();
    const source = await bed.sql("source");
    const tables = [
      { ...CUSTOMERS, unique: [["name"]] },
      { ...ORDERS, columns: { ...ORDERS.columns, total: "double" as const } },
      LINES,
    ];
    await createTables(source, pair.source, tables);
    await fill(source);
    const roomy = source.dialect === "sqlite" ? tables.map(asRoomyAsSqlite) : tables;
    await createTables(await bed.sql("target"), pair.target, roomy);
    // Children are named before parents: the order of the config must not matter.
    const names = tables.map(({ name }) => name).reverse();
    const pipeline = await bed.start(bed.define([{ from: "source", to: "target", tables: names }]));
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    for (const change of [...changes(source), ...uniqueGames(source)]) {
      await change();
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    }
    for (const table of tables) await bed.expectSame(table);
    for (const change of uniqueGames(source)) await change();
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    for (const table of tables) await bed.expectSame(table);
  });

  test("stopped and started again, goes on where it was (G1, G2)", async () => {
    await using bed = await make();
    const source = await bed.sql("source");
    await createTables(source, pair.source, SHOP);
    await fill(source);
    const definition = bed.define([
      { from: "source", to: "target", tables: SHOP.map(({ name }) => name) },
    ]);
    const first = await bed.start(definition);
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(first);
    for (const change of changes(source)) await change();
    const second = await bed.start(definition);
    await second.waitFor({ timeoutMs: PATIENCE_MS });
    for (const table of SHOP) await bed.expectSame(table);
    await bed.stop(second);
    const third = await bed.start(definition);
    await source.run("UPDATE customers SET credit = credit + 1");
    await third.waitFor({ timeoutMs: PATIENCE_MS });
    for (const table of SHOP) await bed.expectSame(table);
  });
}

/** SQLite bounds neither integers nor texts by their declared type, so its target may not either. */
function asRoomyAsSqlite(table: TestTable): TestTable {
  const wide = { smallint: "bigint", integer: "bigint", varchar: "text" } as const;
  const columns = Object.entries(table.columns).map(([name, meaning]) => [
    name,
    meaning in wide ? wide[meaning as keyof typeof wide] : meaning,
  ]);
  return { ...table, columns: Object.fromEntries(columns) as TestTable["columns"] };
}

async function fill(sql: SqlClient): Promise<void> {
  await transaction(sql, async () => {
    for (let id = 1; id <= 20; id++) {
      await insertRow(sql, CUSTOMERS, { id, name: `customer ${id}`, credit: 100 });
      await insertRow(sql, ORDERS, { id, customer_id: id, total: `${id}.25`, status: "new" });
      await insertRow(sql, LINES, { order_id: id, line: 1, article: "salt", amount: id });
      await insertRow(sql, LINES, { order_id: id, line: 2, article: "pepper", amount: null });
    }
  });
}

/** One after the other; each leaves a state that is legal. */
function changes(sql: SqlClient): readonly (() => Promise<unknown>)[] {
  const run = (...statements: readonly string[]) =>
    transaction(sql, async () => {
      for (const statement of statements) await sql.run(statement);
    });
  return [
    () => sql.run("INSERT INTO customers (id, name, credit) VALUES (50, 'Ada', 1)"),
    () => sql.run("UPDATE customers SET name = 'Grace', credit = NULL WHERE id = 50"),
    // Keys change: a row, a row with a parent, rows with a key of two columns.
    () => sql.run("UPDATE customers SET id = 51 WHERE id = 50"),
    () => sql.run("DELETE FROM customers WHERE id = 51"),
    () => sql.run("UPDATE orders SET total = total + 1 WHERE id <= 10"),
    () =>
      run(
        "DELETE FROM order_lines WHERE order_id = 20",
        "UPDATE orders SET id = 120 WHERE id = 20",
      ),
    () => sql.run("UPDATE order_lines SET line = line + 10 WHERE order_id = 5"),
    // A row dies and is born again under its key, in one transaction and across two.
    () =>
      run(
        "DELETE FROM order_lines WHERE order_id = 6",
        "INSERT INTO order_lines (order_id, line, article, amount) VALUES (6, 1, 'reborn', 1)",
      ),
    // Parent and children together, in both directions.
    () =>
      run(
        "INSERT INTO customers (id, name, credit) VALUES (60, 'Hedy', 5)",
        "INSERT INTO orders (id, customer_id, total, status) VALUES (60, 60, 9.5, 'new')",
        "INSERT INTO order_lines (order_id, line, article, amount) VALUES (60, 1, 'oil', 2)",
        "UPDATE orders SET customer_id = 60 WHERE id = 7",
        "UPDATE orders SET status = 'paid' WHERE customer_id = 60",
      ),
    () =>
      run(
        "DELETE FROM order_lines WHERE order_id IN (7, 60)",
        "DELETE FROM orders WHERE id IN (7, 60)",
        "DELETE FROM customers WHERE id IN (7, 60)",
      ),
    // Comes and goes within one transaction: nothing arrives.
    () =>
      run(
        "INSERT INTO customers (id, name, credit) VALUES (70, 'ghost', 0)",
        "DELETE FROM customers WHERE id = 70",
      ),
    async () => {
      await sql.begin();
      await sql.run("INSERT INTO customers (id, name, credit) VALUES (80, 'never', 0)");
      await sql.run("UPDATE orders SET status = 'never'");
      await sql.rollback();
    },
    () =>
      run(
        "INSERT INTO customers (id, name, credit) VALUES (90, 'kept', 0)",
        "SAVEPOINT a",
        "INSERT INTO customers (id, name, credit) VALUES (91, 'never', 0)",
        "UPDATE customers SET name = 'nor this' WHERE id = 90",
        "ROLLBACK TO SAVEPOINT a",
        "UPDATE customers SET credit = 3 WHERE id = 90",
      ),
  ];
}

/** Unique values that change hands. */
function uniqueGames(sql: SqlClient): readonly (() => Promise<unknown>)[] {
  const run = (...statements: readonly string[]) =>
    transaction(sql, async () => {
      for (const statement of statements) await sql.run(statement);
    });
  return [
    // Two rows swap a unique value.
    () =>
      run(
        "UPDATE customers SET name = 'between' WHERE id = 1",
        "UPDATE customers SET name = 'customer 1' WHERE id = 2",
        "UPDATE customers SET name = 'customer 2' WHERE id = 1",
      ),
    () =>
      run(
        "UPDATE customers SET name = 'between' WHERE id = 1",
        "UPDATE customers SET name = 'customer 2' WHERE id = 2",
        "UPDATE customers SET name = 'customer 1' WHERE id = 1",
      ),
    // A new row takes over the value that an old one gives up.
    () =>
      run(
        "UPDATE customers SET name = 'old three' WHERE id = 3",
        "INSERT INTO customers (id, name, credit) VALUES (103, 'customer 3', 0)",
      ),
    () =>
      run(
        "DELETE FROM customers WHERE id = 103",
        "UPDATE customers SET name = 'customer 3' WHERE id = 3",
      ),
  ];
}
