// Random values by the change log, by the copy and at each target agree, whatever the writer's
// session is set to (G6). TIDEMARK_TEST_VALUE_RUNS asks for more runs, TIDEMARK_TEST_SEED for the
// same ones again.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { available, type DatabaseKind } from "../servers/index.ts";
import { cross, readSource } from "./crossing.ts";
import {
  MARIADB_RANDOM,
  POSTGRES_RANDOM,
  type RandomTypes,
  SQLITE_ANYTHING,
  SQLITE_RANDOM,
} from "./random-values.ts";
import type { TypeEntry } from "./types.ts";
import { judge } from "./verdict.ts";

const RUNS = Number(process.env.TIDEMARK_TEST_VALUE_RUNS ?? 2);
const SEED = Number(process.env.TIDEMARK_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
const VALUES = 30;
const TARGETS: readonly DatabaseKind[] = ["postgres", "mariadb", "sqlite"];

interface RandomSource {
  readonly title: string;
  readonly kind: DatabaseKind;
  readonly types: RandomTypes;
  /** Before the tables. */
  readonly before: readonly string[];
  /** Settings of the writer's session, each with values that others may have chosen. */
  readonly session: readonly (readonly string[])[];
  readonly targets: readonly DatabaseKind[];
}

const POSTGRES_SESSION = [
  ["TimeZone TO 'America/St_Johns'", "TimeZone TO 'Pacific/Chatham'", "TimeZone TO 'UTC'"],
  ["DateStyle TO 'German'", "DateStyle TO 'SQL, DMY'", "DateStyle TO 'Postgres, MDY'"],
  ["IntervalStyle TO 'sql_standard'", "IntervalStyle TO 'postgres_verbose'"],
  ["extra_float_digits TO -15", "extra_float_digits TO 0", "extra_float_digits TO 3"],
  ["bytea_output TO 'escape'", "bytea_output TO 'hex'"],
  ["lc_monetary TO 'C.UTF-8'", "lc_monetary TO 'POSIX'"],
  ["quote_all_identifiers TO on", "quote_all_identifiers TO off"],
  ["standard_conforming_strings TO off", "standard_conforming_strings TO on"],
  ["search_path TO pg_temp, public", "search_path TO public"],
].map((values) => values.map((value) => `SET ${value}`));

const MYSQL_SESSION = [
  ["time_zone = '+13:00'", "time_zone = '-12:00'", "time_zone = '+00:00'"],
  [
    "sql_mode = ''",
    "sql_mode = 'ANSI,PAD_CHAR_TO_FULL_LENGTH'",
    "sql_mode = 'NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES'",
    "sql_mode = 'HIGH_NOT_PRECEDENCE,PIPES_AS_CONCAT,NO_UNSIGNED_SUBTRACTION'",
  ],
  ["character_set_client = latin1", "character_set_client = utf8mb4", "NAMES utf8mb3"],
  ["collation_connection = latin1_german2_ci", "collation_connection = utf8mb4_bin"],
  ["character_set_results = NULL", "character_set_results = latin1"],
  ["lc_time_names = 'de_DE'", "lc_time_names = 'ar_AE'"],
].map((values) => values.map((value) => `SET ${value}`));

const ENCODINGS = ["UTF-8", "UTF-16le", "UTF-16be"];
const POSTGRES_OWN = [
  "CREATE TYPE pair AS (a int, b text, at timestamptz)",
  "CREATE TYPE mood AS ENUM ('sad', 'it''s \"ok\"', '')",
  "CREATE DOMAIN positive AS numeric(10,2) CHECK (VALUE > 0)",
  "CREATE TYPE floats AS RANGE (subtype = float8)",
  "CREATE EXTENSION IF NOT EXISTS hstore",
  "CREATE EXTENSION IF NOT EXISTS citext",
];

const SOURCES: readonly RandomSource[] = [
  {
    title: "postgres",
    kind: "postgres",
    types: POSTGRES_RANDOM,
    before: POSTGRES_OWN,
    session: POSTGRES_SESSION,
    targets: TARGETS,
  },
  {
    title: "mariadb",
    kind: "mariadb",
    types: MARIADB_RANDOM,
    before: [],
    session: MYSQL_SESSION,
    targets: TARGETS,
  },
  ...ENCODINGS.map(
    (encoding): RandomSource => ({
      title: `sqlite in ${encoding}`,
      kind: "sqlite",
      types: SQLITE_RANDOM,
      before: [`PRAGMA encoding = '${encoding}'`, "CREATE TABLE first (x)"],
      session: [],
      targets: TARGETS,
    }),
  ),
  ...ENCODINGS.map(
    (encoding): RandomSource => ({
      title: `sqlite in ${encoding}, anything anywhere`,
      kind: "sqlite",
      types: SQLITE_ANYTHING,
      before: [`PRAGMA encoding = '${encoding}'`, "CREATE TABLE first (x)"],
      session: [],
      targets: ["sqlite"],
    }),
  ),
];

describe.each(SOURCES)("random values of $title", (source) => {
  const needed = [source.kind, ...source.targets];
  test.skipIf(!needed.every(available))("are the same on every path", async () => {
    console.log(`${source.title}: TIDEMARK_TEST_SEED=${SEED}`);
    let problems: readonly string[] = [];
    const property = fc.asyncProperty(
      entriesOf(source),
      sessionOf(source),
      async (types, session) => {
        problems = await problemsOf(source, types, session);
        return problems.length === 0;
      },
    );
    // Not shrunk: each try writes whole databases, and a problem names its value.
    const outcome = await fc.check(property, { numRuns: RUNS, seed: SEED, endOnFailure: true });
    if (outcome.failed && problems.length === 0) throw outcome.errorInstance;
    expect(problems, `seed ${SEED}`).toEqual([]);
  });
});

function entriesOf({ types, before }: RandomSource): fc.Arbitrary<readonly TypeEntry[]> {
  const entries = Object.entries(types).map(([declared, values], i) =>
    fc
      .array(values, { minLength: VALUES, maxLength: VALUES, size: "max" })
      .map((all): TypeEntry => {
        const named = all.map((sql) => [sql, "random"] as const);
        return { group: "", declared, values: named, ...(i === 0 ? { before } : {}) };
      }),
  );
  return fc.tuple(...entries);
}

function sessionOf({ session }: RandomSource): fc.Arbitrary<readonly string[]> {
  return fc.tuple(...session.map((values) => fc.constantFrom(...values)));
}

async function problemsOf(
  { kind, targets }: RandomSource,
  types: readonly TypeEntry[],
  session: readonly string[],
): Promise<readonly string[]> {
  const source = await readSource(kind, types, session);
  try {
    const problems = [...source.disagreements];
    for (const target of targets) {
      for (const arrival of await cross(source, target, { oneWay: true })) {
        const verdict = judge(arrival);
        problems.push(...verdict.problems);
        if (verdict.fidelity === "exact" && verdict.stopsAt.length > 0) {
          problems.push(`${arrival.type.entry.declared} to ${verdict.targetType} was refused`);
        }
      }
    }
    return problems.slice(0, 10);
  } finally {
    await source.endpoint[Symbol.asyncDispose]();
  }
}
