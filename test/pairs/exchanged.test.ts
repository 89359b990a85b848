// Two tables that exchange their names and have them back while nobody looks, as where a switch-over is undone: what is
// written meanwhile is their rows', whatever they are called (G1).
import { test } from "vitest";
import { available, FOUR_PAIRS, title } from "../support/pairs.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow, type TestTable } from "../support/test-tables.ts";

const columns = { id: "integer", u: "integer", n: "integer" } as const;
const table = (name: string): TestTable => ({ name, columns, key: ["id"], unique: [["u"]] });
const [ONE, OTHER] = [table("one"), table("other")];
const EXCHANGE = ["one RENAME TO aside", "other RENAME TO one", "aside RENAME TO other"];

for (const pair of FOUR_PAIRS) {
  test.skipIf(!available(pair))(`${title(pair)}: goes on`, async () => {
    await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    const source = await bed.sql("source");
    await createTables(source, pair.source, [ONE, OTHER]);
    // Alike: what is looked for in one stands in the other.
    for (const each of [ONE, OTHER]) {
      for (const id of [1, 2, 3, 4, 5]) await insertRow(source, each, { id, u: id, n: 0 });
    }
    const definition = bed.define([{ from: "source", to: "target", tables: ["one", "other"] }]);
    const first = await bed.start(definition);
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(first);
    const exchange = async () => {
      for (const renamed of EXCHANGE) await source.run(`ALTER TABLE ${renamed}`);
    };
    await source.run("UPDATE one SET n = 1 WHERE id = 1");
    await exchange();
    await source.run("UPDATE other SET u = 12 WHERE id = 2");
    await source.run("UPDATE one SET n = 3, u = 13 WHERE id = 3");
    await source.run("UPDATE one SET id = 14 WHERE id = 4");
    await insertRow(source, ONE, { id: 6, u: 6, n: 6 });
    await insertRow(source, OTHER, { id: 7, u: 7, n: 7 });
    await source.run("DELETE FROM one WHERE id = 5");
    await exchange();
    await source.run("UPDATE one SET n = 8 WHERE id = 1");
    const second = await bed.start(definition);
    await second.waitFor({ timeoutMs: PATIENCE_MS });
    for (const each of [ONE, OTHER]) await bed.expectSame(each);
  });
}
