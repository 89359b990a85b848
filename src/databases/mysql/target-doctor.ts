import type { Finding } from "../../core/database.ts";
import { encryptionFindings } from "../../core/encryption.ts";
import { failure, ok, warning } from "../../core/findings.ts";
import type { TargetTable } from "../../core/target.ts";
import { describeTrigger } from "../../core/trigger-text.ts";
import type { Session } from "./connection.ts";
import { durabilityFindings, ENCRYPTED } from "./doctor.ts";
import { grantsOf, missingRights } from "./grants.ts";
import { quoteName, wholeDatabase } from "./identifiers.ts";
import { NEEDED } from "./rights.ts";
import { serverVariables } from "./server-variables.ts";
import { whyNoStaging } from "./staging.ts";
import { loadFacts } from "./table-facts.ts";
import { asStored } from "./target-plan.ts";
import { hiddenTriggers, targetTriggers } from "./target-triggers.ts";

const SMALL_PACKET = 16 << 20;

/** Everything that can break applying to these tables. */
export async function diagnoseTarget(
  session: Session,
  tables: readonly TargetTable[],
): Promise<readonly Finding[]> {
  return [
    ...encryptionFindings(session.encryption, ENCRYPTED),
    ...(await serverFindings(session)),
    ...(await rightFindings(session)),
    ...(await tableFindings(session, asStored(session, tables))),
  ];
}

async function serverFindings(session: Session): Promise<Finding[]> {
  const [row] = await session.rows("SELECT @@GLOBAL.read_only, @@max_allowed_packet");
  const findings: Finding[] = [];
  if (row?.[0] !== "0" && row?.[0] !== "OFF") {
    findings.push(failure("read-only", "The server takes no writes.", "SET GLOBAL read_only = 0;"));
  }
  if (Number(row?.[1]) < SMALL_PACKET) {
    findings.push(
      warning(
        "packet-size",
        `max_allowed_packet is ${row?.[1]}: a larger row is refused.`,
        "SET GLOBAL max_allowed_packet = 1073741824;",
      ),
    );
  }
  const refusal = await whyNoStaging(session);
  if (refusal !== null) findings.push(warning("staging", refusal.message, refusal.fix ?? ""));
  const harm = "after a power cut the target may be behind what it has confirmed";
  return [...findings, ...durabilityFindings(await serverVariables(session), harm)];
}

async function rightFindings(session: Session): Promise<Finding[]> {
  const missing = missingRights(await grantsOf(session), session.database, NEEDED);
  if (missing.length === 0) {
    return [ok("rights", "The user has the rights that applying needs.")];
  }
  return [
    warning(
      "rights",
      `On the whole database the user lacks: ${missing.join(", ")}. Rights on single tables are not looked at.`,
      `GRANT ${NEEDED.join(", ")} ON ${wholeDatabase(session.database)} TO ${session.account};`,
    ),
  ];
}

async function tableFindings(session: Session, tables: readonly TargetTable[]): Promise<Finding[]> {
  const names = tables.map((table) => table.name.name);
  const facts = await loadFacts(session, names);
  // Those that cannot stay are told as columns that do not fit.
  const triggers = (await targetTriggers(session, tables)).filter(({ writes }) => writes === null);
  const findings: Finding[] = triggers.map((trigger) =>
    warning("target-triggers", `The ${describeTrigger(trigger)}.`, trigger.fix),
  );
  const hidden = facts.size === 0 ? null : await hiddenTriggers(session);
  if (hidden !== null) findings.push(warning("trigger-right", `${hidden.message}.`, hidden.fix));
  for (const fact of facts.values()) {
    const action = fact.foreignKeys.find(
      ({ onDelete, onUpdate }) => /CASCADE|SET/.test(onDelete) || /CASCADE|SET/.test(onUpdate),
    );
    if (action === undefined) continue;
    findings.push(
      warning(
        "target-cascade",
        `Foreign key ${action.name} of ${fact.name} changes rows by itself: rows that the source kept may go.`,
        `ALTER TABLE ${quoteName(fact.name)} DROP FOREIGN KEY ${quoteName(action.name)}; -- and add it without the action`,
      ),
    );
  }
  return findings;
}
