import type { Finding } from "../../core/database.ts";
import { resyncCommand } from "../../core/shell.ts";
import type { CaptureTable } from "../../core/source.ts";
import { formatTable, type TableName } from "../../core/table.ts";
import type { TargetTable } from "../../core/target.ts";
import { describeTrigger } from "../../core/trigger-text.ts";
import { notFiring, whatBroke } from "./capture-broken.ts";
import { prepareCaptures, type TableCapture } from "./capture-plan.ts";
import { type FoundTable, findTables, tableKey } from "./catalog.ts";
import type { Connection } from "./connection.ts";
import { captureBroken, shapeBroken } from "./drift.ts";
import { quoteIdentifier, quoteTable } from "./identifiers.ts";
import { loadLayouts, loadTableStates, type StoredLayout } from "./layouts.ts";
import { logFault, missingSourceObjects } from "./ours.ts";
import { postponeFindings } from "./references.ts";
import { hiddenTables } from "./row-security.ts";
import { formatArrayText } from "./row-text.ts";
import { sequenceFindings } from "./sequences.ts";
import { chooseShapes } from "./shape.ts";
import { targetTriggers } from "./target-triggers.ts";
import { lookAtTriggers } from "./trigger-watch.ts";
import { columnsStand, uncarriedLayouts } from "./uncarried.ts";

/** A transaction older than this holds back its own changes, and the space of the log. */
const OLD_TRANSACTION = "1 hour";

export async function diagnoseSource(
  connection: Connection,
  tables: readonly CaptureTable[],
): Promise<readonly Finding[]> {
  const names = tables.map((table) => table.schema.name);
  const found = await findTables(connection, names);
  const findings = [
    ...(await serverFindings(connection)),
    ...(await transactionFindings(connection)),
    ...missingTables(names, found),
    ...(await rightsFindings(connection, [...found.values()], ["SELECT", "TRIGGER"])),
    ...(await tableFindings(connection, [...found.values()])),
  ];
  const standing = tables.filter((table) => found.has(tableKey(table.schema.name)));
  for (const table of tables) if (table.schema.key.length === 0) findings.push(noKey(table));
  return [...findings, ...(await captureFindings(connection, standing))];
}

export async function diagnoseTarget(
  connection: Connection,
  tables: readonly TargetTable[],
): Promise<readonly Finding[]> {
  const found = await findTables(
    connection,
    tables.map((table) => table.name),
  );
  const standing = [...found.values()];
  return [
    ...(await serverFindings(connection)),
    ...(await createFindings(connection)),
    ...(await rightsFindings(connection, standing, ["SELECT", "INSERT", "UPDATE", "DELETE"])),
    ...(await rowSecurityFindings(connection, standing)),
    ...(await targetTriggerFindings(connection, tables, found)),
    ...(await sequenceFindings(
      connection,
      standing.map(({ name }) => name),
    )),
    ...(await postponeFindings(
      connection,
      standing.map(({ oid }) => oid),
    )),
  ];
}

async function serverFindings(connection: Connection): Promise<Finding[]> {
  const [row] = await connection.rows(
    `SELECT pg_is_in_recovery(), pg_backend_pid(), current_setting('fsync'),
            current_setting('full_page_writes'), current_setting('server_version')`,
  );
  const [standby, pid, fsync, fullPages, version] = row ?? [];
  const findings: Finding[] = [ok("server-version", `PostgreSQL ${version}.`)];
  if (standby === "t") {
    findings.push({
      check: "server-standby",
      severity: "error",
      message:
        "The server is a standby: it cannot be written, and it orders commits unlike its primary.",
      fix: "Point the URL at the primary.",
    });
  }
  if (connection.processId !== null && String(connection.processId) !== pid) {
    findings.push({
      check: "connection-pooler",
      severity: "error",
      message:
        "A pooler stands between: in transaction mode it breaks leases, prepared statements and wake-ups.",
      fix: "Point the URL at the server itself, or at a pool in session mode.",
    });
  }
  if (fsync === "off" || fullPages === "off") {
    findings.push({
      check: "server-durability",
      severity: "warning",
      message:
        "fsync or full_page_writes is off: after a power cut the server may have lost what was committed.",
      fix: "ALTER SYSTEM SET fsync = on; ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf();",
    });
  }
  return findings;
}

async function transactionFindings(connection: Connection): Promise<Finding[]> {
  const [row] = await connection.rows(
    `SELECT (SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND xact_start < clock_timestamp() - interval '${OLD_TRANSACTION}'),
            (SELECT count(*) FROM pg_prepared_xacts
             WHERE database = current_database() AND prepared < clock_timestamp() - interval '${OLD_TRANSACTION}'),
            current_setting('max_prepared_transactions')`,
  );
  const [old, prepared, mayPrepare] = (row ?? []).map(Number);
  const findings: Finding[] = [];
  if (old) {
    findings.push({
      check: "transaction-old",
      severity: "warning",
      message: `${old} transaction(s) are open for more than ${OLD_TRANSACTION}: their changes come when they end, and the log's space is kept for them.`,
      fix: "SELECT pid, xact_start, query FROM pg_stat_activity ORDER BY xact_start; SELECT pg_terminate_backend(<pid>);",
    });
  }
  if (prepared) {
    findings.push({
      check: "transaction-prepared",
      severity: "warning",
      message: `${prepared} prepared transaction(s) wait for more than ${OLD_TRANSACTION}.`,
      fix: "SELECT gid, prepared FROM pg_prepared_xacts; COMMIT PREPARED '<gid>' or ROLLBACK PREPARED '<gid>';",
    });
  }
  if (mayPrepare) {
    findings.push({
      check: "wake-up-by-polling",
      severity: "ok",
      message:
        "max_prepared_transactions is above 0: an idle relay looks ten times a second instead of being notified.",
    });
  }
  return findings;
}

function missingTables(
  names: readonly TableName[],
  found: ReadonlyMap<string, FoundTable>,
): Finding[] {
  return names
    .filter((name) => !found.has(tableKey(name)))
    .map((name) => ({
      check: "table-missing",
      severity: "error",
      message: `There is no table ${formatTable(name)}.`,
    }));
}

function noKey(table: CaptureTable): Finding {
  return {
    check: "table-key",
    severity: "warning",
    message: `${formatTable(table.schema.name)} has no primary key and no unique key of not-null columns: each update or delete reads the table at the target, and its copy is one snapshot.`,
    fix: `ALTER TABLE ${quoteTable(table.schema.name)} ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;`,
  };
}

async function rightsFindings(
  connection: Connection,
  tables: readonly FoundTable[],
  rights: readonly string[],
): Promise<Finding[]> {
  const rows = await connection.rows(
    `SELECT w.oid, p.name, current_user FROM unnest($1::oid[]) w(oid), unnest($2::text[]) p(name)
     WHERE NOT has_table_privilege(w.oid, p.name)`,
    [formatArrayText(tables.map((table) => table.oid)), formatArrayText(rights)],
  );
  const findings: Finding[] = [];
  for (const table of tables) {
    const missing = rows.filter(([oid]) => oid === table.oid);
    if (missing.length === 0) continue;
    const list = missing.map(([, right]) => right).join(", ");
    findings.push({
      check: "grant-missing",
      severity: "error",
      message: `The role lacks ${list} on ${formatTable(table.name)}.`,
      fix: `GRANT ${list} ON ${quoteTable(table.name)} TO ${quoteIdentifier(missing[0]?.[2] ?? "")};`,
    });
  }
  return findings;
}

async function createFindings(connection: Connection): Promise<Finding[]> {
  const [row] = await connection.rows(
    `SELECT to_regnamespace('tidemark') IS NOT NULL
         OR has_database_privilege(current_database(), 'CREATE'), current_user, current_database()`,
  );
  if (row?.[0] === "t") return [];
  const [, role, database] = row as string[];
  return [
    {
      check: "grant-missing",
      severity: "error",
      message: "The role may not create the schema tidemark.",
      fix: `GRANT CREATE ON DATABASE ${quoteIdentifier(database ?? "")} TO ${quoteIdentifier(role ?? "")};`,
    },
  ];
}

async function tableFindings(
  connection: Connection,
  tables: readonly FoundTable[],
): Promise<Finding[]> {
  const findings = await rowSecurityFindings(connection, tables);
  const states = await loadTableStates(
    connection,
    tables.map(({ oid }) => oid),
  );
  for (const table of tables) {
    const name = formatTable(table.name);
    if (states.get(table.oid)?.unlogged) {
      findings.push({
        check: "table-unlogged",
        severity: "error",
        message: `${name}, or a partition of it, is unlogged: a crash empties it without a trace in the change log.`,
        fix: `ALTER TABLE ${quoteTable(table.name)} SET LOGGED;`,
      });
    }
  }
  return findings;
}

async function rowSecurityFindings(
  connection: Connection,
  tables: readonly FoundTable[],
): Promise<Finding[]> {
  const oids = tables.map((table) => table.oid);
  return (await hiddenTables(connection, oids)).map(({ table, role }) => ({
    check: "row-security",
    severity: "error",
    message: `Row-level security hides rows of ${table} from the role.`,
    fix: `ALTER ROLE ${role} BYPASSRLS;`,
  }));
}

const CHECKS_OF_LOG: Readonly<Record<string, string>> = {
  "TM-LOG-VERSION": "log-version",
  "TM-SOURCE-REWOUND": "log-lost",
  "TM-SOURCE-CLONED": "log-cloned",
};

/** What stands of the capture, against what should. */
async function captureFindings(
  connection: Connection,
  tables: readonly CaptureTable[],
): Promise<Finding[]> {
  const fault = await logFault(connection);
  if (fault !== null) {
    const { code, message, fix } = fault;
    const check = CHECKS_OF_LOG[code] ?? "log";
    return [{ check, severity: "error", message, ...(fix !== undefined && { fix }) }];
  }
  const installed = (await missingSourceObjects(connection)).length === 0;
  if (!installed) {
    return [
      ...(await createFindings(connection)),
      ok("capture-installed", "The change log is not installed yet; the first run installs it."),
    ];
  }
  const findings: Finding[] = [];
  const [cache] = await connection.rows(
    `SELECT seqcache FROM pg_sequence WHERE seqrelid = 'tidemark.change_seq'::regclass`,
  );
  if (cache?.[0] !== "1") {
    findings.push({
      check: "sequence-cache",
      severity: "error",
      message:
        "The change log's sequence has a cache: sessions log later changes under earlier numbers.",
      fix: "ALTER SEQUENCE tidemark.change_seq CACHE 1;",
    });
  }
  const layouts = await loadLayouts(connection);
  const captured = new Map([...layouts.values()].map((layout) => [layout.oid, layout]));
  const captures = await prepareCaptures(connection, tables, true);
  for (const capture of captures) {
    const layout = captured.get(capture.spec.oid);
    findings.push(...tableCaptureFindings(capture, layout?.shape ?? null));
  }
  findings.push(...replicaFindings(captures));
  const carried = new Set(captures.map(({ spec }) => spec.oid));
  findings.push(
    ...(await uncarriedFindings(connection, uncarriedLayouts(layouts.values(), carried))),
  );
  return [...findings, ...(await orderFindings(connection, captures))];
}

/** Of tables that are captured all the same: nobody else would tell. */
async function uncarriedFindings(
  connection: Connection,
  layouts: readonly StoredLayout[],
): Promise<Finding[]> {
  const oids = layouts.map(({ oid }) => oid);
  const states = await loadTableStates(connection, oids);
  const shapes = await chooseShapes(connection, oids);
  const { touched } = await lookAtTriggers(connection, oids);
  return layouts.flatMap((layout): Finding[] => {
    const { oid } = layout;
    const [state, choice] = [states.get(oid), shapes.get(oid)];
    if (state === undefined || choice === undefined) return [];
    const name = formatTable(state.name);
    const check = "capture-uncarried";
    if (!columnsStand(layout, state.columns)) {
      const message = `${name} is captured, though no sync of this config carries it, and what names its columns fails, the application's writes with it: one was renamed, dropped or given another type.`;
      return [{ check, severity: "error", message, fix: "tidemark run: they go on." }];
    }
    const broken = whatBroke(layout, { oid, state, touched: touched.get(oid) ?? null, choice });
    if (broken === null) {
      return [ok(check, `${name} is captured, though no sync of this config carries it.`)];
    }
    const message = `Capture of ${name}, which no sync of this config carries, is broken: ${broken.what}.`;
    const fix = `Once it is in the config again: ${resyncCommand(name)}, then tidemark run.`;
    return [{ check: "trigger-broken", severity: "warning", message, fix }];
  });
}

/** Sessions that take themselves for replication (`session_replication_role`), as some loaders do. */
function replicaFindings(captures: readonly TableCapture[]): Finding[] {
  const silent = captures.filter(({ owned }) => !owned);
  if (silent.length === 0) return [];
  const refused = silent.map(notFiring).filter((error) => error !== null);
  const names = silent.map(({ spec }) => formatTable(spec.table)).join(", ");
  return [
    ...refused.map(({ message, fix = "" }) => ({
      ...{ check: "grant-missing", severity: "error" as const, message, fix },
    })),
    ok(
      "replica-sessions",
      `What a session with session_replication_role = replica writes is not captured of tables that the role does not own: ${names}.`,
    ),
  ];
}

function tableCaptureFindings(capture: TableCapture, shape: string | null): Finding[] {
  const name = formatTable(capture.spec.table);
  if (capture.broken !== null) {
    const { what, shape: ofShape } = capture.broken;
    const { message, fix } = ofShape
      ? shapeBroken(capture.spec.table, what)
      : captureBroken(name, `Capture of ${name} is broken: ${what}.`);
    const check = ofShape ? "capture-shape" : "trigger-broken";
    return [{ check, severity: "error", message, ...(fix === undefined ? {} : { fix }) }];
  }
  if (shape === null) {
    return [ok("capture-installed", `${name} is not captured yet; the next run begins.`)];
  }
  if (capture.functions.length > 0 || capture.isNewLayout) {
    return [
      {
        check: "capture-outdated",
        severity: "warning",
        message: `The columns, conditions or function of ${name} are not those captured.`,
        fix: "Start Tidemark again: it captures the table as it stands.",
      },
    ];
  }
  return [ok("capture-installed", `${name} is captured by shape ${shape}.`)];
}

/** Row triggers run in the order of their names: one before ours could write before we log. */
async function orderFindings(
  connection: Connection,
  captures: readonly TableCapture[],
): Promise<Finding[]> {
  const rows = await connection.rows(
    `SELECT t.tgrelid::oid, t.tgname FROM pg_trigger t
     JOIN pg_trigger ours ON ours.tgrelid = t.tgrelid AND ours.tgname = '!tidemark_row'
     WHERE t.tgrelid = ANY ($1::oid[]) AND t.tgname < ours.tgname AND (t.tgtype & 3) = 1`,
    [formatArrayText(captures.map((capture) => capture.spec.oid))],
  );
  return rows.map(([oid, trigger]) => {
    const table = captures.find((capture) => capture.spec.oid === oid)?.spec.table;
    const name = table ? quoteTable(table) : "";
    return {
      check: "trigger-order",
      severity: "error",
      message: `Trigger ${trigger} on ${name} fires before capture does.`,
      fix: `ALTER TRIGGER ${quoteIdentifier(trigger ?? "")} ON ${name} RENAME TO ${quoteIdentifier(`z${trigger}`)};`,
    };
  });
}

/** Those that cannot stay are told as columns that do not fit. */
async function targetTriggerFindings(
  connection: Connection,
  tables: readonly TargetTable[],
  found: ReadonlyMap<string, FoundTable>,
): Promise<Finding[]> {
  const triggers = await targetTriggers(connection, tables, found);
  return triggers
    .filter(({ writes }) => writes === null)
    .map((trigger) => ({
      check: "target-triggers",
      severity: "warning",
      message: `The ${describeTrigger(trigger)}.`,
      fix: `${trigger.fix};`,
    }));
}

function ok(check: string, message: string): Finding {
  return { check, severity: "ok", message };
}
