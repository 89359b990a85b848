import type { Pair } from "../pair.ts";

/** One way to keep a pair in step: native logical replication, or Tidemark. */
export interface Arm {
  readonly pair: Pair;
  /** Resolves when changes flow and the target has what the source has. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Lets changes pile up at the source. */
  hold(): Promise<void>;
  /** Lets them go. */
  release(): Promise<void>;
}
