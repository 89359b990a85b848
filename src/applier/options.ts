import type { Logger } from "../core/log.ts";
import type { Queue } from "../core/queue.ts";
import type { Target } from "../core/target.ts";
import type { SyncTable } from "./mapping.ts";

export interface ApplierOptions {
  readonly sync: string;
  readonly from: string;
  readonly to: string;
  readonly openTarget: () => Promise<Target>;
  readonly queue: Queue;
  /** Parents before children. */
  readonly tables: readonly SyncTable[];
  /** Throws TM-SCHEMA-DRIFT when the target has been altered since, so that `tables` no longer fit it. */
  readonly checkFit: () => Promise<void>;
  readonly logger: Logger;
}

/** What an earlier attempt has taught. */
export interface Lessons {
  /** Foreign keys are to be checked only at the end of each group up to this batch. */
  readonly postponeUpTo: number;
}
