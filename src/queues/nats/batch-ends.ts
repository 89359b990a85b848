/** How many batches are remembered; older ones are searched for. */
const CAPACITY = 10_000;

/**
 * Where the batches that this process appended end, so that the trim which follows each confirmation
 * needs no search in the stream. Only a hint: forgotten whenever the stream is not the one it was.
 */
export class BatchEnds {
  /** Ascending by batch and by sequence. */
  #ends: { readonly batch: number; sequence: number }[] = [];
  #created: string | null = null;

  add(batch: number, sequence: number): void {
    const last = this.#ends.at(-1);
    if (last !== undefined && (sequence <= last.sequence || batch < last.batch)) this.clear();
    const end = this.#ends.at(-1);
    if (end?.batch === batch) end.sequence = sequence;
    else this.#ends.push({ batch, sequence });
    if (this.#ends.length > CAPACITY) this.#ends.splice(0, CAPACITY / 2);
  }

  /**
   * To be told at each look at the stream: numbers in one that was made anew mean other messages. An
   * append there begins with such a look, so no number of the old one can stand beside one of the new.
   */
  belongTo(created: string): void {
    if (this.#created !== null && this.#created !== created) this.clear();
    this.#created = created;
  }

  /** The first sequence behind the last known batch up to `batch`; null when none is known. */
  after(batch: number): number | null {
    const kept = this.#ends.findIndex((end) => end.batch > batch);
    const known = kept < 0 ? this.#ends.length : kept;
    const last = this.#ends[known - 1];
    if (last === undefined) return null;
    this.#ends.splice(0, known - 1);
    return last.sequence + 1;
  }

  clear(): void {
    this.#ends = [];
  }
}
