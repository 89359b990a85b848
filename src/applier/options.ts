import type { WhoAnswers } from "../core/address-watch.ts";
import type { Notice } from "../core/documents.ts";
import type { Logger } from "../core/log.ts";
import type { Queue } from "../core/queue.ts";
import type { ApplierSession, Progress, Target } from "../core/target.ts";
import type { SyncTable } from "./mapping.ts";
import type { Parking } from "./parking.ts";
import type { RunBounds } from "./run-bounds.ts";

export interface ApplierOptions {
  readonly sync: string;
  readonly from: string;
  readonly to: string;
  /** All of the config. */
  readonly syncs: ReadonlySet<string>;
  /** Where the config says that the source is, without a secret. */
  readonly database?: string | null;
  /** Asks the source for its timeline; null while no relay has begun one. */
  readonly timelineOfSource?: (() => Promise<string | null>) | undefined;
  /** Is the source for its relay to reach, and perhaps for nobody here? */
  readonly isApart?: boolean;
  readonly openTarget: () => Promise<Target>;
  /** As in WatchedAddress (core/address-watch.ts). */
  readonly whoAnswers?: WhoAnswers | undefined;
  /** For tests: how often that is asked. */
  readonly lookEveryMs?: number | undefined;
  /** For tests: see SLOW_RETRY_MS. */
  readonly slowRetryMs?: number | undefined;
  readonly queue: Queue;
  /** Parents before children. */
  readonly tables: readonly SyncTable[];
  /** See {@link Notice.fingerprint}. */
  readonly fingerprint: string;
  /** Throws TM-SCHEMA-DRIFT when the target has been altered since, so that `tables` no longer fit it. */
  readonly checkFit: () => Promise<void>;
  readonly logger: Logger;
  /** Others than are good for a database: the smaller, the more batches are applied in several runs. */
  readonly runBounds?: RunBounds | undefined;
}

/** What a session of the target brings along. */
export interface ApplierParts {
  readonly session: ApplierSession;
  readonly progress: Progress;
  /** Null where nothing can be set aside. */
  readonly parking: Parking | null;
}
