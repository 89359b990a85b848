import type { Random } from "../../support/random.ts";
import type { SimulatedClock } from "./clock.ts";
import type { Counters } from "./oracle.ts";
import type { SimulatedServer } from "./process.ts";
import type { QueueServer } from "./queue-server.ts";
import type { SourceDatabase } from "./source-database.ts";
import type { TargetSite } from "./target-server.ts";

/** So long a server that crashed is away, at most. */
const AWAY_MS = 400;

export interface StormParts {
  readonly clock: SimulatedClock;
  readonly counters: Counters;
  readonly source: SourceDatabase;
  readonly queue: QueueServer;
  readonly targets: readonly [TargetSite, ...TargetSite[]];
  readonly killOne: (random: Random) => void;
  /** Planted: the source loses commits that a cut has made durable. */
  readonly losesCutCommits: boolean;
}

/** Crashes of servers and deaths of processes, one after the other, until it ends. */
export class Storm {
  readonly #parts: StormParts;
  #goesOn = true;

  constructor(parts: StormParts) {
    this.#parts = parts;
  }

  async rage(random: Random): Promise<void> {
    const everyMs = random.pick([150, 600, 2_500]);
    const faults = [
      () => this.#parts.killOne(random),
      () => this.crashQueue(random),
      () => this.#crashTarget(random),
      () => this.#crashSource(random),
    ] as const;
    while (this.#goesOn) {
      await this.#parts.clock.sleep(random.unit() * 2 * everyMs);
      if (this.#goesOn) random.pick(faults)();
    }
  }

  end(): void {
    this.#goesOn = false;
  }

  crashQueue(random: Random): void {
    const { queue, counters } = this.#parts;
    if (!queue.up) return;
    queue.crash();
    const way = random.pick(["unsynced", "unsynced", "acknowledged", "everything"]);
    counters.add(`queue lost what was ${way}`);
    if (way === "unsynced") queue.loseVolatile();
    else if (way === "acknowledged") queue.loseMessages(random.between(1, 6));
    else queue.wipe();
    this.#restart(queue, random);
  }

  #crashTarget(random: Random): void {
    const { targets, counters } = this.#parts;
    const target = random.pick(targets);
    if (!target.up) return;
    target.crash();
    if (target.loseVolatile(random.unit()) > 0) counters.add("target lost commits");
    counters.add("target crashed");
    this.#restart(target, random);
  }

  #crashSource(random: Random): void {
    const { source, counters, losesCutCommits } = this.#parts;
    if (!source.up) return;
    source.crash();
    counters.add("source crashed");
    const lost = source.loseCommits(random.between(0, 4), losesCutCommits);
    if (lost > 0) counters.add("source lost commits");
    this.#restart(source, random);
  }

  #restart(server: SimulatedServer, random: Random): void {
    this.#parts.clock.after(random.unit() * AWAY_MS, () => server.restart());
  }
}
