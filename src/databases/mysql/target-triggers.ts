import type { TargetTable } from "../../core/target.ts";
import { plainlyWrites, type TargetTrigger } from "../../core/trigger-text.ts";
import type { Session } from "./connection.ts";
import { quoteName, wholeDatabase } from "./identifiers.ts";
import { isOurs } from "./ours.ts";
import { loadTriggers } from "./triggers.ts";

/** Set in the applier's session. A trigger cannot be switched off here, but it can look at this. */
export const APPLYING = "@tidemark_applying";

/** What is to be told when the server hides triggers, or what they do, from this account; null when it shows them. */
export async function hiddenTriggers(
  session: Session,
): Promise<{ readonly message: string; readonly fix: string } | null> {
  const grants = (await session.rows("SHOW GRANTS")).map(([grant]) => grant ?? "");
  if (grants.some((grant) => /\bTRIGGER\b|ALL PRIVILEGES/.test(grant))) return null;
  return {
    message:
      "the user lacks the right TRIGGER: what triggers on the tables it writes do for applied rows cannot be seen",
    fix: `GRANT TRIGGER ON ${wholeDatabase(session.database)} TO ${session.account};`,
  };
}

/** The application's triggers on standing tables, but those that look at {@link APPLYING}. */
export async function targetTriggers(
  session: Session,
  tables: readonly TargetTable[],
): Promise<readonly TargetTrigger[]> {
  const triggers = await loadTriggers(
    session,
    tables.map(({ name }) => name.name),
  );
  return triggers.flatMap(({ name, table: on, statement }) => {
    const table = tables.find((each) => each.name.name === on);
    if (table === undefined || isOurs(name) || statement.includes(APPLYING)) return [];
    return [
      {
        name,
        table: table.name,
        writes: plainlyWrites(statement, table, tables),
        fix: `DROP TRIGGER ${quoteName(name)}, or let its body begin with IF ${APPLYING} IS NULL THEN`,
      },
    ];
  });
}
