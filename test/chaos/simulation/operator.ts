import { keys, type Order } from "../../../src/core/documents.ts";
import type { Queue } from "../../../src/core/queue.ts";
import type { Random } from "../../support/random.ts";
import type { Counters } from "./oracle.ts";
import { TABLES } from "./shapes.ts";

/**
 * Somebody who asks the applier of a sync, over the queue, to copy tables anew or to try rows again that are set aside. The
 * order stands until it is answered, by whichever applier works then.
 */
export class Operator {
  readonly #random: Random;
  readonly #counters: Counters;
  #asked = 0;

  constructor(random: Random, counters: Counters) {
    this.#random = random;
    this.#counters = counters;
  }

  /** Resolves with what could not be done, null when all was. */
  async ask({ documents }: Queue, sync: string): Promise<string | null> {
    const key = keys.order(sync, String(++this.#asked));
    const order = this.#order();
    await documents.put(key, order);
    for await (const { value } of documents.watch(key, new AbortController().signal)) {
      const answered = value as Order | null;
      if (answered === null || answered.answer === null) continue;
      if (answered.action !== "resync") {
        this.#counters.add("rows set aside tried again");
        return null;
      }
      this.#counters.add("tables copied anew as asked");
      return answered.answer?.error?.message ?? null;
    }
    return null;
  }

  #order(): Order {
    const askedAt = new Date().toISOString();
    const random = this.#random;
    if (random.chance(0.3)) return { askedAt, action: "retry", ids: null, answer: null };
    const first = random.pick(TABLES);
    const tables = TABLES.filter((table) => table === first || random.chance(0.2));
    return { askedAt, action: "resync", tables, answer: null };
  }
}
