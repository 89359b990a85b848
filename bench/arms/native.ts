// PostgreSQL's own logical replication, with the settings it has when nobody changes them.
import { setTimeout as sleep } from "node:timers/promises";
import { Pair } from "../pair.ts";
import type { Arm, Rival, RivalSetup } from "./arm.ts";

export async function createNative({ bed, name, tables, fill }: RivalSetup): Promise<Rival> {
  const pair = await Pair.create(bed, name);
  await fill(pair);
  const version = await pair.source.value("SHOW server_version");
  return { arm: new NativeReplication(pair, tables), version: String(version) };
}

/**
 * Publication and subscription live only while measured: a slot that stands by would have to read
 * the log that the other arm writes. So `start` expects a target that holds what the source holds.
 */
class NativeReplication implements Arm {
  readonly pair: Pair;
  readonly #tables: readonly string[];
  readonly #name: string;

  constructor(pair: Pair, tables: readonly string[]) {
    this.pair = pair;
    this.#tables = tables;
    this.#name = `native_${pair.source.name}`;
  }

  async start(): Promise<void> {
    const { source, target } = this.pair;
    await source.query(`CREATE PUBLICATION native FOR TABLE ${this.#tables.join(", ")}`);
    await target.query(
      `CREATE SUBSCRIPTION ${this.#name} CONNECTION '${source.url}' PUBLICATION native WITH (copy_data = false)`,
    );
    await this.#until(true);
  }

  async stop(): Promise<void> {
    await this.pair.target.query(`DROP SUBSCRIPTION ${this.#name}`);
    await this.pair.source.query("DROP PUBLICATION native");
  }

  async hold(): Promise<void> {
    await this.pair.target.query(`ALTER SUBSCRIPTION ${this.#name} DISABLE`);
    await this.#until(false);
  }

  async release(): Promise<void> {
    await this.pair.target.query(`ALTER SUBSCRIPTION ${this.#name} ENABLE`);
  }

  /** Waits until the sender streams, or is gone. */
  async #until(streaming: boolean): Promise<void> {
    for (;;) {
      const state = await this.pair.source.value(
        "SELECT state FROM pg_stat_replication WHERE application_name = $1",
        [this.#name],
      );
      if (streaming ? state === "streaming" : state === null) return;
      await sleep(20);
    }
  }
}
