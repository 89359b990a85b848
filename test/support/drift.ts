// What tests of altered tables share: the tables, ways to alter and to mend, and how one case is played.
import { expect } from "vitest";
import type { PipelineDefinition, TableRule } from "../../src/core/definition.ts";
import { type ErrorCode, isTidemarkError, type TidemarkError } from "../../src/core/errors.ts";
import { diagnose } from "../../src/pipeline/diagnose.ts";
import type { Pipeline } from "../../src/pipeline/pipeline.ts";
import { uninstall } from "../../src/pipeline/uninstall.ts";
import type { DatabaseKind } from "../servers/index.ts";
import { type TestPair, title } from "./pairs.ts";
import { resync } from "./resync.ts";
import { type Dialect, dialectOf, type SqlClient } from "./sql-client.ts";
import { PATIENCE_MS, TestBed } from "./test-bed.ts";
import { contents, createTables, insertRow, type TestTable } from "./test-tables.ts";

export const ITEMS: TestTable = {
  name: "items",
  columns: { id: "integer", a: "varchar", n: "integer" },
  key: ["id"],
  required: ["n"],
};
export const KEYLESS: TestTable = { ...ITEMS, key: [], required: ["id", "n"] };
export const OTHERS: TestTable = {
  name: "others",
  columns: { id: "integer", v: "varchar" },
  key: ["id"],
};

export type Statements = (dialect: Dialect) => readonly string[];

export interface Drift {
  readonly what: string;
  /** Else ITEMS. */
  readonly table?: TestTable;
  /** Run at the source before the start. */
  readonly prepare?: Statements;
  /** Else the table as it is. */
  readonly rule?: Omit<TableRule, "table">;
  readonly alter: Statements;
  /** Written after it. */
  readonly write: readonly string[];
  /** What the error says, when it stops the sync; null: it goes on. */
  readonly says: {
    readonly code: ErrorCode;
    /** Where the sync may have looked between two of the statements. */
    readonly or?: ErrorCode;
    readonly words: RegExp;
  } | null;
  /** What the message asks for. */
  readonly mend?: (mending: Mending) => Promise<readonly TableRule[] | undefined>;
  /** The table as it is to be compared in the end; null: not at all. */
  readonly ends?: TestTable | null;
  /** Where the database has no such statement, or does not let it happen. */
  readonly except?: readonly Dialect[];
}

interface Mending {
  readonly bed: TestBed;
  readonly source: SqlClient;
  readonly target: SqlClient;
  readonly definition: PipelineDefinition;
}

export const DRIFT = "TM-SCHEMA-DRIFT";
export const RETYPE: Readonly<Record<Dialect, (column: string, type: string) => string>> = {
  postgres: (column, type) => `ALTER TABLE items ALTER COLUMN ${column} TYPE ${type}`,
  mariadb: (column, type) => `ALTER TABLE items MODIFY ${column} ${type}`,
  sqlite: () => "",
};
export const atTarget =
  (statements: Statements) =>
  async ({ target }: Mending): Promise<undefined> => {
    for (const statement of statements(target.dialect)) await target.run(statement);
  };
/** As the errors that ask for it say: uninstall, then a resync of all tables. */
export const copyAnew =
  (more: Statements = () => []) =>
  async ({ bed, target, definition }: Mending): Promise<undefined> => {
    for (const statement of more(target.dialect)) await target.run(statement);
    await uninstall(definition, bed.logger);
    await resync(bed, definition, ["*"]);
  };
export const WIDER: TestTable = {
  ...ITEMS,
  columns: { ...ITEMS.columns, b: "integer" },
};
export const addColumn: Statements = () => ["ALTER TABLE items ADD COLUMN b bigint"];
export const WRITE = [
  "INSERT INTO items (id, a, n) VALUES (5, 'five', 5)",
  "UPDATE items SET a = 'changed' WHERE id = 1",
  "DELETE FROM items WHERE id = 2",
];

export const addKey = (dialect: Dialect) =>
  dialect === "sqlite"
    ? "CREATE UNIQUE INDEX items_key ON items (id)"
    : "ALTER TABLE items ADD PRIMARY KEY (id)";

export const anotherKey = (dialect: Dialect) =>
  `ALTER TABLE items DROP ${dialect === "postgres" ? "CONSTRAINT items_pkey" : "PRIMARY KEY"}, ADD PRIMARY KEY (n)`;

/** Captured row by row in PostgreSQL, each as it stands. */
export const ownTrigger: Statements = () => [
  "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
  "CREATE TRIGGER keep BEFORE INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION keep()",
];
export const renameColumn: Statements = () => ["ALTER TABLE items RENAME COLUMN a TO z"];
export const WRITE_RENAMED = [
  "INSERT INTO items (id, z, n) VALUES (5, 'five', 5)",
  "UPDATE items SET z = 'one' WHERE id = 1",
  "UPDATE items SET id = 30 WHERE id = 3",
  "DELETE FROM items WHERE id = 2",
];
export const RENAMED: TestTable = {
  ...ITEMS,
  columns: { id: "integer", z: "varchar", n: "integer" },
};
export const SIX = "INSERT INTO items (id, a, n) VALUES (6, 'six', 6)";

const KINDS: readonly DatabaseKind[] = ["sqlite", "postgres", "mariadb"];

/** Each case at each kind of database and MySQL, whose other end takes turns: together they are all nine pairs, and more. */
export function cases(drifts: readonly Drift[], altered: "source" | "target") {
  return drifts.flatMap((drift, index) =>
    [...KINDS, "mysql" as const].flatMap((kind, turn): [string, TestPair, Drift][] => {
      if (drift.except?.includes(dialectOf(kind))) return [];
      const other = KINDS[(index + turn) % KINDS.length] as DatabaseKind;
      const pair: TestPair = {
        source:
          altered === "source" ? kind : other === "sqlite" && kind !== "sqlite" ? "mariadb" : other,
        target: altered === "target" ? kind : other,
        queue: "embedded",
      };
      return [[`${drift.what}: ${title(pair)}`, pair, drift]];
    }),
  );
}

export async function play(
  pair: TestPair,
  drift: Drift,
  where: "source" | "target",
): Promise<void> {
  await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
  const source = await bed.sql("source");
  const target = await bed.sql("target");
  const table = drift.table ?? ITEMS;
  // Of a file in another mode a table without a key is refused.
  if (source.dialect === "sqlite") await source.rows("PRAGMA journal_mode = WAL");
  await createTables(source, pair.source, [table, OTHERS]);
  for (const statement of drift.prepare?.(source.dialect) ?? []) await source.run(statement);
  for (let id = 1; id <= 3; id++) await insertRow(source, table, { id, a: `row ${id}`, n: id });
  const define = (tables: readonly TableRule[]) =>
    bed.define([{ from: "source", to: "target", tables }]);
  const definition = define([{ ...drift.rule, table: "items" }, { table: "others" }]);
  const first = await bed.start(definition);
  await first.waitFor({ timeoutMs: PATIENCE_MS });

  const altered = where === "source" ? source : target;
  // Captured, and perhaps not cut yet.
  await insertRow(source, table, { id: 4, a: "just before", n: 4 });
  const seen = await contents(source, table);
  if (where === "target") await first.waitFor({ timeoutMs: PATIENCE_MS });
  for (const statement of drift.alter(altered.dialect)) await altered.run(statement);
  for (const statement of drift.write) await source.run(statement);
  await insertRow(source, OTHERS, { id: 1, v: "beside" });

  let last = first;
  if (drift.says !== null) {
    const error = await stopOf(first);
    expect([drift.says.code, drift.says.or]).toContain(error.code);
    expect(error.message).toMatch(drift.says.words);
    if (error.code === DRIFT) expect(error.fix).toBeTruthy();
    else if (where === "source") {
      const found = (await diagnose(definition, bed.logger)).flatMap(({ findings }) => findings);
      expect(found).toContainEqual(expect.objectContaining({ severity: "error" }));
    }
    // Nothing stands there that never stood at the source.
    if (where === "source") {
      for (const row of await contents(target, table)) expect(seen).toContainEqual(row);
    }
    await bed.stop(first);
    const rules = await drift.mend?.({ bed, source, target, definition });
    last = await bed.start(rules === undefined ? definition : define(rules));
  }
  await last.waitFor({ timeoutMs: PATIENCE_MS });
  if (drift.ends !== null) await bed.expectSame(drift.ends ?? table);
  await bed.expectSame(OTHERS);
}

export async function stopOf(pipeline: Pipeline): Promise<TidemarkError> {
  const error = await pipeline.finished.then(
    () => new Error("The sync has not stopped."),
    (thrown: unknown) => thrown,
  );
  return toTidemark(error);
}

export function toTidemark(error: unknown): TidemarkError {
  if (!isTidemarkError(error)) throw error;
  return error;
}
