// What the role or the database of Tidemark's own sessions in PostgreSQL is set to changes no value,
// copied, logged or written (G6).
import { describe, test } from "vitest";
import { silentLogger } from "../../src/core/log.ts";
import { makePlan } from "../../src/pipeline/plan.ts";
import { available, type TestPair, title } from "../support/pairs.ts";
import type { SqlClient } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createStatements, fill } from "./crossing.ts";
import { POSTGRES_TYPES } from "./postgres-types.ts";
import { Sides } from "./sides.ts";
import { SQLITE_TYPES } from "./sqlite-types.ts";

const PAIRS: readonly TestPair[] = [
  { source: "postgres", target: "postgres", queue: "embedded" },
  { source: "postgres", target: "sqlite", queue: "embedded" },
  { source: "sqlite", target: "postgres", queue: "embedded" },
];

/** How values are printed and read, and how a statement finds its rows: all as one, each another than ours. */
const SETTINGS: Readonly<Record<string, string>> = {
  DateStyle: "'German, DMY'",
  IntervalStyle: "'postgres_verbose'",
  TimeZone: "'Pacific/Chatham'",
  extra_float_digits: "-15",
  bytea_output: "'escape'",
  lc_monetary: "'C.UTF-8'",
  client_encoding: "'LATIN1'",
  search_path: "pg_temp, public, pg_catalog",
  standard_conforming_strings: "off",
  backslash_quote: "off",
  quote_all_identifiers: "on",
  array_nulls: "off",
  transform_null_equals: "on",
  xmloption: "'document'",
  xmlbinary: "'hex'",
  row_security: "off",
  default_transaction_isolation: "'serializable'",
  default_transaction_deferrable: "on",
  default_toast_compression: "'lz4'",
  synchronous_commit: "off",
  plan_cache_mode: "'force_generic_plan'",
  enable_indexscan: "off",
  enable_indexonlyscan: "off",
  enable_nestloop: "off",
  enable_hashjoin: "off",
  enable_sort: "off",
  work_mem: "64",
  statement_timeout: "1000",
  lock_timeout: "1",
  idle_in_transaction_session_timeout: "1",
};

describe.each(PAIRS.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  test.skipIf(!available(pair))("every value arrives", async () => {
    const types = pair.source === "postgres" ? POSTGRES_TYPES : SQLITE_TYPES;
    const tables = createStatements(pair.source, types);
    const names = tables.map((_, i) => `t${i}`);
    const own = [...new Set(types.flatMap(({ before = [] }) => before))];
    const targetOwn = pair.source === pair.target ? own : [];
    await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    // They have logged in before the settings are made, and so do without.
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    await runAll(source, [...own, ...tables]);
    await runAll(target, targetOwn);
    await fill(source, types);

    const definition = bed.define([{ from: "source", to: "target", tables: ["*"] }]);
    const { mappings } = await makePlan(definition, silentLogger);
    await using sides = await Sides.of(bed, {
      mappings,
      types: { source: own, target: targetOwn },
    });
    for (const sql of [source, target]) await changeSettings(sql);
    const pipeline = await bed.start(definition);
    const expectSame = async () => {
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      await sides.expectSame(names);
    };
    await expectSame();
    await runAll(
      source,
      names.map((name) => `DELETE FROM ${name}`),
    );
    await fill(source, types);
    await expectSame();
  });
});

async function changeSettings(sql: SqlClient): Promise<void> {
  if (sql.dialect !== "postgres") return;
  const [row] = await sql.rows("SELECT current_database() AS name");
  const changes = Object.entries(SETTINGS).map(
    ([name, value]) => `ALTER DATABASE ${row?.name} SET ${name} TO ${value}`,
  );
  await runAll(sql, changes);
}

async function runAll(sql: SqlClient, statements: readonly string[]): Promise<void> {
  for (const statement of statements) await sql.run(statement);
}
