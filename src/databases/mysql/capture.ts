import { keyNames } from "../../core/change.ts";
import type { DatabaseOptions } from "../../core/database.ts";
import { Objections } from "../../core/many-tables.ts";
import type { CapturePlan, CaptureTable } from "../../core/source.ts";
import { formatTable } from "../../core/table.ts";
import {
  checkCapturable,
  checkFilters,
  refuseDoubtful,
  refuseKeysAboveEngine,
  refusePeriod,
} from "./capturable.ts";
import {
  assertNotGone,
  assertNotTruncated,
  assertSameComputed,
  assertUnbroken,
} from "./capture-broken.ts";
import { cascadeFindings } from "./cascade-findings.ts";
import { unsupported } from "./cascades.ts";
import type { Session } from "./connection.ts";
import { LOOK_SECONDS, tellWhoHolds } from "./held.ts";
import {
  definitionText,
  inTransaction,
  isAltered,
  LOST,
  loadLayouts,
  type StoredLayout,
  sameDefinition,
  storeOfLayouts,
  wantedLayout,
} from "./layouts.ts";
import type { Lease } from "./lease.ts";
import { givingWay, withShortLocks } from "./locks.ts";
import { assertNotMadeAnew, madeOf, madeOn, timesOf } from "./made.ts";
import { LAYOUTS, planOurs, standingTables } from "./ours.ts";
import { loadReferences, loadVersions, type Reference, withVersions } from "./references.ts";
import { lostFrom } from "./referred-columns.ts";
import { Renewal } from "./renewal.ts";
import { replicaNotes } from "./replica.ts";
import { captureRights } from "./rights.ts";
import { loadFacts } from "./table-facts.ts";
import { endedWhenSilent, installAll, type TableCapture, takeOver } from "./trigger-install.ts";
import { type TriggerPlan, triggerStatements } from "./trigger-statements.ts";
import {
  isOwn,
  loadTriggers,
  originTables,
  othersTriggers,
  planCascades,
  planTriggers,
  triggeredTables,
  triggerNames,
  triggersHash,
  withCascades,
  withStrayed,
  workOf,
} from "./triggers.ts";
import { loadTableIds, type TableIds, unseenTruncation } from "./truncation.ts";

export async function planCapture(
  session: Session,
  tables: readonly CaptureTable[],
): Promise<CapturePlan> {
  const { captures, cascades, tableIds, references } = await prepareCaptures(session, tables);
  const { replacesTriggers } = session.flavour;
  const unseen = unseenTruncation(session);
  const passed = await cascadeFindings(session, tables, references);
  const plans = [...captures.flatMap(({ triggers }) => triggers), ...cascades];
  const ours = await planOurs(session, "source");
  const triggers = plans.flatMap((plan) => triggerStatements(plan, replacesTriggers));
  // What only changes hands need not.
  const makes = { makesOurs: ours.length > 0, makesTriggers: plans.some(isOwn) };
  const isMade = makes.makesOurs || makes.makesTriggers;
  return {
    lacks: isMade ? await captureRights(session, { ...makes, hasTriggers: false }) : [],
    statements: [...ours, ...triggers],
    notes: [
      ...captures.map(({ layout }) => noteOn(layout)),
      ...(await replicaNotes(session)),
      ...(tableIds === null ? [`${unseen.message} ${unseen.fix}`] : []),
      ...passed.map(({ message, fix }) => (fix === undefined ? message : `${message} ${fix}`)),
    ],
  };
}

function noteOn({ table, origins }: StoredLayout): string {
  const from = [...new Set(origins.map((origin) => origin.table))];
  const actions =
    from.length === 0
      ? ""
      : `; what foreign keys do to its rows is logged by triggers on ${from.join(", ")}`;
  return `${formatTable(table)}: captured by one row trigger each for insert, update and delete, the only kind there is${actions}; TRUNCATE fires none, and stops the sync when it is found out.`;
}

/**
 * Installs what is missing. When a CREATE TRIGGER has succeeded, every transaction that wrote the
 * table without it has ended: the statement takes the table's metadata lock exclusively, and each
 * writer holds that lock shared until its transaction ends.
 *
 * `lease`: while a table was waited for it may have been lost. Triggers made after that would be another's to the relay that has it now.
 */
export async function installCapture(
  session: Session,
  tables: readonly CaptureTable[],
  options: DatabaseOptions,
  lease: Lease,
): Promise<void> {
  const { logger } = options;
  const { captures, cascades, references, tableIds, installed } = await looking(session, () =>
    prepareCaptures(session, tables),
  );
  // That the right for it is missing is to be told before triggers stand: to make those anew takes another right.
  if (captures.some(({ isNew }) => isNew)) {
    await session.run(`UPDATE ${LAYOUTS} SET active = 0 WHERE id = 0`);
  }
  const due = new Set([...captures.flatMap(({ triggers }) => triggers), ...cascades].map(nameOf));
  const renewal = new Renewal(installed, due, await madeOn(session));
  await givingWay(session, async () => {
    await installAll(session, captures, options, { lease, renewal });
    const parents = cascades.map((plan) => ({ layout: null, triggers: [plan] }));
    await installAll(session, parents, options, { lease, renewal });
    const all = [...captures, ...parents].flatMap(({ triggers }) => triggers);
    const others = all.filter((plan) => !isOwn(plan));
    const taking = () => takeOver(session, others, logger, { lease, renewal });
    if (others.length > 0) await endedWhenSilent(session, taking);
  });
  const layouts = (await loadLayouts(session)).filter(({ active }) => active);
  const found = await loadTriggers(session, triggeredTables(layouts));
  renewal.assertKept(found);
  const asked = new Set(captures.map(({ layout }) => layout.id));
  // What was checked is what is stored: to make triggers may have taken long, and what came meanwhile is still to be found out.
  const checked = new Set(captures.filter(isChecked).map(({ layout }) => layout.id));
  const later =
    checked.size === asked.size ? tableIds : await looking(session, () => loadTableIds(session));
  if (tableIds === null) {
    const { message, fix } = unseenTruncation(session);
    logger.warn({ fix }, message);
  }
  for (const { severity, message, fix } of await cascadeFindings(session, tables, references)) {
    if (severity === "warning") logger.warn({ fix }, message);
  }
  const written = new Set(cascades.map(({ name }) => name));
  const hashes = new Map<number, string>();
  const ids = new Map<number, string>();
  const definitions = new Map<number, string>();
  const told = new Map(withCascades(cascades, layouts, found).map((layout) => [layout.id, layout]));
  const on = await madeOn(session);
  const times = timesOf(found);
  for (const layout of layouts) {
    const hash = triggersHash(found, layout);
    const touched = triggerNames(layout).some((name) => written.has(name));
    const isOther = layout.triggers !== hash && layout.triggers !== LOST;
    const renewed = triggerNames(layout).some((name) => due.has(name));
    if (isOther && renewed) {
      // Those made early may have gone while later ones waited: a hash over what is missing would pass for sound.
      if (asked.has(layout.id)) assertNotGone(layout, found);
      hashes.set(layout.id, hash);
    }
    const tableId = (checked.has(layout.id) ? tableIds : later)?.get(layout.table.name);
    if (tableId !== undefined && tableId !== layout.tableId && asked.has(layout.id)) {
      ids.set(layout.id, tableId);
    }
    const made = asked.has(layout.id) || touched ? madeOf(layout, times, on) : undefined;
    const teller = told.get(layout.id);
    if (made ?? teller) {
      definitions.set(layout.id, definitionText({ ...(teller ?? layout), ...(made && { made }) }));
    }
  }
  if (hashes.size + ids.size + definitions.size === 0) return;
  const store = async () => {
    await lease.assertHeld();
    await storeOfLayouts(session, "triggers", hashes);
    await storeOfLayouts(session, "table_id", ids);
    await storeOfLayouts(session, "definition", definitions);
  };
  await endedWhenSilent(session, () => inTransaction(session, store));
}

/** Was it known which table that is? */
function isChecked({ layout, isNew, replaces }: TableCapture): boolean {
  return ((isNew ? replaces?.layout : layout)?.tableId ?? null) !== null;
}

/** Throws TM-TABLE-HELD. */
function looking<T>(session: Session, look: () => Promise<T>): Promise<T> {
  return tellWhoHolds(session, () => withShortLocks(session, look, LOOK_SECONDS));
}

interface Preparation {
  readonly captures: readonly TableCapture[];
  /** On the tables from which actions of foreign keys reach captured ones. */
  readonly cascades: readonly TriggerPlan[];
  readonly references: readonly Reference[];
  /** Null where they may not be read. */
  readonly tableIds: TableIds | null;
  /** Of each table the last layout whose triggers stood. */
  readonly installed: readonly StoredLayout[];
}

async function prepareCaptures(
  session: Session,
  tables: readonly CaptureTable[],
): Promise<Preparation> {
  const names = tables.map((table) => table.schema.name.name);
  const facts = await loadFacts(session, names);
  const references = await withVersions(session, await loadReferences(session));
  const versions = await loadVersions(session, names);
  const standing = await standingTables(session);
  const layouts = standing.has(LAYOUTS) ? await loadLayouts(session) : [];
  const active = new Map(
    layouts.filter((each) => each.active).map((each) => [each.table.name, each]),
  );
  let nextId = Math.max(0, ...layouts.map((layout) => layout.id)) + 1;
  const wanted: StoredLayout[] = [];
  const objections = new Objections();
  for (const table of tables) {
    await objections.tryAsync(async () => {
      const fact = checkCapturable(table, facts, session.flavour);
      const own = versions.get(fact.name);
      const wantedNow = wantedLayout(table, fact, references);
      const unnumbered = { ...wantedNow, ...(own && { versions: own }) };
      const layout = { ...unnumbered, id: nextId++, work: workOf(unnumbered, session.flavour) };
      refuseDoubtful(layout);
      await refusePeriod(session, layout);
      await refuseKeysAboveEngine(session, layout);
      await checkFilters(session, layout, fact);
      wanted.push(layout);
    });
  }
  objections.end();
  const triggers = await loadTriggers(session, triggeredTables([...active.values(), ...wanted]));
  const tableIds = await loadTableIds(session);
  // No hash is stored until all triggers stand: a first installation that failed half way begins again.
  const installed = new Map(
    layouts.filter((each) => each.triggers !== null).map((each) => [each.table.name, each]),
  );
  const before = wanted.flatMap(({ table }) => installed.get(table.name) ?? []);
  if (before.some(({ made }) => made !== undefined)) {
    assertNotMadeAnew(before, triggers, await madeOn(session));
  }
  const planned: TableCapture[] = [];
  for (const layout of wanted) {
    const current = active.get(layout.table.name);
    const known = layouts.filter((each) => each.table.name === layout.table.name);
    const before = installed.get(layout.table.name);
    const fact = facts.get(layout.table.name);
    await objections.tryAsync(async () => {
      await assertUnbroken(session, before, layout, triggers);
      if (before !== undefined && fact !== undefined) assertSameComputed(before, fact);
    });
    // What is logged by one that was altered while no sync carried it is unread for good.
    const isNew =
      current === undefined || current.readUpTo !== null || !sameDefinition(current, layout);
    const chosen = isNew ? layout : current;
    if (current !== undefined) {
      const key = keyNames(layout);
      // Not the key that rows are found by: a target that has it has no two rows of which one can have gone.
      const mayLackRows =
        session.flavour.altersIgnoring &&
        guardedAnew(current, layout).some((column) => !key.includes(column));
      const others = isNew && !mayLackRows ? known : null;
      await objections.tryAsync(() =>
        assertNotTruncated(session, current, { tableIds, layouts: others }),
      );
    }
    active.set(layout.table.name, chosen);
    const stands = !isNew && chosen.triggers === triggersHash(triggers, chosen);
    const replaces =
      current === undefined
        ? null
        : {
            layout: current,
            altered: isNew && fact !== undefined && isAltered(current, layout, fact),
            doubted: session.flavour.runsForPassedOver ? guardedAnew(current, layout) : [],
          };
    const all = planTriggers(chosen, triggers, session.flavour);
    const plans = stands ? othersTriggers(session, all, triggers) : all;
    planned.push({ layout: chosen, isNew, replaces, triggers: plans });
  }
  objections.end();
  const parents = await loadFacts(session, originTables([...active.values()]));
  for (const { table, reference, why } of lostFrom([...active.values()], references, parents)) {
    objections.try(() => {
      throw unsupported(table, reference, why);
    });
  }
  objections.end();
  const known = { references, found: triggers, parents };
  const origins = planCascades(session, [...active.values()], known);
  const plans = [...planned.flatMap((capture) => capture.triggers), ...origins];
  const byName = new Map((await withStrayed(session, plans)).map((plan) => [plan.name, plan]));
  const settled = (each: TriggerPlan) => byName.get(each.name) ?? each;
  const captures = planned.map((each) => ({ ...each, triggers: each.triggers.map(settled) }));
  const cascades = origins.map(settled);
  return { captures, cascades, references, tableIds, installed: [...installed.values()] };
}

function nameOf({ name }: TriggerPlan): string {
  return name;
}

/** Columns captured before to which a unique or a foreign key has come. */
function guardedAnew(before: StoredLayout, now: StoredLayout): readonly string[] {
  const known = new Set(before.guarded);
  return before.columns
    .map(({ name }) => name)
    .filter((name) => now.guarded.includes(name) && !known.has(name));
}
