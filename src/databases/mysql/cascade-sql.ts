import type { LayoutColumn } from "../../core/change.ts";
import { sha256 } from "../../core/hash.ts";
import {
  ANY_SIZE,
  askCarriedOut,
  filterFlags,
  ifCarriedOut,
  isEqual,
  logUnknown,
  MISSING,
  namedColumns,
  sameBytes,
  type TriggerFlavour,
  unlessMissing,
} from "./capture-sql.ts";
import { captureExpression } from "./captured-text.ts";
import {
  type CascadeEvent,
  type CascadeStep,
  flatten,
  forbidding,
  NO_UPDATES,
  reached,
  stepsFrom,
  unsupported,
} from "./cascades.ts";
import { quoteName, quoteText } from "./identifiers.ts";
import { withOwnIds } from "./insert-id.ts";
import { begin, beginOnce, endBody, forget } from "./latecomers-sql.ts";
import type { StoredLayout } from "./layouts.ts";
import { LOG, PREFIX } from "./ours.ts";
import {
  ALL_ROWS,
  fromPath,
  type Hold,
  type Reference,
  VERSIONED_OTHERWISE,
} from "./references.ts";
import { followTogether, leftIn, type Meeting, unlessEarlier } from "./several-keys-sql.ts";

export function cascadeTriggerName(table: string, event: CascadeEvent): string {
  return `${PREFIX}${sha256("trigger", table).slice(0, 16)}_cascade_${event.toLowerCase()}`;
}

/** A deletion is logged before it is carried out, while the rows are there; a change of keys afterwards. */
export const CASCADE_WHEN: Readonly<Record<CascadeEvent, string>> = {
  DELETE: "BEFORE DELETE",
  DELETED: "AFTER DELETE",
  UPDATE: "AFTER UPDATE",
};

export interface CascadeTrigger {
  readonly table: string;
  readonly event: CascadeEvent;
  readonly steps: readonly CascadeStep[];
  readonly references: readonly Reference[];
  /** Of the table; empty where it has none that is whole columns. */
  readonly primaryKey: readonly string[];
  /** The captured tables by name. */
  readonly layouts: ReadonlyMap<string, StoredLayout>;
  readonly flavour: TriggerFlavour;
}

/** Actions run only while the session has foreign key checks on. */
export function cascadeBody(trigger: CascadeTrigger): string {
  const isEnd = trigger.event === "DELETED";
  return withOwnIds(isEnd ? endBody(trigger) : actionsBody(trigger), trigger.flavour);
}

function actionsBody(trigger: CascadeTrigger): string {
  const { event, steps, layouts, flavour } = trigger;
  const known = { layouts, flavour, all: flatten(steps) };
  const work = [
    event === "DELETE" ? begin(trigger) : "",
    // A row may lose its reference by one key and be deleted by another, on whatever level: then it is gone.
    ...steps.map((step) => nullingText(step, known)),
    ...steps.map((step) => stepText(step, known)),
  ].join("\n");
  const reachedLayouts = flatten(steps).flatMap((step) => layouts.get(reached(step)) ?? []);
  const unknown = [...new Set(reachedLayouts)].map((layout) => `${logUnknown(layout)};`);
  return `BEGIN
DECLARE tidemark_found BOOLEAN DEFAULT FALSE;
DECLARE tidemark_acts BOOLEAN DEFAULT @@foreign_key_checks;
DECLARE ${MISSING} BOOLEAN DEFAULT FALSE;
DECLARE EXIT HANDLER FOR 1054, ${VERSIONED_OTHERWISE} BEGIN
${unknown.join("\n")}
END;
${ANY_SIZE}
${event === "DELETE" ? [forget(trigger), ...forbidden(trigger)].join("\n") : ""}
IF tidemark_acts THEN
${work}
END IF;
IF ${MISSING} AND EXISTS (${strangers(trigger)}) THEN
${unknown.join("\n")}
END IF;
END`;
}

/**
 * Foreign keys of tables that are not known, to one of those that rows go from: a table that was dropped has none
 * any more, but one that was renamed has.
 */
function strangers({ table, steps, references }: CascadeTrigger): string {
  const list = (names: readonly string[]) => [...new Set(names)].map(quoteText).join(", ");
  return `SELECT 1 FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = DATABASE() AND REFERENCED_TABLE_NAME IN (${list([table, ...flatten(steps).map(reached)])}) AND TABLE_NAME NOT IN (${list(references.map(({ child }) => child))})`;
}

interface Known extends Pick<CascadeTrigger, "layouts" | "flavour"> {
  readonly all: readonly CascadeStep[];
}

/** What this step, or those further on, set to NULL. */
function nullingText(step: CascadeStep, known: Known): string {
  if (step.effect === "nulled") {
    const layout = known.layouts.get(reached(step));
    return layout === undefined ? "" : loop(step, layout, known);
  }
  const parts = step.further.map((each) => nullingText(each, known));
  const more = step.again === null ? "" : nullingText(step.again, known);
  if (more !== "") {
    const rows = `SELECT 1 FROM ${fromPath(step.path, "OLD")} LOCK IN SHARE MODE`;
    parts.push(unlessMissing(`IF EXISTS (${rows}) THEN\n${more}\nEND IF;`));
  }
  return parts.filter((text) => text !== "").join("\n");
}

/**
 * Rows further on go first, so that nothing refers to a row that is logged as gone; and they follow,
 * so that they refer to a row that is logged.
 */
function stepText(step: CascadeStep, known: Known): string {
  if (step.effect === "nulled") return "";
  const { layouts, flavour } = known;
  const layout = layouts.get(reached(step));
  const parts = step.further.map((each) => stepText(each, known));
  const own = layout === undefined ? [] : [loop(step, layout, known)];
  if (step.effect === "rekeyed") parts.unshift(...own);
  else parts.push(...own);
  if (step.again !== null) {
    const more = stepText(step.again, known);
    parts.push(layout === undefined ? more : `IF tidemark_found THEN\n${more}\nEND IF;`);
  }
  const text = parts.join("\n");
  if (step.effect !== "rekeyed" || step.path.length > 1) return text;
  const referred = (step.path[0]?.pairs ?? []).map(([, column]) => column);
  const parent = step.path[0]?.parent ?? "";
  // Those columns are unique: see checkReferred in capture.ts.
  const versions = layouts.get(parent)?.versions;
  if (!flavour.runsForPassedOver) return `IF NOT (${sameBytes(referred)}) THEN\n${text}\nEND IF;`;
  const question = askCarriedOut(parent, { key: referred, columns: referred, versions }, flavour);
  return `IF NOT (${sameBytes(referred)}) THEN\n${ifCarriedOut([question], text)};\nEND IF;`;
}

/**
 * One plain INSERT for each row: see triggerBody. The rows are locked when the cursor is opened, so that no one
 * changes them between here and the action.
 */
function loop(step: CascadeStep, layout: StoredLayout, { layouts, flavour, all }: Known): string {
  const held = new Map<string, string>();
  const instants = new Set<string>();
  const hold: Hold = (value, table = "", column = "") => {
    if (flavour.cursorsKnowRow) return value;
    const hash = sha256("held", step.path[0]?.parent ?? "", value).slice(0, 16);
    const isInstant = typeOf(layouts.get(table), column) === "timestamptz";
    const name = `${isInstant ? "" : "@"}${PREFIX}held_${hash}`;
    if (isInstant) instants.add(name);
    held.set(name, `SET ${name} = ${value};`);
    return name;
  };
  const op = step.effect === "deleted" ? "D" : "U";
  const filtered = step.effect !== "deleted" && layout.filters.length > 0;
  const flags = filtered ? filterFlags(layout.filters) : "''";
  const unknown = `'${"e".repeat(layout.filters.length)}'`;
  const query = (answers: string) => rowsQuery(layout, { step, all, hold }, answers);
  const cursors = `DECLARE tidemark_rows CURSOR FOR ${query(flags)};
${filtered ? `DECLARE tidemark_blind_rows CURSOR FOR ${query(unknown)};\n` : ""}DECLARE CONTINUE HANDLER FOR NOT FOUND SET tidemark_done = TRUE;`;
  return `BEGIN
DECLARE tidemark_key LONGTEXT CHARACTER SET utf8mb4;
DECLARE tidemark_row LONGTEXT CHARACTER SET utf8mb4;
DECLARE tidemark_filters VARCHAR(255) CHARACTER SET utf8mb4;
DECLARE tidemark_done BOOLEAN DEFAULT FALSE;
${[...instants].map((name) => `DECLARE ${name} TIMESTAMP(6);\n`).join("")}${filtered ? "DECLARE tidemark_blind BOOLEAN DEFAULT FALSE;\n" : ""}${cursors}
${[...held.values(), "SET tidemark_found = FALSE;"].join("\n")}
${unlessMissing(filtered ? OPEN_EITHER : "OPEN tidemark_rows;", ", tidemark_done = TRUE")}
IF NOT tidemark_done THEN
tidemark_each: LOOP
${filtered ? `IF tidemark_blind THEN ${fetch("tidemark_blind_rows")} ELSE ${fetch("tidemark_rows")} END IF;` : fetch("tidemark_rows")}
IF tidemark_done THEN LEAVE tidemark_each; END IF;
SET tidemark_found = TRUE;
${step.effect === "rekeyed" ? "" : beginOnce({ table: step.path[0]?.parent ?? "" })}
INSERT INTO ${quoteName(LOG)} (at, layout, op, key_before, row_after, filters, origin) VALUES (UTC_TIMESTAMP(6), ${layout.id}, '${op}', tidemark_key, tidemark_row, tidemark_filters, @tidemark_origin);
END LOOP;
${filtered ? "IF tidemark_blind THEN CLOSE tidemark_blind_rows; ELSE CLOSE tidemark_rows; END IF;" : "CLOSE tidemark_rows;"}
END IF;
END;`;
}

/** In a user variable a TIMESTAMP would be the text of the session's time zone, which an hour each year has twice. */
const typeOf = (layout: StoredLayout | undefined, column: string) =>
  layout?.columns.find(({ name }) => name === column)?.type.kind;

const fetch = (cursor: string) =>
  `FETCH ${cursor} INTO tidemark_key, tidemark_row, tidemark_filters;`;

/**
 * Rows are read, and conditions evaluated, when a cursor is opened. One that raises an error must not make
 * the application's statement fail: then no row's answer is known.
 */
const OPEN_EITHER = `BEGIN
DECLARE EXIT HANDLER FOR SQLEXCEPTION SET tidemark_blind = TRUE;
OPEN tidemark_rows;
END;
IF tidemark_blind THEN OPEN tidemark_blind_rows; END IF;`;

/** Key before, row after and filters of each row that the action meets, as the row then is. */
function rowsQuery(layout: StoredLayout, meeting: Meeting, flags: string): string {
  const { step, hold } = meeting;
  const { effect, path } = step;
  const last = `t${path.length}`;
  const cells = namedColumns(layout).map((name) => {
    const value = effect === "nulled" ? leftIn(name, last, meeting) : `${last}.${quoteName(name)}`;
    return `${value} AS ${quoteName(name)}`;
  });
  const table = quoteName(layout.table.name);
  const row = layout.columns.map((column) =>
    captured(column, `${table}.${quoteName(column.name)}`),
  );
  const gone = effect === "deleted";
  const columns = [
    keyBefore(step, layout, hold),
    // Empty where there is none (see json-room.ts): as what could not be read.
    gone ? "''" : `COALESCE(JSON_ARRAY(${row.join(", ")}), '')`,
    flags,
  ];
  const side = effect === "rekeyed" ? "NEW" : "OLD";
  const others = effect === "nulled" ? unlessEarlier(last, meeting) : "";
  return `SELECT ${columns.join(", ")} FROM (SELECT ${cells.join(", ")} FROM ${fromPath(path, side, hold)}${others} LOCK IN SHARE MODE) AS ${table} LIMIT ${ALL_ROWS}`;
}

function keyBefore(step: CascadeStep, layout: StoredLayout, hold: Hold): string {
  const table = quoteName(layout.table.name);
  const origins = step.effect === "rekeyed" ? originColumns(step) : new Map<string, string>();
  const key = layout.key.flatMap((index) => layout.columns[index] ?? []);
  if (step.effect !== "deleted" && !key.some(({ name }) => origins.has(name))) return "NULL";
  const parts = key.map((column) => {
    const origin = origins.get(column.name);
    if (origin !== undefined) return hold(captured(column, `OLD.${quoteName(origin)}`));
    return captured(column, `${table}.${quoteName(column.name)}`);
  });
  return `JSON_ARRAY(${parts.join(", ")})`;
}

/** For each column that the action has changed: the column of the origin whose value it took. */
function originColumns({ path }: CascadeStep): ReadonlyMap<string, string> {
  let origins = new Map<string, string>();
  for (const [i, { pairs }] of path.entries()) {
    const before = origins;
    origins = new Map();
    for (const [column, referred] of pairs) {
      const origin = i === 0 ? referred : before.get(referred);
      if (origin !== undefined) origins.set(column, origin);
    }
  }
  return origins;
}

/**
 * Where another foreign key forbids the deletion, nothing is deleted: the statement fails, and what
 * is logged here with it, but for DELETE IGNORE, which goes on to the next row.
 */
function forbidden({ table, references }: CascadeTrigger): string[] {
  // Through tables that lead to no captured one, too: what they forbid is forbidden.
  const all = new Set(references.map(({ child }) => child));
  const steps = stepsFrom(table, "DELETE", references, all);
  return forbidding(table, flatten(steps), references).map(([path, reference]) => {
    const query = fromPath([...path, reference], "OLD");
    const found = `SELECT 1 FROM ${query}${notItself(table, path, reference)} LOCK IN SHARE MODE`;
    return unlessMissing(`IF EXISTS (${found}) THEN SET tidemark_acts = FALSE; END IF;`);
  });
}

/** A row may refer to itself and still be deleted. */
function notItself(table: string, path: readonly Reference[], { child, pairs }: Reference): string {
  if (path.length > 0 || child !== table) return "";
  const same = pairs.map(([, referred]) =>
    isEqual(`t1.${quoteName(referred)}`, `OLD.${quoteName(referred)}`),
  );
  return ` AND NOT (${same.join(" AND ")})`;
}

function captured(column: LayoutColumn, reference: string): string {
  return captureExpression(column, reference);
}

/** Throws TM-TABLE-UNSUPPORTED where the row that an action leaves behind cannot be told. */
export function checkSteps({ steps, layouts }: CascadeTrigger): void {
  const all = flatten(steps);
  for (const step of all) {
    const layout = layouts.get(reached(step));
    if (layout === undefined) continue;
    const { name } = layout.table;
    const reference = step.path.at(-1);
    if (step.effect === "nulled" && layout.columns.some(({ generated }) => generated)) {
      throw unsupported(name, reference, "it has generated columns, which SET NULL may change");
    }
    const twice = all.filter((each) => reached(each) === name && each.effect === "rekeyed");
    const inKey = layout.key.some((index) =>
      originColumns(step).has(layout.columns[index]?.name ?? ""),
    );
    if (step.effect !== "rekeyed" || !inKey || twice.length === 1) continue;
    if (!followTogether(twice, layout)) {
      throw unsupported(name, reference, "several foreign keys change its key at once", NO_UPDATES);
    }
  }
}
