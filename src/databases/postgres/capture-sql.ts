import {
  insertGone,
  insertHidden,
  insertWritten,
  isHidden,
  SEES_ALL,
  TRIGGERS_TABLE,
} from "./capture-current.ts";
import {
  type CaptureSpec,
  equalKeys,
  filterText,
  functionName,
  keyChanged,
  keyColumns,
  keyText,
  letters,
  printTheSame,
  qualified,
  rowAlias,
  rowText,
  standingRowText,
} from "./capture-row.ts";
import { quoteIdentifier, quoteList, quoteTable } from "./identifiers.ts";
import {
  insertByName,
  insertInto,
  insertPerSlot,
  isSlot,
  SHARE_WAKE_LOCK,
  WAKE,
  WAKE_IF_LOGGED,
} from "./log-insert.ts";
import { LOG_TABLES } from "./ours.ts";
import { partitionFunctionName, truncatingSetting } from "./partitions.ts";
import { conditionSettings, functionSettings, settingsFit, underSettings } from "./settings.ts";
import type { Shape } from "./shape.ts";

/** A function of ours: a trigger's, where nothing else is said. */
interface CaptureFunction {
  readonly name: string;
  readonly body: string;
  readonly signature?: string;
}

/** The functions, `CREATE OR REPLACE`: needs no lock on the table. */
export function functionStatements(spec: CaptureSpec): readonly string[] {
  const set = functionSettings(spec);
  return captureFunctions(spec).flatMap(({ name, body, signature = TRIGGER_FUNCTION }) => [
    // What is called by a trigger runs with the trigger's rights and settings.
    createFunction(
      `${qualified(name)}${signature}`,
      body,
      signature === TRIGGER_FUNCTION
        ? ["SECURITY DEFINER", ...set.map((each) => `SET ${each}`)]
        : [],
    ),
    `REVOKE ALL ON FUNCTION ${qualified(name)}${signature.replace(/ RETURNS.*/, "")} FROM PUBLIC`,
  ]);
}

/** For a table whose key is gone: each logs that something was written, without what. */
export function blindFunctions(spec: CaptureSpec): readonly string[] {
  const source = body(`${insertPerSlot(`VALUES ('${spec.layout}U', NULL)`)}\n${WAKE}`);
  return triggerFunctions({ ...spec, key: [], columns: [] }).map(({ name }) =>
    createFunction(`${qualified(name)}${TRIGGER_FUNCTION}`, source, ["SECURITY DEFINER"]),
  );
}

const TRIGGER_FUNCTION = "() RETURNS trigger";
const FILTER_FUNCTION = "(tidemark_given record) RETURNS text";

/** By name, to see whether those installed are these. */
export function functionBodies(spec: CaptureSpec): ReadonlyMap<string, string> {
  return new Map(captureFunctions(spec).map(({ name, body }) => [name, body]));
}

function captureFunctions(spec: CaptureSpec): readonly CaptureFunction[] {
  return [...filterFunctions(spec), ...triggerFunctions(spec)];
}

/**
 * A condition that raises an error must not make the application's statement fail: its letter is `e`. The
 * row comes as a record, since a function of the table's own type would forbid to drop the table. Columns
 * become variables: then a condition is a plain expression, and no query is run for it.
 */
function filterFunctions(spec: CaptureSpec): readonly CaptureFunction[] {
  const { oid, filters, filterColumns } = spec;
  if (filters.length === 0) return [];
  const variables = filterColumns.map(
    ({ name, nativeType }) =>
      `${quoteIdentifier(name)} ${nativeType} := tidemark_given.${quoteIdentifier(name)};`,
  );
  const each = filters.map(
    (filter) => `BEGIN
DECLARE
${variables.join("\n")}
BEGIN
tidemark_letters := tidemark_letters || ${filterText(filter)};
END;
EXCEPTION WHEN OTHERS THEN
tidemark_letters := tidemark_letters || 'e';
END;`,
  );
  // The settings are those of the trigger that calls it. They stand here too, so that one made without them is replaced.
  const source = `
-- ${conditionSettings(spec).join(", ")}
#variable_conflict use_column
DECLARE
tidemark_letters pg_catalog.text := '';
BEGIN
${each.join("\n")}
RETURN tidemark_letters;
END
`;
  return [{ name: functionName(oid, "filters"), body: source, signature: FILTER_FUNCTION }];
}

/** Statement triggers have a function each, so that none need ask which one fired. */
function triggerFunctions(spec: CaptureSpec): readonly CaptureFunction[] {
  const { oid } = spec;
  if (spec.shape !== "statement") {
    const row = { name: functionName(oid), body: rowBody(spec) };
    if (!spec.partitioned) return [row];
    return [row, { name: partitionFunctionName(oid), body: partitionBody(spec) }];
  }
  return [
    { name: functionName(oid, "insert"), body: writeBody(spec, "I") },
    { name: functionName(oid, "update"), body: writeBody(spec, "U") },
    { name: functionName(oid, "delete"), body: deleteBody(spec) },
    { name: functionName(oid, "key"), body: keyBody(spec) },
    { name: functionName(oid, "truncate"), body: body(`${truncateInsert(spec)}\n${WAKE}`) },
  ];
}

/** A trigger of ours, and the function it runs. */
export interface CaptureTrigger {
  readonly runs: string;
  readonly create: string;
}

/**
 * Triggers by name. The key's trigger costs nothing while statements do not set the key (a table
 * with triggers that could change it on the way has the row shape). Row triggers have a name
 * that sorts first, before foreign keys' and the application's.
 */
export function captureTriggers(spec: CaptureSpec): ReadonlyMap<string, CaptureTrigger> {
  const table = quoteTable(spec.table);
  const statement = spec.shape === "statement";
  const trigger = (name: string, event: string, when: string) => {
    const runs = functionName(spec.oid, statement ? event : undefined);
    const create = `CREATE TRIGGER ${quoteIdentifier(name)} ${when} EXECUTE FUNCTION ${qualified(runs)}()`;
    return [name, { runs, create }] as const;
  };
  const truncate = trigger(
    "tidemark_truncate",
    "truncate",
    `AFTER TRUNCATE ON ${table} FOR EACH STATEMENT`,
  );
  if (!statement) {
    const when = `AFTER INSERT OR UPDATE OR DELETE ON ${table} FOR EACH ROW`;
    const before = trigger(
      "tidemark_truncating",
      "truncating",
      `BEFORE TRUNCATE ON ${table} FOR EACH STATEMENT`,
    );
    const row = trigger(ROW_TRIGGER, "row", when);
    return new Map([row, ...(spec.partitioned ? [before] : []), truncate]);
  }
  const each = (event: string, rows: string) =>
    trigger(
      `tidemark_${event}`,
      event,
      `AFTER ${event.toUpperCase()} ON ${table} REFERENCING ${rows} FOR EACH STATEMENT`,
    );
  return new Map([
    each("insert", "NEW TABLE AS tidemark_new"),
    each("update", "NEW TABLE AS tidemark_new"),
    each("delete", "OLD TABLE AS tidemark_old"),
    trigger(
      "tidemark_key",
      "key",
      `AFTER UPDATE OF ${quoteList(spec.key)} ON ${table} FOR EACH ROW WHEN (${keyChanged(spec)})`,
    ),
    truncate,
  ]);
}

const ROW_TRIGGER = "!tidemark_row";

/** The triggers that each shape cannot do without. */
export function triggerNames(shape: Shape): readonly string[] {
  if (shape !== "statement") return [ROW_TRIGGER, "tidemark_truncate"];
  return [
    "tidemark_insert",
    "tidemark_update",
    "tidemark_delete",
    "tidemark_key",
    "tidemark_truncate",
  ];
}

/**
 * Statement shape. Rows of a key change are logged by row triggers, which all run before any
 * statement trigger: first all old keys go, then the rows come, so keys may be swapped in a statement.
 */
function writeBody(spec: CaptureSpec, op: "I" | "U"): string {
  const alias = rowAlias(spec);
  return statementBody(
    spec,
    spec.columns.map(({ name }) => name),
    `SELECT '${spec.layout}${op}', ${letters(spec, alias)}${rowText(spec, alias)} FROM tidemark_new ${alias}`,
  );
}

/**
 * One statement may delete rows and write others under their keys, by data-modifying WITH, and what it writes may be
 * logged first: the triggers run in the order in which its parts end. So where this transaction has written
 * the table, a key that stands is not logged as gone; where it stands in another print, its row is logged once more,
 * since a target may take both keys for one. The server's counters tell, as long as it counts
 * (the manual, "Viewing Statistics"); to look for each key costs.
 */
function deleteBody(spec: CaptureSpec): string {
  const alias = rowAlias(spec);
  const gone = `SELECT '${spec.layout}D', ${keyText(spec, alias)} FROM tidemark_old ${alias}`;
  const standing = `${alias}_standing`;
  const written = ["inserted", "updated"]
    .map((event) => `pg_catalog.pg_stat_get_xact_tuples_${event}(${spec.oid}::pg_catalog.oid)`)
    .join(" OPERATOR(pg_catalog.+) ");
  const isCounting = "pg_catalog.current_setting('track_counts') OPERATOR(pg_catalog.=) 'on'";
  const [equal, same] = [equalKeys, printTheSame].map((of) => of(spec, standing, alias));
  return statementBody(spec, spec.key, gone, {
    usual: `${written} OPERATOR(pg_catalog.=) 0 AND ${isCounting}`,
    insert: [
      `IF ${isHidden(TRIGGERS_TABLE, keyColumns(spec))} THEN\n${insertHidden(spec, TRIGGERS_TABLE)}\nELSE`,
      insertByName([
        `${gone} WHERE NOT EXISTS (SELECT FROM ONLY`,
        `${standing} WHERE ${equal} AND ${same})`,
      ]),
      insertByName([
        `SELECT '${spec.layout}U', ${letters(spec, standing)}${standingRowText(spec, standing)} FROM tidemark_old ${alias} JOIN ONLY`,
        `${standing} ON ${equal} WHERE NOT ${same}`,
      ]),
      "END IF;",
    ].join("\n"),
  });
}

/** How rows are logged where something is not as it usually is. */
interface Unusual {
  readonly usual: string;
  readonly insert: string;
}

/**
 * Logs rows that print these columns. Each expression costs every call, so one asks for all that
 * is usual: the wake lock, and a session that prints as the log does. Those of the other log tables are
 * false when planned.
 */
function statementBody(
  spec: CaptureSpec,
  names: readonly string[],
  rows: string,
  unusual?: Unusual,
): string {
  const usual = [
    SHARE_WAKE_LOCK,
    ...settingsFit(spec, names),
    ...(unusual === undefined ? [] : [unusual.usual]),
  ].join(" AND ");
  const branches = LOG_TABLES.map(
    (slot) =>
      `${slot === 0 ? "IF" : "ELSIF"} ${isSlot(slot)} AND ${usual} THEN\n${insertInto(slot, rows)}`,
  );
  const insert =
    unusual === undefined
      ? insertPerSlot(rows)
      : `IF ${unusual.usual} THEN
${insertPerSlot(rows)}
ELSE
${unusual.insert}
${WAKE}
END IF;`;
  return body(`${branches.join("\n")}
ELSE
${underSettings(spec, names, insert)}
${WAKE_IF_LOGGED}
END IF;`);
}

function keyBody(spec: CaptureSpec): string {
  const insert = insertPerSlot(`VALUES ('${spec.layout}K', ${keyText(spec, "OLD")})`);
  return body(`${underSettings(spec, spec.key, insert)}\n${WAKE}`);
}

function rowBody(spec: CaptureSpec): string {
  const current = spec.shape === "row-current";
  const gone = (op: string) =>
    current
      ? insertGone(spec, op)
      : insertPerSlot(`SELECT '${spec.layout}${op}', ${keyText(spec, "OLD")}`);
  return body(`IF TG_OP = 'DELETE' THEN
${gone("D")}
ELSIF TG_OP = 'TRUNCATE' THEN
${spec.partitioned ? markTruncating(spec) : ""}${truncateInsert(spec)}
ELSE
IF TG_OP = 'UPDATE' THEN
IF ${keyChanged(spec)} THEN
${gone("K")}
END IF;
END IF;
${current ? insertWritten(spec) : newRowInsert(spec)}
END IF;
${WAKE}`);
}

function newRowInsert(spec: CaptureSpec): string {
  return insertPerSlot(
    `VALUES ('${spec.layout}' || left(TG_OP, 1), ${letters(spec, "NEW")}${rowText(spec, "NEW")})`,
  );
}

/** The triggers of the partitions come between. */
function markTruncating({ oid }: CaptureSpec): string {
  const set = (value: string) =>
    `PERFORM set_config('${truncatingSetting(oid)}', '${value}', true);`;
  return `IF TG_WHEN = 'BEFORE' THEN
${set("on")}
RETURN NULL;
END IF;
${set("off")}
`;
}

/**
 * The rows that go are logged, as far as this transaction sees them: one with one snapshot for all its statements does
 * not see what others have added since, so it says that some may have gone beside.
 */
function partitionBody(spec: CaptureSpec): string {
  const alias = rowAlias(spec);
  const rows = `SELECT '${spec.layout}P', ${keyText(spec, alias)} FROM`;
  return body(`IF current_setting('${truncatingSetting(spec.oid)}', true) = 'on' THEN
RETURN NULL;
END IF;
IF ${isHidden(TRIGGERS_TABLE)} THEN
${insertHidden(spec, TRIGGERS_TABLE)}
ELSE
${insertByName([rows, alias])}
END IF;
IF NOT ${SEES_ALL} AND pg_relation_size(TG_RELID) > 0 THEN
${insertPerSlot(`VALUES ('${spec.layout}X', NULL)`)}
END IF;
${WAKE}`);
}

function truncateInsert(spec: CaptureSpec): string {
  return insertPerSlot(`VALUES ('${spec.layout}T', NULL)`);
}

/** The value returned is not looked at; a variable costs less than an expression. */
function body(work: string): string {
  return `
#variable_conflict use_column
BEGIN
${work}
RETURN NEW;
END
`;
}

function createFunction(signature: string, source: string, clauses: readonly string[]): string {
  let tag = "$tidemark$";
  while (source.includes(tag)) tag = `${tag.slice(0, -1)}_$`;
  return `CREATE OR REPLACE FUNCTION ${signature} LANGUAGE plpgsql
${clauses.map((each) => `${each}\n`).join("")}AS ${tag}${source}${tag}`;
}
