import { TidemarkError } from "../../core/errors.ts";
import {
  type CaptureShape,
  ignoringTrigger,
  standingTriggers,
  type Trigger,
  triggersOf,
} from "./capture.ts";
import type { Connection } from "./connection.ts";
import { readTable } from "./facts.ts";
import { quoteName, sameName } from "./identifiers.ts";
import type { InstalledLayout, Layouts } from "./layouts.ts";

/**
 * Watches that capture stands as it was installed. Costs one pragma per cut: SQLite counts every
 * change of the schema.
 */
export class Guard {
  readonly #connection: Connection;
  readonly #layouts: Layouts;
  /** The first log id of this timeline. */
  readonly firstId: bigint;
  #version: bigint | null = null;

  constructor(connection: Connection, layouts: Layouts, firstId: bigint) {
    this.#connection = connection;
    this.#layouts = layouts;
    this.firstId = firstId;
  }

  /**
   * Statements that mend what can be mended without a loss; usually none. Throws
   * TM-CAPTURE-BROKEN, TM-SCHEMA-DRIFT. Runs in a transaction, so that what it saw stays so.
   */
  check(): readonly string[] {
    const version = this.#connection.value("PRAGMA schema_version") as bigint;
    if (version === this.#version) return [];
    const repairs = this.#layouts
      .current()
      .flatMap((layout) => checkCapture(this.#connection, layout));
    if (repairs.length === 0) this.#version = version;
    return repairs;
  }

  /** Within a write transaction. */
  mend(): void {
    for (const sql of this.check()) this.#connection.db.exec(sql);
  }
}

/**
 * Compares the triggers of a layout with what should stand.
 * Gives the statements that bring the notes of displaced rows in line with the table's unique
 * indexes, which may come and go. Anything else that differs has let changes pass by.
 */
export function checkCapture(connection: Connection, layout: InstalledLayout): string[] {
  const shape = shapeOfLayout(connection, layout);
  const ignoring = ignoringTrigger(connection, shape.facts.name);
  if (ignoring !== null) {
    throw broken(layout.table.name, `the trigger ${ignoring} may end ours with RAISE(IGNORE)`);
  }
  const standing = standingTriggers(connection, shape.facts.name);
  const expected = triggersOf(shape, layout.id);
  for (const trigger of expected.filter((candidate) => !isNote(candidate.name))) {
    const sql = standing.get(trigger.name);
    if (sql === trigger.sql) continue;
    throw broken(
      layout.table.name,
      `the trigger ${trigger.name} ${sql === undefined ? "is missing" : "was changed"}`,
    );
  }
  return noteRepairs(standing, expected);
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

function isNote(trigger: string): boolean {
  return trigger.endsWith("_displaces");
}

/** The shape that a layout was captured with, over the table as it is now. Throws TM-SCHEMA-DRIFT. */
function shapeOfLayout(connection: Connection, layout: InstalledLayout): CaptureShape {
  const name = layout.table.name;
  const facts = readTable(connection, name);
  if (facts === null) throw drift(name, "the table is gone");
  const columns = layout.columns.map((column) => {
    const now = facts.columns.find((candidate) => sameName(candidate.name, column.name));
    if (now === undefined) throw drift(name, `column "${column.name}" is gone`);
    if (now.declared !== column.nativeType) {
      throw drift(name, `column "${column.name}" is now ${now.declared || "without a type"}`);
    }
    return now.name;
  });
  const key = layout.key.map((index) => columns[index] ?? "");
  const sameKey =
    key.length === facts.key.length &&
    key.every((column, i) => sameName(column, facts.key[i]?.name ?? ""));
  if (!sameKey) throw drift(name, "its key changed");
  return { facts, columns, filters: layout.filters, onlyColumns: layout.onlyColumns };
}

const AGAIN = "tidemark uninstall, then run again: the tables are copied anew";

function broken(table: string, what: string): TidemarkError {
  return new TidemarkError(
    "TM-CAPTURE-BROKEN",
    `Capture of ${table} is broken: ${what}. Changes may have gone unseen.`,
    { fix: AGAIN, details: { table } },
  );
}

function drift(table: string, what: string): TidemarkError {
  return new TidemarkError("TM-SCHEMA-DRIFT", `${table} is not as it was captured: ${what}.`, {
    fix: "Run again, so that capture follows the table; when the key changed: tidemark uninstall first.",
    details: { table },
  });
}
