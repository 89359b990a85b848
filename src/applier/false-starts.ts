import type { QueueMessage } from "../core/queue.ts";

/**
 * Beginnings of batches that lead nowhere: the relay died after each and sent the batch again from
 * its start, and the stream cannot forget them. Whoever reads from there meets them every time.
 *
 * Known of every batch, since several are applied in one transaction: undone at the false start of the second,
 * it would meet that of the first again.
 */
export class FalseStarts {
  readonly #counts = new Map<number, number>();

  /** One more was met of this batch. */
  note(batch: number): void {
    this.#counts.set(batch, (this.#counts.get(batch) ?? 0) + 1);
  }

  /** The stream may have been emptied since they were counted. */
  forget(): void {
    this.#counts.clear();
  }

  /** The messages without those that are known. */
  async *passBy(messages: AsyncIterable<QueueMessage>): AsyncGenerator<QueueMessage> {
    const met = new Map<number, number>();
    for await (const message of messages) {
      const { batch, chunk, piece, fragment } = message.mark;
      const known = chunk === 0 ? this.#counts.get(batch) : undefined;
      if (known === undefined) {
        yield message;
        continue;
      }
      if (piece === 0 && fragment === 0) met.set(batch, (met.get(batch) ?? 0) + 1);
      if ((met.get(batch) ?? 0) > known) yield message;
    }
  }
}
