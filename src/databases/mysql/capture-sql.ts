import { keyColumns, type LayoutColumn } from "../../core/change.ts";
import { sha256 } from "../../core/hash.ts";
import { captureExpression } from "./captured-text.ts";
import type { Flavour } from "./flavour.ts";
import { quoteName, quoteText } from "./identifiers.ts";
import { withOwnIds } from "./insert-id.ts";
import { holdsTooLong, type Prefix, unlessSo } from "./json-room.ts";
import type { StoredLayout } from "./layouts.ts";
import { LOG, PREFIX } from "./ours.ts";
import { insertedStands, standingIn, VERSIONED_OTHERWISE, type Versions } from "./references.ts";

export const EVENTS = ["INSERT", "UPDATE", "DELETE"] as const;
export type Event = (typeof EVENTS)[number];

/** What the triggers' text depends on. */
export type TriggerFlavour = Pick<
  Flavour,
  | "cursorsKnowRow"
  | "longestInJson"
  | "looksUpNames"
  | "runsForPassedOver"
  | "systemVersioning"
  | "takesBackIds"
>;

/**
 * Short enough for the 64 characters of a trigger name whatever the table is called. Trigger names
 * are unique in a database, and so are table names.
 */
export function triggerName(table: string, event: Event): string {
  return `${PREFIX}${sha256("trigger", table).slice(0, 16)}_${event.toLowerCase()}`;
}

/** Of the one that stands in while a trigger is dropped and made anew. */
export function standInName(trigger: string): string {
  return `${trigger}_next`;
}

/**
 * The body: one row into the log, with plain VALUES, so that the log's AUTO_INCREMENT hands out one
 * id at a time, at the moment the changed row is locked. Order per row rests on that: an
 * INSERT … SELECT could reserve ids ahead.
 */
export function triggerBody(layout: StoredLayout, event: Event, flavour: TriggerFlavour): string {
  const row = (prefix: string) => layout.columns.map((column) => captured(column, prefix));
  const key = keyColumns(layout).flatMap((index) => {
    const column = layout.columns[index];
    return column === undefined ? [] : [{ name: column.name, text: captured(column, "OLD") }];
  });
  const oldKey = `JSON_ARRAY(${key.map((each) => each.text).join(", ")})`;
  const keyBefore =
    event === "INSERT"
      ? "NULL"
      : event === "DELETE" || layout.key.length === 0
        ? oldKey
        : `IF(${sameBytes(key.map(({ name }) => name))}, NULL, ${oldKey})`;
  const op = event.charAt(0);
  const insert =
    event === "DELETE"
      ? logInsert(layout, op, { keyBefore })
      : withFlags(
          layout,
          logInsert(layout, op, {
            keyBefore,
            row: `JSON_ARRAY(${row("NEW").join(", ")})`,
            filters: layout.filters.length === 0 ? "''" : FLAGS,
          }),
        );
  const unread = logInsert(layout, op, { keyBefore });
  const unknown = logUnknown(layout);
  const isTooLong = (prefixes: readonly Prefix[]) => holdsTooLong(layout, prefixes, flavour);
  if (event === "INSERT") {
    const all = unlessSo(isTooLong(["NEW"]), insert, unread);
    const stands = insertedStands(layout.versions ?? {});
    const work = stands === null ? all : `IF ${stands} THEN ${all}; END IF`;
    return withOwnIds(guarded(work, unread), flavour, layout.numbered ?? null);
  }
  // A table without a key has nothing either for which the row would have to be looked at again.
  if (event === "DELETE" || layout.key.length === 0) {
    const isLong =
      layout.key.length > 0 ? null : isTooLong(event === "DELETE" ? ["OLD"] : ["OLD", "NEW"]);
    return withOwnIds(guarded(unlessSo(isLong, insert, unknown), unknown), flavour);
  }
  // Of an unread row no more than its table is known: the one under the key before goes by itself.
  const update = unlessSo(
    isTooLong(["NEW"]),
    insert,
    `IF NOT (${sameBytes(key.map(({ name }) => name))}) THEN ${logInsert(layout, "D", { keyBefore: oldKey })}; END IF;
${logInsert(layout, op, { keyBefore: "NULL" })}`,
  );
  const orUnread = guarded(unread, unknown);
  if (!flavour.runsForPassedOver) return withOwnIds(guarded(update, orUnread), flavour);
  const table = layout.table.name;
  const names = key.map(({ name }) => name);
  const doubtful = [...layout.guarded, ...layout.stamped];
  const { versions } = layout;
  const questions = [
    setCarried(isPlain(layout)),
    askCarriedOut(table, { key: names, columns: doubtful, versions }, flavour),
    ...(flavour.looksUpNames ? [setCarried(isNamedOtherwise(table))] : []),
  ];
  const whenDone = ifCarriedOut(questions, `${update};`, ANY_SIZE);
  return withOwnIds(guarded(whenDone, orUnread), flavour);
}

/** The operation of a change of which not even the key is known. */
export const UNKNOWN = "X";

/**
 * A column that was dropped or renamed must not make the application's write fail: that the row was
 * written is logged, if not what it holds. (1054: no such column in OLD or NEW. The handler costs nothing.)
 */
function guarded(work: string, otherwise: string): string {
  return `BEGIN DECLARE EXIT HANDLER FOR 1054 ${otherwise}; ${work}; END`;
}

/**
 * A session may forbid itself to read much (max_join_size, as `mysql --safe-updates` does): what was written is not held to
 * that, so neither is what we read. The server takes it back by itself where the trigger ends, also by an error.
 */
export const ANY_SIZE = "IF NOT @@sql_big_selects THEN SET SESSION sql_big_selects = TRUE; END IF;";

/** Is set where a table that the work reads is gone, which must not make a write of another fail. */
export const MISSING = "tidemark_missing";

/** 1146: no such table. `then`: what is to be set besides. */
export function unlessMissing(work: string, then = ""): string {
  return `BEGIN
DECLARE EXIT HANDLER FOR 1146 SET ${MISSING} = TRUE${then};
${work}
END;`;
}

/** Some row was deleted or changed, and which one cannot be told. */
export function logUnknown(layout: StoredLayout): string {
  return logInsert(layout, UNKNOWN, { keyBefore: "NULL" });
}

function logInsert(
  layout: StoredLayout,
  op: string,
  { keyBefore, row = "''", filters = "''" }: Readonly<Record<string, string>>,
): string {
  const values = [
    // Not CURRENT_TIMESTAMP: that follows the time zone of the writing session.
    "UTC_TIMESTAMP(6)",
    String(layout.id),
    `'${op}'`,
    keyBefore,
    row,
    filters,
    "@tidemark_origin",
  ];
  return (
    `INSERT INTO ${quoteName(LOG)} (at, layout, op, key_before, row_after, filters, origin) ` +
    `VALUES (${values.join(", ")})`
  );
}

const FLAGS = "tidemark_flags";
/** Of one filter: a SET that fails leaves its variable NULL. */
const FLAG = "tidemark_flag";

/** A condition that raises an error must not make the application's statement fail: it is logged as `e`. */
function withFlags(layout: StoredLayout, insert: string): string {
  if (layout.filters.length === 0) return insert;
  const row = filterColumns(layout).map((name) => `NEW.${quoteName(name)} AS ${quoteName(name)}`);
  const from = `(SELECT ${row.join(", ")}) AS ${quoteName(layout.table.name)}`;
  const each = layout.filters.map(
    (filter) => `BEGIN
DECLARE EXIT HANDLER FOR SQLEXCEPTION SET ${FLAG} = 'e';
SET ${FLAG} = (SELECT ${filterFlags([filter])} FROM ${from});
END;
SET ${FLAGS} = CONCAT(${FLAGS}, ${FLAG});`,
  );
  return `BEGIN
DECLARE ${FLAGS} VARCHAR(255) CHARACTER SET utf8mb4 DEFAULT '';
DECLARE ${FLAG} VARCHAR(255) CHARACTER SET utf8mb4;
${each.join("\n")}
${insert};
END`;
}

/** As the keys themselves compare: what they hold for equal they do not refuse. */
function sameKeys(names: readonly string[]): string {
  return names.map((name) => `OLD.${quoteName(name)} <=> NEW.${quoteName(name)}`).join(" AND ");
}

/** Is what NEW holds what stands, without a look at the row? See {@link isCarriedOut}. */
function isPlain({ guarded, stamped, columns }: StoredLayout): string {
  if (stamped.length === 0) return sameKeys(guarded);
  const others = columns.map(({ name }) => name).filter((name) => !stamped.includes(name));
  const othersStay = others.length === 0 ? "TRUE" : sameKeys(others);
  return `${sameKeys(guarded)} AND (${sameKeys(stamped)} OR NOT (${othersStay}))`;
}

interface Updated {
  readonly key: readonly string[];
  readonly columns: readonly string[];
  readonly versions?: Versions | undefined;
}

/**
 * Has the update of the row been carried out? Two kinds have not, and yet fire the trigger in MariaDB, while the row
 * stands as it was. UPDATE IGNORE goes on to the next row when a unique or a foreign key forbids it. And
 * an update that sets what stands already leaves the row alone; but a column with ON UPDATE
 * CURRENT_TIMESTAMP has a time in NEW that it never gets (measured on 10.11; MySQL's NEW is right, and its triggers do not
 * run for what was passed over).
 *
 * Read with a lock, since a snapshot may be older than the row. To be asked only where some of the columns
 * differ.
 */
function isCarriedOut(table: string, { key, columns, versions = {} }: Updated): string {
  const { from, where } = standingIn(table, "tidemark_row", versions);
  // What ended the row is asked for with its versions; OLD of a trigger does not tell it as the table does.
  const own = (names: readonly string[]) => names.filter((name) => name !== versions.endedBy);
  const found = own(key).map((name) => `tidemark_row.${quoteName(name)} = OLD.${quoteName(name)}`);
  const same = own([...new Set([...key, ...columns])]).map((name) => {
    const column = quoteName(name);
    return sameValue(`tidemark_row.${column}`, `OLD.${column}`);
  });
  return `NOT EXISTS (SELECT 1 FROM ${from} WHERE ${[...found, ...same, ...where].join(" AND ")} LOCK IN SHARE MODE)`;
}

function setCarried(condition: string): string {
  return `SET tidemark_carried = ${condition};`;
}

/**
 * Asks whether the update was carried out, for {@link ifCarriedOut}. A table may have got its versions, or lost them, since
 * its capture. Where it has none, to ask for them as well is an error, which costs a fifth of the first question.
 */
export function askCarriedOut(
  table: string,
  updated: Updated,
  { systemVersioning }: Pick<Flavour, "systemVersioning">,
): string {
  const asked = setCarried(isCarriedOut(table, updated));
  if (!systemVersioning) return asked;
  const { versioned = false } = updated.versions ?? {};
  const otherwise = setCarried(
    isCarriedOut(table, { ...updated, versions: { versioned: !versioned } }),
  );
  const handler = `DECLARE EXIT HANDLER FOR ${VERSIONED_OTHERWISE}`;
  if (versioned) return `BEGIN\n${handler} ${otherwise}\n${asked}\nEND;`;
  return `${asked}
IF tidemark_carried THEN
BEGIN
${handler} ${setCarried("TRUE")}
${otherwise}
END;
END IF;`;
}

/**
 * The work, if one of these tells that the update of the row was carried out; each is only looked at where the one before
 * does not. A table that was renamed is not found by the name that it had (1146: no such table);
 * what is written to it must not fail for that, and is taken for carried out: only UPDATE IGNORE would tell otherwise.
 * `questions`: each sets `tidemark_carried`. `before`: what goes before all but the first.
 */
export function ifCarriedOut(questions: readonly string[], work: string, before = ""): string {
  // Not one OR: MySQL opens what each part reads before it evaluates the first.
  const ask = questions.reduceRight((further, question, index) => {
    const rest = index === 0 ? `${before}${further}` : further;
    return `${question}
${further === "" ? "" : `IF NOT tidemark_carried THEN\n${rest}\nEND IF;`}`;
  }, "");
  return `BEGIN
DECLARE tidemark_carried BOOLEAN DEFAULT FALSE;
BEGIN
DECLARE EXIT HANDLER FOR 1146 SET tidemark_carried = TRUE;
${ask}
END;
IF tidemark_carried THEN
${work}
END IF;
END`;
}

/** Was the table renamed, so that what was looked at is another one, which has its name now? Costs more than that look. */
function isNamedOtherwise(table: string): string {
  const name = triggerName(table, "UPDATE");
  const own = [name, standInName(name)].map(quoteText).join(", ");
  return `NOT EXISTS (SELECT 1 FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE = ${quoteText(table)} AND TRIGGER_NAME IN (${own}))`;
}

function captured(column: LayoutColumn, prefix: string): string {
  return captureExpression(column, `${prefix}.${quoteName(column.name)}`);
}

/** Do these columns hold in NEW what they hold in OLD? */
export function sameBytes(names: readonly string[]): string {
  return names
    .map((name) => sameValue(`OLD.${quoteName(name)}`, `NEW.${quoteName(name)}`))
    .join(" AND ");
}

/**
 * Byte by byte: under the column's collation 'a' and 'A' would be the same, but the target keeps them apart. And as
 * they are: a FLOAT has more digits than it prints.
 */
function sameValue(one: string, other: string): string {
  return `CAST(${one} AS BINARY) <=> CAST(${other} AS BINARY) AND ${isEqual(one, other)}`;
}

/** As a condition by itself `<=>` holds the TIMESTAMP(6) of a row and of OLD for unequal (MariaDB 10.11). */
export function isEqual(one: string, other: string): string {
  return `(${one} <=> ${other}) IS TRUE`;
}

/**
 * One `t` or `f` for each filter. A filter that gives NULL does not hold. The line break ends a comment at
 * the end of a filter.
 */
export function filterFlags(filters: readonly string[]): string {
  if (filters.length === 0) return "''";
  return `CONCAT(${filters.map((filter) => `IF((${withPlainComments(filter)}\n), 't', 'f')`).join(", ")})`;
}

/** A comment, or what may hold the signs of one. What stands in a comment that begins with an exclamation mark is run. */
const TEXT_OR_COMMENT =
  /'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`[^`]*`|(--(?=\s|$)[^\n]*|#[^\n]*|\/\*(?!!|M!).*?\*\/)/gsu;

/** MySQL keeps no trigger with a character of four bytes outside of its texts (error 3507). */
function withPlainComments(filter: string): string {
  return filter.replace(TEXT_OR_COMMENT, (found: string, comment: string | undefined) =>
    comment === undefined ? found : comment.replace(/[\u{10000}-\u{10ffff}]/gu, "?"),
  );
}

/** Every column that a row's text or its filters need. */
export function namedColumns(layout: StoredLayout): readonly string[] {
  return [...new Set([...layout.columns.map(({ name }) => name), ...layout.filterColumns])];
}

/** A row without columns is no row: then the key, which costs least. */
function filterColumns(layout: StoredLayout): readonly string[] {
  if (layout.filterColumns.length > 0) return layout.filterColumns;
  return layout.columns.slice(0, 1).map((column) => column.name);
}

/** Fails where a filter would fail inside the trigger, without touching a row. */
export function filterCheck(layout: StoredLayout): string {
  return filterCheckOver(layout, layout.filters, filterColumns(layout));
}

/** Fails where one of these would of a row that has these columns alone. */
export function filterCheckOver(
  { table: { name } }: StoredLayout,
  filters: readonly string[],
  columns: readonly string[],
): string {
  const row = columns.length === 0 ? "1" : columns.map(quoteName).join(", ");
  const table = quoteName(name);
  return `SELECT ${filterFlags(filters)} FROM (SELECT ${row} FROM ${table} LIMIT 0) AS ${table}`;
}
