import type { WhoAnswers } from "../core/address-watch.ts";
import type { SourceStatus, SyncPrint } from "../core/documents.ts";
import type { Logger } from "../core/log.ts";
import type { Queue } from "../core/queue.ts";
import type { CaptureTable, Source } from "../core/source.ts";

export interface RelayOptions {
  readonly source: string;
  readonly openSource: () => Promise<Source>;
  /** As in WatchedAddress (core/address-watch.ts). */
  readonly whoAnswers?: WhoAnswers | undefined;
  /** For tests: how often that is asked. */
  readonly lookEveryMs?: number | undefined;
  /** For tests: see SLOW_RETRY_MS. */
  readonly slowRetryMs?: number | undefined;
  /** Where the config says that the source is, without a secret. */
  readonly database?: string | null;
  readonly queue: Queue;
  readonly tables: readonly CaptureTable[];
  /** The syncs that read this source, by name. */
  readonly syncs: ReadonlyMap<string, SyncPrint>;
  readonly maxLogBytes: number;
  /** As in {@link RetentionDefinition}. */
  readonly keptMs: number;
  /** The queue's bound of one stream. */
  readonly maxStreamBytes: number;
  /** May a single batch that is larger pass it? */
  readonly isBoundSoft?: boolean;
  /** As in {@link SourceStatus}; default none. */
  readonly newcomers?: () => readonly string[];
  readonly logger: Logger;
}
