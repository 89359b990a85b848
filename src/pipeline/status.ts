import type { PipelineDefinition, SyncDefinition } from "../core/definition.ts";
import {
  keys,
  type Notice,
  type SourceStatus,
  type SyncStatus,
  UNKNOWN_SOURCE,
  UNKNOWN_SYNC,
} from "../core/documents.ts";
import { isOfOtherConfig } from "../core/other-config.ts";
import { comparePositions } from "../core/position.ts";
import type { Documents, Queue } from "../core/queue.ts";
import { queueAdapterFor } from "./registry.ts";

/** How a pipeline stands, as its processes last told the queue. */
export interface PipelineStatus {
  readonly at: string;
  readonly sources: readonly SourceStatus[];
  readonly syncs: readonly SyncStatus[];
  /** `exists`: false of an embedded one that no run has made yet. */
  readonly queue: { readonly kind: string; readonly exists: boolean };
}

/** Whoever has not been heard of for this long is not said to be running. */
const SILENCE_MS = 10_000;

/** Reads it from the queue alone, in any process. `queue`: null where there is none yet. */
export async function readStatus(
  definition: PipelineDefinition,
  queue: Queue | null,
): Promise<PipelineStatus> {
  const now = Date.now();
  const told = queue?.documents ?? NOTHING_TOLD;
  const names = [...new Set(definition.syncs.map(({ from }) => from))];
  const sources = await Promise.all(names.map((name) => readSource(name, told, now)));
  const syncs = await Promise.all(
    definition.syncs.map(async (sync) => {
      const source = sources.find(({ name }) => name === sync.from);
      return readSync(sync, told, { source, now });
    }),
  );
  const kind = queueAdapterFor(definition.queue.url).kind;
  return {
    at: new Date(now).toISOString(),
    sources,
    syncs,
    queue: { kind, exists: queue !== null },
  };
}

type Told = Pick<Documents, "get">;

const NOTHING_TOLD: Told = { get: async () => null };

async function readSource(name: string, documents: Told, now: number): Promise<SourceStatus> {
  const told = (await documents.get(keys.relay(name))) as SourceStatus | null;
  if (told === null) return { ...UNKNOWN_SOURCE, name };
  return isSilent(told, now) ? { ...told, state: "unknown" } : told;
}

async function readSync(
  sync: SyncDefinition,
  documents: Told,
  { source, now }: { source: SourceStatus | undefined; now: number },
): Promise<SyncStatus> {
  const { name, from, to } = sync;
  const told = (await documents.get(keys.applier(name))) as SyncStatus | null;
  const notice = (await documents.get(keys.progress(name))) as Notice | null;
  const status = asNoticed(told ?? { ...UNKNOWN_SYNC, name, from, to }, notice, source);
  const behindBatches = Math.max(0, (source?.batch ?? 0) - status.position.batch);
  const works = ({ state, error }: SourceStatus | SyncStatus) =>
    state === "running" && error === null;
  // Of a source that cannot be looked at nobody knows what it has beyond.
  const isFed = source !== undefined && works(source) && !isOfOtherConfig(status, [source]);
  const idle = behindBatches === 0 && works(status) && isFed;
  const lagMs = idle ? 0 : status.lagMs;
  const state = isSilent(status, now) ? "unknown" : status.state;
  return { ...status, state, behindBatches, lagMs };
}

/** A notice follows each batch, a status only so often: who has just waited must not be told of a batch behind. */
function asNoticed(
  status: SyncStatus,
  notice: Notice | null,
  source: SourceStatus | undefined,
): SyncStatus {
  if (notice === null || notice.timeline !== source?.timeline) return status;
  const { position, at, lagMs } = notice;
  if (comparePositions(position, status.position) <= 0) return status;
  return { ...status, position, appliedAt: at, lagMs };
}

/** A clean stop is the last word; any other state must be repeated to be believed, also where a clock was ahead. */
export function isSilent(status: SourceStatus | SyncStatus, now: number): boolean {
  if (status.state === "stopped" || status.heartbeatAt === null) return false;
  return Math.abs(now - Date.parse(status.heartbeatAt)) > SILENCE_MS;
}
