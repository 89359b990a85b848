import { sleep } from "../../core/async.ts";
import { TidemarkError } from "../../core/errors.ts";
import { sha256 } from "../../core/hash.ts";
import type { Logger } from "../../core/log.ts";
import type { CapturePlan, CaptureTable } from "../../core/source.ts";
import { formatTable } from "../../core/table.ts";
import {
  EVENTS,
  type Event,
  filterCheck,
  standInName,
  type TriggerPlan,
  triggerName,
  triggerStatements,
} from "./capture-sql.ts";
import { loadFacts, type TableFacts } from "./catalog.ts";
import type { Session } from "./connection.ts";
import { errorNumber } from "./errors.ts";
import { quoteName, quoteText } from "./identifiers.ts";
import {
  loadLayouts,
  type StoredLayout,
  sameDefinition,
  storeLayout,
  storeTriggers,
  wantedLayout,
} from "./layouts.ts";
import { isOurs, LAYOUTS, planOurs, standingTables } from "./ours.ts";

/** What is to be done for one table. */
interface TableCapture {
  readonly layout: StoredLayout;
  readonly isNew: boolean;
  /** Empty when capture stands as asked. */
  readonly triggers: readonly TriggerPlan[];
}

export async function planCapture(
  session: Session,
  tables: readonly CaptureTable[],
): Promise<CapturePlan> {
  const captures = await prepareCaptures(session, tables);
  const { replacesTriggers } = session.flavour;
  return {
    statements: [
      ...(await planOurs(session, "source")),
      ...captures.flatMap(({ triggers }) =>
        triggers.flatMap((plan) => triggerStatements(plan, replacesTriggers)),
      ),
    ],
    notes: captures.map(
      ({ layout }) =>
        `${formatTable(layout.table)}: captured by one row trigger each for insert, update and delete, the only kind there is; TRUNCATE cannot be seen.`,
    ),
  };
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
  for (const capture of await prepareCaptures(session, tables)) {
    const { layout, isNew, triggers } = capture;
    if (isNew) await storeLayout(session, layout);
    for (const plan of triggers) await installTrigger(session, plan, logger);
    if (triggers.length > 0) {
      const found = await loadTriggers(session, [layout.table.name]);
      await storeTriggers(session, layout.id, triggersHash(found, layout.table.name));
    }
  }
}

async function prepareCaptures(
  session: Session,
  tables: readonly CaptureTable[],
): Promise<readonly TableCapture[]> {
  const names = tables.map((table) => table.schema.name.name);
  const facts = await loadFacts(session, names);
  const standing = await standingTables(session);
  const layouts = standing.has(LAYOUTS) ? await loadLayouts(session) : [];
  const triggers = await loadTriggers(session, names);
  let nextId = Math.max(0, ...layouts.map((layout) => layout.id)) + 1;
  const captures: TableCapture[] = [];
  for (const table of tables) {
    const fact = checkCapturable(table, facts);
    const wanted = { ...wantedLayout(table, fact), id: nextId };
    await checkFilters(session, wanted);
    const name = table.schema.name.name;
    const known = layouts.filter((each) => each.table.name === name);
    const current = known.find((each) => each.active);
    // No hash is stored until all three stand: a first installation that failed half way begins again.
    if (known.some((each) => each.triggers !== null)) assertUnbroken(name, triggers);
    const isNew = current === undefined || !sameDefinition(current, wanted);
    const layout = isNew ? wanted : current;
    if (isNew) nextId++;
    const stands = !isNew && layout.triggers === triggersHash(triggers, name);
    captures.push({
      layout,
      isNew,
      triggers: stands ? [] : planTriggers(layout, triggers),
    });
  }
  return captures;
}

/**
 * A table whose triggers were installed, and one is gone, has let changes go by. (Dropping and making
 * anew a table drops them, too.) Installing capture again in silence would hide that.
 */
function assertUnbroken(name: string, found: readonly FoundTrigger[]): void {
  const stands = (trigger: string) =>
    found.some((each) => each.table === name && each.name === trigger);
  const goneEvent = EVENTS.find(
    (event) => !stands(triggerName(name, event)) && !stands(standInName(name, event)),
  );
  const gone = goneEvent && triggerName(name, goneEvent);
  if (gone === undefined) return;
  throw new TidemarkError(
    "TM-CAPTURE-BROKEN",
    `Capture of ${name} is broken: trigger ${gone} is gone. Changes may have been missed.`,
    {
      fix: "Copy anew: tidemark uninstall, empty the tables at the targets, tidemark run.",
      details: { table: name },
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
  if (table.schema.key.length === 0) {
    throw new TidemarkError(
      "TM-TABLE-NO-KEY",
      `Table ${name} has no primary key and no unique key of not-null columns.`,
      { fix: `ALTER TABLE ${quoteName(name)} ADD PRIMARY KEY (…)`, details: { table: name } },
    );
  }
  refuseCascades(fact);
  return fact;
}

/**
 * InnoDB carries out referential actions below the triggers: rows that a cascade changes or deletes
 * would never reach the log.
 */
function refuseCascades(facts: TableFacts): void {
  const quiet = new Set(["RESTRICT", "NO ACTION"]);
  const key = facts.foreignKeys.find(
    ({ onDelete, onUpdate }) => !quiet.has(onDelete) || !quiet.has(onUpdate),
  );
  if (key === undefined) return;
  const action = quiet.has(key.onDelete)
    ? `ON UPDATE ${key.onUpdate}`
    : `ON DELETE ${key.onDelete}`;
  const columns = key.columns.map(quoteName).join(", ");
  throw new TidemarkError(
    "TM-TABLE-UNSUPPORTED",
    `Table ${facts.name} has the foreign key ${key.name} with ${action}: the server carries it out without firing triggers, so those changes cannot be captured.`,
    {
      fix: `ALTER TABLE ${quoteName(facts.name)} DROP FOREIGN KEY ${quoteName(key.name)}, ADD CONSTRAINT ${quoteName(`${key.name}_restrict`)} FOREIGN KEY (${columns}) REFERENCES ${quoteName(key.references.name)} (…) -- and change the children in the application`,
      details: { table: facts.name, constraint: key.name },
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

/** A trigger of a captured table, ours or not. */
export interface FoundTrigger {
  readonly name: string;
  readonly table: string;
  readonly event: string;
  readonly timing: string;
  readonly order: number;
  readonly definer: string;
  readonly statement: string;
}

export async function loadTriggers(
  session: Session,
  tables: readonly string[],
): Promise<readonly FoundTrigger[]> {
  if (tables.length === 0) return [];
  const rows = await session.rows(
    `SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, EVENT_MANIPULATION, ACTION_TIMING, ACTION_ORDER,
       DEFINER, ACTION_STATEMENT
     FROM information_schema.TRIGGERS
     WHERE EVENT_OBJECT_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE IN (${tables.map(quoteText).join(", ")})
     ORDER BY EVENT_OBJECT_TABLE, EVENT_MANIPULATION, ACTION_ORDER`,
  );
  return rows.map(([name, table, event, timing, order, definer, statement]) => ({
    name: name ?? "",
    table: table ?? "",
    event: event ?? "",
    timing: timing ?? "",
    order: Number(order),
    definer: definer ?? "",
    statement: statement ?? "",
  }));
}

/** Hash over our triggers of a table, as the server keeps them. */
export function triggersHash(found: readonly FoundTrigger[], table: string): string {
  const ours = EVENTS.map((event) => {
    const standing = [triggerName(table, event), standInName(table, event)].map((name) => {
      const trigger = found.find((each) => each.table === table && each.name === name);
      return trigger && `${trigger.event} ${trigger.timing} ${trigger.statement}`;
    });
    return standing.filter((each) => each !== undefined).join(" and ") || "missing";
  });
  return sha256("triggers", ...ours);
}

function planTriggers(layout: StoredLayout, found: readonly FoundTrigger[]): TriggerPlan[] {
  const { name } = layout.table;
  return EVENTS.map((event) => ({
    layout,
    event,
    stands: found.some((each) => each.name === triggerName(name, event)),
    standInStands: found.some((each) => each.name === standInName(name, event)),
    precedes: firstForeign(layout, event, found),
  }));
}

/** Ours must fire first: what the application's own trigger writes comes after the change that fired it. */
function firstForeign(
  layout: StoredLayout,
  event: Event,
  found: readonly FoundTrigger[],
): string | null {
  const foreign = found.find(
    (each) =>
      each.table === layout.table.name &&
      each.event === event &&
      each.timing === "AFTER" &&
      !isOurs(each.name),
  );
  return foreign?.name ?? null;
}

const LOCK_SECONDS = 1;
const LOG_EVERY_MS = 10_000;

/**
 * While CREATE TRIGGER waits for an open transaction, every new statement on the table waits behind
 * it: so it waits a second at most, lets the writers through, and tries again for as long as the
 * transaction is open. No timeout may decide that it has ended.
 */
async function installTrigger(session: Session, plan: TriggerPlan, logger: Logger): Promise<void> {
  const table = formatTable(plan.layout.table);
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
