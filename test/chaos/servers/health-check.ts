// What a service manager does for a broker: one that runs and does not answer is started again. NATS 2.9 locks itself up
// for good when a power cut took the file of a block that it goes on to write (`rebuildStateLocked`, in its file store).
import { sleep } from "../../../src/core/async.ts";
import { withManager } from "../../queues/nats-bed.ts";
import type { Server } from "../../servers/index.ts";

const EVERY_MS = 500;
/** Its client waits five seconds for an answer, and a busy machine is no reason. */
const PATIENCE = 2;

export class HealthCheck implements AsyncDisposable {
  readonly #server: Server;
  readonly #ending = new AbortController();
  readonly #ended: Promise<void>;
  #held = 0;
  #restarting: Promise<void> = Promise.resolve();
  /** How often it was started again. */
  restarts = 0;

  constructor(server: Server) {
    this.#server = server;
    this.#ended = this.#watch();
  }

  /** The server is down, or on a full disk, on purpose: until let go it is left alone. */
  async hold(): Promise<void> {
    this.#held++;
    await this.#restarting;
  }

  letGo(): void {
    this.#held--;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.#ended;
  }

  async #watch(): Promise<void> {
    const { signal } = this.#ending;
    for (let failures = 0; !signal.aborted; await sleep(EVERY_MS, signal)) {
      const heldBefore = this.#held > 0;
      failures = (await this.#answers()) || heldBefore || this.#held > 0 ? 0 : failures + 1;
      if (failures < PATIENCE || signal.aborted) continue;
      failures = 0;
      this.restarts++;
      this.#restarting = this.#server.kill().then(() => this.#server.start());
      await this.#restarting;
    }
  }

  async #answers(): Promise<boolean> {
    try {
      await withManager(this.#server.url, (manager) => manager.getAccountInfo());
      return true;
    } catch {
      return false;
    }
  }
}
