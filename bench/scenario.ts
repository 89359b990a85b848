import type { Bed } from "./bed.ts";
import type { Results } from "./results.ts";

/** What a scenario is given. */
export interface Context {
  readonly bed: Bed;
  readonly results: Results;
  /** A line of progress. */
  readonly say: (text: string) => void;
  /** `usual`, unless --rounds or --quick says otherwise. */
  readonly rounds: (usual: number) => number;
  /** The full size, or a tiny one with --quick. */
  readonly size: (full: number, tiny: number) => number;
}

export interface Scenario {
  readonly name: string;
  readonly what: string;
  run(context: Context): Promise<void>;
}
