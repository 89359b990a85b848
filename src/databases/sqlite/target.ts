import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { hasManyTexts } from "../../core/column-type.ts";
import type { DatabaseOptions, Finding } from "../../core/database.ts";
import { TidemarkError } from "../../core/errors.ts";
import {
  type ApplierSession,
  type BoundTable,
  type ColumnMapping,
  generatedNotes,
  type TableProgress,
  type Target,
  type TargetPlan,
  type TargetTable,
} from "../../core/target.ts";
import { type TargetTrigger, triggerNotes, triggerProblem } from "../../core/trigger-text.ts";
import { leaseName, loadCopies, SqliteApplierSession } from "./applier-session.ts";
import { Connection } from "./connection.ts";
import { diagnoseTarget } from "./doctor.ts";
import { filledOf } from "./emptiness.ts";
import { readTable, type TableFacts } from "./facts.ts";
import { foldName, quoteName } from "./identifiers.ts";
import { identityOf } from "./identity.ts";
import { takeLease } from "./lease.ts";
import { parseUrl, requireWritableUrl } from "./location.ts";
import { areMarked, MARKS, markTables, readMarks } from "./marks.ts";
import { isOurs, missingObjects, TARGET_TABLES } from "./ours.ts";
import { SqliteParked } from "./parked.ts";
import { cascadingTables, followedColumns } from "./references.ts";
import { createStatement, mapNew, mapping, mapStanding } from "./target-columns.ts";
import { targetTriggers } from "./target-triggers.ts";
import { affinityOf } from "./types.ts";
import { unwritable } from "./unwritable.ts";

export class SqliteTarget implements Target {
  readonly parked = new SqliteParked(() => this.#connection);
  readonly #options: DatabaseOptions;
  #connection: Connection;

  private constructor(options: DatabaseOptions, connection: Connection) {
    this.#options = options;
    this.#connection = connection;
  }

  /** A file that is missing is made by `prepare`, not before. */
  static async open(options: DatabaseOptions): Promise<Target> {
    const { path, mode } = parseUrl(options.url);
    // A folder is not made: that it is missing must be told before anything is changed.
    const toBeMade = !existsSync(path) && mode === "rwc" && existsSync(dirname(path));
    const connection = toBeMade
      ? Connection.openNothing(options.name)
      : await Connection.open(options, { create: false });
    return new SqliteTarget(options, connection);
  }

  /** Of the path, since the connection to a file that is missing is to none. */
  async identity(): Promise<string | null> {
    return identityOf(parseUrl(this.#options.url).path);
  }

  plan(tables: readonly TargetTable[]): Promise<TargetPlan> {
    const connection = this.#connection;
    return connection.read(() => {
      const statements = missingObjects(connection, TARGET_TABLES);
      const mappings: ColumnMapping[] = [];
      const unmade: string[] = [];
      const standing = new Map(
        tables.map((table) => [table, readTable(connection, table.name.name)]),
      );
      const byName = Map.groupBy(tables, ({ name }) => foldName(name.name));
      const triggers = targetTriggers(connection, tables);
      for (const [table, facts] of standing) {
        const problem = nameProblem(table, byName) ?? indexProblem(connection, table);
        if (problem !== null) {
          mappings.push(...refuseAll(table, problem));
        } else if (facts === null && !isOurs(table.name.name)) {
          statements.push(createStatement(table));
          mappings.push(...mapNew(table));
          unmade.push(...generatedNotes(table));
        } else mappings.push(...planStanding(connection, table, facts, triggers));
      }
      const notes = [...triggerNotes(triggers), ...unmade];
      const names = tables.map(({ name }) => name.name);
      const remarks = areMarked(connection, names) ? [] : [MARKS];
      return { statements, mappings, notes, remarks, tables: inOrder(connection, standing) };
    });
  }

  async prepare(plan: TargetPlan): Promise<void> {
    requireWritableUrl(this.#options);
    if (plan.statements.length === 0) return;
    await this.#makeFile();
    const ours = new Set(Object.values(TARGET_TABLES));
    await this.#connection.write(() => {
      // Another sync may have made our tables since this one was planned.
      const missing = missingObjects(this.#connection, TARGET_TABLES);
      const theirs = plan.statements.filter((sql) => !ours.has(sql));
      for (const sql of [...missing, ...theirs]) this.#connection.db.exec(sql);
    });
  }

  diagnose(tables: readonly TargetTable[]): Promise<readonly Finding[]> {
    return this.#connection.read(() => diagnoseTarget(this.#connection, tables));
  }

  async copiesOf(sync: string): Promise<readonly TableProgress[]> {
    const connection = this.#connection;
    return connection.read(() => {
      const isMissing = missingObjects(connection, TARGET_TABLES).length > 0;
      return isMissing ? [] : loadCopies(connection, sync);
    });
  }

  async filled(tables: readonly BoundTable[]): Promise<readonly BoundTable[]> {
    return this.#connection.read(() => filledOf(this.#connection, tables));
  }

  marksOf(tables: readonly BoundTable[]): Promise<ReadonlyMap<BoundTable, string>> {
    const connection = this.#connection;
    return connection.read(() => {
      const marks = readMarks(
        connection,
        tables.map(({ name }) => name.name),
      );
      return new Map(
        tables.flatMap((table) => {
          const mark = marks.get(table.name.name);
          return mark === undefined ? [] : [[table, mark] as const];
        }),
      );
    });
  }

  async openApplier(sync: string, tables: readonly BoundTable[]): Promise<ApplierSession | null> {
    await this.#makeFile();
    const lease = takeLease(this.#connection.path, leaseName(sync));
    if (lease === null) return null;
    try {
      const connection = await Connection.open(this.#options, { create: true });
      const missing = missingObjects(connection, TARGET_TABLES);
      if (missing.length > 0) await connection.write(() => connection.db.exec(missing.join(";")));
      await markTables(
        connection,
        tables.map(({ name }) => name.name),
      );
      return new SqliteApplierSession(connection, sync, tables, lease);
    } catch (error) {
      lease.release();
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  async #makeFile(): Promise<void> {
    if (!this.#connection.isNothing) return;
    await this.#connection.close();
    this.#connection = await Connection.open(this.#options, { create: true });
  }
}

function refuseAll(table: TargetTable, note: string): ColumnMapping[] {
  return table.columns.map((column) =>
    mapping(table, column, "nothing", { fidelity: "refused", note }),
  );
}

function inItsPlace(name: string, what: string): string {
  return `${name} is a${what === "index" ? "n" : ""} ${what}, not a table: give the table another name with \`as\``;
}

/** Tables and indexes share their names. */
function indexProblem(connection: Connection, { name }: TargetTable): string | null {
  const index = connection.row<{ name: string }>(
    "SELECT name FROM sqlite_schema WHERE type = 'index' AND name = ? COLLATE NOCASE",
    name.name,
  );
  return index === undefined ? null : inItsPlace(index.name, "index");
}

/** Names that SQLite takes for one, since it compares them without regard to the case of ASCII letters. */
function nameProblem(
  table: TargetTable,
  byName: ReadonlyMap<string, readonly TargetTable[]>,
): string | null {
  const same = byName.get(foldName(table.name.name)) ?? [];
  if (same.length > 1) {
    return `SQLite takes ${same.map(({ name }) => name.name).join(" and ")} for one: use \`as\``;
  }
  if (foldName(table.name.name).startsWith("sqlite_")) {
    return "names that begin with sqlite_ are SQLite's own: use `as`";
  }
  const columns = table.columns.map(({ name }) => foldName(name));
  const twin = columns.findIndex((name, i) => columns.indexOf(name) < i);
  return twin === -1
    ? null
    : `SQLite takes ${table.columns[twin]?.name} for a column of the same name in other letters: use \`rename\``;
}

function planStanding(
  connection: Connection,
  table: TargetTable,
  facts: TableFacts | null,
  triggers: readonly TargetTrigger[],
): ColumnMapping[] {
  if (facts === null || isOurs(facts.name)) {
    return refuseAll(table, "the name is kept for Tidemark's own");
  }
  if (facts.kind !== "table") {
    return refuseAll(
      table,
      inItsPlace(facts.name, facts.kind === "view" ? "view" : "virtual table"),
    );
  }
  const lack = unwritable(connection, facts, table);
  if (lack !== null) return refuseAll(table, lack);
  if (table.key.length === 0) {
    const why =
      "the source has no key, and rows of a WITHOUT ROWID table cannot be told apart without";
    return facts.rowid === null ? refuseAll(table, why) : mapStanding(table, facts);
  }
  const wanted = table.key.map(foldName).sort().join("\n");
  const unique = [facts.key, ...facts.uniques].some(
    (key) =>
      key
        .map((part) => foldName(part.name))
        .sort()
        .join("\n") === wanted,
  );
  const mappings = mapStanding(table, facts);
  const triggered = triggerProblem(triggers, table);
  if (unique && triggered === null) return mappings;
  const key = table.key.map(quoteName).join(", ");
  const fix = `CREATE UNIQUE INDEX ${quoteName(`${facts.name}_key`)} ON ${quoteName(facts.name)} (${key})`;
  return mappings.map((entry) =>
    table.key.includes(entry.column)
      ? {
          ...entry,
          fidelity: "refused",
          note: unique && triggered !== null ? triggered : `the key is not unique here: ${fix}`,
        }
      : entry,
  );
}

/** Parents before children. Tables that refer to each other in a circle stand in the order asked. */
function inOrder(
  connection: Connection,
  standing: ReadonlyMap<TargetTable, TableFacts | null>,
): BoundTable[] {
  const tables = [...standing.keys()];
  const byName = new Map(tables.map((table) => [foldName(table.name.name), table]));
  const parentsOf = (table: TargetTable) => {
    const names = standing.get(table)?.parents ?? [];
    const parents = names.flatMap((name) => byName.get(foldName(name)) ?? []);
    return [...new Set(parents)].filter((other) => other !== table);
  };
  const ordered: TargetTable[] = [];
  const visiting = new Set<TargetTable>();
  const visit = (table: TargetTable) => {
    if (visiting.has(table)) return;
    visiting.add(table);
    for (const parent of parentsOf(table)) visit(parent);
    ordered.push(table);
  };
  for (const table of tables) visit(table);
  const cascading = new Set(cascadingTables(connection).map(foldName));
  const followed = followedColumns(connection).map(
    ({ parent, column }) => [foldName(parent), foldName(column)] as const,
  );
  const isFollowed = ({ name, key }: TargetTable) =>
    followed.some(
      ([parent, column]) => parent === foldName(name.name) && !key.map(foldName).includes(column),
    );
  const places = new Map(ordered.map((table, index) => [table, index]));
  return ordered.map((table) => ({
    name: table.name,
    columns: table.columns.map(({ name, type }) => {
      const facts = standing.get(table) ?? null;
      return { name, type, numeric: hasManyTexts(type) && keepsNumbers(facts, name) };
    }),
    key: table.key.map((name) => indexOf(table, name)),
    parents: parentsOf(table).map((parent) => places.get(parent) ?? -1),
    cascades: cascading.has(foldName(table.name.name)),
    followed: isFollowed(table),
  }));
}

/** Else a column keeps their texts. */
function keepsNumbers(facts: TableFacts | null, name: string): boolean {
  const column = facts?.columns.find((each) => foldName(each.name) === foldName(name));
  if (facts === null || column === undefined) return false;
  return ["integer", "real", "numeric"].includes(affinityOf(column.declared, facts.strict));
}

function indexOf(table: TargetTable, column: string): number {
  const index = table.columns.findIndex(({ name }) => name === column);
  if (index >= 0) return index;
  throw new TidemarkError(
    "TM-COLUMN-MISSING",
    `The key column "${column}" of ${table.name.name} is not among its columns.`,
    { details: { table: table.name.name, column } },
  );
}
