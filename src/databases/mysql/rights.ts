import type { Finding } from "../../core/database.ts";
import { failure } from "../../core/findings.ts";
import type { Session } from "./connection.ts";
import { asTriggers, grantsOf, mayTrigger, missingRights } from "./grants.ts";
import { wholeDatabase } from "./identifiers.ts";
import { serverVariables, type Variables } from "./server-variables.ts";

/** Of our own tables, before they stand: whoever makes them writes them. */
const OURS = ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE"];
/** Beside TRIGGER, of tables and of ours. */
const TRIGGERS_NEED = ["SELECT", "INSERT", "DELETE"];
const OF_TRIGGERS = {
  NONE: ", by itself: triggers that it makes have none of the rights of its roles",
  DEFAULT: ", by itself: triggers that it makes have the rights of its default roles alone",
};
/** What applying takes. */
export const NEEDED = [...OURS, "CREATE TEMPORARY TABLES"];

interface Capturing {
  /** Unless they are to be asked for. */
  readonly variables?: Variables;
  /** What is still to be made. */
  readonly makesOurs: boolean;
  readonly makesTriggers: boolean;
  /** Do some stand already? */
  readonly hasTriggers: boolean;
}

/** In MySQL it does as SUPER does; by its later name from 8.2 on. */
const TRUSTED = /^GRANT .*\b(SET_USER_ID|SET_ANY_DEFINER)\b.* ON \*\.\*/;

/** Of what capture needs. */
export async function captureRights(
  session: Session,
  { variables: known, makesOurs, makesTriggers, hasTriggers }: Capturing,
): Promise<Finding[]> {
  const grants = await grantsOf(session);
  const own = await asTriggers(session, () => grantsOf(session));
  const isSuper = grants.some((grant) => /GRANT .*(ALL PRIVILEGES|SUPER).* ON \*\.\*/.test(grant));
  const variables = known ?? (await serverVariables(session));
  const findings: Finding[] = [];
  const logged = ["ON", "1"].includes(variables.get("log_bin") ?? "");
  const trusted =
    isSuper ||
    ["ON", "1"].includes(variables.get("log_bin_trust_function_creators") ?? "") ||
    grants.some((grant) => TRUSTED.test(grant));
  if (logged && !trusted && makesTriggers) {
    findings.push(
      failure(
        "trigger-trust",
        "With the binary log on, the server refuses triggers of a user without SUPER (error 1419).",
        "SET GLOBAL log_bin_trust_function_creators = 1; -- needed only while triggers are created or dropped",
      ),
    );
  }
  const byItself = own.join() === grants.join() ? "" : OF_TRIGGERS[session.flavour.triggerRoles];
  if (!mayTrigger(session, own)) {
    const harm = hasTriggers ? ": those that stand fail, and with them each write" : "";
    findings.push(
      failure(
        "trigger-right",
        `User ${session.account} may not create triggers in ${session.database}${byItself}${harm}.`,
        `GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, TRIGGER ON ${wholeDatabase(session.database)} TO ${session.account};`,
      ),
    );
  }
  if (makesOurs) findings.push(...lackFindings(session, grants, OURS));
  if (byItself !== "") findings.push(...lackFindings(session, own, TRIGGERS_NEED, byItself));
  return findings;
}

/** Of what applying needs where something is still to be made. */
export async function applyRights(session: Session): Promise<Finding[]> {
  const grants = await grantsOf(session);
  // Temporary tables are not needed by all: who lacks no more is not held up.
  if (lackFindings(session, grants, OURS).length === 0) return [];
  return lackFindings(session, grants, NEEDED);
}

function lackFindings(
  session: Session,
  grants: readonly string[],
  rights: readonly string[],
  byItself = "",
): Finding[] {
  const { account, database } = session;
  const missing = missingRights(grants, session.stored(database), rights, { parts: true }).join(
    ", ",
  );
  if (missing === "") return [];
  const fix = `GRANT ${missing} ON ${wholeDatabase(database)} TO ${account};`;
  return [
    failure("grant-missing", `User ${account} lacks ${missing} in ${database}${byItself}.`, fix),
  ];
}
