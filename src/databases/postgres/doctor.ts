import type { Finding } from "../../core/database.ts";
import { encryptionFindings } from "../../core/encryption.ts";
import { ok } from "../../core/findings.ts";
import type { CaptureTable } from "../../core/source.ts";
import { formatTable, type TableName } from "../../core/table.ts";
import type { TargetTable } from "../../core/target.ts";
import { describeTrigger } from "../../core/trigger-text.ts";
import { addKey } from "./add-key.ts";
import { captureFindings } from "./capture-findings.ts";
import { namedIn, typeSchemas } from "./capture-row.ts";
import { type FoundTable, findTables, loadColumns, tableKey } from "./catalog.ts";
import type { Connection } from "./connection.ts";
import { foreignPartition } from "./drift.ts";
import { quoteTable } from "./identifiers.ts";
import { loadTableStates } from "./layouts.ts";
import { lockFindings } from "./lock-findings.ts";
import { NOTIFY_SHARE } from "./log-insert.ts";
import { identityFindings, publicationFindings } from "./publications.ts";
import { postponeFindings } from "./references.ts";
import { applyRights, captureRights, type RightsTable } from "./rights-findings.ts";
import { hiddenTables } from "./row-security.ts";
import { sequenceFindings } from "./sequences.ts";
import { targetTriggers } from "./target-triggers.ts";

/** A transaction older than this holds back its own changes, and the space of the log. */
const OLD_TRANSACTION = "1 hour";

export async function diagnoseSource(
  connection: Connection,
  tables: readonly CaptureTable[],
): Promise<readonly Finding[]> {
  const names = tables.map((table) => table.schema.name);
  const found = await findTables(connection, names);
  const standing = tables.filter((table) => found.has(tableKey(table.schema.name)));
  const capture = await captureFindings(connection, standing);
  const named = tables.map(({ schema: { name, key }, filters }) => ({
    name,
    columns: key,
    filters,
  }));
  const parted = Map.groupBy(await withTypes(connection, found, named), ({ oid }) =>
    capture.intact.has(oid),
  );
  const findings = [
    ...(await serverFindings(connection)),
    ...(await transactionFindings(connection)),
    ...(await lockFindings(connection)),
    ...(await publicationFindings(connection)),
    ...missingTables(names, found),
    ...(await captureRights(connection, {
      intact: parted.get(true) ?? [],
      due: parted.get(false) ?? [],
      installed: capture.installed,
    })),
    ...(await tableFindings(connection, [...found.values()])),
  ];
  for (const table of tables) if (table.schema.key.length === 0) findings.push(noKey(table));
  return [...findings, ...capture.findings];
}

export async function diagnoseTarget(
  connection: Connection,
  tables: readonly TargetTable[],
): Promise<readonly Finding[]> {
  const names = tables.map((table) => table.name);
  const found = await findTables(connection, names);
  const written = tables.map(({ name, columns }) => ({
    name,
    columns: columns.map((column) => column.name),
  }));
  const standing = await withTypes(connection, found, written);
  const lacking = names.filter((name) => !found.has(tableKey(name)));
  return [
    ...(await serverFindings(connection)),
    ...(await lockFindings(connection)),
    ...(await applyRights(connection, standing, lacking)),
    ...(await publicationFindings(connection)),
    ...(await identityFindings(connection, standing)),
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

/** `used`: the columns whose types are named in statements, and those that conditions speak of. */
async function withTypes(
  connection: Connection,
  found: ReadonlyMap<string, FoundTable>,
  used: readonly {
    readonly name: TableName;
    readonly columns: readonly string[];
    readonly filters?: readonly string[];
  }[],
): Promise<(FoundTable & RightsTable)[]> {
  const columns = await loadColumns(
    connection,
    [...found.values()].map(({ oid }) => oid),
  );
  return used.flatMap(({ name, columns: names, filters = [] }) => {
    const table = found.get(tableKey(name));
    if (table === undefined) return [];
    const all = columns.get(table.oid) ?? [];
    const types = [
      ...all.filter((column) => names.includes(column.name)),
      ...namedIn(filters, all),
    ];
    return [{ ...table, typeSchemas: typeSchemas(types) }];
  });
}

async function serverFindings(connection: Connection): Promise<Finding[]> {
  const [row] = await connection.rows(
    `SELECT pg_is_in_recovery(), current_setting('fsync'),
            current_setting('full_page_writes'), current_setting('server_version'),
            current_setting('server_encoding')`,
  );
  const [standby, fsync, fullPages, version, encoding] = row ?? [];
  const findings: Finding[] = [
    ok("server-version", `PostgreSQL ${version}.`),
    ...encryptionFindings(
      connection.encryption,
      "?sslmode=verify-full&sslrootcert=FILE in the URL",
    ),
  ];
  if (standby === "t") {
    findings.push({
      check: "server-standby",
      severity: "error",
      message:
        "The server is a standby: it cannot be written, and it orders commits unlike its primary.",
      fix: "Point the URL at the primary.",
    });
  }
  if (connection.pooled) {
    findings.push(
      ok(
        "connection-pooler",
        "A pooler in session mode: each session of ours holds one of the pool.",
      ),
    );
  }
  if (encoding !== "UTF8") {
    findings.push({
      check: "server-encoding",
      severity: "warning",
      message: `The database is in ${encoding}: a text that has no place in it, or in it and not in UTF8, stops the sync.`,
      fix: "Move it into a database with ENCODING 'UTF8' (pg_dump, CREATE DATABASE, pg_restore), or see to it that all texts can be converted.",
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
            current_setting('max_prepared_transactions'), pg_notification_queue_usage() >= ${NOTIFY_SHARE}`,
  );
  const [old, prepared, mayPrepare] = (row ?? []).map(Number);
  const findings: Finding[] = [];
  if (row?.[3] === "t") {
    findings.push({
      check: "notifications-pending",
      severity: "warning",
      message:
        "The server's queue of notifications is half full, since a session that has called LISTEN hears of none while its transaction is open: once full, each commit of the application's that notifies fails. Ours no longer do: changes come some seconds late.",
      fix: "SELECT datname, pid, xact_start, query FROM pg_stat_activity WHERE xact_start IS NOT NULL ORDER BY xact_start; SELECT pg_terminate_backend(<pid>);",
    });
  }
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
    fix: `${addKey(table.schema)};`,
  };
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
    const state = states.get(table.oid);
    if (state !== undefined && state.foreign !== null) {
      const { message, fix = "" } = foreignPartition(table.name, state.foreign);
      findings.push({ check: "partition-foreign", severity: "error", message, fix });
    }
    if (state?.unlogged) {
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
