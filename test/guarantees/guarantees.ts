// What Tidemark guarantees, in the words of docs/reference/guarantees.md.

/** Where a guarantee is put to the test, from the smallest to the whole. */
export const LEVELS = {
  units: "single parts",
  contracts: "contracts, held by every adapter on its real server",
  servers: "whole pipelines on real servers",
  faults: "real servers that are killed, cut off, restored, and lose power",
  simulation: "simulated time",
} as const;
export type Level = keyof typeof LEVELS;

export interface Guarantee {
  readonly id: string;
  readonly title: string;
  readonly text: string;
  /** Each must have tests. */
  readonly levels: readonly Level[];
}

const ALL = Object.keys(LEVELS) as readonly Level[];

export const GUARANTEES: readonly Guarantee[] = [
  {
    id: "G1",
    title: "Nothing lost",
    text: "Each change that is committed in a synced table after set-up reaches every target, or the sync stops and says why. No timeout ever decides that a change does not exist, and a transaction that stays open delays only itself.",
    levels: ALL,
  },
  {
    id: "G2",
    title: "Once in effect",
    text: "Rows and progress are committed in one transaction of the target. A crash at any moment, a message given again, two relays or two appliers started by mistake: the effect is the same.",
    levels: ALL,
  },
  {
    id: "G3",
    title: "Order and whole transactions",
    text: "Changes of a row are applied in the order of their commits, and a reader of the target sees only states that the source had at some cut: whole transactions, with the target's constraints on.",
    levels: ALL,
  },
  {
    id: "G4",
    title: "Completion",
    text: "A notice follows each batch, and `wait` returns only when everything that was committed at the source before the call can be read at the target.",
    levels: ["units", "contracts", "servers", "simulation"],
  },
  {
    id: "G5",
    title: "The queue is never the only copy",
    text: "The change log keeps what the targets have not confirmed. A broker that loses what it had acknowledged is found out by the batch that is missing, and gets it again.",
    levels: ALL,
  },
  {
    id: "G6",
    title: "Values survive",
    text: "A value read from the target equals that of the source to the last digit, or `plan` names its pair of types before the start: mapped by a documented rule, or refused.",
    levels: ["contracts", "servers"],
  },
  {
    id: "G7",
    title: "Bounded",
    text: "Memory is flat in the size of a transaction, a table and a backlog. The change log has a bound, past which the target that holds it up is told to copy anew, so that the source's disk does not fill.",
    levels: ["units", "contracts", "servers", "simulation"],
  },
  {
    id: "G8",
    title: "Honest",
    text: "What would break a guarantee (a trigger dropped, a source restored to the past, a table altered) is found out and stops the sync with a code, whose page says the way out. `status` and `doctor` tell of progress, not of processes that live.",
    levels: ALL,
  },
];
