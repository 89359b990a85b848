// What a rule may do to a table on its way: fewer rows, fewer columns, other names, other values.
import { rmSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { Delivery, RowObject } from "../../src/core/definition.ts";
import { available, type TestPair, title } from "../support/pairs.ts";
import { CUSTOMERS, ORDERS } from "../support/shop-tables.ts";
import { transaction } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow } from "../support/test-tables.ts";

const PAIRS: readonly TestPair[] = [
  { source: "sqlite", target: "sqlite", queue: "embedded" },
  { source: "postgres", target: "mariadb", queue: "embedded" },
  { source: "mariadb", target: "postgres", queue: "nats" },
];

for (const pair of PAIRS) {
  describe.skipIf(!available(pair))(title(pair), () => registerShapeTests(pair));
}

function registerShapeTests(pair: TestPair): void {
  async function bedWithShop(): Promise<TestBed> {
    const bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    const source = await bed.sql("source");
    await createTables(source, pair.source, [CUSTOMERS, ORDERS]);
    await transaction(source, async () => {
      for (let id = 1; id <= 10; id++) {
        await insertRow(source, CUSTOMERS, { id, name: `customer ${id}`, credit: id });
        const status = id % 2 === 0 ? "draft" : "placed";
        await insertRow(source, ORDERS, { id, customer_id: id, total: `${id}.5`, status });
      }
    });
    return bed;
  }

  test("where: rows enter and leave the filter", async () => {
    await using bed = await bedWithShop();
    const source = await bed.sql("source");
    const target = await bed.sql("target");
    const where = "status <> 'draft'";
    const pipeline = await bed.start(
      bed.define([{ from: "source", to: "target", tables: [{ table: "orders", where }] }]),
    );
    const expectFiltered = async () => {
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      const wanted = await source.rows(`SELECT id, status FROM orders WHERE ${where} ORDER BY id`);
      expect(await target.rows("SELECT id, status FROM orders ORDER BY id")).toEqual(wanted);
    };
    await expectFiltered();
    await source.run("UPDATE orders SET status = 'placed' WHERE id IN (2, 4)");
    await expectFiltered();
    await source.run("UPDATE orders SET status = 'draft' WHERE id IN (1, 2)");
    await expectFiltered();
    // Unknown is not true: a row whose condition gives null does not pass.
    await source.run("UPDATE orders SET id = id + 100, status = 'draft' WHERE id = 3");
    await source.run("UPDATE orders SET id = id + 100 WHERE id IN (4, 5)");
    await expectFiltered();
    await source.run("DELETE FROM orders WHERE id IN (6, 7)");
    await expectFiltered();
    await transaction(source, async () => {
      await source.run("UPDATE orders SET status = 'draft' WHERE id = 9");
      await source.run("UPDATE orders SET status = 'placed' WHERE id = 9");
      await source.run("UPDATE orders SET status = 'placed' WHERE id = 8");
      await source.run("UPDATE orders SET status = 'draft' WHERE id = 8");
    });
    await expectFiltered();
  });

  test("where: a condition that gives null does not pass", async () => {
    await using bed = await bedWithShop();
    const source = await bed.sql("source");
    const where = "credit > 5";
    const pipeline = await bed.start(
      bed.define([{ from: "source", to: "target", tables: [{ table: "customers", where }] }]),
    );
    await source.run("UPDATE customers SET credit = NULL WHERE id = 10");
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    const target = await bed.sql("target");
    expect(await target.rows("SELECT id FROM customers ORDER BY id")).toEqual(
      await source.rows(`SELECT id FROM customers WHERE ${where} ORDER BY id`),
    );
  });

  test("columns, except, rename and as", async () => {
    await using bed = await bedWithShop();
    const source = await bed.sql("source");
    const target = await bed.sql("target");
    const pipeline = await bed.start(
      bed.define([
        {
          from: "source",
          to: "target",
          tables: [
            {
              table: "customers",
              as: "clients",
              except: ["credit"],
              rename: { name: "full_name" },
            },
            { table: "orders", columns: ["id", "total"], rename: { id: "number" } },
          ],
        },
      ]),
    );
    const expectShaped = async () => {
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      expect(await target.rows("SELECT * FROM clients ORDER BY id")).toEqual(
        await source.rows("SELECT id, name AS full_name FROM customers ORDER BY id"),
      );
      const numbers = (rows: RowObject[]) =>
        rows.map(({ number, total }) => [number, Number(total)]);
      expect(numbers(await target.rows("SELECT * FROM orders ORDER BY number"))).toEqual(
        numbers(await source.rows("SELECT id AS number, total FROM orders ORDER BY id")),
      );
    };
    await expectShaped();
    await source.run("UPDATE customers SET name = 'renamed' WHERE id = 1");
    // Nothing that is sent changes; then a key does.
    await source.run("UPDATE customers SET credit = 0");
    await source.run("UPDATE orders SET id = 300, total = 3 WHERE id = 10");
    await source.run("DELETE FROM orders WHERE id = 9");
    await expectShaped();
  });

  test("transform and filter", async () => {
    await using bed = await bedWithShop();
    const source = await bed.sql("source");
    const target = await bed.sql("target");
    const pipeline = await bed.start(
      bed.define([
        {
          from: "source",
          to: "target",
          tables: [
            {
              table: "customers",
              filter: (row) => row.id !== "3",
              transform: (row) =>
                row.credit === null ? null : { ...row, name: (row.name ?? "").toUpperCase() },
            },
          ],
        },
      ]),
    );
    const expectTransformed = async () => {
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      const wanted = await source.rows(
        "SELECT id, UPPER(name) AS name, credit FROM customers WHERE id <> 3 AND credit IS NOT NULL ORDER BY id",
      );
      expect(await target.rows("SELECT id, name, credit FROM customers ORDER BY id")).toEqual(
        wanted,
      );
    };
    await expectTransformed();
    await source.run("UPDATE customers SET name = 'mixed Case' WHERE id IN (1, 3)");
    await source.run("UPDATE customers SET credit = NULL WHERE id = 2");
    await expectTransformed();
    await source.run("UPDATE customers SET credit = 1 WHERE id = 2");
    await source.run("DELETE FROM orders WHERE customer_id = 3");
    await source.run("UPDATE customers SET id = 33 WHERE id = 3");
    await expectTransformed();
  });
}

describe.each(["sqlite", "postgres", "mariadb"] as const)("from %s to a function", (kind) => {
  const pair: TestPair = { source: kind, target: "sqlite", queue: "embedded" };
  test.skipIf(!available(pair))(
    "hands over copy and changes in order, and goes on where it was",
    async () => {
      await using bed = await TestBed.make({ source: kind });
      const source = await bed.sql("source");
      await createTables(source, kind, [CUSTOMERS]);
      await insertRow(source, CUSTOMERS, { id: 1, name: "Ada", credit: 1 });
      const deliveries: Delivery[] = [];
      const rows = new Map<string, RowObject>();
      let failures = 1;
      const deliver = (delivery: Delivery) => {
        if (failures-- > 0) throw new Error("the cache is away");
        deliveries.push(delivery);
        for (const { op, key, row } of delivery.changes) {
          if (op === "clear") rows.clear();
          else if (row === null) rows.delete(key?.id ?? "");
          else rows.set(key?.id ?? "", row);
        }
      };
      const definition = bed.define([{ from: "source", to: "cache", tables: ["customers"] }], {
        cache: deliver,
      });
      const expectCached = async () => {
        const wanted = await source.rows("SELECT id, name, credit FROM customers ORDER BY id");
        const cached = [...rows.values()].sort((a, b) => Number(a.id) - Number(b.id));
        expect(cached).toEqual(wanted);
      };
      const first = await bed.start(definition);
      await first.waitFor({ timeoutMs: PATIENCE_MS });
      await expectCached();
      await insertRow(source, CUSTOMERS, { id: 2, name: "Grace", credit: 2 });
      await source.run("UPDATE customers SET id = 3, name = 'Hedy' WHERE id = 1");
      await first.waitFor({ timeoutMs: PATIENCE_MS });
      await expectCached();
      await bed.stop(first);

      await source.run("DELETE FROM customers WHERE id = 2");
      const seen = deliveries.length;
      const second = await bed.start(definition);
      await second.waitFor({ timeoutMs: PATIENCE_MS });
      await expectCached();
      const again = deliveries.slice(seen).flatMap(({ changes }) => changes);
      expect(again).toEqual([{ table: "customers", op: "remove", key: { id: "2" }, row: null }]);
      const batches = deliveries.map(({ position }) => position.batch);
      expect(batches).toEqual([...batches].sort((a, b) => a - b));

      // With the queue goes all that tells what was handed over.
      await insertRow(source, CUSTOMERS, { id: 4, name: "Joan", credit: 4 });
      await second.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.stop(second);
      await source.run("DELETE FROM customers WHERE id = 3");
      rmSync(bed.queueUrl.slice("sqlite:".length));
      const third = await bed.start(definition);
      await third.waitFor({ timeoutMs: PATIENCE_MS });
      await expectCached();
    },
  );
});
