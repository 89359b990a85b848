import type { Change } from "../core/change.ts";
import type { Piece } from "../core/message.ts";
import { type Position, START } from "../core/position.ts";
import { isComplete, type Mark } from "../core/queue.ts";

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
  #timeline: string | null;
  /** The last batch that was given whole, or is passed by; null until one has begun. */
  #whole: number | null;
  /** Of the batch that follows: so many changes were given. */
  #given = 0;
  /** Where in it the stream now is; null until it begins, or begins anew. */
  #place: { readonly piece: number; readonly index: number } | null = null;

  /** `after`: the end of the stream, to be given only what follows it. */
  constructor(after: Mark | null) {
    this.#timeline = after?.timeline ?? null;
    this.#whole = after?.batch ?? null;
  }

  /** Behind it lies what was not given whole. */
  get position(): Position {
    return this.#whole === null ? START : { batch: this.#whole, chunk: 0 };
  }

  /** Has this a batch behind the next one? Then the next is to come, or will never. */
  isAhead({ timeline, batch, chunk }: Mark): boolean {
    if (chunk > 0 || this.#timeline === null) return false;
    // The batches of another timeline begin with 1.
    const whole = timeline === this.#timeline ? this.#whole : 0;
    return whole !== null && batch > whole + 1;
  }

  /** Does a stream that ends here hold, or has it held, what was not given whole? */
  lacks(tail: Mark | null): boolean {
    if (tail === null || !(isComplete(tail) || tail.chunk > 0)) return false;
    return tail.timeline !== this.#timeline || this.#whole === null || tail.batch > this.#whole;
  }

  /** Gives up what comes before this batch, and says which is the first of that; null where nothing had begun. */
  passTo({ timeline, batch }: Pick<Mark, "timeline" | "batch">): number | null {
    const whole = timeline === this.#timeline ? this.#whole : 0;
    const isFirst = this.#timeline === null || whole === null;
    this.#timeline = timeline;
    this.#begin(batch - 1);
    return isFirst ? null : whole + 1;
  }

  /** A piece was damaged: what follows it does not follow what came before. */
  lose(): void {
    this.#place = null;
  }

  /** Of a batch that {@link isAhead}: nothing. */
  take(next: Pick<Piece, "mark" | "changes">): readonly Fresh[] {
    const { mark } = next;
    const { timeline, batch, piece, last } = mark;
    if (mark.chunk > 0 || this.isAhead(mark)) return [];
    if (this.#timeline !== timeline) {
      this.#begin(this.#timeline === null ? this.#whole : 0);
      this.#timeline = timeline;
    }
    if (this.#whole === null) {
      if (piece > 0) return [];
      this.#begin(batch - 1);
    }
    if (batch <= (this.#whole ?? 0)) return [];
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
