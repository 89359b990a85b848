import { sleep } from "../../core/async.ts";
import { keyColumns } from "../../core/change.ts";
import { TidemarkError } from "../../core/errors.ts";
import { failpoint } from "../../core/failpoint.ts";
import type { Logger } from "../../core/log.ts";
import type { CapturePlan, CaptureTable } from "../../core/source.ts";
import { formatTable } from "../../core/table.ts";
import { filterCheck, type TriggerPlan, triggerStatements } from "./capture-sql.ts";
import { unseenPassage } from "./cascade-findings.ts";
import { type CascadeOrigin, unsupported } from "./cascades.ts";
import { loadFacts, type TableFacts } from "./catalog.ts";
import { IDLE_SECONDS, type Session, SILENT_SECONDS } from "./connection.ts";
import { errorNumber } from "./errors.ts";
import { quoteName } from "./identifiers.ts";
import {
  inTransaction,
  isAltered,
  loadLayouts,
  type StoredLayout,
  sameDefinition,
  storeLayout,
  storeTriggers,
  wantedLayout,
} from "./layouts.ts";
import { LAYOUTS, planOurs, standingTables } from "./ours.ts";
import { loadPin } from "./pins.ts";
import { loadReferences } from "./references.ts";
import { lostFrom } from "./referred-columns.ts";
import {
  type FoundTrigger,
  goneTriggers,
  loadTriggers,
  originTables,
  overtaking,
  planCascades,
  planTriggers,
  triggeredTables,
  triggerNames,
  triggersHash,
} from "./triggers.ts";
import {
  hasGrown,
  loadTableIds,
  storeTableId,
  type TableIds,
  truncated,
  unseenTruncation,
} from "./truncation.ts";

/** What is to be done for one table. */
interface TableCapture {
  readonly layout: StoredLayout;
  readonly isNew: boolean;
  /** Does the layout before no longer hold? */
  readonly altered: boolean;
  /** Empty when capture stands as asked. */
  readonly triggers: readonly TriggerPlan[];
}

export async function planCapture(
  session: Session,
  tables: readonly CaptureTable[],
): Promise<CapturePlan> {
  const { captures, cascades, tableIds } = await prepareCaptures(session, tables);
  const { replacesTriggers } = session.flavour;
  const unseen = unseenTruncation(session);
  const passage = await unseenPassage(session, tables);
  const plans = [...captures.flatMap(({ triggers }) => triggers), ...cascades];
  return {
    statements: [
      ...(await planOurs(session, "source")),
      ...plans.flatMap((plan) => triggerStatements(plan, replacesTriggers)),
    ],
    notes: [
      ...captures.map(({ layout }) => noteOn(layout)),
      ...(tableIds === null ? [`${unseen.message} ${unseen.fix}`] : []),
      ...(passage === null ? [] : [`${passage.message} So ${passage.fix}.`]),
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
 */
export async function installCapture(
  session: Session,
  tables: readonly CaptureTable[],
  logger: Logger,
): Promise<void> {
  // It locks tables of the application, and our own rows.
  await session.run(`SET wait_timeout = ${SILENT_SECONDS}`);
  try {
    await install(session, tables, logger);
  } finally {
    // A session that is lost is told of by what failed in it.
    await session.run(`SET wait_timeout = ${IDLE_SECONDS}`).catch(() => {});
  }
}

async function install(
  session: Session,
  tables: readonly CaptureTable[],
  logger: Logger,
): Promise<void> {
  const { captures, cascades } = await prepareCaptures(session, tables);
  for (const { layout, isNew, altered, triggers } of captures) {
    if (isNew) await storeLayout(session, layout, altered);
    for (const plan of triggers) {
      await installTrigger(session, plan, logger);
      failpoint("capture-half");
    }
  }
  for (const plan of cascades) await installTrigger(session, plan, logger);
  const layouts = (await loadLayouts(session)).filter(({ active }) => active);
  const found = await loadTriggers(session, triggeredTables(layouts));
  const asked = new Set(captures.map(({ layout }) => layout.id));
  const tableIds = await loadTableIds(session);
  if (tableIds === null) {
    const { message, fix } = unseenTruncation(session);
    logger.warn({ fix }, message);
  }
  const passage = await unseenPassage(session, tables);
  if (passage?.isUnsafe) logger.warn({ fix: passage.fix }, passage.message);
  const written = new Set(cascades.map(({ name }) => name));
  // Thousands of tables: one commit.
  await inTransaction(session, async () => {
    for (const layout of layouts) {
      const hash = triggersHash(found, layout);
      const touched = triggerNames(layout).some((name) => written.has(name));
      if (layout.triggers !== hash && (asked.has(layout.id) || touched)) {
        await storeTriggers(session, layout.id, hash);
      }
      const tableId = tableIds?.get(layout.table.name);
      if (tableId !== undefined && tableId !== layout.tableId && asked.has(layout.id)) {
        await storeTableId(session, layout.id, tableId);
      }
    }
  });
}

interface Preparation {
  readonly captures: readonly TableCapture[];
  /** On the tables from which actions of foreign keys reach captured ones. */
  readonly cascades: readonly TriggerPlan[];
  /** Null where they may not be read. */
  readonly tableIds: TableIds | null;
}

async function prepareCaptures(
  session: Session,
  tables: readonly CaptureTable[],
): Promise<Preparation> {
  const names = tables.map((table) => table.schema.name.name);
  const facts = await loadFacts(session, names);
  const references = await loadReferences(session);
  const standing = await standingTables(session);
  const layouts = standing.has(LAYOUTS) ? await loadLayouts(session) : [];
  const active = new Map(
    layouts.filter((each) => each.active).map((each) => [each.table.name, each]),
  );
  let nextId = Math.max(0, ...layouts.map((layout) => layout.id)) + 1;
  const wanted: StoredLayout[] = [];
  for (const table of tables) {
    const fact = checkCapturable(table, facts);
    const layout = { ...wantedLayout(table, fact, references), id: nextId++ };
    refuseDoubtful(layout);
    await refusePeriod(session, layout);
    await checkFilters(session, layout);
    wanted.push(layout);
  }
  const triggers = await loadTriggers(session, triggeredTables([...active.values(), ...wanted]));
  const tableIds = await loadTableIds(session);
  const captures = wanted.map((layout) => {
    const current = active.get(layout.table.name);
    const known = layouts.filter((each) => each.table.name === layout.table.name);
    assertUnbroken(known, layout, triggers);
    const isNew = current === undefined || !sameDefinition(current, layout);
    const chosen = isNew ? layout : current;
    // Columns that have changed may have been changed by a rebuild.
    if (!isNew) assertNotTruncated(chosen, tableIds);
    active.set(layout.table.name, chosen);
    const stands = !isNew && chosen.triggers === triggersHash(triggers, chosen);
    const fact = facts.get(layout.table.name);
    const altered =
      isNew && current !== undefined && fact !== undefined && isAltered(current, layout, fact);
    const plans = stands ? [] : planTriggers(chosen, triggers);
    return { layout: chosen, isNew, altered, triggers: plans };
  });
  const parents = await loadFacts(session, originTables([...active.values()]));
  const lost = lostFrom([...active.values()], references, parents);
  if (lost !== null) throw unsupported(lost.table, lost.reference, lost.why);
  const cascades = planCascades([...active.values()], references, triggers, parents);
  return { captures, cascades, tableIds };
}

/**
 * A table whose triggers were installed, and one is gone, has let changes go by. (Dropping and making
 * anew a table drops them, too.) Installing capture again in silence would hide that.
 */
function assertUnbroken(
  known: readonly StoredLayout[],
  wanted: StoredLayout,
  found: readonly FoundTrigger[],
): void {
  // No hash is stored until all of them stand: a first installation that failed half way begins again.
  const installed = known.findLast((each) => each.triggers !== null);
  if (installed === undefined) return;
  const [gone] = goneTriggers(installed, found);
  if (gone !== undefined) throw captureBroken(installed, `trigger ${gone} is gone`);
  assertNotOvertaken(installed, found);
  assertSameOrigins(installed, wanted.origins);
}

/** Throws TM-CAPTURE-BROKEN. */
export function assertNotOvertaken(layout: StoredLayout, found: readonly FoundTrigger[]): void {
  const later = overtaking(found, layout);
  if (later === null) return;
  throw captureBroken(
    layout,
    `trigger ${later.name} of ${later.table} came later and runs after ours before a deletion`,
  );
}

/** Throws TM-TRUNCATE-UNSEEN. */
function assertNotTruncated(layout: StoredLayout, tableIds: TableIds | null): void {
  const now = tableIds?.get(layout.table.name);
  if (layout.tableId === null || now === undefined || now === layout.tableId) return;
  if (hasGrown(layout.tableId, now)) return;
  throw truncated(layout);
}

/** Until a new foreign key is known, what its action does goes by unseen. Throws TM-CAPTURE-BROKEN. */
export function assertSameOrigins(layout: StoredLayout, now: readonly CascadeOrigin[]): void {
  // What is done after a deletion goes by what is done before it.
  const acting = (origins: readonly CascadeOrigin[]) =>
    JSON.stringify(origins.filter(({ event }) => event !== "DELETED"));
  if (acting(layout.origins) === acting(now)) return;
  throw captureBroken(layout, "foreign keys that act on its rows were added, changed or dropped");
}

/** Changes may have gone by unseen. `others`: tables of which the same is to be said. */
export function captureBroken(
  layout: StoredLayout,
  what: string,
  others: readonly StoredLayout[] = [],
): TidemarkError {
  const table = formatTable(layout.table);
  const all = [...new Set([layout, ...others].map((each) => formatTable(each.table)))];
  return new TidemarkError(
    "TM-CAPTURE-BROKEN",
    `Capture of ${all.join(", ")} is broken: ${what}. Changes may have been missed.`,
    {
      fix: `tidemark resync ${all.join(" ")}, then tidemark run: ${all.length === 1 ? "it is" : "they are"} captured and copied anew.`,
      details: { table },
    },
  );
}

function checkCapturable(table: CaptureTable, facts: ReadonlyMap<string, TableFacts>): TableFacts {
  const name = formatTable(table.schema.name);
  const fact = table.schema.name.schema === null ? facts.get(table.schema.name.name) : undefined;
  if (fact === undefined) {
    throw new TidemarkError("TM-TABLE-MISSING", `There is no table ${name}.`, {
      details: { table: name },
    });
  }
  if (fact.engine !== "InnoDB") {
    throw new TidemarkError(
      "TM-TABLE-UNSUPPORTED",
      `${name} has the engine ${fact.engine}, which has no transactions.`,
      { fix: `ALTER TABLE ${quoteName(name)} ENGINE = InnoDB`, details: { table: name } },
    );
  }
  return fact;
}

/**
 * `FOR PORTION OF` splits a row (MariaDB's manual, "Application-Time Periods"). The parts are inserted, and their
 * triggers run, before that of the row itself, whose old key one of them may have by then: in the log it would
 * go after it has come.
 */
async function refusePeriod(session: Session, layout: StoredLayout): Promise<void> {
  const key = keyColumns(layout).map((index) => layout.columns[index]);
  const temporal = key.filter((column) => column !== undefined && TEMPORAL.has(column.type.kind));
  if (temporal.length === 0 || session.flavour.product !== "MariaDB") return;
  const made = await loadPin(session, layout.table.name);
  const found =
    /^\s*PERIOD FOR `((?:[^`]|``)+)` \(`((?:[^`]|``)+)`, *`((?:[^`]|``)+)`\)/m.exec(made) ?? [];
  const [period, ...ends] = found.slice(1).map((name) => name.replaceAll("``", "`"));
  const column = temporal.find((each) => each !== undefined && ends.includes(each.name));
  if (column === undefined) return;
  const name = formatTable(layout.table);
  throw new TidemarkError(
    "TM-TABLE-UNSUPPORTED",
    `The key of ${name} holds ${column.name} of its period ${period}: what UPDATE and DELETE ... FOR PORTION OF make of a row is told to triggers in an order that loses rows.`,
    {
      fix: `give the table a primary key without the period's columns (${ADD_KEY(layout.table.name)}, after the key that stands is dropped or made a UNIQUE one), or leave it out of the sync`,
      details: { table: name, column: column.name },
    },
  );
}

const TEMPORAL: ReadonlySet<string> = new Set(["date", "timestamp", "timestamptz"]);

const ADD_KEY = (table: string) =>
  `ALTER TABLE ${quoteName(table)} ADD COLUMN id BIGINT AUTO_INCREMENT PRIMARY KEY`;

/** The trigger fires for rows that stay as they were, too (see isCarriedOut), and only a key finds such a row again to look. */
function refuseDoubtful({ table, key, guarded, stamped }: StoredLayout): void {
  if (key.length > 0) return;
  const name = formatTable(table);
  if (stamped.length > 0) {
    throw new TidemarkError(
      "TM-TABLE-NO-KEY",
      `Table ${name} has no primary key and no unique key of not-null columns, but a column with ON UPDATE CURRENT_TIMESTAMP (${stamped.join(", ")}): an update that leaves a row as it is could not be told from one that changes it.`,
      {
        fix: `${ADD_KEY(table.name)}; or leave the column out with except`,
        details: { table: name, columns: stamped },
      },
    );
  }
  if (guarded.length === 0) return;
  throw new TidemarkError(
    "TM-TABLE-NO-KEY",
    `Table ${name} has no primary key and no unique key of not-null columns, but a unique or foreign key over ${guarded.join(", ")}: what UPDATE IGNORE passes over could not be told from what it changes.`,
    {
      fix: `${ADD_KEY(table.name)}; or make the columns of a unique key NOT NULL`,
      details: { table: name, columns: guarded },
    },
  );
}

async function checkFilters(session: Session, layout: StoredLayout): Promise<void> {
  if (layout.filters.length === 0) return;
  try {
    await session.rows(filterCheck(layout));
  } catch (error) {
    const number = errorNumber(error);
    if (number === undefined) throw error;
    const table = formatTable(layout.table);
    throw new TidemarkError(
      "TM-CONFIG-INVALID",
      `The server does not take a row filter of ${table} (server error ${number}).`,
      {
        fix: `try it: SELECT * FROM ${quoteName(layout.table.name)} WHERE (…) LIMIT 1; it may use only captured columns, by their plain names`,
        details: { table, errno: number },
      },
    );
  }
}

const LOCK_SECONDS = 1;
const LOG_EVERY_MS = 10_000;

/**
 * While CREATE TRIGGER waits for an open transaction, every new statement on the table waits behind
 * it: so it waits a second at most, lets the writers through, and tries again for as long as the
 * transaction is open. No timeout may decide that it has ended.
 */
async function installTrigger(session: Session, plan: TriggerPlan, logger: Logger): Promise<void> {
  const { table } = plan;
  const statements = triggerStatements(plan, session.flavour.replacesTriggers);
  let toldAt = performance.now();
  for (let attempt = 0; ; attempt++) {
    try {
      await session.run(`SET lock_wait_timeout = ${LOCK_SECONDS}`);
      for (const statement of statements) {
        await session.run(statement, [], { table, right: "LOCK TABLES, TRIGGER" });
      }
      return;
    } catch (error) {
      if (statements.length > 1) await session.run("UNLOCK TABLES");
      if (errorNumber(error) === LOCK_TIMEOUT || errorNumber(error) === DEADLOCK) {
        if (performance.now() - toldAt > LOG_EVERY_MS) {
          toldAt = performance.now();
          logger.warn({ table }, "waiting for a transaction that has written the table to end");
        }
        await sleep(Math.min(5_000, 200 * 1.5 ** attempt));
        continue;
      }
      throw withGrant(error, session, table);
    } finally {
      await session.run("SET lock_wait_timeout = 60");
    }
  }
}

const LOCK_TIMEOUT = 1205;
const DEADLOCK = 1213;

function withGrant(error: unknown, session: Session, table: string): unknown {
  if (!(error instanceof TidemarkError) || error.code !== "TM-GRANT-MISSING") return error;
  if (error.fix !== undefined) return error;
  return new TidemarkError(error.code, error.message, {
    fix: `GRANT SELECT, TRIGGER ON ${quoteName(session.database)}.${quoteName(table)} TO ${session.account};`,
    details: error.details,
  });
}
