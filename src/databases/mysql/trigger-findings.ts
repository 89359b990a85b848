import type { Finding } from "../../core/database.ts";
import { isTidemarkError, TidemarkError } from "../../core/errors.ts";
import { failure, ok, warning } from "../../core/findings.ts";
import { triggersWithoutLog } from "../../core/rewound.ts";
import { resyncCommand } from "../../core/shell.ts";
import type { CaptureTable } from "../../core/source.ts";
import { hiddenFrom, LOST_MEANWHILE } from "./capture-broken.ts";
import { accountName, type Session } from "./connection.ts";
import { grantsOf, mayTrigger } from "./grants.ts";
import { quoteName } from "./identifiers.ts";
import { LOST, loadLayouts, type StoredLayout } from "./layouts.ts";
import { MADE_ANEW, madeAnew, madeOn } from "./made.ts";
import { isOurs, LAYOUTS, planOurs, standingTables } from "./ours.ts";
import { loadFacts } from "./table-facts.ts";
import { areShown, triggerRightFindings } from "./trigger-rights.ts";
import {
  type FoundTrigger,
  goneTriggers,
  KEEP_ACCOUNT,
  loadTriggers,
  ownedBy,
  triggeredTables,
  triggersHash,
} from "./triggers.ts";

/** What stands of our triggers, and whether it works. */
export async function triggerFindings(
  session: Session,
  tables: readonly CaptureTable[],
): Promise<Finding[]> {
  const lost = await lostLogFinding(session, tables);
  if (lost !== null) return [lost];
  if (!(await standingTables(session)).has(LAYOUTS)) return [];
  const layouts = (await loadLayouts(session)).filter((layout) => layout.active);
  const names = tables.map(({ schema }) => schema.name.name);
  const found = await loadTriggers(session, triggeredTables(layouts));
  // They would be told as changed, or gone.
  if (!areShown(found) && !mayTrigger(session, await grantsOf(session))) return [];
  const users = await accounts(session);
  const findings = await triggerRightFindings(session, layouts, found);
  const anew = new Set(madeAnew(layouts, found, await madeOn(session)));
  for (const name of names) {
    const layout = layouts.find((each) => each.table.name === name);
    // Never captured, or not to the end: what is still to be installed is the plan's to tell.
    if (layout === undefined || layout.triggers === null) continue;
    const ours = found.filter((each) => each.table === name && isOurs(each.name));
    const isOther = layout.triggers !== triggersHash(found, layout);
    const hidden = isOther ? await hiddenFrom(session, layout, found) : null;
    if (hidden !== null) {
      findings.push(failure("trigger-right", hidden.message, hidden.fix));
    } else if (isOther) {
      const gone = goneTriggers(layout, found);
      const what = gone.length > 0 ? `lost ${gone.join(", ")}` : "a changed trigger";
      findings.push(
        failure(
          "trigger-broken",
          `Table ${name} has ${what}: writes may have passed unseen.`,
          `${resyncCommand(name)}, then tidemark run: it is copied anew`,
        ),
      );
    } else if (anew.has(layout)) {
      findings.push(
        failure(
          "trigger-broken",
          `Table ${name}: ${MADE_ANEW}. Writes may have passed unseen.`,
          `${resyncCommand(name)}, then tidemark run: it is copied anew`,
        ),
      );
    } else {
      findings.push(ok("triggers", `The triggers of ${name} stand as installed.`));
    }
    findings.push(...ours.flatMap((trigger) => orderFinding(trigger, found)));
    findings.push(...definerFindings(session, ours, users));
  }
  const others = layouts.filter(({ table }) => !names.includes(table.name));
  const facts = await loadFacts(
    session,
    others.map(({ table }) => table.name),
  );
  const standing = others.filter(
    ({ table, triggers }) => facts.has(table.name) && triggers !== null,
  );
  for (const layout of standing) findings.push(await uncarriedFinding(session, layout, found));
  return findings;
}

/** A log that is not whole any more, or gone with its triggers left behind. */
async function lostLogFinding(
  session: Session,
  tables: readonly CaptureTable[],
): Promise<Finding | null> {
  try {
    if ((await planOurs(session, "source")).length === 0) return null;
  } catch (error) {
    if (!isTidemarkError(error, "TM-SOURCE-REWOUND")) throw error;
    return failure("log-lost", error.message, error.fix);
  }
  const names = tables.map(({ schema }) => schema.name.name);
  const found = await loadTriggers(session, names);
  const captured = names.filter((name) =>
    found.some((trigger) => trigger.table === name && isOurs(trigger.name)),
  );
  return captured.length === 0 ? null : triggersWithoutLog(captured);
}

/** Of a table that is captured all the same: nobody else would tell. */
async function uncarriedFinding(
  session: Session,
  layout: StoredLayout,
  found: readonly FoundTrigger[],
): Promise<Finding> {
  const { name } = layout.table;
  const gone = goneTriggers(layout, found);
  const isLost = layout.triggers === LOST;
  if (!isLost && layout.triggers === triggersHash(found, layout)) {
    const message = `${name} is captured, though no sync of this config carries it.`;
    return ok("capture-uncarried", message);
  }
  const hidden = isLost ? null : await hiddenFrom(session, layout, found);
  if (hidden !== null) {
    const message = `No sync of this config carries ${name}, which is captured: ${hidden.message}`;
    return warning("trigger-right", message, hidden.fix ?? "");
  }
  const changed = gone.length > 0 ? `${gone.join(", ")} is gone` : "a trigger was changed";
  const what = isLost ? LOST_MEANWHILE : changed;
  const message = `Capture of ${name}, which no sync of this config carries, is broken: ${what}.`;
  const fix = `once it is in the config again: ${resyncCommand(name)}, then tidemark run`;
  return warning("trigger-broken", message, fix);
}

function orderFinding(trigger: FoundTrigger, found: readonly FoundTrigger[]): Finding[] {
  const before = found.find(
    (each) =>
      each.table === trigger.table &&
      each.event === trigger.event &&
      each.timing === trigger.timing &&
      each.order < trigger.order &&
      !isOurs(each.name),
  );
  if (before === undefined) return [];
  return [
    failure(
      "trigger-order",
      `On ${trigger.table}, trigger ${before.name} fires before ours: what it writes would be logged before the change that fired it.`,
      `DROP TRIGGER ${quoteName(trigger.name)} -- and run again: ours is then made the first`,
    ),
  ];
}

function definerFindings(
  { account }: Session,
  ours: readonly FoundTrigger[],
  users: ReadonlySet<string> | null,
): Finding[] {
  const [table = ""] = ours.map((trigger) => trigger.table);
  return [...new Set(ours.map(({ definer }) => definer))].flatMap((definer) => {
    const owner = accountName(definer);
    if (owner === account) return [];
    if (users === null || users.has(definer)) {
      const fix = `tidemark run makes them its own; until then ${KEEP_ACCOUNT}`;
      return [warning("trigger-definer", `The triggers of ${table} ${ownedBy(owner)}.`, fix)];
    }
    const message = `The triggers of ${table} belong to ${owner}, who does not exist: every write to the table fails (error 1449).`;
    const fix = `tidemark run makes them its own; or CREATE USER ${owner} ACCOUNT LOCK -- with INSERT on the log and TRIGGER on the table`;
    return [failure("trigger-definer", message, fix)];
  });
}

/** All accounts; null when they may not be read. */
async function accounts(session: Session): Promise<ReadonlySet<string> | null> {
  try {
    const rows = await session.rows("SELECT CONCAT(User, '@', Host) FROM mysql.user");
    return new Set(rows.map(([account]) => account ?? ""));
  } catch (error) {
    if (error instanceof TidemarkError && error.code === "TM-GRANT-MISSING") return null;
    throw error;
  }
}
