// Functions and operators that somebody has put into a schema of the target's search_path, of better fitting types than the
// server's: what is applied calls none of them, while the target's own triggers find what they are used to (G6).
import { describe, expect, test } from "vitest";
import { available } from "../servers/index.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";

const FUNCTIONS = [
  "unnest(varchar[])",
  "unnest(int[])",
  "unnest(text[])",
  "concat_ws(text, text, text)",
  "concat_ws(text, text, text, text)",
  "sqrt(bigint)",
  "to_jsonb(pg_inherits)",
  "setval(text, bigint)",
  "nextval(text)",
  "generate_series(int, bigint)",
];
const OPERATORS = [
  ["=", "varchar", "varchar"],
  ["=", "int", "int"],
  ["=", "oid", "regnamespace"],
  ["=", "oid", "regclass"],
  ["||", "oid", "text"],
  ["||", "text", "xid"],
  ["->>", "jsonb", "jsonb"],
  ["-", "numeric", "bigint"],
  ["/", "numeric", "bigint"],
] as const;

describe.each(["postgres", "postgres-oldest"] as const)("at %s", (kind) => {
  test.skipIf(!available(kind))("nothing planted is called", async () => {
    await using bed = await TestBed.make({ source: "postgres", target: kind });
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    const tables = (partitions: string) => [
      "CREATE TABLE named (id varchar(10) PRIMARY KEY, n int)",
      "CREATE TABLE pairs (a varchar(10), b int, n int, PRIMARY KEY (a, b))",
      "CREATE TABLE keyless (a varchar(10))",
      "CREATE TABLE numbered (id bigserial PRIMARY KEY, n int)",
      `CREATE TABLE parted (id int PRIMARY KEY, n int) ${partitions}`,
    ];
    for (const sql of tables("")) await source.run(sql);
    for (const sql of tables("PARTITION BY RANGE (id)")) await target.run(sql);
    await target.run("CREATE TABLE part PARTITION OF parted DEFAULT");
    await target.run("CREATE TABLE seen (n int)");
    await target.run(
      `CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO seen VALUES (1); RETURN NULL; END'`,
    );
    await target.run(
      "CREATE TRIGGER see AFTER DELETE ON named FOR EACH STATEMENT EXECUTE FUNCTION see()",
    );
    const plant = (signature: string, returns: string) =>
      target.run(
        `CREATE FUNCTION public.${signature} RETURNS ${returns} LANGUAGE plpgsql AS 'BEGIN RAISE ''planted''; END'`,
      );
    for (const signature of FUNCTIONS) await plant(signature, "text");
    for (const [i, [name, left, right]] of OPERATORS.entries()) {
      await plant(`planted_${i}(${left}, ${right})`, name === "=" ? "boolean" : "text");
      await target.run(
        `CREATE OPERATOR public.${name} (LEFTARG = ${left}, RIGHTARG = ${right}, FUNCTION = public.planted_${i})`,
      );
    }
    const names = ["named", "pairs", "keyless", "numbered", "parted"];
    const pipeline = await bed.start(bed.define([{ from: "source", to: "target", tables: names }]));
    const play = async (...statements: string[]) => {
      for (const sql of statements) await source.run(sql);
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    };
    await play(
      "INSERT INTO named SELECT n, n FROM generate_series(1, 9) n",
      "INSERT INTO pairs SELECT n, n, n FROM generate_series(1, 9) n",
      "INSERT INTO keyless SELECT n FROM generate_series(1, 9) n",
      "INSERT INTO numbered (n) SELECT n FROM generate_series(1, 9) n",
      "INSERT INTO parted SELECT n, n FROM generate_series(1, 9) n",
    );
    await play(
      "UPDATE named SET n = n + 1",
      "UPDATE pairs SET n = 0",
      "UPDATE keyless SET a = 'x' WHERE a = '3'",
    );
    await play(
      "UPDATE named SET id = 'new' WHERE id = '1'",
      "DELETE FROM pairs WHERE b > 3",
      "DELETE FROM keyless WHERE a > '7'",
      "DELETE FROM numbered WHERE id < 4",
      "UPDATE parted SET id = id + 100",
    );
    for (const name of names) {
      const rows = `SELECT * FROM ${name} ORDER BY 1`;
      expect(await target.rows(rows)).toEqual(await source.rows(rows));
    }
    expect((await target.rows("SELECT n FROM seen")).length).toBeGreaterThan(0);
  });
});
