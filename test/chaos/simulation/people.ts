import type { PipelineDefinition } from "../../../src/core/definition.ts";
import { isTidemarkError, toTidemarkError } from "../../../src/core/errors.ts";
import { waitForSync } from "../../../src/pipeline/wait.ts";
import type { Random } from "../../support/random.ts";
import { type Asked, Operator } from "./operator.ts";
import type { Oracle } from "./oracle.ts";
import { SimulatedProcess, type World } from "./process.ts";
import { type QueueServer, SimulatedQueue } from "./queue-server.ts";
import { PARKED } from "./shapes.ts";
import type { SourceDatabase } from "./source-database.ts";
import type { SimulatedSync } from "./sync.ts";

export interface PeopleParts {
  readonly world: World;
  /** What the source of the world is called. */
  readonly from: string;
  readonly source: SourceDatabase;
  readonly queue: QueueServer;
  readonly oracle: Oracle;
  readonly syncs: readonly [SimulatedSync, ...SimulatedSync[]];
  /** Why a worker may stop for good here. */
  readonly mended: readonly string[];
  /** How often tables of a target were emptied so far. */
  readonly emptied: () => number;
  /** See {@link Operator}. */
  readonly dropsAll: boolean;
}

/** Those who ask the workers for something. */
export class People {
  readonly #parts: PeopleParts;

  constructor(parts: PeopleParts) {
    this.#parts = parts;
  }

  /** People and programs that wait for what was committed before they asked. */
  async waitNowAndThen(random: Random): Promise<void> {
    const { world } = this.#parts;
    for (;;) {
      await world.clock.sleep(random.unit() * 1_000);
      const process = new SimulatedProcess("waiter", world);
      const died = new Promise<void>((resolve) => process.onEnd(resolve));
      await Promise.race([this.#waitAs(process), died]);
    }
  }

  /** Somebody who asks the appliers for something, until then. */
  async orderNowAndThen(random: Random, untilMs: number): Promise<void> {
    const { world, oracle, syncs, dropsAll } = this.#parts;
    const operator = new Operator(random.fork(), world.counters, dropsAll);
    for (;;) {
      await world.clock.sleep(random.unit() * 600);
      if (world.clock.now > untilMs) return;
      const process = new SimulatedProcess("operator", world);
      const died = new Promise<void>((resolve) => process.onEnd(resolve));
      const asked = operator
        .ask(this.#asking(process, random.pick(syncs)))
        .then((failure) => {
          if (failure !== null) oracle.violated(`an order could not be carried out: ${failure}`);
        })
        .catch(() => {}); // the connection was lost
      await Promise.race([asked, died, world.clock.sleep(10_000)]);
      process.end();
    }
  }

  #asking(process: SimulatedProcess, { name, target, drops }: SimulatedSync): Asked {
    const { oracle } = this.#parts;
    const queue = new SimulatedQueue(process, this.#parts.queue);
    return {
      ...{ sync: name, queue },
      openTarget: () => target.open(process, queue),
      aside: [...(target.current.tables.get(PARKED)?.keys() ?? [])],
      onDrop: (ids) => drops.asked(ids),
      onDropped: (answer) => oracle.answered(answer, drops, target.durable),
    };
  }

  async #waitAs(process: SimulatedProcess): Promise<void> {
    const { world, from, source, queue, oracle, syncs, mended, emptied } = this.#parts;
    const { commits, losses, alteration } = source;
    const before = emptied();
    const definition = {
      databases: [],
      queue: { url: "" },
      syncs: syncs.map(({ name }) => ({ name, from, to: name, tables: [] })),
    } as unknown as PipelineDefinition;
    try {
      await waitForSync(definition, new SimulatedQueue(process, queue), { timeoutMs: 20_000 });
      // What was waited for may not have been committed for good.
      if (losses !== source.losses) return;
      // Of several targets one had it all early, and copies anew what was altered since, over the rows that stand.
      if (alteration !== source.alteration) return;
      // Emptied just when it had ended, by who cannot know of it.
      if (before !== emptied()) return;
      for (const { target } of syncs) {
        oracle.waited(commits, target.current.progress, alteration === "captured");
      }
      world.counters.add("wait ended");
    } catch (error) {
      if (isTidemarkError(error, "TM-WAIT-TIMEOUT")) return;
      // Who waits is told at once when a worker has stopped, and why.
      const cause = isTidemarkError(error, "TM-SYNC-STOPPED") ? error.details.code : null;
      if (mended.some((code) => code === cause)) return world.counters.add("wait told of a stop");
      const { code, message } = toTidemarkError(error);
      oracle.violated(`a wait failed: ${code}: ${message}`);
    }
  }
}
