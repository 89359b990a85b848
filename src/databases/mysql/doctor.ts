import type { Finding } from "../../core/database.ts";
import { encryptionFindings } from "../../core/encryption.ts";
import { isTidemarkError, TidemarkError } from "../../core/errors.ts";
import { failure, ok, warning } from "../../core/findings.ts";
import type { CaptureTable } from "../../core/source.ts";
import { formatTable } from "../../core/table.ts";
import { planCapture } from "./capture.ts";
import { isOfHidden } from "./capture-broken.ts";
import { cascadeFindings } from "./cascade-findings.ts";
import type { Session } from "./connection.ts";
import { tellWhoHolds } from "./held.ts";
import { loadLayouts } from "./layouts.ts";
import { assertOursFit, LAYOUTS, standingTables } from "./ours.ts";
import { loadReferences } from "./references.ts";
import { replicaFindings } from "./replica.ts";
import { captureRights } from "./rights.ts";
import { serverVariables, type Variables } from "./server-variables.ts";
import { triggerFindings } from "./trigger-findings.ts";
import { loadTableIds, truncated, unseenTruncation } from "./truncation.ts";

/** See {@link encryptionFindings}. */
export const ENCRYPTED = "?ssl-mode=VERIFY_IDENTITY&ssl-ca=FILE in the URL";

/** Everything that can break capture of these tables. */
export async function diagnoseSource(
  session: Session,
  tables: readonly CaptureTable[],
): Promise<readonly Finding[]> {
  const variables = await serverVariables(session);
  return [
    ...encryptionFindings(session.encryption, ENCRYPTED),
    binaryLogFinding(variables, session.flavour.closedSnapshots),
    ...serverFindings(variables),
    ...(await replicaFindings(session)),
    ...(await rightFindings(session, variables, tables)),
    ...(await captureFindings(session, tables)),
  ];
}

/** What captures them, and what could not; where the log can be read. */
async function captureFindings(
  session: Session,
  tables: readonly CaptureTable[],
): Promise<Finding[]> {
  try {
    await assertOursFit(session, "source");
  } catch (error) {
    if (!isTidemarkError(error, "TM-LOG-VERSION")) throw error;
    return [failure("log-version", error.message, error.fix)];
  }
  try {
    return await tellWhoHolds(session, async () => [
      ...(await tableFindings(session, tables)),
      ...(await cascadeFindings(session, tables, await loadReferences(session))),
      ...(await truncateFindings(session, tables)),
      ...(await triggerFindings(session, tables)),
    ]);
  } catch (error) {
    // To wait for the same once more for each of them would tell no more.
    if (!isTidemarkError(error, "TM-TABLE-HELD")) throw error;
    return [failure("table-held", error.message, error.fix)];
  }
}

const WIDE_PACKET = 64 << 20;

function binaryLogFinding(variables: Variables, closedSnapshots: boolean): Finding {
  if (closedSnapshots)
    return ok("binary-log", "Snapshots are closed with the binary log or without.");
  return ["ON", "1"].includes(variables.get("log_bin") ?? "")
    ? ok("binary-log", "The binary log is on: consistent snapshots wait for commits under way.")
    : warning(
        "binary-log",
        "The binary log is off: a snapshot may miss a commit under way, so that more of them are taken twice (each is checked).",
        "start the server with --log-bin",
      );
}

function serverFindings(variables: Variables): Finding[] {
  const is = (name: string, ...values: string[]) => values.includes(variables.get(name) ?? "");
  const findings = durabilityFindings(
    variables,
    "after a power cut the source may have lost what a target has",
  );
  if (is("log_bin", "ON", "1") && is("binlog_format", "STATEMENT")) {
    findings.push(
      warning(
        "binlog-format",
        "Statements are logged as text: the server warns at each captured write, and replicas may number the change log otherwise.",
        "SET GLOBAL binlog_format = 'ROW';",
      ),
    );
  }
  if (is("wsrep_on", "ON", "1")) {
    findings.push(
      failure(
        "galera",
        "This is a node of a Galera cluster: ids that several nodes hand out do not follow the order of changes.",
        "write the synced tables on this node only, with wsrep_auto_increment_control = OFF and auto_increment_increment = 1",
      ),
    );
  }
  if (Number(variables.get("auto_increment_increment") ?? 1) > 1) {
    findings.push(
      failure(
        "auto-increment-step",
        "auto_increment_increment is larger than 1: each id skipped is a place that must be watched for ever.",
        "SET GLOBAL auto_increment_increment = 1;",
      ),
    );
  }
  if (Number(variables.get("max_allowed_packet") ?? 0) < WIDE_PACKET) {
    findings.push(
      warning(
        "packet-size",
        `max_allowed_packet is ${variables.get("max_allowed_packet")}: a write is refused when the text of its row (two characters for a byte of a BLOB) is larger.`,
        "SET GLOBAL max_allowed_packet = 1073741824;",
      ),
    );
  }
  return findings;
}

/** `harm`: what may be after a power cut. */
export function durabilityFindings(variables: Variables, harm: string): Finding[] {
  const findings: Finding[] = [];
  if (variables.get("innodb_flush_log_at_trx_commit") !== "1") {
    findings.push(
      warning(
        "durability",
        `Commits are not flushed one by one: ${harm}.`,
        "SET GLOBAL innodb_flush_log_at_trx_commit = 1;",
      ),
    );
  }
  // With a binary log the engine leaves it to that log to say what was committed.
  if (variables.get("log_bin") !== "OFF" && variables.get("sync_binlog") !== "1") {
    findings.push(
      warning(
        "binary-log-durability",
        `The binary log, by which the server knows after a crash what was committed, is not synced at each commit: ${harm}.`,
        "SET GLOBAL sync_binlog = 1;",
      ),
    );
  }
  return findings;
}

/** No trigger sees a TRUNCATE: it is found out by the number that the engine gives to a table. */
async function truncateFindings(
  session: Session,
  tables: readonly CaptureTable[],
): Promise<Finding[]> {
  const ids = await loadTableIds(session);
  if (ids === null) {
    const { message, fix } = unseenTruncation(session);
    return [warning("truncate", message, fix)];
  }
  const asked = new Set(tables.map(({ schema }) => schema.name.name));
  const standing = (await standingTables(session)).has(LAYOUTS);
  const layouts = standing ? await loadLayouts(session) : [];
  const anew = layouts.filter(
    ({ active, table, tableId }) =>
      active &&
      asked.has(table.name) &&
      tableId !== null &&
      ids.get(table.name, tableId) !== tableId,
  );
  if (anew.length === 0) {
    return [ok("truncate", "TRUNCATE fires no trigger; the sync stops when it finds one.")];
  }
  return anew.map((layout) => {
    const { message, fix } = truncated(layout);
    return failure("truncate", message, fix);
  });
}

async function rightFindings(
  session: Session,
  variables: Variables,
  tables: readonly CaptureTable[],
): Promise<Finding[]> {
  const standing = await standingTables(session);
  const current = await capturedTables(session);
  const missing = tables.some(({ schema }) => !current.has(formatTable(schema.name)));
  return captureRights(session, {
    variables,
    makesOurs: !standing.has(LAYOUTS),
    makesTriggers: missing,
    hasTriggers: current.size > 0,
  });
}

async function capturedTables(session: Session): Promise<ReadonlySet<string>> {
  if (!(await standingTables(session)).has(LAYOUTS)) return new Set();
  const layouts = await loadLayouts(session);
  return new Set(layouts.filter((each) => each.active).map((each) => formatTable(each.table)));
}

/**
 * What capture itself would refuse: cascades, engines, keys, filters. One finding for each table. All are asked for at
 * once, and where something is refused each half by itself: table by table many take minutes where the server is far away.
 */
async function tableFindings(
  session: Session,
  tables: readonly CaptureTable[],
): Promise<Finding[]> {
  if (tables.length === 0) return [];
  try {
    await planCapture(session, tables);
    return [];
  } catch (error) {
    if (!(error instanceof TidemarkError) || error.retryable) throw error;
    const middle = tables.length >> 1;
    const findings =
      middle === 0
        ? []
        : [
            ...(await tableFindings(session, tables.slice(0, middle))),
            ...(await tableFindings(session, tables.slice(middle))),
          ];
    // What each half takes, and both do not.
    const isTold = findings.length > 0 || TOLD_BY_TRIGGERS.has(error.code) || isOfHidden(error);
    return isTold ? findings : [failure("table-unfit", error.message, error.fix)];
  }
}

/** With more detail. */
const TOLD_BY_TRIGGERS: ReadonlySet<string> = new Set([
  "TM-CAPTURE-BROKEN",
  "TM-TRUNCATE-UNSEEN",
  "TM-SOURCE-REWOUND",
]);
