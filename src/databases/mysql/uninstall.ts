import type { DatabaseOptions } from "../../core/database.ts";
import { abreast } from "./abreast.ts";
import type { Session } from "./connection.ts";
import { quoteName, quoteText } from "./identifiers.ts";
import { againWhileHeld, withShortLocks } from "./locks.ts";
import { ourTables, PREFIX, standingTables } from "./ours.ts";

interface Removal {
  /** DROP TRIGGER, by table. */
  readonly triggers: ReadonlyMap<string, readonly string[]>;
  readonly tables: readonly string[];
}

export async function planUninstall(session: Session): Promise<readonly string[]> {
  const { triggers, tables } = await planRemoval(session);
  return [...[...triggers.values()].flat(), ...tables];
}

async function planRemoval(session: Session): Promise<Removal> {
  const rows = await session.rows(
    `SELECT EVENT_OBJECT_TABLE, TRIGGER_NAME FROM information_schema.TRIGGERS
     WHERE TRIGGER_SCHEMA = DATABASE() AND LEFT(TRIGGER_NAME, ${PREFIX.length}) = ${quoteText(PREFIX)}
     ORDER BY TRIGGER_NAME`,
  );
  const triggers = new Map<string, string[]>();
  for (const [table, name] of rows) {
    const drops = triggers.get(table ?? "") ?? [];
    drops.push(`DROP TRIGGER IF EXISTS ${quoteName(name ?? "")}`);
    triggers.set(table ?? "", drops);
  }
  const standing = await standingTables(session);
  const tables = ourTables
    .filter((table) => standing.has(table))
    .map((table) => `DROP TABLE IF EXISTS ${quoteName(table)}`);
  return { triggers, tables };
}

/** Triggers first: a trigger without its log would make the application's writes fail. */
export async function uninstall(session: Session, options: DatabaseOptions): Promise<void> {
  const { triggers, tables } = await planRemoval(session);
  await withShortLocks(session, () =>
    abreast(session, options, [...triggers], async ([table, drops], use) => {
      for (const drop of drops) {
        await againWhileHeld(table, options.logger, () => use((each) => each.run(drop)));
      }
    }),
  );
  for (const statement of tables) await session.run(statement);
}
