import { isTidemarkError, TidemarkError } from "../core/errors.ts";
import type { Piece } from "../core/message.ts";
import { comparePositions, type Position } from "../core/position.ts";
import type { Mark } from "../core/queue.ts";
import { rewound } from "../core/rewound.ts";
import type { Progress } from "../core/target.ts";
import { otherTimeline } from "./timeline.ts";

/**
 * Decides of each piece whether it is the next one: what makes redelivery harmless (G2), order
 * certain (G3) and a loss known (G5).
 */
export class Inbox {
  readonly #sync: string;
  readonly #timeline: string;
  #position: Position;
  #hash: string;
  /** A batch or chunk of which some pieces were taken. */
  #partial: { readonly position: Position; readonly pieces: number } | null = null;

  constructor(sync: string, progress: Progress) {
    this.#sync = sync;
    this.#timeline = progress.timeline;
    this.#position = progress.position;
    this.#hash = progress.hash;
  }

  /** The last batch or chunk taken whole. */
  get position(): Position {
    return this.#position;
  }

  get hash(): string {
    return this.#hash;
  }

  /**
   * Is no batch half taken? A chunk may be: its rows are right as of the last batch, and the copy's
   * cursor moves only with its last piece.
   */
  get atBoundary(): boolean {
    return this.#partial === null || this.#partial.position.chunk > 0;
  }

  /** Is a chunk half taken, the rest of which is on its way? */
  get inChunk(): boolean {
    return this.#partial !== null && this.#partial.position.chunk > 0;
  }

  /**
   * True: take it. False: it was taken before. Throws TM-APPLY-GAP when one before it is missing,
   * TM-APPLY-RETRY when a batch half taken begins anew, TM-TIMELINE-CHANGED when it is of another
   * timeline (see {@link otherTimeline}), TM-SOURCE-REWOUND when of another history of this one.
   */
  accept(piece: Piece): boolean {
    const { mark, header } = piece;
    this.checkTimeline(mark.timeline);
    const isSameBatch = mark.batch === this.#position.batch;
    if (isSameBatch && header.hash !== this.#hash) throw this.#forked(mark.batch);
    if (comparePositions(mark, this.#position) <= 0) return false;
    const partial = this.#partial;
    if (partial !== null && comparePositions(mark, partial.position) === 0) {
      this.#checkNextPiece(mark, partial.pieces);
    } else {
      // A chunk given up half way (the relay restarted) is followed by others; a batch never is.
      if (partial !== null && partial.position.chunk === 0) throw this.#gap(mark);
      this.#checkNext(mark, mark.piece);
      if (mark.chunk === 0 && header.prevHash !== this.#hash) throw this.#forked(mark.batch);
    }
    this.#advance(piece);
    return true;
  }

  checkTimeline(timeline: string): void {
    if (timeline !== this.#timeline) throw otherTimeline(this.#sync, this.#timeline, timeline);
  }

  /** The stream should hold something after our position, and does not. */
  missing(tail: Position): TidemarkError {
    return this.#gap(tail);
  }

  #advance({ mark, header }: Piece): void {
    const { batch, chunk } = mark;
    if (!mark.last) {
      this.#partial = { position: { batch, chunk }, pieces: mark.piece + 1 };
      return;
    }
    this.#partial = null;
    this.#position = { batch, chunk };
    if (chunk === 0) this.#hash = header.hash;
  }

  #checkNextPiece({ chunk, piece }: Mark, taken: number): void {
    if (piece === taken) return;
    const anew = piece === 0;
    const what = anew ? "is sent again from its start" : `lacks piece ${taken}`;
    throw new TidemarkError("TM-APPLY-RETRY", `A batch half applied ${what}: rolling back.`, {
      // Only of batches do the false starts stay in the stream: a chunk comes under its place again when that was emptied.
      details: { beganAnew: anew && chunk === 0 ? this.#position.batch + 1 : null },
    });
  }

  #checkNext(mark: Position, piece: number): void {
    const { batch } = this.#position;
    const next = mark.chunk === 0 ? mark.batch === batch + 1 : mark.batch === batch;
    if (!next || piece !== 0) throw this.#gap(mark);
  }

  #gap(found: Position): TidemarkError {
    const next = this.#position.batch + 1;
    return new TidemarkError(
      "TM-APPLY-GAP",
      `${this.#sync} waits for batch ${next}; the queue goes on with batch ${found.batch}.`,
      { details: { expected: next, found: found.batch } },
    );
  }

  #forked(batch: number): TidemarkError {
    return rewound(
      `Batch ${batch} does not continue the history that ${this.#sync} has applied: the source was restored to an earlier time and went on from there.`,
      { batch },
    );
  }
}

export function isGap(error: unknown): boolean {
  return isTidemarkError(error, "TM-APPLY-GAP", "TM-MESSAGE-CORRUPT");
}
