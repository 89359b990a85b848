// A row whose values all fit their columns, and which fits no page of the server, is told as what it is (G8).
import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { stopOf } from "../support/drift.ts";
import { available } from "../support/pairs.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";

const PAIR = { source: "sqlite", target: "postgres" } as const;
const COLUMNS = Array.from({ length: 700 }, (_, i) => `c${i}`);

describe.skipIf(!available({ ...PAIR, queue: "embedded" }))(
  "a row that is too large for PostgreSQL",
  () => {
    test.each([
      [
        "an index",
        "CREATE TABLE t (id bigint PRIMARY KEY, c0 text); CREATE INDEX over ON t (c0)",
        [randomBytes(9_000).toString("hex")],
        /A row of public\.t is too large: index row /,
      ],
      [
        "a page",
        `CREATE TABLE t (id bigint PRIMARY KEY, ${COLUMNS.map((name) => `${name} text`).join(", ")})`,
        COLUMNS.map(() => "sixteen letters."),
        /A row of public\.t is too large: row is too big/,
      ],
    ])("names what it does not fit: %s", async (_, ddl, values, says) => {
      await using bed = await TestBed.make(PAIR, {});
      const source = await bed.sql("source");
      const target = await bed.sql("target");
      const names = values.map((_, i) => `c${i}`);
      await source.run(
        `CREATE TABLE t (id INTEGER PRIMARY KEY, ${names.map((name) => `${name} TEXT`).join(", ")})`,
      );
      for (const statement of ddl.split("; ")) await target.run(statement);
      const pipeline = await bed.start(
        bed.define([{ from: "source", to: "target", tables: [{ table: "t", as: "public.t" }] }]),
      );
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      const stopped = stopOf(pipeline);
      await source.run(`INSERT INTO t VALUES (1, ${values.map((text) => `'${text}'`).join(", ")})`);
      const { code, message, fix } = await stopped;
      expect(code).toBe("TM-VALUE-REFUSED");
      expect(message).toMatch(says);
      expect(fix).toMatch(/index.*except/);
    });
  },
);
