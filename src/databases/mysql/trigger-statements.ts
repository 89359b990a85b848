import { standInName } from "./capture-sql.ts";
import { quoteName } from "./identifiers.ts";

export interface TriggerPlan {
  readonly table: string;
  readonly name: string;
  /** `AFTER INSERT`. */
  readonly when: string;
  readonly body: string;
  /** Does ours stand already and is to be replaced? */
  readonly stands: boolean;
  /** Has an earlier replacement left its stand-in? */
  readonly standInStands: boolean;
  /** `PRECEDES` or `FOLLOWS` another trigger of the same table, event and time. */
  readonly order: string;

  /** It stands as planned, but runs with the rights of this account, which is not ours. */
  readonly belongsTo?: string;
  /** Those by its names that went with a table that stood here before, under whatever name that has now. */
  readonly strayed?: readonly string[];
}

/**
 * Makes our trigger as planned, whatever stands. Where the server cannot replace one, a stand-in
 * takes over first: if it may not be created, nothing has been touched yet; and if we die half way,
 * there is still one that logs. The table is locked, so that no write meets both.
 */
export function triggerStatements(plan: TriggerPlan, replaces: boolean): string[] {
  const gone = (plan.strayed ?? []).map((name) => `DROP TRIGGER IF EXISTS ${quoteName(name)}`);
  return [...gone, ...makingStatements(plan, replaces)];
}

function makingStatements(plan: TriggerPlan, replaces: boolean): string[] {
  const { table, name } = plan;
  const standIn = standInName(name);
  if (replaces) return [createTrigger(plan, "CREATE OR REPLACE", name)];
  if (!plan.stands && !plan.standInStands) return [createTrigger(plan, "CREATE", name)];
  const drop = (trigger: string) => `DROP TRIGGER ${quoteName(trigger)}`;
  return [
    `LOCK TABLES ${quoteName(table)} WRITE`,
    ...(plan.stands && plan.standInStands ? [drop(standIn)] : []),
    ...(plan.stands ? [createTrigger(plan, "CREATE", standIn), drop(name)] : []),
    createTrigger(plan, "CREATE", name),
    drop(standIn),
    "UNLOCK TABLES",
  ];
}

function createTrigger(plan: TriggerPlan, create: string, name: string): string {
  const { table, when, body, order } = plan;
  return (
    `${create} TRIGGER ${quoteName(name)} ` +
    `${when} ON ${quoteName(table)} FOR EACH ROW${order === "" ? "" : ` ${order}`} ${body}`
  );
}
