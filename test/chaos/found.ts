// Every bug of relay and applier that a checker has found, for docs/reference/guarantees.md.

export interface Found {
  readonly level: "simulation" | "servers";
  /** Of the worlds or schemas as they were then: today the same seed is another run. */
  readonly seed: number;
  readonly what: string;
}

export const FOUND: readonly Found[] = [
  {
    level: "simulation",
    seed: 2,
    what: "a worker that was started while the broker was away ended, instead of waiting for it",
  },
  {
    level: "simulation",
    seed: 97,
    what: "an earlier flush of a target that ended later took the newer notice back: a wait lasted until the next change",
  },
  {
    level: "simulation",
    seed: 264,
    what: "a fragment could complete another message, when the broker had lost what was between them",
  },
];
