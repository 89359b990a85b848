import { DROPPED, keyAltered } from "../../core/altered.ts";
import { isTidemarkError, TidemarkError } from "../../core/errors.ts";
import { copyAnew, Objections, wrongTable } from "../../core/many-tables.ts";
import { type CaptureShape, requireCountable } from "./capture.ts";
import { type Trigger, triggerNames, triggersOf } from "./capture-sql.ts";
import type { Connection } from "./connection.ts";
import { readTable, type TableFacts } from "./facts.ts";
import { foldName, quoteName, sameName } from "./identifiers.ts";
import type { InstalledLayout, Layouts } from "./layouts.ts";
import {
  anchoring,
  ignoringTrigger,
  isNote,
  isOvertaken,
  isPutBack,
  standingTriggers,
} from "./standing-triggers.ts";

/**
 * Watches that capture stands as it was installed. Costs one pragma per cut: SQLite counts every
 * change of the schema.
 */
export class Guard {
  readonly #connection: Connection;
  readonly #layouts: Layouts;
  #version: bigint | null = null;
  readonly #tables = new Set<string>();

  constructor(connection: Connection, layouts: Layouts) {
    this.#connection = connection;
    this.#layouts = layouts;
  }

  /** Those not named here may be altered and dropped as their owner likes: no sync of this config carries them. */
  watch(tables: readonly string[]): void {
    for (const table of tables) this.#tables.add(foldName(table));
    this.#version = null;
  }

  watches(table: string): boolean {
    return this.#tables.has(foldName(table));
  }

  /**
   * Statements that mend what can be mended without a loss; usually none. Throws
   * TM-CAPTURE-BROKEN, TM-SCHEMA-DRIFT. Runs in a transaction, so that what it saw stays so.
   */
  check(): readonly string[] {
    const version = this.#connection.value("PRAGMA schema_version") as bigint;
    if (version === this.#version) return [];
    const objections = new Objections();
    // Who forgets a table, and drops its triggers, may be another user, who does not see that a relay is at work.
    const repairs = this.#layouts
      .newest()
      .flatMap((layout) => objections.try(() => this.#checkOne(layout)) ?? []);
    objections.end();
    if (repairs.length === 0) this.#version = version;
    return repairs;
  }

  #checkOne(layout: InstalledLayout): readonly string[] {
    try {
      return checkCapture(this.#connection, layout);
    } catch (error) {
      // Of one that no sync carries whoever carries it again is told.
      if (this.watches(layout.table.name) || !isTidemarkError(error)) throw error;
      return [];
    }
  }

  /** Within a write transaction. */
  mend(): void {
    const repairs = this.check();
    if (repairs.length === 0) return;
    const statements = [...repairs, ...anchoring(this.#connection, [])];
    for (const sql of statements) this.#connection.db.exec(sql);
  }
}

/**
 * Compares the triggers of a layout with what should stand.
 * Gives the statements that bring the notes of displaced rows in line with the table's unique
 * indexes, which may come and go, and that put ours before the application's again. Anything else that differs has let
 * changes pass by.
 */
export function checkCapture(connection: Connection, layout: InstalledLayout): string[] {
  const shape = shapeOfLayout(connection, layout);
  const ignoring = ignoringTrigger(connection, shape.facts.name);
  if (ignoring !== null) {
    throw broken(layout.table.name, `the trigger ${ignoring} may end ours with RAISE(IGNORE)`);
  }
  if (layout.key.length === 0) requireCountable(connection, shape.facts);
  const standing = standingTriggers(connection, shape.facts.name);
  const expected = triggersOf(shape, layout.id);
  const logging = expected.filter(({ name }) => !isNote(name));
  for (const trigger of logging) {
    const sql = standing.get(trigger.name);
    if (sql === trigger.sql) continue;
    throw broken(
      layout.table.name,
      `the trigger ${trigger.name} ${sql === undefined ? "is missing" : "was changed"}`,
    );
  }
  const again = isOvertaken(connection, shape.facts.name) ? logging : [];
  return [
    ...again.flatMap(({ name, sql }) => [`DROP TRIGGER ${quoteName(name)}`, sql]),
    ...noteRepairs(standing, expected),
  ];
}

function noteRepairs(
  standing: ReadonlyMap<string, string>,
  expected: readonly Trigger[],
): string[] {
  const notes = new Map(
    expected.filter(({ name }) => isNote(name)).map(({ name, sql }) => [name, sql]),
  );
  const stale = [...standing].filter(([name, sql]) => isNote(name) && notes.get(name) !== sql);
  const missing = [...notes].filter(([name, sql]) => standing.get(name) !== sql);
  return [
    ...stale.map(([name]) => `DROP TRIGGER ${quoteName(name)}`),
    ...missing.map(([, sql]) => sql),
  ];
}

/** The shape that a layout was captured with, over the table as it is now. Throws TM-SCHEMA-DRIFT, TM-CAPTURE-BROKEN. */
function shapeOfLayout(connection: Connection, layout: InstalledLayout): CaptureShape {
  const name = layout.table.name;
  const facts = readTable(connection, name);
  if (facts === null) throw goneOrRenamed(connection, name);
  const standing = standingTriggers(connection, facts.name);
  const gone = triggerNames(layout).find((trigger) => !standing.has(trigger));
  if (gone !== undefined) throw broken(name, `the trigger ${gone} is missing`);
  // Before what was altered, too: a copy over the rows that stand would leave those that the rebuild left out.
  if (isPutBack(connection, facts.name)) {
    throw broken(
      name,
      "its triggers were dropped, or the table was made anew, and they were put back",
    );
  }
  const changes = differences(layout, facts);
  if (changes.length > 0) throw drift(name, `${name} was altered: ${changes.join("; ")}.`, ALIKE);
  const columns = layout.columns.map(
    (column) => facts.columns.find(({ name }) => sameName(name, column.name))?.name ?? "",
  );
  const key = layout.key.map((index) => columns[index] ?? "");
  const sameKey =
    key.length === facts.key.length &&
    key.every((column, i) => sameName(column, facts.key[i]?.name ?? ""));
  if (!sameKey) {
    throw keyAltered(
      name,
      key,
      facts.key.map((part) => part.name),
    );
  }
  return { facts, columns, filters: layout.filters, onlyColumns: layout.onlyColumns };
}

function broken(table: string, what: string): TidemarkError {
  return wrongTable("TM-CAPTURE-BROKEN", table, {
    message: `Capture of ${table} is broken: ${what}. Changes may have gone unseen.`,
    mend: copyAnew,
  });
}

function drift(table: string, what: string, fix: string): TidemarkError {
  return new TidemarkError("TM-SCHEMA-DRIFT", what, { fix, details: { table } });
}

const ALIKE =
  "Alter the target alike (tidemark plan prints what it lacks; a column may be renamed in the config instead), then start again: the table is copied anew over the rows that stand, and nothing is lost.";

/** For people: what has become of each column. A new name cannot be told from another column. */
function differences(layout: InstalledLayout, facts: TableFacts): string[] {
  const lines = layout.columns.flatMap((column) => {
    const now = facts.columns.find(({ name }) => sameName(name, column.name));
    const was = column.nativeType || "without a type";
    if (now === undefined) return [`column ${column.name} (${was}) was dropped or renamed`];
    if (now.declared === column.nativeType) return [];
    return [`column ${column.name} was ${was}, is ${now.declared || "without a type"}`];
  });
  const known = layout.known?.map(foldName);
  const added = facts.columns.filter(({ name }) => known?.includes(foldName(name)) === false);
  return [
    ...lines,
    ...added.map(
      ({ name, declared }) =>
        `column ${name} (${declared || "without a type"}) was added or renamed`,
    ),
  ];
}

/** Our triggers go along with a table that gets another name, and with one that is dropped. */
function goneOrRenamed(connection: Connection, table: string): TidemarkError {
  const now = connection.value(
    "SELECT tbl_name FROM sqlite_schema WHERE type = 'trigger' AND name = ?",
    `tidemark_${table}_insert`,
  );
  if (now === undefined) {
    return drift(table, `${table} was dropped.`, DROPPED);
  }
  return drift(
    table,
    `${table} was renamed to ${now}.`,
    `Give it its name back, then start again: nothing is lost. Or put ${now} into the config, with its table at the targets empty: it is copied anew.`,
  );
}
