/**
 * A place in the stream of one source: a batch, and how many snapshot chunks that follow it.
 * `chunk` 0 is the batch itself; chunk k is the k-th chunk published after it, whose rows are as
 * of that batch.
 */
export interface Position {
  readonly batch: number;
  readonly chunk: number;
}

export const START: Position = { batch: 0, chunk: 0 };

/** Negative: a before b; 0: the same; positive: a after b. */
export function comparePositions(a: Position, b: Position): number {
  return a.batch - b.batch || a.chunk - b.chunk;
}

/** Identity of a batch: its number in a timeline, chained to the one before by hash. */
export interface BatchHeader {
  readonly timeline: string;
  /** 1, 2, 3 … without a hole per timeline. */
  readonly batch: number;
  /** Hash over the definition of this batch and `prevHash`: hex. */
  readonly hash: string;
  /** Hash of batch - 1; of the timeline id for batch 1. */
  readonly prevHash: string;
  /** When the cut was made at the source: ISO 8601, UTC. */
  readonly cutAt: string;
  /**
   * A lower bound of the latest commit in the batch (the later of the last change's time and the
   * cut before), so that lag is never understated: ISO 8601, UTC.
   */
  readonly committedAt: string;
}
