import type { DatabaseOptions } from "../../core/database.ts";
import { isTidemarkError, TidemarkError, toTidemarkError } from "../../core/errors.ts";
import { failpoint } from "../../core/failpoint.ts";
import type { Logger } from "../../core/log.ts";
import { formatTable } from "../../core/table.ts";
import { abreast, type InSession } from "./abreast.ts";
import { IDLE_SECONDS, type Session, SILENT_SECONDS } from "./connection.ts";
import { quoteName } from "./identifiers.ts";
import { type Replaced, type StoredLayout, storeLayout } from "./layouts.ts";
import type { Lease } from "./lease.ts";
import { againWhileHeld, isHeld, Yielding } from "./locks.ts";
import { LAYOUTS } from "./ours.ts";
import type { Renewal } from "./renewal.ts";
import { captureRights } from "./rights.ts";
import { type TriggerPlan, triggerStatements } from "./trigger-statements.ts";
import { isOwn, KEEP_ACCOUNT, ownedBy } from "./triggers.ts";

/** What is to be done for one table. */
export interface TableCapture {
  readonly layout: StoredLayout;
  readonly isNew: boolean;
  /** What captured the table before. */
  readonly replaces: Replaced | null;
  /** Empty when capture stands as asked. */
  readonly triggers: readonly TriggerPlan[];
}

/** `work` locks tables of the application, or our own rows, from one statement to the next. */
export async function endedWhenSilent(session: Session, work: () => Promise<void>): Promise<void> {
  await session.run(`SET wait_timeout = ${SILENT_SECONDS}`);
  try {
    await work();
  } finally {
    // A session that is lost is told of by what failed in it.
    await session.run(`SET wait_timeout = ${IDLE_SECONDS}`).catch(() => {});
  }
}

/** What is to be done for one table, or for one trigger of a table that is not captured itself. */
type Installation = Pick<TableCapture, "triggers"> &
  ({ readonly layout: null } | Pick<TableCapture, "layout" | "isNew" | "replaces">);

/** What each attempt needs. */
interface Making {
  readonly lease: Lease;
  readonly renewal: Renewal;
}

/** The session has begun to give way (locks.ts). */
export async function installAll(
  session: Session,
  all: readonly Installation[],
  options: DatabaseOptions,
  making: Making,
): Promise<void> {
  const { logger } = options;
  const run = async (one: Installation, use: InSession) => {
    if (one.layout !== null && one.isNew) {
      const { layout, replaces } = one;
      if (replaces !== null && replaces.doubted.length > 0) logger.warn(...doubtOf(layout));
      await againWhileHeld({ table: LAYOUTS, session, use, logger }, async (each) => {
        await making.lease.assertHeld();
        const replaced = await storeLayout(each, layout, replaces);
        if (replaced !== null) making.renewal.stored(replaced);
      });
    }
    const yielding = new Yielding();
    for (const plan of one.triggers.filter(isOwn)) {
      const asked = { table: plan.table, session, use, logger, yielding };
      await againWhileHeld(asked, (each) => makeTrigger(each, plan, making));
      if (one.layout !== null) failpoint("capture-half");
    }
  };
  const apart: Installation[] = [];
  const inTurn: Installation[] = [];
  for (const one of all.filter(isDue)) (isApart(session, one, making) ? apart : inTurn).push(one);
  await abreast(session, options, apart, run);
  if (inTurn.length === 0) return;
  await endedWhenSilent(session, async () => {
    for (const one of inTurn) await run(one, (step) => step(session));
  });
}

function doubtOf({ table }: StoredLayout): [object, string] {
  return [
    { table: formatTable(table) },
    "a unique or foreign key came after the capture of this table: whether it has refused an update (UPDATE IGNORE) is not known of those that are still to be told, so where there are any the table is copied anew",
  ];
}

/** Is anything to be done for it? For what stands no session is opened. */
function isDue(one: Installation): boolean {
  return (one.layout !== null && one.isNew) || one.triggers.some(isOwn);
}

/**
 * Does it keep out of the way of those of other tables? LOCK TABLES locks the log too, since standing triggers write it;
 * and what replaces a layout is a transaction, which must not meet another.
 */
function isApart({ flavour }: Session, one: Installation, { renewal }: Making): boolean {
  if (one.layout !== null && one.isNew && one.replaces !== null) return false;
  return one.triggers.every(
    (plan) =>
      triggerStatements(plan, flavour.replacesTriggers).length === 1 && !renewal.renews(plan),
  );
}

/** So long a table that is in use is asked for. */
const TAKE_OVER_MS = 1_000;

/**
 * Makes ours what another account has made. What stands logs as well: so nothing waits long for that, and where it cannot be,
 * that account is to be kept.
 */
export async function takeOver(
  session: Session,
  plans: readonly TriggerPlan[],
  logger: Logger,
  making: Making,
): Promise<void> {
  const use: InSession = (step) => step(session);
  const asked = { session, use, logger, forMs: TAKE_OVER_MS };
  const left = new Set<string>();
  let fix = await whyNotOwn(session, plans);
  for (const plan of plans) {
    if (fix === undefined && !left.has(plan.table)) {
      try {
        await againWhileHeld({ ...asked, table: plan.table }, (each) =>
          makeTrigger(each, plan, making),
        );
        continue;
      } catch (error) {
        if (!isHeld(error) && !isTidemarkError(error, "TM-GRANT-MISSING")) throw error;
        if (!isHeld(error)) fix = toTidemarkError(error).fix;
      }
    }
    left.add(plan.table);
  }
  const [first] = plans.filter(({ table }) => left.has(table));
  if (first?.belongsTo === undefined) return;
  const others = left.size > 1 ? ` (and ${left.size - 1} more)` : "";
  logger.warn(
    { fix: `${KEEP_ACCOUNT}${fix === undefined ? "" : `, or ${fix}`}` },
    `the triggers of ${first.table}${others} ${ownedBy(first.belongsTo)}`,
  );
}

/** What mends it where it may make them, but they would fail by its rights, and with them each write. */
async function whyNotOwn(
  session: Session,
  plans: readonly TriggerPlan[],
): Promise<string | undefined> {
  if (plans.length === 0) return undefined;
  const making = { makesOurs: false, makesTriggers: false, hasTriggers: true };
  return (await captureRights(session, making))[0]?.fix;
}

/** One attempt, of a session that has begun to give way. */
async function makeTrigger(
  session: Session,
  plan: TriggerPlan,
  { lease, renewal }: Making,
): Promise<void> {
  await lease.assertHeld();
  const { table } = plan;
  const statements = triggerStatements(plan, session.flavour.replacesTriggers);
  await renewal.making(session, plan, async (before, after) => {
    try {
      // At once: the lock takes the log with it, so that nobody writes a captured table for as long as it is held.
      return await session.flight([...before, ...statements, ...after], {
        table,
        right: "LOCK TABLES, TRIGGER",
      });
    } catch (error) {
      if (statements.length > 1) await session.run("UNLOCK TABLES");
      throw isHeld(error) ? error : withGrant(error, session, table);
    }
  });
}

function withGrant(error: unknown, session: Session, table: string): unknown {
  if (!(error instanceof TidemarkError) || error.code !== "TM-GRANT-MISSING") return error;
  if (error.fix !== undefined) return error;
  return new TidemarkError(error.code, error.message, {
    fix: `GRANT SELECT, TRIGGER ON ${quoteName(session.database)}.${quoteName(table)} TO ${session.account};`,
    details: error.details,
  });
}
