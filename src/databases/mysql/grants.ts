import type { Session } from "./connection.ts";

/** What the session's account may do, as the server prints it. */
export async function grantsOf(session: Session): Promise<string[]> {
  return (await session.rows("SHOW GRANTS")).map(([grant]) => grant ?? "");
}

export function mayTrigger(grants: readonly string[]): boolean {
  return grants.some((grant) => /\bTRIGGER\b|ALL PRIVILEGES/.test(grant));
}
