import { formatTable, type TableName } from "./table.ts";
import type { TargetTable } from "./target.ts";

/**
 * A trigger of the application on a table that a sync writes. It runs for applied rows as well, after
 * it, or one like it, has run at the source.
 */
export interface TargetTrigger {
  readonly name: string;
  readonly table: TableName;
  /** What it plainly writes that the sync writes: both effects would meet. Null: nothing that can be seen. */
  readonly writes: string | null;
  /** The statement after which it no longer runs for applied rows. */
  readonly fix: string;
}

/** For people who plan or examine. */
export function describeTrigger({ name, table, writes }: TargetTrigger): string {
  const runs = `trigger ${name} of ${formatTable(table)} runs for applied rows, too`;
  return writes === null
    ? `${runs}: what it writes must not be what the sync writes`
    : `${runs}, and writes ${writes}, which the sync writes: its effect at the source comes over already`;
}

/** Why a table cannot be written, as the note of its refused column; null when no trigger is in the way. */
export function triggerProblem(
  triggers: readonly TargetTrigger[],
  table: TargetTable,
): string | null {
  const own = triggers.filter(
    (each) => each.writes !== null && formatTable(each.table) === formatTable(table.name),
  );
  if (own.length === 0) return null;
  return own.map((each) => `${describeTrigger(each)}: ${each.fix}`).join("; ");
}

/** Of the triggers that stop nothing: what `plan` tells besides. */
export function triggerNotes(triggers: readonly TargetTrigger[]): readonly string[] {
  return triggers
    .filter(({ writes }) => writes === null)
    .map((trigger) => `${describeTrigger(trigger)}; if it must not: ${trigger.fix}`);
}

const PART = String.raw`(?:"[^"]+"|\x60[^\x60]+\x60|\[[^\]]+\]|[\p{L}_][\p{L}\p{N}_$]*)`;
const NAME = String.raw`(${PART}(?:\s*\.\s*${PART})?)`;
const WRITES = [
  String.raw`\b(?:INSERT|REPLACE)\s+(?:OR\s+\w+\s+|IGNORE\s+|LOW_PRIORITY\s+|DELAYED\s+)*INTO\s+`,
  String.raw`\bDELETE\s+(?:IGNORE\s+|QUICK\s+)*FROM\s+(?:ONLY\s+)?`,
  String.raw`\bMERGE\s+INTO\s+(?:ONLY\s+)?`,
  String.raw`\bTRUNCATE\s+(?:TABLE\s+)?(?:ONLY\s+)?`,
].map((before) => new RegExp(before + NAME, "giu"));

/** `DO UPDATE SET` and `ON DUPLICATE KEY UPDATE column` name no table. */
const UPDATES = new RegExp(
  String.raw`\b(?<!\bKEY\s+)UPDATE\s+(?:OR\s+\w+\s+|IGNORE\s+|LOW_PRIORITY\s+|ONLY\s+)*` +
    `${NAME}([^;]*)`,
  "giu",
);
const SET = /\bSET\b([\s\S]*?)(?:\bWHERE\b|\bFROM\b|$)/i;
/** `total =`, `o.total =`, `(total, tax) =`. */
const ASSIGNED = new RegExp(String.raw`(?:(${PART})|\(([^()]*)\))\s*=`, "giu");

/** In a row itself: `NEW.total := …` of PL/pgSQL, `SET NEW.total = …, NEW.tax = …` of MySQL. */
const ASSIGNMENTS = [
  /\bNEW\s*\.\s*("[^"]+"|[\p{L}_][\p{L}\p{N}_$]*)\s*:=/giu,
  /(?:;|\bBEGIN|\bTHEN|\bELSE|\bLOOP)\s*NEW\s*\.\s*("[^"]+"|[\p{L}_][\p{L}\p{N}_$]*)\s*=/giu,
  /(?:\bSET|,)\s*NEW\s*\.\s*(`[^`]+`|[\p{L}_][\p{L}\p{N}_$]*)\s*=/giu,
];

/**
 * What the text of a trigger plainly writes of what the sync writes: one of its tables, or columns of
 * the row itself. Text that is put together as it runs is not seen.
 */
export function plainlyWrites(
  body: string,
  table: TargetTable,
  synced: readonly TargetTable[],
): string | null {
  const text = withoutTexts(body);
  const columns = named(ASSIGNMENTS, text).filter((name) =>
    table.columns.some((column) => fold(column.name) === name),
  );
  const find = (name: string) => synced.find((each) => isNamed(each.name, name));
  const written = named(WRITES, text).flatMap((name) => find(name) ?? []);
  const updated = [...text.matchAll(UPDATES)].flatMap(([, name = "", rest = ""]) => {
    const found = find(fold(name));
    // What the target alone has, it may keep by itself.
    return found !== undefined && assigns(rest, found) ? [found] : [];
  });
  const tables = [...written, ...updated].map(({ name }) => formatTable(name));
  const all = [...new Set([...columns.map((name) => `its column ${name}`), ...tables])];
  return all.length === 0 ? null : all.join(", ");
}

function named(patterns: readonly RegExp[], text: string): readonly string[] {
  return patterns.flatMap((pattern) =>
    [...text.matchAll(pattern)].map((match) => fold(match[1] ?? "")),
  );
}

function assigns(statement: string, table: TargetTable): boolean {
  const list = SET.exec(statement)?.[1] ?? statement;
  const names = [...list.matchAll(ASSIGNED)].flatMap(([, one, several = ""]) =>
    (one ?? several).split(",").map(fold),
  );
  return table.columns.some(({ name }) => names.includes(fold(name)));
}

/** Without quotes and spaces, and in one case: two tables that differ in that alone are rare. */
function fold(name: string): string {
  return name.replace(/["`[\]\s]/g, "").toLowerCase();
}

function isNamed({ schema, name }: TableName, text: string): boolean {
  return text === fold(name) || (schema !== null && text === fold(`${schema}.${name}`));
}

function withoutTexts(body: string): string {
  return body.replace(/--[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^']|'')*'/g, " ");
}
