import { after, backoff, sleep } from "../core/async.ts";
import type { PipelineDefinition, SyncDefinition } from "../core/definition.ts";
import {
  type FenceAnswer,
  keys,
  type Notice,
  type SourceStatus,
  type StatusError,
  type SyncStatus,
} from "../core/documents.ts";
import { isTidemarkError, TidemarkError, toTidemarkError } from "../core/errors.ts";
import { askFence, heldOf } from "../core/fence.ts";
import type { Logger } from "../core/log.ts";
import { lacking } from "../core/other-config.ts";
import type { Queue } from "../core/queue.ts";
import { rulesPrint } from "../core/rules.ts";
import { stoppedError } from "../core/status-error.ts";
import { awaitQueue } from "./queue.ts";
import { isSilent } from "./status.ts";
import { levelsOf } from "./topology.ts";

/** A process at work that was started with another config has so long to be restarted. */
const OTHER_RULES_MS = 30_000;
const ASK_AGAIN_MS = 500;
const STARTED_ANEW_MS = 3_000;
const SEE_STATUS = "See where it stands: tidemark status. Is `tidemark run` working?";
const RESTART_OR_OTHER_CONFIG =
  "Restart the process that is at work with this config, or wait with the config that it has.";

export interface WaitOptions {
  /** Only this sync, or these along their chains; default all. */
  readonly sync?: string | readonly string[] | undefined;
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

interface Asking {
  /** The definition names the databases alone: any tables and rules of the process at work will do. */
  readonly anyRules?: boolean | undefined;
  /** Told what is waited for, where that may take people to come to pass. */
  readonly logger?: Logger | undefined;
}

/**
 * Resolves when everything committed at the sources before this call can be read at the targets,
 * initial copies included (G4). Needs the queue alone. Throws TM-WAIT-TIMEOUT, TM-SYNC-STOPPED.
 */
export async function waitForSync(
  definition: PipelineDefinition,
  queue: Queue,
  options: WaitOptions & Asking = {},
): Promise<void> {
  const { anyRules, logger } = options;
  const syncs = chosen(definition, options.sync);
  const { timeoutMs = Number.POSITIVE_INFINITY } = options;
  if (Number.isNaN(timeoutMs)) {
    throw new TidemarkError("TM-USAGE", "timeoutMs is not a number of milliseconds.");
  }
  const timer = new AbortController();
  const cancel = after(timeoutMs, () => timer.abort());
  const signal = AbortSignal.any([timer.signal, ...(options.signal ? [options.signal] : [])]);
  try {
    // Along a chain, what has reached a target is committed there before the next fence is asked for.
    for (const level of levelsOf(syncs))
      await persist(() => waitForLevel(level, queue, { signal, anyRules, logger }), signal);
  } catch (error) {
    options.signal?.throwIfAborted();
    throw error;
  } finally {
    cancel();
  }
}

/**
 * The queue to wait with; null when the signal aborts before. An embedded one may be made only now, by the run that is waited for; who waits makes none. Throws
 * TM-USAGE for a sync that is not there, TM-WAIT-TIMEOUT, and what {@link awaitQueue} throws.
 */
export async function queueToWaitWith(
  definition: PipelineDefinition,
  logger: Logger,
  { sync, timeoutMs = Number.POSITIVE_INFINITY, signal }: WaitOptions,
): Promise<Queue | null> {
  chosen(definition, sync);
  const timer = new AbortController();
  const cancel = after(timeoutMs, () => timer.abort());
  try {
    const either = AbortSignal.any([timer.signal, ...(signal === undefined ? [] : [signal])]);
    const queue = await awaitQueue(definition.queue, logger, { signal: either });
    if (queue !== null || signal?.aborted) return queue;
  } finally {
    cancel();
  }
  const fix =
    "Is tidemark run working? Where it is: wait in the same folder, and with the same --queue.";
  throw timedOut("there is no queue yet", "queue", fix);
}

function chosen(
  { syncs }: PipelineDefinition,
  sync: WaitOptions["sync"],
): readonly SyncDefinition[] {
  if (sync === undefined) return syncs;
  const names = typeof sync === "string" ? [sync] : sync;
  const known = syncs.map(({ name }) => name);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown === undefined) return syncs.filter(({ name }) => names.includes(name));
  throw new TidemarkError("TM-USAGE", `No sync is named "${unknown}".`, {
    fix: `Known: ${known.join(", ")}.`,
  });
}

/** A queue that is away for a while delays a wait, it does not end it: the question is asked anew. */
async function persist(wait: () => Promise<void>, signal: AbortSignal): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await wait();
    } catch (error) {
      const { retryable, message } = toTidemarkError(error);
      if (!retryable) throw error;
      if (signal.aborted) throw timedOut(`the queue is away: ${message}`, "queue");
      await sleep(backoff(attempt), signal);
    }
  }
}

async function waitForLevel(
  level: readonly SyncDefinition[],
  queue: Queue,
  { signal, ...asking }: Asking & { readonly signal: AbortSignal },
): Promise<void> {
  const done = new AbortController();
  const stop = AbortSignal.any([signal, done.signal]);
  const sources = [...new Set(level.map(({ from }) => from))];
  const reachedBy = sources.map(async (source) => {
    const readers = level.filter(({ from }) => from === source);
    const fence = await askWithThisConfig(source, readers, queue, { ...asking, signal: stop });
    await Promise.all(readers.map((sync) => waitForProgress(sync, fence, queue, stop)));
  });
  const failures = [
    ...sources.map((source) => watchStopped<SourceStatus>(queue, keys.relay(source), stop)),
    ...level.map((sync) => watchStopped<SyncStatus>(queue, keys.applier(sync.name), stop)),
  ];
  const reached = Promise.all(reachedBy);
  try {
    // A watch for failures also ends with the signal: then what was waited for says what is missing.
    await Promise.race([reached, ...failures]);
    await reached;
  } catch (error) {
    done.abort();
    // Time may be over before one that has stopped could be started anew: that says more than that it is over.
    const ends = await Promise.allSettled(failures);
    const reasons = ends.flatMap((end) => (end.status === "rejected" ? [end.reason] : []));
    const stopped = reasons.find((reason) => isTidemarkError(reason, "TM-SYNC-STOPPED"));
    if (stopped !== undefined) throw stopped;
    const names = [...level.map(({ name }) => keys.applier(name)), ...sources.map(keys.relay)];
    throw (await retryingInstead(error, queue, names)) ?? error;
  } finally {
    done.abort();
    await Promise.allSettled([...reachedBy, ...failures]);
  }
}

/**
 * Who waits means the tables of the config at hand: what a relay of another config has brought over says nothing of
 * them, and whether the tables of a sync that it does not have are captured nobody looks. It may be about to be restarted
 * with this one.
 */
async function askWithThisConfig(
  source: string,
  readers: readonly SyncDefinition[],
  { documents }: Queue,
  { anyRules = false, logger, signal }: Asking & { readonly signal: AbortSignal },
): Promise<FenceAnswer> {
  const until = performance.now() + OTHER_RULES_MS;
  for (let other: TidemarkError | undefined; ; await sleep(ASK_AGAIN_MS, signal)) {
    const fence = await askFence(documents, source, { signal });
    if (fence === null) throw other ?? timedOut(`the relay of "${source}" did not answer`, source);
    const isFirst = other === undefined;
    other = readers.flatMap((sync) => otherConfig(sync, fence, anyRules) ?? [])[0];
    if (other === undefined) return fence;
    if (performance.now() > until) throw other;
    if (isFirst) logger?.warn({}, `${other.message} ${other.fix}`);
  }
}

/** What a wait ends with while the relay that has answered was started with another config; null where it was not. */
function otherConfig(
  sync: SyncDefinition,
  { syncs }: FenceAnswer,
  anyRules: boolean,
): TidemarkError | null {
  const { name } = sync;
  const print = syncs[name];
  // One of an earlier version names none.
  if (print === undefined && Object.keys(syncs).length > 0) {
    return timedOut(lacking(sync), name, RESTART_OR_OTHER_CONFIG);
  }
  if (anyRules || print === undefined || print.rules === rulesPrint(sync)) return null;
  const why = `${name} is at work with other tables or rules than this config has for it`;
  return timedOut(why, name, RESTART_OR_OTHER_CONFIG);
}

async function waitForProgress(
  sync: SyncDefinition,
  fence: FenceAnswer,
  queue: Queue,
  signal: AbortSignal,
): Promise<void> {
  let last: Notice | null = null;
  // The relay of an earlier version cannot say.
  const fingerprint = fence.syncs[sync.name]?.fingerprint;
  const isOfTheseTables = (notice: Notice) =>
    fingerprint === undefined || notice.fingerprint === fingerprint;
  const wanted = keys.progress(sync.name);
  for await (const { key, value } of queue.documents.watch(wanted, signal)) {
    if (key !== wanted) continue;
    last = value as Notice | null;
    if (last === null || !isOfTheseTables(last) || !hasReached(last, fence)) continue;
    if (await isOfItsHistory(last, fence, { queue, signal })) return;
  }
  if (last !== null && !isOfTheseTables(last)) {
    const why =
      "its applier has told nothing yet of its tables as they are now, or was started with another config than the relay";
    throw timedOut(`${sync.name}: ${why}`, sync.name);
  }
  const at = last === null ? "has applied nothing yet" : `has applied batch ${last.position.batch}`;
  const pending = last?.tablesPending ?? 0;
  const copying =
    pending === 0 ? "" : `, ${pending} ${pending === 1 ? "table is" : "tables are"} being copied`;
  throw timedOut(`${sync.name} ${at} of ${fence.batch}${copying}`, sync.name);
}

function hasReached(notice: Notice, fence: FenceAnswer): boolean {
  const { timeline, position, tablesPending } = notice;
  return timeline === fence.timeline && position.batch >= fence.batch && tablesPending === 0;
}

/**
 * A source that was put back to an older state counts its batches once more: a target that is ahead of it has not reached
 * them. Its relay or applier is about to stop then. A batch beyond the fence's is compared by the relay.
 */
async function isOfItsHistory(
  notice: Notice,
  fence: FenceAnswer,
  { queue, signal }: { readonly queue: Queue; readonly signal: AbortSignal },
): Promise<boolean> {
  const holds = heldOf(notice);
  if (holds.batch === fence.batch) return holds.hash === null || holds.hash === fence.hash;
  const answer = await askFence(queue.documents, notice.source, { holds, signal });
  return answer?.fits === true;
}

/**
 * Resolves only when the signal aborts; rejects when the relay or applier stops for good. One that had stopped before has
 * {@link STARTED_ANEW_MS} to be started anew: `tidemark run & tidemark wait` asks before that is at work.
 */
async function watchStopped<T extends SourceStatus | SyncStatus>(
  { documents }: Queue,
  key: string,
  signal: AbortSignal,
): Promise<void> {
  let isOld = true;
  for await (const entry of documents.watch(key, signal)) {
    if (entry.key !== key) continue;
    let status = entry.value as T | null;
    if (isOld && hasStopped(status)) {
      await sleep(STARTED_ANEW_MS, signal);
      status = (await documents.get(key)) as T | null;
    }
    if (hasStopped(status)) throw stoppedError(status.name, status.error);
    isOld = false;
  }
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** Who tries again and again says best why it was not done in time. */
async function retryingInstead(
  error: unknown,
  { documents }: Queue,
  names: readonly string[],
): Promise<TidemarkError | null> {
  if (!isTidemarkError(error, "TM-WAIT-TIMEOUT")) return null;
  for (const key of names) {
    // The time is over, and the queue may be what is away.
    const status = (await documents.get(key).catch(() => null)) as SourceStatus | SyncStatus | null;
    if (status === null || status.error === null || status.state === "stopped") continue;
    if (isSilent(status, Date.now())) continue;
    const { name } = status;
    const { code, message, fix } = status.error;
    const why = `${name} is held up: ${code} ${message}`;
    return new TidemarkError("TM-WAIT-TIMEOUT", `${error.message} ${why}`, {
      fix: fix ?? SEE_STATUS,
      details: { ...error.details, code },
    });
  }
  return null;
}

function hasStopped<T extends SourceStatus | SyncStatus>(
  status: T | null,
): status is T & { readonly error: StatusError } {
  return status?.state === "stopped" && status.error !== null;
}

function timedOut(what: string, name: string, fix = SEE_STATUS): TidemarkError {
  const details = { name };
  return new TidemarkError("TM-WAIT-TIMEOUT", `Not synchronised in time: ${what}.`, {
    fix,
    details,
  });
}
