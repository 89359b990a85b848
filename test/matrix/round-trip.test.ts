// From one kind of database through another and back, by a chain of two syncs: what the plan calls
// exact comes back as it was, to the last byte of its text, for every type and by both paths; so does
// what goes by a rule, or in the form that the rule gave it, unless the rule loses something (G6).
import { describe, expect, test } from "vitest";
import { isTidemarkError } from "../../src/core/errors.ts";
import { silentLogger } from "../../src/core/log.ts";
import type { ColumnMapping } from "../../src/core/target.ts";
import type { Value } from "../../src/core/value.ts";
import { makePlan } from "../../src/pipeline/plan.ts";
import type { DatabaseKind } from "../servers/index.ts";
import { available, NINE_PAIRS } from "../support/pairs.ts";
import type { SqlClient } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createStatements, fill, placeOf } from "./crossing.ts";
import { Mirror, type ReadTable } from "./mirror.ts";
import { MARIADB_TYPES } from "./mysql-types.ts";
import { POSTGRES_TYPES } from "./postgres-types.ts";
import { formOf } from "./rules.ts";
import { SQLITE_TYPES } from "./sqlite-types.ts";
import type { TypeEntry } from "./types.ts";

interface TypedKind {
  readonly types: readonly TypeEntry[];
  readonly session: readonly string[];
}

const KINDS: Readonly<Partial<Record<DatabaseKind, TypedKind>>> = {
  postgres: { types: POSTGRES_TYPES, session: [] },
  mariadb: {
    types: MARIADB_TYPES,
    session: ["SET sql_mode = ''", "SET time_zone = '+05:30'"],
  },
  sqlite: { types: SQLITE_TYPES, session: [] },
};

const THERE = { from: "a", to: "b", tables: ["*"] } as const;
const BACK = { from: "b", to: "c", tables: ["*"] } as const;

const pairs = NINE_PAIRS.filter(({ source, target }) => source !== target);

describe.each(pairs)("$source through $target and back", (pair) => {
  test.skipIf(!available(pair))("every type comes back to the byte", async () => {
    const { types, session } = KINDS[pair.source] as TypedKind;
    await using bed = await TestBed.make({ a: pair.source, b: pair.target, c: pair.source });
    const [a, c] = [await bed.sql("a"), await bed.sql("c")];
    for (const sql of [a, c]) for (const statement of session) await sql.run(statement);
    const before = [...new Set(types.flatMap((each) => each.before ?? []))];
    for (const sql of [a, c]) for (const statement of before) await sql.run(statement);

    const kept = await keptTypes(bed, pair.source, types);
    expect(kept.length).toBeGreaterThan(8);
    const tables = createStatements(pair.source, kept);
    for (const sql of [a, c]) for (const statement of tables) await sql.run(statement);
    await fill(a, kept);
    const first = await bed.start(bed.define([THERE]));
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(first);
    await fitColumns(bed, c);

    const chain = await bed.start(bed.define([THERE, BACK]));
    await using mirrors = new AsyncDisposableStack();
    const names = tables.map((_, i) => `t${i}`);
    const sides = [
      mirrors.use(await Mirror.of(bed.database("a"), a, before)),
      mirrors.use(await Mirror.of(bed.database("c"), c, before)),
    ] as const;
    const expectBack = async () => {
      await chain.waitFor({ timeoutMs: PATIENCE_MS });
      const [sent, back] = [await sides[0].read(names), await sides[1].read(names)];
      expect(sent.get("t0")?.rows.length).toBeGreaterThan(8);
      expect(strays(kept, sent, back)).toEqual([]);
    };
    await expectBack();
    for (const name of names) await a.run(`DELETE FROM ${name}`);
    await chain.waitFor({ timeoutMs: PATIENCE_MS });
    await fill(a, kept);
    await expectBack();
  });
});

interface KeptType extends TypeEntry {
  /** In which a text may come back. */
  readonly form: (text: string) => string;
}

/** Those of which the plan from `a` to `b` says that nothing is lost. */
async function keptTypes(
  bed: TestBed,
  kind: DatabaseKind,
  types: readonly TypeEntry[],
): Promise<readonly KeptType[]> {
  const a = await bed.sql("a");
  const statements = createStatements(kind, types);
  for (const statement of statements) await a.run(statement);
  const mappings = await planned(bed, a);
  for (const [i] of statements.entries()) await a.run(`DROP TABLE t${i}`);
  return types.flatMap((entry, n) => {
    const { table, column } = placeOf(n);
    const found = mappings.find((each) => each.table.name === table && each.column === column);
    if (found === undefined || found.fidelity === "refused") return [];
    const form = found.fidelity === "exact" ? (text: string) => text : formOf(found.note ?? "");
    return form === null ? [] : [{ ...entry, form }];
  });
}

/** What the source itself refuses is dropped. */
async function planned(bed: TestBed, a: SqlClient): Promise<readonly ColumnMapping[]> {
  for (;;) {
    try {
      return (await makePlan(bed.define([THERE]), silentLogger)).mappings;
    } catch (error) {
      if (!isTidemarkError(error, "TM-TYPE-UNSUPPORTED")) throw error;
      const { table, column } = error.details;
      await a.run(`ALTER TABLE ${table} DROP COLUMN ${column}`);
    }
  }
}

/** Where the type of `a` does not take what comes from `b`, the plan says which does. */
async function fitColumns(bed: TestBed, c: SqlClient): Promise<void> {
  for (;;) {
    const { mappings } = await makePlan(bed.define([BACK]), silentLogger);
    const refused = mappings.filter(({ fidelity }) => fidelity === "refused");
    if (refused.length === 0) return;
    for (const { table, column, note = "" } of refused) {
      const add = /ALTER TABLE .* ADD COLUMN .*$/.exec(note)?.[0];
      await c.run(add ?? `ALTER TABLE ${table.name} DROP COLUMN ${column}`);
    }
  }
}

/** `smallint 3: "32767" came back as "32766"` for each value that is neither what it was nor in its form. */
function strays(
  types: readonly KeptType[],
  sent: ReadonlyMap<string, ReadTable>,
  back: ReadonlyMap<string, ReadTable>,
): readonly string[] {
  return types.flatMap((type, n) => {
    const [before, after] = [valuesOf(sent, n), valuesOf(back, n)];
    return [...new Set([...before.keys(), ...after.keys()])].flatMap((id) => {
      const [was, is] = [before.get(id), after.get(id)];
      const formed = typeof was === "string" ? type.form(was) : was;
      const forms = [was, formed].map((each) => spelled(type.declared, JSON.stringify(each)));
      const found = spelled(type.declared, JSON.stringify(is));
      return forms.includes(found)
        ? []
        : [`${type.declared} ${id}: ${forms[0]} came back as ${found}`];
    });
  });
}

/** Of the type of this number, by id. */
function valuesOf(
  read: ReadonlyMap<string, ReadTable>,
  n: number,
): ReadonlyMap<number, Value | undefined> {
  const { table, column } = placeOf(n);
  const { columns = [], rows = [] } = read.get(table) ?? {};
  const [id, place] = [columns.indexOf("id"), columns.indexOf(column)];
  return new Map(
    rows
      .map((row) => [Number(row[id]), row[place]] as const)
      .filter(([key]) => Math.floor(key / 1_000) === n),
  );
}

/**
 * What docs/reference/types.md excepts: SQLite's own times, which are texts, lose zeros at their end. And a single
 * float that has come into a double is the same number, printed as a double.
 */
function spelled(declared: string, text: string | undefined): string | undefined {
  if (/^(?:real|float)$/.test(declared)) {
    return text?.replace(/^"(.*)"$/, (_, digits) => `"${Number(digits)}"`);
  }
  return /^(?:TIME|DATETIME|TIMESTAMP)$/.test(declared)
    ? text?.replace(/(\.\d+?)0+"$/, '$1"')
    : text;
}
