import { columnsAltered, DROPPED, keyAltered } from "../../core/altered.ts";
import { keyNames } from "../../core/change.ts";
import { TidemarkError } from "../../core/errors.ts";
import { copyAnew, Objections, wrongTable } from "../../core/many-tables.ts";
import { rewound } from "../../core/rewound.ts";
import { formatTable } from "../../core/table.ts";
import {
  assertNotOvertaken,
  assertSameComputed,
  assertSameOrigins,
  captureBroken,
  hiddenFrom,
  hiddenOfGone,
} from "./capture-broken.ts";
import { standInName, triggerName } from "./capture-sql.ts";
import { actsOn, originsOf } from "./cascades.ts";
import type { Session } from "./connection.ts";
import { lostTransactions } from "./engines.ts";
import {
  differences,
  guardedColumns,
  LOST,
  type StoredLayout,
  signatureOf,
  storeOfLayouts,
} from "./layouts.ts";
import { assertNotMadeAnew } from "./made.ts";
import { LOG } from "./ours.ts";
import { loadReferences, withVersions } from "./references.ts";
import { lostFrom } from "./referred-columns.ts";
import { keyIndex, loadFacts, type TableFacts } from "./table-facts.ts";
import { noteKeyIndex } from "./table-reader.ts";
import { loadTriggers, originTables, triggeredTables, triggersHash } from "./triggers.ts";

/**
 * Checks that what is captured is still captured as recorded. Throws TM-SCHEMA-DRIFT,
 * TM-CAPTURE-BROKEN, and TM-SOURCE-REWOUND when the log is not the one it was.
 * `highestId`: the highest that a batch holds.
 */
export async function checkDrift(
  session: Session,
  layouts: readonly StoredLayout[],
  highestId: number,
): Promise<void> {
  const names = layouts.map((layout) => layout.table.name);
  const facts = await loadFacts(session, names);
  const triggers = await loadTriggers(session, triggeredTables(layouts));
  const objections = new Objections();
  for (const layout of layouts) {
    await objections.tryAsync(async () => {
      const table = formatTable(layout.table);
      const fact = facts.get(layout.table.name);
      if (fact === undefined) throw await goneOrRenamed(session, layout);
      const lost = lostTransactions(fact, session.flavour);
      if (lost !== null) {
        // Once it has transactions again, nothing else would tell.
        await storeOfLayouts(session, "triggers", new Map([[layout.id, LOST]]));
        throw lost;
      }
      if (signatureOf(layout, fact) !== layout.signature) {
        throw columnsAltered(table, differences(layout, fact));
      }
      checkKey(layout, fact);
      assertSameComputed(layout, fact);
      noteKeyIndex(layout, fact);
      assertNotOvertaken(layout, triggers);
      if (triggersHash(triggers, layout) !== layout.triggers) {
        throw (await hiddenFrom(session, layout, triggers)) ?? triggerBroken(table);
      }
    });
  }
  objections.end();
  await checkReferences(session, layouts, facts);
  checkGuarded(layouts, facts);
  await checkLog(session, highestId);
  // After that: a dump of the whole database makes them anew as well.
  assertNotMadeAnew(layouts, triggers, null);
}

function triggerBroken(table: string): TidemarkError {
  return wrongTable("TM-CAPTURE-BROKEN", table, {
    message: `A trigger of ours on ${table} is missing or was changed: writes since then may not be in the log.`,
    mend: copyAnew,
  });
}

function checkKey(layout: StoredLayout, fact: TableFacts): void {
  const was = keyNames(layout);
  const now = keyIndex(fact)?.columns ?? [];
  if (JSON.stringify(was) === JSON.stringify(now)) return;
  throw keyAltered(formatTable(layout.table), was, now);
}

/** Triggers go along with a table that gets another name, and with one that is dropped. */
async function goneOrRenamed(session: Session, layout: StoredLayout): Promise<TidemarkError> {
  const table = formatTable(layout.table);
  const trigger = triggerName(layout.table.name, "INSERT");
  const now = await session.value(
    `SELECT EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS
     WHERE TRIGGER_SCHEMA = DATABASE() AND TRIGGER_NAME IN (?, ?)`,
    [trigger, standInName(trigger)],
  );
  const hidden = now === null ? await hiddenOfGone(session, layout) : null;
  if (hidden !== null) return hidden;
  const [what, fix] =
    now === null
      ? ["was dropped", DROPPED]
      : [
          `was renamed to ${now}`,
          `Give it its name back, then start again: nothing is lost. Or put ${now} into the config, with its table at the targets empty: it is copied anew.`,
        ];
  return new TidemarkError("TM-SCHEMA-DRIFT", `${table} ${what}.`, { fix, details: { table } });
}

/** What a unique key refuses under IGNORE must be told by the trigger, which knows those that stood. */
function checkGuarded(
  layouts: readonly StoredLayout[],
  facts: ReadonlyMap<string, TableFacts>,
): void {
  for (const { table, guarded } of layouts) {
    const fact = facts.get(table.name);
    if (fact === undefined) continue;
    if (guardedColumns(fact, []).every((column) => guarded.includes(column))) continue;
    const name = formatTable(table);
    throw new TidemarkError(
      "TM-SCHEMA-DRIFT",
      `A unique or foreign key of ${name} came after its capture.`,
      { fix: "run again: capture is renewed at the start", details: { table: name } },
    );
  }
}

/** All foreign keys are looked at only where one of them acts, or did. */
async function checkReferences(
  session: Session,
  layouts: readonly StoredLayout[],
  facts: ReadonlyMap<string, TableFacts>,
): Promise<void> {
  const acting = layouts.filter(
    ({ table, origins }) =>
      origins.length > 0 ||
      facts
        .get(table.name)
        ?.foreignKeys.some(({ onDelete, onUpdate }) => actsOn(onDelete) || actsOn(onUpdate)),
  );
  if (acting.length === 0) return;
  const references = await withVersions(session, await loadReferences(session));
  const objections = new Objections();
  for (const layout of acting) {
    objections.try(() => assertSameOrigins(layout, originsOf(layout.table.name, references)));
  }
  const others = originTables(acting).filter((name) => !facts.has(name));
  const parents = new Map([...facts, ...(await loadFacts(session, others))]);
  for (const { table, reference, why } of lostFrom(acting, references, parents)) {
    const layout = acting.find((each) => each.table.name === table);
    if (layout === undefined) continue;
    objections.try(() => {
      throw captureBroken(layout, `${why} (foreign key ${reference.name})`);
    });
  }
  objections.end();
}

/**
 * Ids that batches hold are never looked at again, so the counter must not come by them a second
 * time. An emptied log has lost its first row, even when the counter has caught up since.
 */
async function checkLog(session: Session, highestId: number): Promise<void> {
  const [counter, kept] = await session.flight([
    `SELECT AUTO_INCREMENT FROM information_schema.TABLES
     WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '${LOG}'`,
    `SELECT id FROM ${LOG} WHERE id = 0`,
  ]);
  const next = counter?.[0]?.[0] ?? null;
  const isKept = kept?.[0] !== undefined;
  if (next !== null && Number(next) > highestId && isKept) return;
  throw rewound(
    "The change log was emptied, dropped or put back to an earlier state by someone else.",
  );
}
