// A column that cannot be carried is refused by name, and the rest of its table goes without it, as the refusal says (G8).
import { expect, it } from "vitest";
import { makePlan } from "../../src/pipeline/plan.ts";
import { available } from "../servers/index.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";

// Which PostgreSQL 13 and 14 print as bytes of no encoding.
const KIND = "postgres-oldest";

it.skipIf(!available(KIND))(
  "a table with a column of a type that cannot be carried is synced without it",
  async () => {
    await using bed = await TestBed.make({ source: KIND, target: "sqlite" });
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    await source.run(`CREATE TABLE t (id int PRIMARY KEY, c "char", n int, d "char")`);
    await source.run("INSERT INTO t VALUES (1, 'a', 10, 'b')");
    const define = (except: string[]) =>
      bed.define([{ from: "source", to: "target", tables: [{ table: "public.*", except }] }]);
    await expect(makePlan(define(["c"]), bed.logger)).rejects.toMatchObject({
      code: "TM-TYPE-UNSUPPORTED",
      message: `Column d of public.t has the type "char", which Tidemark cannot carry.`,
      fix: expect.stringContaining('table: "public.t", except: [c, d] }'),
      details: { table: "public.t", column: "d", type: '"char"' },
    });

    const { mappings } = await makePlan(define(["c", "d"]), bed.logger);
    expect(mappings.map(({ column }) => column)).toEqual(["id", "n"]);
    const pipeline = await bed.start(define(["c", "d"]));
    await source.run("INSERT INTO t VALUES (2, E'\\\\351', 20, NULL)");
    await source.run("UPDATE t SET c = 'z', n = n + 1 WHERE id = 1");
    await source.run("DELETE FROM t WHERE id = 2 AND c IS NOT NULL");
    await source.run("INSERT INTO t VALUES (3, 'c', 30, 'c')");
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    expect(await target.rows("SELECT * FROM t ORDER BY id")).toEqual([
      { id: "1", n: "11" },
      { id: "3", n: "30" },
    ]);
  },
);
