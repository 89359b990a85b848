import type { Change } from "../core/change.ts";
import type { Piece } from "../core/message.ts";
import type { Mark } from "../core/queue.ts";

/** Batches that a reader of a stream will not be given any more. */
export interface Gap {
  readonly source: string;
  /** The first of them, and the last. */
  readonly from: number;
  readonly to: number;
}

/** A change that was not given before, and its place in its batch, from 0. */
export interface Fresh {
  readonly change: Change;
  readonly index: number;
}

/**
 * The changes of one stream, each once and in order, although batches come again: the relay died in the middle of one
 * and sends it from its start, or a target asked for what it lacks. A batch always holds the same changes in the same order, but
 * its pieces need not fall as they did.
 */
export class Unrepeated {
  readonly #source: string;
  readonly #onGap: (gap: Gap) => void;
  #timeline: string | null;
  /** The last batch that was given whole, or is passed by; null until one has begun. */
  #whole: number | null;
  /** Of the batch that follows: so many changes were given. */
  #given = 0;
  /** Where in it the stream now is; null until it begins, or begins anew. */
  #place: { readonly piece: number; readonly index: number } | null = null;

  /** `after`: the end of the stream, to be given only what follows it. `onGap` may throw. */
  constructor(source: string, after: Mark | null, onGap: (gap: Gap) => void) {
    this.#source = source;
    this.#onGap = onGap;
    this.#timeline = after?.timeline ?? null;
    this.#whole = after?.batch ?? null;
  }

  take(next: Pick<Piece, "mark" | "changes">): readonly Fresh[] {
    const { timeline, batch, chunk, piece, last } = next.mark;
    if (chunk > 0) return [];
    if (this.#timeline !== timeline) {
      if (this.#timeline !== null) this.#begin(null);
      this.#timeline = timeline;
    }
    if (this.#whole !== null && batch <= this.#whole) return [];
    if (this.#whole === null || batch > this.#whole + 1) {
      if (piece > 0) return [];
      if (this.#whole !== null) {
        this.#onGap({ source: this.#source, from: this.#whole + 1, to: batch - 1 });
      }
      this.#begin(batch - 1);
    }
    const index = piece === 0 ? 0 : this.#place?.piece === piece - 1 ? this.#place.index : null;
    // What lies between comes with the whole batch, which is sent again.
    if (index === null) return [];
    const { changes } = next;
    const fresh = changes
      .map((change, n) => ({ change, index: index + n }))
      .slice(Math.max(0, this.#given - index));
    this.#place = { piece, index: index + changes.length };
    this.#given = Math.max(this.#given, this.#place.index);
    if (last) this.#begin(batch);
    return fresh;
  }

  #begin(whole: number | null): void {
    this.#whole = whole;
    this.#given = 0;
    this.#place = null;
  }
}
