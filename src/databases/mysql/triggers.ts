import { sha256 } from "../../core/hash.ts";
import {
  EVENTS,
  type Event,
  standInName,
  type TriggerFlavour,
  triggerBody,
  triggerName,
} from "./capture-sql.ts";
import { CASCADE_WHEN, cascadeBody, cascadeTriggerName, checkSteps } from "./cascade-sql.ts";
import { type CascadeEvent, stepsFrom } from "./cascades.ts";
import { accountName, type Cell, type Session } from "./connection.ts";
import { quoteName, quoteText } from "./identifiers.ts";
import type { StoredLayout } from "./layouts.ts";
import { isOurs, PREFIX } from "./ours.ts";
import type { Reference } from "./references.ts";
import { primaryKeyOf, type TableFacts } from "./table-facts.ts";
import type { TriggerPlan } from "./trigger-statements.ts";

/** A trigger as it stands, ours or not. */
export interface FoundTrigger {
  readonly name: string;
  readonly table: string;
  readonly event: string;
  readonly timing: string;
  readonly order: number;
  readonly definer: string;
  readonly statement: string;
  readonly created: string;
}

export async function loadTriggers(
  session: Session,
  tables: readonly string[],
): Promise<readonly FoundTrigger[]> {
  return tables.length === 0 ? [] : foundTriggers(await session.rows(triggersQuery(tables)));
}

/** `tables`: at least one. */
export function triggersQuery(tables: readonly string[]): string {
  return `SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, EVENT_MANIPULATION, ACTION_TIMING, ACTION_ORDER,
       DEFINER, ACTION_STATEMENT, CREATED
     FROM information_schema.TRIGGERS
     WHERE EVENT_OBJECT_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE IN (${tables.map(quoteText).join(", ")})
     ORDER BY EVENT_OBJECT_TABLE, EVENT_MANIPULATION, ACTION_ORDER`;
}

/** The answer to {@link triggersQuery}. */
export function foundTriggers(rows: readonly Cell[][]): FoundTrigger[] {
  return rows.map(([name, table, event, timing, order, definer, statement, created]) => ({
    name: name ?? "",
    table: table ?? "",
    event: event ?? "",
    timing: timing ?? "",
    order: Number(order),
    definer: definer ?? "",
    statement: statement ?? "",
    created: created ?? "",
  }));
}

/** The tables on which triggers of ours stand for these layouts. */
export function triggeredTables(
  layouts: readonly Pick<StoredLayout, "table" | "origins">[],
): string[] {
  return [...new Set([...layouts.map(({ table }) => table.name), ...originTables(layouts)])];
}

/** The tables, captured or not, from which actions reach these. */
export function originTables(layouts: readonly Pick<StoredLayout, "origins">[]): string[] {
  return [...new Set(layouts.flatMap(({ origins }) => origins.map(({ table }) => table)))];
}

/** One of ours, and where it belongs. */
type OwnTrigger = Pick<FoundTrigger, "name" | "table">;

/** Our triggers that capture this layout, those of the tables from which actions reach it among them. */
function triggersOf({
  table: { name: table },
  origins,
}: Pick<StoredLayout, "table" | "origins">): OwnTrigger[] {
  return [
    ...EVENTS.map((event) => ({ name: triggerName(table, event), table })),
    ...origins.map(({ table, event }) => ({ name: cascadeTriggerName(table, event), table })),
  ];
}

export function triggerNames(layout: Pick<StoredLayout, "table" | "origins">): string[] {
  return triggersOf(layout).map(({ name }) => name);
}

/** Hash over our triggers for a layout, as the server keeps them. */
export function triggersHash(
  found: readonly FoundTrigger[],
  layout: Pick<StoredLayout, "table" | "origins">,
): string {
  const ours = triggersOf(layout).map((own) => {
    const standing = standingAs(own, found).map(
      (trigger) => `${trigger.event} ${trigger.timing} ${trigger.statement}`,
    );
    return standing.join(" and ") || "missing";
  });
  return sha256("triggers", ...ours);
}

/** Those of a layout's triggers for which not even a stand-in is there. */
export function goneTriggers(
  layout: Pick<StoredLayout, "table" | "origins">,
  found: readonly FoundTrigger[],
): string[] {
  return triggersOf(layout)
    .filter((own) => standingAs(own, found).length === 0)
    .map(({ name }) => name);
}

/** Those of which it cannot be seen what they do, or that they stand: to the user, or at all. */
export function unseenTriggers(
  layout: Pick<StoredLayout, "table" | "origins">,
  found: readonly FoundTrigger[],
): OwnTrigger[] {
  return triggersOf(layout).filter((own) =>
    standingAs(own, found).every(({ definer }) => definer === ""),
  );
}

/**
 * A trigger's name is its schema's, and goes with the table when that is renamed: where another table has taken its
 * place (gh-ost, pt-online-schema-change), it is in the way of ours, and goes on to log what is done to the old one.
 */
export async function withStrayed(
  session: Session,
  plans: readonly TriggerPlan[],
): Promise<readonly TriggerPlan[]> {
  if (plans.every(({ stands, standInStands }) => stands || standInStands)) return plans;
  const rows = await session.rows(
    `SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS
     WHERE TRIGGER_SCHEMA = DATABASE() AND LEFT(TRIGGER_NAME, ${PREFIX.length}) = ${quoteText(PREFIX)}`,
  );
  const tables = new Map(rows.map(([name, table]) => [name ?? "", table]));
  return plans.map((plan) => {
    const strayed = [plan.name, standInName(plan.name)].filter((name) => {
      const table = tables.get(name);
      return table !== undefined && table !== plan.table;
    });
    return strayed.length === 0 ? plan : { ...plan, strayed };
  });
}

/**
 * This trigger and its stand-in, as far as they stand. Where two tables have exchanged their names, the trigger of one
 * stands on the other, and tells of its rows.
 */
function standingAs({ name, table }: OwnTrigger, found: readonly FoundTrigger[]): FoundTrigger[] {
  const { byName } = indexOf(found);
  const standing = [name, standInName(name)].flatMap((each) => byName.get(each) ?? []);
  return standing.filter((each) => each.table.toLowerCase() === table.toLowerCase());
}

interface TriggerIndex {
  readonly byName: ReadonlyMap<string, FoundTrigger>;
  readonly byTable: ReadonlyMap<string, readonly FoundTrigger[]>;
}

/** Thousands of tables have ten thousands of triggers, and each table is looked up in them. */
const INDEXES = new WeakMap<readonly FoundTrigger[], TriggerIndex>();

function indexOf(found: readonly FoundTrigger[]): TriggerIndex {
  let index = INDEXES.get(found);
  if (index === undefined) {
    const byTable = new Map<string, FoundTrigger[]>();
    for (const trigger of found) {
      const triggers = byTable.get(trigger.table);
      if (triggers === undefined) byTable.set(trigger.table, [trigger]);
      else triggers.push(trigger);
    }
    index = { byName: new Map(found.map((trigger) => [trigger.name, trigger])), byTable };
    INDEXES.set(found, index);
  }
  return index;
}

function whatStands(
  own: OwnTrigger,
  found: readonly FoundTrigger[],
): Pick<TriggerPlan, "stands" | "standInStands"> {
  const { name } = own;
  const names = standingAs(own, found).map((each) => each.name);
  return { stands: names.includes(name), standInStands: names.includes(standInName(name)) };
}

/**
 * A trigger of the application that runs after ours, before a deletion, may write rows that ours has
 * already logged as gone. Null when there is none.
 */
export function overtaking(
  found: readonly FoundTrigger[],
  { origins }: Pick<StoredLayout, "origins">,
): FoundTrigger | null {
  for (const { table, event } of origins) {
    const name = cascadeTriggerName(table, event);
    const [ours] = standingAs({ name, table }, found);
    if (ours === undefined || event !== "DELETE") continue;
    const others = othersOf(table, CASCADE_WHEN[event], found);
    const later = others.find(({ order }) => order > ours.order);
    if (later !== undefined) return later;
  }
  return null;
}

/**
 * Those of these standing triggers that another account has made. They run with its rights, and once it is dropped every
 * write to their tables fails.
 */
export function othersTriggers(
  { account }: Pick<Session, "account">,
  plans: readonly TriggerPlan[],
  found: readonly FoundTrigger[],
): TriggerPlan[] {
  const { byName } = indexOf(found);
  return plans.flatMap((plan) => {
    const definer = byName.get(plan.name)?.definer ?? "";
    const belongsTo = accountName(definer);
    return definer === "" || belongsTo === account ? [] : [{ ...plan, belongsTo }];
  });
}

export function isOwn({ belongsTo }: TriggerPlan): boolean {
  return belongsTo === undefined;
}

/** For people, of triggers. */
export function ownedBy(account: string): string {
  return `belong to ${account}, which is not the account of this URL: once it is dropped, every write to the table fails (error 1449)`;
}

export const KEEP_ACCOUNT = "keep that account (ALTER USER … ACCOUNT LOCK will do)";

/**
 * Hash over what the triggers of a layout do, whatever its number. By what stands it cannot be told: the server gives the
 * text of a trigger in three bytes a character at most.
 */
export function workOf(layout: StoredLayout, flavour: TriggerFlavour): string {
  return sha256(
    "work",
    ...EVENTS.map((event) => triggerBody({ ...layout, id: 0 }, event, flavour)),
  );
}

/**
 * Hash over what such a trigger does, and what the server says of it: see {@link workOf}. Of one that another has altered
 * it is another. Null where it does not stand alone.
 */
function cascadeDone(
  { name, table, body }: Pick<TriggerPlan, "name" | "table" | "body">,
  found: readonly FoundTrigger[],
): string | null {
  const [standing, ...more] = standingAs({ name, table }, found);
  if (standing === undefined || more.length > 0) return null;
  const { event, timing, statement } = standing;
  return sha256("cascade", body, event, timing, statement);
}

/**
 * The layouts that are to tell of these triggers, each with what it tells. One for each trigger will do: what it does is
 * another where one of its layouts is.
 */
export function withCascades(
  plans: readonly TriggerPlan[],
  layouts: readonly StoredLayout[],
  found: readonly FoundTrigger[],
): StoredLayout[] {
  const tellers = new Map<string, StoredLayout>();
  for (const layout of layouts) {
    for (const { table, event } of layout.origins) {
      tellers.set(cascadeTriggerName(table, event), layout);
    }
  }
  const told = new Map<number, StoredLayout>();
  for (const plan of plans) {
    const done = cascadeDone(plan, found);
    const layout = tellers.get(plan.name);
    if (done === null || layout === undefined) continue;
    const { cascades } = told.get(layout.id) ?? layout;
    told.set(layout.id, { ...layout, cascades: { ...cascades, [plan.name]: done } });
  }
  return [...told.values()];
}

export function planTriggers(
  layout: StoredLayout,
  found: readonly FoundTrigger[],
  flavour: TriggerFlavour,
): TriggerPlan[] {
  const table = layout.table.name;
  return EVENTS.map((event) => {
    const name = triggerName(table, event);
    return {
      table,
      name,
      when: `AFTER ${event}`,
      body: triggerBody(layout, event, flavour),
      ...whatStands({ name, table }, found),
      order: firstInOrder(table, event, found),
    };
  });
}

/** Ours must fire first: what the application's own trigger writes comes after the change that fired it. */
function firstInOrder(table: string, event: Event, found: readonly FoundTrigger[]): string {
  const [first] = othersOf(table, `AFTER ${event}`, found);
  return first === undefined ? "" : `PRECEDES ${quoteName(first.name)}`;
}

/** And what an action will do to rows is looked at last, when all that comes before it is done. */
function lastInOrder(table: string, event: CascadeEvent, found: readonly FoundTrigger[]): string {
  const last = othersOf(table, CASCADE_WHEN[event], found).at(-1);
  return last === undefined ? "" : `FOLLOWS ${quoteName(last.name)}`;
}

function othersOf(table: string, when: string, found: readonly FoundTrigger[]): FoundTrigger[] {
  const triggers = indexOf(found).byTable.get(table) ?? [];
  return triggers.filter((each) => `${each.timing} ${each.event}` === when && !isOurs(each.name));
}

/**
 * The triggers of the tables from which actions reach captured ones, as far as they do not stand, or are another account's.
 * `layouts`: of all captured tables; `parents`: at least those that actions set out from. Throws TM-TABLE-UNSUPPORTED.
 */
export function planCascades(
  session: Pick<Session, "account" | "flavour">,
  layouts: readonly StoredLayout[],
  {
    references,
    found,
    parents,
  }: {
    readonly references: readonly Reference[];
    readonly found: readonly FoundTrigger[];
    readonly parents: ReadonlyMap<string, TableFacts>;
  },
): TriggerPlan[] {
  const byName = new Map(layouts.map((layout) => [layout.table.name, layout]));
  const wanted = new Set(byName.keys());
  const origins = new Map(
    layouts.flatMap((layout) =>
      layout.origins.map((origin) => [`${origin.event} ${origin.table}`, origin] as const),
    ),
  );
  return [...origins.values()].flatMap(({ table, event }): TriggerPlan[] => {
    const steps = stepsFrom(table, event, references, wanted);
    // Of a table that was dropped: its rows went before.
    if (steps.length === 0) return [];
    const primaryKey = primaryKeyOf(parents.get(table));
    const { flavour } = session;
    const trigger = { table, event, steps, references, primaryKey, layouts: byName, flavour };
    checkSteps(trigger);
    const name = cascadeTriggerName(table, event);
    const body = cascadeBody(trigger);
    const when = CASCADE_WHEN[event];
    const order = lastInOrder(table, event, found);
    const plan = { table, name, when, body, ...whatStands({ name, table }, found), order };
    const done = cascadeDone(plan, found);
    const stands = done !== null && layouts.some(({ cascades }) => cascades?.[name] === done);
    return stands ? othersTriggers(session, [plan], found) : [plan];
  });
}
