import type { Session } from "./connection.ts";
import { coversDatabase, quoteName } from "./identifiers.ts";

/** What the session's account may do, as the server prints it. */
export async function grantsOf(session: Session): Promise<string[]> {
  return (await session.rows("SHOW GRANTS")).map(([grant]) => grant ?? "");
}

/** Does this with the rights alone that triggers of the session's account have. Others must not use the session meanwhile. */
export async function asTriggers<T>(session: Session, work: () => Promise<T>): Promise<T> {
  const { triggerRoles } = session.flavour;
  const roles = await session.value("SELECT CURRENT_ROLE()");
  if (roles === null || roles === "NONE") return work();
  await session.run(`SET ROLE ${triggerRoles}`);
  try {
    return await work();
  } finally {
    // MariaDB tells the one as it is named, MySQL all of them in quotes.
    await session.run(`SET ROLE ${triggerRoles === "NONE" ? quoteName(roles) : roles}`);
  }
}

/** On some table of the session's database. */
export function mayTrigger(session: Session, grants: readonly string[]): boolean {
  const { database } = session;
  return missingRights(grants, session.stored(database), ["TRIGGER"], { parts: true }).length === 0;
}

interface Reach {
  /** Is a right to a table of the database, or to some columns, taken for one to all? It may be all that is used. */
  readonly parts: boolean;
}

/** Those of these rights that no grant gives on the database. */
export function missingRights(
  grants: readonly string[],
  database: string,
  rights: readonly string[],
  { parts }: Reach = { parts: false },
): string[] {
  const given = grants.flatMap((grant) => {
    const [, list = "", pattern = "``", table] = GRANT.exec(grant) ?? [];
    const isWhole = table === "*" && coversDatabase(pattern, database);
    const isPart = parts && table !== "*" && pattern === quoteName(database);
    return isWhole || isPart ? list.replaceAll(COLUMNS, "").split(", ") : [];
  });
  if (given.some((right) => right.startsWith("ALL PRIVILEGES"))) return [];
  return rights.filter((right) => !given.includes(right));
}

const GRANT = /^GRANT (.*?) ON (\*|`(?:[^`]|``)*`)\.(\*|`(?:[^`]|``)*`) TO /;
const COLUMNS = / \(`(?:[^`]|``)*`(?:, `(?:[^`]|``)*`)*\)/g;
