// The two loads on a pair of any kind: a steady one that is watched, and one that piles up.
import { setTimeout as sleep } from "node:timers/promises";
import type { AnyPair } from "./any-pair.ts";
import type { Arm } from "./arms/arm.ts";
import { insertRow, noteOf } from "./loads/rows.ts";
import type { Figures } from "./results.ts";
import { quantile } from "./statistics.ts";

/** Rows of the first moments, while plans are cached, are not counted. */
const WARM_UP_MS = 1_500;

export interface SteadyLoad {
  /** Transactions a second, from one session. */
  readonly rate: number;
  readonly seconds: number;
  readonly width?: number;
  /** Half of the transactions write these in turn, and are not watched. */
  readonly others?: readonly string[];
}

/**
 * From the moment the commit of a row has returned to the writer, to the moment a query at every
 * target finds it. Asking every millisecond adds half of one, for every arm alike.
 */
export async function steady(pair: AnyPair, load: SteadyLoad): Promise<Figures> {
  const { rate, seconds, others = [] } = load;
  const note = noteOf(load.width ?? 50);
  const session = await pair.source.session();
  const committed = new Map<number, number>();
  const before = await pair.source.lastId();
  const watch = new Watch(pair, before);
  const start = performance.now();
  const count = Math.round(rate * seconds);
  try {
    for (let i = 0; i < count; i++) {
      const wait = start + (i * 1000) / rate - performance.now();
      if (wait > 0) await sleep(wait);
      const id = before + i + 1;
      const table = i % 2 === 1 ? others[((i - 1) / 2) % others.length] : undefined;
      await insertRow(session, id, { note, ...(table && { table }) });
      if (table === undefined) committed.set(id, performance.now());
    }
    const reached = (count * 1000) / (performance.now() - start);
    await watch.until(Math.max(...committed.keys()));
    const lags = [...committed]
      .filter(([, at]) => at - start >= WARM_UP_MS)
      .map(([id, at]) => watch.seenAt(id) - at);
    return { p50: quantile(lags, 0.5), p99: quantile(lags, 0.99), reached };
  } finally {
    await session[Symbol.asyncDispose]();
    await watch.end();
  }
}

/** Rows come in the order of their ids: there is one writer. */
class Watch {
  readonly #pair: AnyPair;
  /** Up to which id was seen at which moment, ascending. */
  readonly #seen: { readonly id: number; readonly at: number }[] = [];
  #ended = false;
  readonly #running: Promise<void>;

  constructor(pair: AnyPair, from: number) {
    this.#pair = pair;
    this.#running = this.#run(from);
    this.#running.catch(() => {}); // told by `until`
  }

  seenAt(id: number): number {
    return this.#seen.find((each) => each.id >= id)?.at ?? Number.NaN;
  }

  async until(id: number): Promise<void> {
    await this.#pair.visible(id);
    while ((this.#seen.at(-1)?.id ?? 0) < id) await Promise.race([sleep(1), this.#running]);
  }

  async end(): Promise<void> {
    this.#ended = true;
    await this.#running.catch(() => {});
  }

  async #run(from: number): Promise<void> {
    let last = from;
    while (!this.#ended) {
      const ids = await Promise.all(this.#pair.targets.map((target) => target.lastId()));
      const id = Math.min(...ids);
      if (id > last) {
        this.#seen.push({ id, at: performance.now() });
        last = id;
      }
      await sleep(1);
    }
  }
}

/** One-row transactions that pile up while the arm is held; changes a second once it is let go. */
export async function piledUp(
  arm: Arm<AnyPair>,
  transactions: number,
  width = 50,
): Promise<Figures> {
  const { source } = arm.pair;
  const note = noteOf(width);
  await arm.hold();
  let id = await source.lastId();
  const last = id + transactions;
  const clients = source.kind === "sqlite" ? 1 : 4;
  const work = async () => {
    const session = await source.session();
    while (id < last - 1) await insertRow(session, ++id, { note });
    await session[Symbol.asyncDispose]();
  };
  await Promise.all(Array.from({ length: clients }, work));
  // Committed after all others: where it is, they are.
  const session = await source.session();
  await insertRow(session, last, { note });
  await session[Symbol.asyncDispose]();
  await sleep(500);
  const start = performance.now();
  await arm.release();
  const seconds = ((await arm.pair.visible(last)) - start) / 1000;
  return { rate: transactions / seconds };
}
