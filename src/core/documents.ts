import { type Position, START } from "./position.ts";
import type { Meant } from "./same-source.ts";
import type { TableState } from "./target.ts";

/**
 * What stands in the queue's documents, and under which keys. All of it is state that its owner
 * writes again: nothing is lost for good with a wiped queue.
 *
 * | key                            | owner   | value            |
 * |--------------------------------|---------|------------------|
 * | layout/source/timeline/id      | relay   | Layout           |
 * | table/source/table             | relay   | TableSchema      |
 * | tables/source                  | relay   | string[]: names of all of them, written last |
 * | relay/source                   | relay   | SourceStatus     |
 * | claim/source                   | relay   | ClaimDocument    |
 * | fence/source/id                | asker   | FenceDocument    |
 * | request/source/sync            | applier | RequestDocument  |
 * | refusal/source/sync            | relay   | RefusalDocument  |
 * | progress/sync                  | applier | Notice           |
 * | applier/sync                   | applier | SyncStatus       |
 * | delivered/sync                 | applier | Progress (function targets) |
 * | order/sync/id                  | asker   | Order            |
 */
export const keys = {
  layout: (source: string, timeline: string, id: number) =>
    path("layout", source, timeline, String(id)),
  layouts: (source: string, timeline: string) => `${path("layout", source, timeline)}/`,
  table: (source: string, table: string) => path("table", source, table),
  tables: (source: string) => path("tables", source),
  relay: (source: string) => path("relay", source),
  claim: (source: string) => path("claim", source),
  fence: (source: string, id: string) => path("fence", source, id),
  fences: (source: string) => `${path("fence", source)}/`,
  request: (source: string, sync: string) => path("request", source, sync),
  requests: (source: string) => `${path("request", source)}/`,
  refusal: (source: string, sync: string) => path("refusal", source, sync),
  progress: (sync: string) => path("progress", sync),
  allProgress: "progress/",
  applier: (sync: string) => path("applier", sync),
  delivered: (sync: string) => path("delivered", sync),
  order: (sync: string, id: string) => path("order", sync, id),
  orders: (sync: string) => `${path("order", sync)}/`,
} as const;

/** Names may hold any character; a slash inside one must not look like a separator. */
function path(...segments: readonly string[]): string {
  return segments.map((segment) => encodeURIComponent(segment)).join("/");
}

/** The decoded last segment of a key. */
export function lastSegment(key: string): string {
  return decodeURIComponent(key.slice(key.lastIndexOf("/") + 1));
}

/**
 * "Tell me a position that holds all that was committed before you saw this." The relay answers
 * by filling in `answer`, having cut a batch after it saw the question.
 */
export interface FenceDocument {
  readonly askedAt: string;
  /** A sync that wants to begin at the answer: from then on the log is kept for it. */
  readonly join: string | null;
  /** What a target has applied, as whoever asks knows it, to be compared with what the source has. */
  readonly holds: Held | null;
  /** Any position will do, so the relay answers it although the queue has no room for what it would cut before. */
  readonly anywhere: boolean;
  /** Which database is meant by the name: of another one nobody is to join. */
  readonly meant: Meant;
  readonly answer: FenceAnswer | null;
}

/**
 * What a question lacks that an earlier version has put. It may be at work beside this one, while the parts of a pipeline
 * are upgraded one after the other, and what it asked stands in the queue when it was killed.
 */
export const NOT_ASKED: Omit<FenceDocument, "askedAt"> = {
  join: null,
  holds: null,
  anywhere: false,
  meant: { timeline: null, database: null },
  answer: null,
};

/** A batch that somebody has applied: enough to tell whether it is one of the source's history. */
export interface Held {
  readonly timeline: string;
  readonly batch: number;
  /** Null where an earlier version has told of it, which does not tell the hash. */
  readonly hash: string | null;
}

export interface FenceAnswer {
  readonly timeline: string;
  readonly batch: number;
  readonly hash: string;
  /** Does the source have what the question holds? True where nothing was asked, or it is purged and cannot be compared. */
  readonly fits: boolean;
  /** For each sync that the relay knows, what it was started with. */
  readonly syncs: Readonly<Record<string, SyncPrint>>;
  /** {@link ClaimDocument.database}. */
  readonly database: string | null;
}

/** What an answer lacks that the relay of an earlier version has given. */
export const NOT_ANSWERED: Pick<FenceAnswer, "fits" | "syncs" | "database"> = {
  fits: true,
  syncs: {},
  database: null,
};

/**
 * Whose the name of a source is: stream and documents are under it. Written again as long as its relay lives, and only
 * where it still stands as that relay has left it.
 */
export interface ClaimDocument {
  readonly timeline: string;
  /** Identified.identity of the database; null where it cannot tell. */
  readonly identity: string | null;
  /** Where the config of the relay says that it is, without a secret. */
  readonly database: string | null;
  /** `waiting`: the source is away, or is another relay's; `left`: the relay has ended. */
  readonly state: "held" | "waiting" | "left";
}

export interface SyncPrint {
  /** {@link Notice.fingerprint}, as it should be. */
  readonly fingerprint: string;
  /** Of what its config says of the sync: see rulesPrint. */
  readonly rules: string;
}

/** What people ask of the applier at work, which fills in `answer`. */
export type Order = ParkedOrder | ResyncOrder;

/** To try parked rows again, or to forget them. */
export interface ParkedOrder {
  readonly askedAt: string;
  readonly action: "retry" | "drop";
  /** Ids; null: all of the sync. */
  readonly ids: readonly string[] | null;
  readonly answer: ParkedAnswer | null;
}

export interface ParkedAnswer {
  /** Written to the target, left out by a filter, or forgotten: no longer parked. */
  readonly done: readonly string[];
  readonly failed: readonly { readonly id: string; readonly message: string }[];
  /** Nothing of that id is parked. */
  readonly missing: readonly string[];
}

/** To empty tables at the target, so that they are copied anew. */
export interface ResyncOrder {
  readonly askedAt: string;
  readonly action: "resync";
  /** Source tables, as formatTable gives them. */
  readonly tables: readonly string[];
  readonly answer: ResyncAnswer | null;
}

export interface ResyncAnswer {
  /** Null when it was done. */
  readonly error: StatusError | null;
}

export interface RequestDocument {
  /** Batches from this number on are missing in the stream. */
  readonly resend: { readonly id: string; readonly from: number } | null;
  readonly copies: readonly CopyRequest[];
  /** How far the applier has read: chunks sent to it must be numbered behind this, also in a queue that was emptied. */
  readonly position: Position;
}

export interface CopyRequest {
  /** Source table, as formatTable gives it. */
  readonly table: string;
  readonly copy: string;
  /** Counts up when chunks were lost on the way and reading must go back to `after`. */
  readonly attempt: number;
  /** Cursor of the last chunk applied. */
  readonly after: string | null;
  /** See {@link ChunkRequest}. Absent in what an earlier version asks. */
  readonly binary?: true;
}

/** The log no longer holds what the sync needs. */
export interface RefusalDocument {
  readonly at: string;
  readonly from: number;
  readonly message: string;
}

/**
 * The completion notice: this position can be read in the target. Also the confirmation that lets
 * the log be purged.
 */
export interface Notice {
  readonly sync: string;
  readonly source: string;
  readonly timeline: string;
  readonly position: Position;
  /** Of the position's batch. */
  readonly hash: string;
  readonly at: string;
  /** Source commit to target commit of the newest batch, milliseconds. */
  readonly lagMs: number;
  /** Tables whose initial copy is not complete. */
  readonly tablesPending: number;
  /** Of the tables that this tells of, as they were when the sync was started: others, or otherwise altered, have another one. */
  readonly fingerprint: string;
}

export interface StatusError {
  readonly code: string;
  readonly message: string;
  readonly fix: string | null;
}

export interface SourceStatus {
  readonly name: string;
  readonly state: "running" | "standby" | "stopped" | "unknown";
  readonly timeline: string | null;
  readonly batch: number;
  readonly lastBatchAt: string | null;
  readonly heartbeatAt: string | null;
  readonly logRows: number;
  readonly logBytes: number;
  readonly queueMessages: number;
  readonly queueBytes: number;
  /** Tables that match a glob of the config and came after the start: not synced before the next. Of many only some. */
  readonly newcomers: readonly string[];
  /** What keeps changes of the source from its log, or makes writes fail, each with its mending, though the relay works. */
  readonly warnings: readonly string[];
  /** Those of the config that the relay at work was started with. */
  readonly syncs: readonly string[];
  readonly error: StatusError | null;
}

export interface SyncStatus {
  readonly name: string;
  readonly from: string;
  readonly to: string;
  readonly state: "running" | "copying" | "standby" | "stopped" | "unknown";
  readonly position: Position;
  readonly behindBatches: number;
  /** Of the last applied batch; 0 when idle and caught up; null before the first. */
  readonly lagMs: number | null;
  readonly appliedAt: string | null;
  readonly heartbeatAt: string | null;
  readonly changesApplied: number;
  readonly rowsCopied: number;
  /** Rows set aside. */
  readonly parked: number;
  /** How many tables the sync has, and how many of them are copied. */
  readonly tableCount: number;
  readonly tablesLive: number;
  /** Those being copied first, then the others; of thousands only some. */
  readonly tables: readonly TableStatus[];
  readonly error: StatusError | null;
}

export interface TableStatus {
  readonly table: string;
  readonly state: TableState;
  readonly rowsCopied: number;
  readonly estimatedRows: number | null;
}

/** Of a source that no relay has told of. */
export const UNKNOWN_SOURCE: Omit<SourceStatus, "name"> = {
  state: "unknown",
  timeline: null,
  batch: 0,
  lastBatchAt: null,
  heartbeatAt: null,
  logRows: 0,
  logBytes: 0,
  queueMessages: 0,
  queueBytes: 0,
  newcomers: [],
  warnings: [],
  syncs: [],
  error: null,
};

/** Of a sync that no applier has told of. */
export const UNKNOWN_SYNC: Omit<SyncStatus, "name" | "from" | "to"> = {
  state: "unknown",
  position: START,
  behindBatches: 0,
  lagMs: null,
  appliedAt: null,
  heartbeatAt: null,
  changesApplied: 0,
  rowsCopied: 0,
  parked: 0,
  tableCount: 0,
  tablesLive: 0,
  tables: [],
  error: null,
};
