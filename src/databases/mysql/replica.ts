import type { Finding } from "../../core/database.ts";
import { TidemarkError } from "../../core/errors.ts";
import { failure } from "../../core/findings.ts";
import type { Cell, Session } from "./connection.ts";

/** A server may replicate some databases and be written in others: it is told, and not refused. */
export async function replicaFindings(session: Session): Promise<Finding[]> {
  let rows: Cell[][];
  try {
    rows = await session.rows(session.flavour.replicaStatus);
  } catch (error) {
    if (error instanceof TidemarkError && error.code === "TM-GRANT-MISSING") return [];
    throw error;
  }
  if (rows.length === 0) return [];
  return [
    failure(
      "replica",
      "This server replicates from another: rows that arrive so fire no triggers here, and never reach a target.",
      "name the primary server in the URL",
    ),
  ];
}

export async function replicaNotes(session: Session): Promise<string[]> {
  return (await replicaFindings(session)).map(({ message, fix }) => `${message} Fix: ${fix}.`);
}
