import { sleep } from "../core/async.ts";
import { type ClaimDocument, type FenceAnswer, keys } from "../core/documents.ts";
import type { TidemarkError } from "../core/errors.ts";
import { failpoint } from "../core/failpoint.ts";
import { askFence } from "../core/fence.ts";
import { isMeant, type Meant, nameTaken } from "../core/same-source.ts";
import type { ApplierSession, Progress } from "../core/target.ts";
import type { NoticeWriter } from "./notice-writer.ts";
import type { ApplierOptions } from "./options.ts";

/** A source that was never read gets its timeline when its relay begins: at a first start of both, in a moment. */
const FIRST_POLL_MS = 15;
const MOST_POLL_MS = 200;
/** The timeline of a source that has none: no relay's. */
const NEVER_READ = "";

/** What goes with the lease. */
interface Held {
  readonly session: ApplierSession;
  readonly notices: NoticeWriter;
}

/** Is there a table of which anything may have been copied? */
export function holdsCopies({ timeline, tables }: Progress): boolean {
  return timeline !== "" && tables.length > 0;
}

/**
 * A sync that never ran joins the stream where it now is; so does one that has had to forget all its tables, as after
 * another one has written them: it needs nothing of what came before, which the log may not have kept. Null when the
 * signal aborts before the relay answers. Throws TM-NAME-TAKEN where that is the relay of another database: nothing
 * that was applied could tell.
 */
export async function joinStream(
  options: ApplierOptions,
  { session, notices }: Held,
  { stored, signal }: { readonly stored: Progress; readonly signal: AbortSignal },
): Promise<Progress | null> {
  const { sync, from, queue, logger } = options;
  // Before anything is written under names that may be another's, too.
  const meant = await meantBy(options, signal);
  if (meant === null) return null;
  // A target made anew: what an earlier one had confirmed must not be taken for its own.
  await notices.clear();
  const answer = await askFence(queue.documents, from, { join: sync, meant, signal });
  if (answer === null) return null;
  if (!isMeant(meant, answer)) throw refusal(options, answer);
  failpoint("sync-joined");
  const { timeline, batch, hash } = answer;
  // Chunks of it may have been read.
  if (timeline === stored.timeline && batch <= stored.position.batch) return stored;
  logger.info({ timeline, batch }, "joined the stream");
  const next = { timeline, position: { batch, chunk: 0 }, hash, tables: [] };
  const transaction = await session.begin(stored);
  await transaction.commit(next);
  return next;
}

/**
 * Whose history is to be joined. A source that can be asked is the only one that knows; elsewhere its place in the
 * config has to do. Null when the signal aborts before it is known.
 */
async function meantBy(options: ApplierOptions, signal: AbortSignal): Promise<Meant | null> {
  const { from, queue, database = null, isApart = false } = options;
  const timeline = isApart ? null : await begunTimeline(options, signal);
  if (signal.aborted) return null;
  const meant: Meant = { timeline, database };
  const claim = (await queue.documents.get(keys.claim(from))) as ClaimDocument | null;
  if (claim !== null && isMeant(meant, claim)) return meant;
  // A relay that has vanished may have left its claim: who answers is the one that counts.
  const answer = await askFence(queue.documents, from, { anywhere: true, signal });
  if (answer === null) return null;
  if (isMeant(meant, answer)) return meant;
  const found: Meant = isApart ? { ...meant, timeline: await lookedUp(options, answer) } : meant;
  if (!isMeant(found, answer)) throw refusal(options, answer);
  return found;
}

/** A source that was never read has one as soon as its relay begins. Null where there is no way to ask. */
async function begunTimeline(
  { timelineOfSource }: ApplierOptions,
  signal: AbortSignal,
): Promise<string | null> {
  if (timelineOfSource === undefined) return null;
  for (
    let pauseMs = FIRST_POLL_MS;
    !signal.aborted;
    pauseMs = Math.min(MOST_POLL_MS, pauseMs * 2)
  ) {
    const timeline = await timelineOfSource();
    if (timeline !== null) return timeline;
    await sleep(pauseMs, signal);
  }
  return null;
}

/**
 * The URL of an applier apart may be another one of the same database, or lead nowhere. Where it leads to a database, that
 * tells; else the relay is believed, and people are told that nobody could look.
 */
async function lookedUp(
  { from, database = null, timelineOfSource, logger }: ApplierOptions,
  answer: FenceAnswer,
): Promise<string> {
  try {
    return (await timelineOfSource?.()) ?? NEVER_READ;
  } catch (error) {
    logger.debug({ err: error }, "the source could not be asked for its timeline");
    logger.warn(
      { source: from, database, relay: answer.database },
      "the relay reads a source at another place than this config has for it, which cannot be reached from here: make sure that both are one database, and write the same URL in both configs",
    );
    return answer.timeline;
  }
}

function refusal(
  { from, database = null }: ApplierOptions,
  { database: theirs, timeline }: FenceAnswer,
): TidemarkError {
  return nameTaken(from, {
    own: database,
    other: theirs ?? `a database of timeline ${timeline}`,
  });
}
