// Tables that were taken out of the config while their capture stands: what becomes of them stops nobody, and who
// carries one again, or has carried it all along by an older config, ends with what the source has (G1, G8).
import { describe, expect, test } from "vitest";
import { available, FOUR_PAIRS, title } from "../support/pairs.ts";
import type { Dialect } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { contents, createTables, insertRow, type TestTable } from "../support/test-tables.ts";

const ITEMS: TestTable = {
  name: "items",
  columns: { id: "integer", a: "varchar", n: "integer" },
  key: ["id"],
};
const OTHERS: TestTable = { name: "others", columns: { id: "integer", v: "varchar" }, key: ["id"] };

interface Case {
  readonly what: string;
  readonly alter: (dialect: Dialect) => string;
  readonly write: readonly string[];
  readonly ends: TestTable;
  readonly except?: Dialect;
}

const RETYPE: Readonly<Record<Dialect, string>> = {
  postgres: "ALTER TABLE items ALTER COLUMN n TYPE varchar(200)",
  mariadb: "ALTER TABLE items MODIFY n varchar(200)",
  sqlite: "ALTER TABLE items DROP COLUMN n; ALTER TABLE items ADD COLUMN n varchar(200)",
};
const GONE = "DELETE FROM items WHERE id = 2";
const CASES: readonly Case[] = [
  {
    what: "a column added",
    alter: () => "ALTER TABLE items ADD COLUMN b bigint",
    write: ["INSERT INTO items (id, a, n, b) VALUES (5, 'five', 5, 5)", GONE],
    ends: { ...ITEMS, columns: { ...ITEMS.columns, b: "bigint" } },
  },
  {
    what: "a column renamed",
    alter: () => "ALTER TABLE items RENAME COLUMN a TO z",
    write: ["INSERT INTO items (id, z, n) VALUES (5, 'five', 5)", GONE],
    ends: { ...ITEMS, columns: { id: "integer", z: "varchar", n: "integer" } },
  },
  {
    what: "a column dropped",
    alter: () => "ALTER TABLE items DROP COLUMN a",
    write: ["INSERT INTO items (id, n) VALUES (5, 5)", GONE],
    ends: { ...ITEMS, columns: { id: "integer", n: "integer" } },
    except: "sqlite",
  },
  {
    what: "a type",
    alter: (dialect) => RETYPE[dialect],
    write: ["INSERT INTO items (id, a, n) VALUES (5, 'five', 'V')", GONE],
    ends: { ...ITEMS, columns: { id: "integer", a: "varchar", n: "varchar" } },
    except: "sqlite",
  },
];

for (const pair of FOUR_PAIRS) {
  describe.skipIf(!available(pair))(title(pair), () => {
    for (const each of CASES) {
      test.skipIf(each.except === pair.source)(each.what, async () => {
        await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
        const source = await bed.sql("source");
        const target = await bed.sql("target");
        await createTables(source, pair.source, [ITEMS, OTHERS]);
        for (let id = 1; id <= 3; id++) {
          await insertRow(source, ITEMS, { id, a: `row ${id}`, n: id });
        }
        const define = (...tables: string[]) =>
          bed.define([{ from: "source", to: "target", tables }]);
        const [whole, less] = [define("items", "others"), define("others")];
        const first = await bed.start(whole);
        await first.waitFor({ timeoutMs: PATIENCE_MS });
        await bed.stop(first);

        // The target goes on by the config that was, the source by one without the table.
        const applier = await bed.start(whole, { role: "applier" });
        const relay = await bed.start(less, { role: "relay" });
        await source.run(each.alter(source.dialect));
        for (const statement of each.write) await source.run(statement);
        await insertRow(source, OTHERS, { id: 1, v: "beside" });
        const arrived = async () => (await contents(target, OTHERS)).length;
        await expect.poll(arrived, { timeout: PATIENCE_MS }).toBe(1);
        await bed.stop(applier);
        await bed.stop(relay);

        // Nobody carries it any more; nor do they stop when they begin.
        await source.run("DELETE FROM items WHERE id = 3");
        const second = await bed.start(less, { role: "relay" });
        await source.run("UPDATE items SET id = 10 WHERE id = 1");
        await bed.stop(second);

        for (const statement of each.alter(target.dialect).split("; ")) await target.run(statement);
        const last = await bed.start(whole);
        await last.waitFor({ timeoutMs: PATIENCE_MS });
        await bed.expectSame(each.ends);
        await bed.expectSame(OTHERS);
      });
    }
  });
}
