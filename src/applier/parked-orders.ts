import { backoff, sleep } from "../core/async.ts";
import { keys, lastSegment, type ParkedAnswer, type ParkedOrder } from "../core/documents.ts";
import type { Logger } from "../core/log.ts";
import type { Documents } from "../core/queue.ts";

/** What people ask of the parked rows of a sync, as it comes over the queue. */
export class ParkedOrders {
  readonly #documents: Documents;
  readonly #sync: string;
  readonly #open = new Map<string, ParkedOrder>();

  constructor(documents: Documents, sync: string) {
    this.#documents = documents;
    this.#sync = sync;
  }

  /** Follows the documents until the signal aborts, through losses of the queue. */
  async run(logger: Logger, signal: AbortSignal): Promise<void> {
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        for await (const { key, value } of this.#documents.watch(
          keys.allParked(this.#sync),
          signal,
        )) {
          attempt = 0;
          const order = value as ParkedOrder | null;
          if (order === null || order.answer !== null) this.#open.delete(lastSegment(key));
          else this.#open.set(lastSegment(key), order);
        }
      } catch (error) {
        logger.warn({ err: error }, "lost sight of orders for parked rows: trying again");
      }
      await sleep(backoff(attempt), signal);
    }
  }

  /** The next one, oldest first; it comes again until it is answered. */
  get next(): { readonly id: string; readonly order: ParkedOrder } | null {
    const [first] = this.#open;
    return first === undefined ? null : { id: first[0], order: first[1] };
  }

  async answer(id: string, order: ParkedOrder, answer: ParkedAnswer): Promise<void> {
    this.#open.delete(id);
    await this.#documents.put(keys.parked(this.#sync, id), { ...order, answer });
  }
}
