import type { DatabaseOptions } from "../../core/database.ts";
import { abreast } from "./abreast.ts";
import { EVENTS, triggerName } from "./capture-sql.ts";
import { cascadeTriggerName } from "./cascade-sql.ts";
import type { CascadeOrigin } from "./cascades.ts";
import type { Session } from "./connection.ts";
import { quoteName, quoteText } from "./identifiers.ts";
import { againWhileHeld, givingWay, isHeld } from "./locks.ts";
import { LAYOUTS, namesOf, ourTables, PREFIX, STANDING_TABLES } from "./ours.ts";

/** So long they are tried together where one table is in use: a session that has just ended is soon gone. */
const TOGETHER_MS = 100;
/** So many tables' triggers are dropped in one way to the server. */
const GROUP_TABLES = 16;
/** So many such ways take no longer than opening another session. */
const GROUPS_EACH = 8;

/** A table, and the DROP TRIGGER of it. */
type Drops = readonly [table: string, drops: readonly string[]];

interface Removal {
  /** DROP TRIGGER, by table. */
  readonly triggers: ReadonlyMap<string, readonly string[]>;
  readonly tables: readonly string[];
}

export async function planUninstall(session: Session): Promise<readonly string[]> {
  return statementsOf(await planRemoval(session));
}

function statementsOf({ triggers, tables }: Removal): readonly string[] {
  return [...[...triggers.values()].flat(), ...tables];
}

async function planRemoval(session: Session): Promise<Removal> {
  const [rows = [], found = []] = await session.flight([
    `SELECT EVENT_OBJECT_TABLE, TRIGGER_NAME FROM information_schema.TRIGGERS
     WHERE TRIGGER_SCHEMA = DATABASE() AND LEFT(TRIGGER_NAME, ${PREFIX.length}) = ${quoteText(PREFIX)}
     ORDER BY TRIGGER_NAME`,
    STANDING_TABLES,
  ]);
  const triggers = new Map<string, string[]>();
  for (const [table, name] of rows) {
    const drops = triggers.get(table ?? "") ?? [];
    drops.push(dropOf(name ?? ""));
    triggers.set(table ?? "", drops);
  }
  const standing = namesOf(found);
  if (standing.has(LAYOUTS)) {
    // The server hides triggers from an account without the right TRIGGER: to drop one by its name is refused, not passed over.
    const shown = new Set(rows.map(([, name]) => name));
    for (const [table, names] of await namesMade(session)) {
      if (names.some((name) => shown.has(name))) continue;
      triggers.set(table, [...(triggers.get(table) ?? []), ...names.map(dropOf)]);
    }
  }
  const tables = ourTables
    .filter((table) => standing.has(table))
    .map((table) => `DROP TABLE IF EXISTS ${quoteName(table)}`);
  return { triggers, tables };
}

/** Of the triggers that have ever been made for a layout, by the table on which they were: captured, or one from which actions reach it. */
async function namesMade(session: Session): Promise<ReadonlyMap<string, readonly string[]>> {
  const layouts = await session.rows(
    `SELECT DISTINCT table_name, CAST(JSON_EXTRACT(definition, '$.origins') AS CHAR) FROM ${LAYOUTS}`,
  );
  const made = new Map<string, Set<string>>();
  const add = (table: string, name: string) =>
    made.set(table, (made.get(table) ?? new Set()).add(name));
  for (const [table, origins] of layouts) {
    for (const event of EVENTS) add(table ?? "", triggerName(table ?? "", event));
    for (const origin of JSON.parse(origins ?? "[]") as readonly CascadeOrigin[]) {
      add(origin.table, cascadeTriggerName(origin.table, origin.event));
    }
  }
  return new Map([...made].map(([table, names]) => [table, [...names]]));
}

function dropOf(trigger: string): string {
  return `DROP TRIGGER IF EXISTS ${quoteName(trigger)}`;
}

/**
 * Triggers first: a trigger without its log would make the application's writes fail. Those of many tables leave together;
 * where one of these is in use, each of them is waited for on its own, with those beside it freed.
 */
export async function uninstall(
  session: Session,
  options: DatabaseOptions,
): Promise<readonly string[]> {
  const removal = await planRemoval(session);
  const { triggers, tables } = removal;
  if (triggers.size === 0 && tables.length === 0) return [];
  const besides = { ...options, flights: true };
  const drop = (each: Session, of: readonly Drops[]) =>
    each.flight(
      of.flatMap(([, drops]) => drops),
      { right: "TRIGGER" },
    );
  const common = { session, logger: options.logger };
  await givingWay(session, async () => {
    const left: Drops[] = [];
    const groups = inGroups([...triggers]);
    await abreast(session, { ...besides, each: GROUPS_EACH }, groups, async (group, use) => {
      const table = group[0]?.[0] ?? "";
      const asked = { ...common, table, use, forMs: TOGETHER_MS };
      try {
        await againWhileHeld(asked, (each) => drop(each, group));
      } catch (error) {
        if (!isHeld(error)) throw error;
        left.push(...group);
      }
    });
    await abreast(session, besides, left, async (one, use) => {
      const asked = { ...common, table: one[0], use };
      await againWhileHeld(asked, (each) => drop(each, [one]));
    });
  });
  await session.flight(tables);
  return statementsOf(removal);
}

function inGroups(drops: readonly Drops[]): readonly (readonly Drops[])[] {
  const groups: Drops[][] = [];
  for (let at = 0; at < drops.length; at += GROUP_TABLES) {
    groups.push(drops.slice(at, at + GROUP_TABLES));
  }
  return groups;
}
