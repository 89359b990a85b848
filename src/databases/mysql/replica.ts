import type { Finding } from "../../core/database.ts";
import { isTidemarkError } from "../../core/errors.ts";
import { failure, warning } from "../../core/findings.ts";
import type { Cell, Session } from "./connection.ts";

/** A server may replicate some databases and be written in others: it is told, and not refused. */
export async function replicaFindings(session: Session): Promise<Finding[]> {
  let rows: Cell[][];
  try {
    rows = await session.rows(session.flavour.replicaStatus);
  } catch (error) {
    if (isTidemarkError(error, "TM-GRANT-MISSING")) return hiddenFindings(session);
    throw error;
  }
  if (rows.length === 0) return [];
  const runs = await runsTriggers(session);
  if (runs === "ENFORCE") return [];
  if (runs !== "NO") {
    return [
      warning(
        "replica",
        `This server replicates from another: rows that arrive so fire triggers here (slave_run_triggers_for_rbr = ${runs}), but not those of a table that has triggers there as well, which never reach a target.`,
        "name the primary server in the URL; or, where those triggers are not Tidemark's, SET GLOBAL slave_run_triggers_for_rbr = ENFORCE",
      ),
    ];
  }
  return [
    failure(
      "replica",
      "This server replicates from another: rows that arrive so fire no triggers here, and never reach a target.",
      "name the primary server in the URL",
    ),
  ];
}

/** Without the right to ask, a server that takes no writes is the only sign of a replica. */
async function hiddenFindings(session: Session): Promise<Finding[]> {
  const isReadOnly = await session.value("SELECT @@GLOBAL.read_only");
  if (isReadOnly === "0" || isReadOnly === "OFF") return [];
  return [
    warning(
      "replica",
      "This server is read-only, as replicas are, and does not let this account see whether it is one: rows that arrive by replication would fire no triggers here, and never reach a target.",
      `if it is a replica, name the primary server in the URL; to have that told, GRANT ${session.flavour.replicaRight} ON *.* TO ${session.account}`,
    ),
  ];
}

/** Do triggers run for rows that are replicated? Where the primary has run some for the row, only ENFORCE runs ours. */
async function runsTriggers(session: Session): Promise<string> {
  if (session.flavour.product !== "MariaDB") return "NO";
  return (await session.value("SELECT @@slave_run_triggers_for_rbr")) ?? "NO";
}

export async function replicaNotes(session: Session): Promise<string[]> {
  return (await replicaFindings(session)).map(({ message, fix }) => `${message} Fix: ${fix}.`);
}
