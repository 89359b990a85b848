import { TidemarkError } from "../../../src/core/errors.ts";
import type { Random } from "../../support/random.ts";
import type { SimulatedClock } from "./clock.ts";
import type { Counters } from "./oracle.ts";

/** What the network and the machines do to whoever uses them. */
export interface Weather {
  /** Most of the time a call takes, one way, milliseconds. */
  readonly latencyMs: number;
  /** Chance that a connection breaks at a call: half of the time before the call has its effect. */
  cutChance: number;
  /** Chance that the process dies at a call, before or after its effect. */
  killChance: number;
  /** Chance that the target undoes a transaction, at each statement that writes. */
  deadlockChance: number;
  /** Chance that a message is read damaged. */
  damageChance: number;
}

export interface World {
  readonly clock: SimulatedClock;
  readonly random: Random;
  readonly weather: Weather;
  readonly counters: Counters;
}

/** A server that may be away. A session of an earlier life of it is lost. */
export class SimulatedServer {
  up = true;
  life = 0;
  readonly #onCrash = new Set<() => void>();

  onCrash(listener: () => void): () => void {
    this.#onCrash.add(listener);
    return () => this.#onCrash.delete(listener);
  }

  crash(): void {
    this.up = false;
    this.life++;
    for (const listener of [...this.#onCrash]) listener();
  }

  restart(): void {
    this.up = true;
  }
}

/** A process of ours. Killed, nothing that it waits for ever comes: what it would have done next is not done. */
export class SimulatedProcess {
  readonly name: string;
  readonly world: World;
  alive = true;
  readonly #ends = new Set<() => void>();

  constructor(name: string, world: World) {
    this.name = name;
    this.world = world;
  }

  kill(): void {
    if (this.alive) this.world.counters.add("process killed");
    this.end();
  }

  /** As {@link kill}, by itself or by its operator. */
  end(): void {
    if (!this.alive) return;
    this.alive = false;
    for (const end of [...this.#ends]) end();
  }

  /** Called at its end: what servers notice of it. */
  onEnd(end: () => void): () => void {
    this.#ends.add(end);
    return () => this.#ends.delete(end);
  }

  connect(server: SimulatedServer): Session {
    return new Session(this, server);
  }
}

/** One connection of a process to a server: each call takes its time, and may be the last. */
export class Session {
  readonly process: SimulatedProcess;
  readonly #server: SimulatedServer;
  readonly #life: number;
  readonly #onLost = new Set<() => void>();
  readonly #forget: readonly (() => void)[];
  #open = true;

  constructor(process: SimulatedProcess, server: SimulatedServer) {
    this.process = process;
    this.#server = server;
    this.#life = server.life;
    const { clock, random } = process.world;
    this.#forget = [
      // A server learns of a death from the network, a little later.
      process.onEnd(() => clock.after(random.unit() * 20, () => this.end())),
      server.onCrash(() => this.end()),
    ];
  }

  get open(): boolean {
    return this.#open;
  }

  /** What the server does when it learns that the session has ended. */
  onLost(listener: () => void): () => void {
    this.#onLost.add(listener);
    return () => this.#onLost.delete(listener);
  }

  end(): void {
    if (!this.#open) return;
    this.#open = false;
    for (const forget of this.#forget) forget();
    for (const listener of this.#onLost) listener();
  }

  /** Runs `effect` at the server, at one moment. */
  async call<T>(effect: () => T): Promise<T> {
    const { process } = this;
    const { random, weather, counters } = process.world;
    await this.#travel();
    if (random.chance(weather.killChance)) process.kill();
    if (!process.alive) await never();
    if (random.chance(weather.cutChance)) this.#cut();
    if (!this.#open || !this.#server.up || this.#server.life !== this.#life) {
      this.end();
      throw lost();
    }
    const result = effect();
    if (random.chance(weather.killChance)) process.kill();
    if (random.chance(weather.cutChance)) {
      this.#cut();
      counters.add("answer lost");
    }
    await this.#travel();
    if (!process.alive) await never();
    if (!this.#open) throw lost();
    return result;
  }

  #cut(): void {
    this.process.world.counters.add("connection cut");
    this.end();
  }

  #travel(): Promise<void> {
    const { clock, random, weather } = this.process.world;
    const slow = random.chance(0.01) ? 20 : 1;
    return clock.sleep(random.unit() * weather.latencyMs * slow);
  }
}

/** One for each: what waits for it is garbage. */
function never(): Promise<never> {
  return new Promise(() => {});
}

function lost(): TidemarkError {
  return new TidemarkError("TM-CONNECTION-LOST", "The connection is lost.");
}
