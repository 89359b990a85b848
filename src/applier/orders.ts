import { backoff, sleep } from "../core/async.ts";
import { keys, lastSegment, type Order, type ResyncOrder } from "../core/documents.ts";
import { toTidemarkError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { Documents } from "../core/queue.ts";
import { RetryLog } from "../core/retry-log.ts";
import { statusError } from "../core/status-error.ts";
import type { ApplierWork } from "./work.ts";

/** Empties these source tables at the target; see emptyForResync. */
export type Resync = (tables: readonly string[]) => Promise<void>;

export interface OrdersOptions {
  readonly documents: Documents;
  readonly sync: string;
  readonly logger: Logger;
  readonly resync: Resync;
}

/** What people ask of a running applier, as it comes over the queue. */
export class Orders {
  readonly #options: OrdersOptions;
  /** By id, oldest first; one comes again until it is answered. */
  readonly #open = new Map<string, Order>();

  constructor(options: OrdersOptions) {
    this.#options = options;
  }

  /** Follows the documents until the signal aborts, through losses of the queue. */
  async run(signal: AbortSignal): Promise<void> {
    const { documents, sync, logger } = this.#options;
    const log = new RetryLog(logger, "lost sight of what is asked of the applier");
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        for await (const { key, value } of documents.watch(keys.orders(sync), signal)) {
          attempt = 0;
          log.succeeded();
          const order = value as Order | null;
          if (order === null || order.answer !== null) this.#open.delete(lastSegment(key));
          else this.#open.set(lastSegment(key), order);
        }
      } catch (error) {
        log.failed(error);
      }
      await sleep(backoff(attempt), signal);
    }
  }

  /** Carries out the oldest, if there is one, between two batches; a resync is only told of. */
  async carryOut(work: ApplierWork): Promise<"nothing" | "done" | "resync"> {
    const [first] = this.#open;
    if (first === undefined) return "nothing";
    const [id, order] = first;
    if (order.action === "resync") return "resync";
    await this.#answer(id, { ...order, answer: await work.carryOut(order) });
    return "done";
  }

  /** Carries out the resync that is next. Whoever applies must have ended: what it knows of the tables is wrong then. */
  async resync(): Promise<void> {
    const [first] = this.#open;
    if (first === undefined) return;
    const [id, order] = first;
    if (order.action !== "resync") return;
    await this.#answer(id, { ...order, answer: await this.#resync(order) });
  }

  /** What cannot be done is told to who asked: the sync goes on as it was. */
  async #resync({ tables }: ResyncOrder): Promise<NonNullable<ResyncOrder["answer"]>> {
    const { logger, resync } = this.#options;
    try {
      await resync(tables);
      logger.info({ tables }, "emptied, to be copied anew");
      return { error: null };
    } catch (error) {
      const found = toTidemarkError(error);
      if (found.retryable) throw found;
      return { error: statusError(found) };
    }
  }

  async #answer(id: string, order: Order): Promise<void> {
    this.#open.delete(id);
    await this.#options.documents.put(keys.order(this.#options.sync, id), order);
  }
}
