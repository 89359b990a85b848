import type { Bed } from "../bed.ts";
import type { Pair } from "../pair.ts";

/** One way to keep a pair in step: native logical replication, or Tidemark. */
export interface Arm<P = Pair> {
  readonly pair: P;
  /** Resolves when changes flow and the target has what the source has. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Lets changes pile up at the source. */
  hold(): Promise<void>;
  /** Lets them go. */
  release(): Promise<void>;
}

/** What somebody else's replication is set up with. */
export interface RivalSetup {
  readonly bed: Bed;
  /** Of the pair; unique in the run. */
  readonly name: string;
  readonly tables: readonly string[];
  /** Makes the tables on both sides, with the same contents. */
  readonly fill: (pair: Pair) => Promise<void>;
}

export interface Rival<P = Pair> {
  readonly arm: Arm<P>;
  readonly version: string;
}
