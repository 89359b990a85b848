import {
  keys,
  type Order,
  type ParkedAnswer,
  type ParkedOrder,
} from "../../../src/core/documents.ts";
import type { Queue } from "../../../src/core/queue.ts";
import type { Target } from "../../../src/core/target.ts";
import { using } from "../../../src/pipeline/connect.ts";
import { dropUnattended } from "../../../src/pipeline/parked.ts";
import type { Random } from "../../support/random.ts";
import type { Counters } from "./oracle.ts";
import { TABLES } from "./shapes.ts";

/** The sync that is asked, and what of it can be reached. */
export interface Asked {
  readonly sync: string;
  readonly queue: Queue;
  readonly openTarget: () => Target;
  /** Ids of the rows that it has set aside. */
  readonly aside: readonly string[];
  /** Called with the ids before anybody drops them; null: all. */
  readonly onDrop: (ids: readonly string[] | null) => void;
  readonly onDropped: (answer: ParkedAnswer) => void;
}

/**
 * Somebody who asks the applier of a sync, over the queue, to copy tables anew, or to try rows again that are set aside, or
 * to forget them. The order stands until it is answered, by whichever applier works then; rows are forgotten without one
 * where none works.
 */
export class Operator {
  readonly #random: Random;
  readonly #counters: Counters;
  /** Planted: of the rows to be dropped the names are not looked at. */
  readonly #dropsAll: boolean;
  #asked = 0;

  constructor(random: Random, counters: Counters, dropsAll: boolean) {
    this.#random = random;
    this.#counters = counters;
    this.#dropsAll = dropsAll;
  }

  /** Resolves with what could not be done, null when all was. */
  async ask(asked: Asked): Promise<string | null> {
    const order = this.#order(asked);
    if (order === null) return null;
    if (order.action === "drop" && (await this.#drop(asked, order))) return null;
    const { documents } = asked.queue;
    const key = keys.order(asked.sync, String(++this.#asked));
    await documents.put(key, order);
    for await (const { value } of documents.watch(key, new AbortController().signal)) {
      const answered = value as Order | null;
      if (answered === null || answered.answer === null) continue;
      if (answered.action === "resync") {
        this.#counters.add("tables copied anew as asked");
        return answered.answer.error?.message ?? null;
      }
      const isDrop = answered.action === "drop";
      this.#counters.add(isDrop ? "rows set aside dropped" : "rows set aside tried again");
      const [failed] = isDrop ? answered.answer.failed : [];
      return failed?.message ?? null;
    }
    return null;
  }

  /** False while an applier works. */
  async #drop({ openTarget, sync, onDropped }: Asked, { ids }: ParkedOrder): Promise<boolean> {
    const answer = await using(Promise.resolve(openTarget()), (target) =>
      dropUnattended(target, { sync, ids }),
    );
    if (answer === null) return false;
    onDropped(answer);
    this.#counters.add("rows set aside dropped");
    this.#counters.add("rows set aside dropped without an applier");
    return true;
  }

  /** Null: nothing, for now. */
  #order({ aside, onDrop }: Asked): Order | null {
    const askedAt = new Date().toISOString();
    const random = this.#random;
    const [one, ...others] = aside;
    if (one !== undefined && random.chance(0.8)) {
      if (random.chance(0.2)) return { askedAt, action: "retry", ids: null, answer: null };
      const named = random.pick([one, ...others]);
      const some = aside.filter((id) => id === named || random.chance(0.1));
      const ids = random.chance(0.1) ? null : some;
      onDrop(ids);
      return { askedAt, action: "drop", ids: this.#dropsAll ? null : ids, answer: null };
    }
    if (random.chance(0.6)) return null;
    const first = random.pick(TABLES);
    const tables = TABLES.filter((table) => table === first || random.chance(0.2));
    return { askedAt, action: "resync", tables, answer: null };
  }
}
