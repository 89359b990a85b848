// pglogical: an extension of PostgreSQL that decodes the log, and applies it, in its own way. On
// servers of its own, since it must be loaded when they start, with the settings that its
// documentation gives ("Quick setup").
import { setTimeout as sleep } from "node:timers/promises";
import { postgresTree } from "../fetch/postgres-tree.ts";
import { Pair } from "../pair.ts";
import type { Arm, Rival, RivalSetup } from "./arm.ts";

const SETTINGS = {
  shared_preload_libraries: "pglogical",
  max_worker_processes: 10,
};
const SUBSCRIPTION = "bench";

export async function createPglogical({ bed, name, tables, fill }: RivalSetup): Promise<Rival> {
  await postgresTree();
  const servers = {
    source: await bed.postgres("source of pglogical", { settings: SETTINGS }),
    target: await bed.postgres("target of pglogical", { settings: SETTINGS }),
  };
  const pair = await Pair.create(bed, name, { servers });
  await fill(pair);
  for (const [role, database] of Object.entries({
    provider: pair.source,
    subscriber: pair.target,
  })) {
    await database.query("CREATE EXTENSION pglogical");
    await database.query("SELECT pglogical.create_node(node_name := $1, dsn := $2)", [
      role,
      database.url,
    ]);
  }
  for (const table of tables) {
    await pair.source.query("SELECT pglogical.replication_set_add_table('default', $1)", [table]);
  }
  const version = await pair.source.value(
    "SELECT extversion FROM pg_extension WHERE extname = 'pglogical'",
  );
  return { arm: new Pglogical(pair), version: String(version) };
}

/** As with native replication, the subscription lives only while measured. */
class Pglogical implements Arm {
  readonly pair: Pair;

  constructor(pair: Pair) {
    this.pair = pair;
  }

  async start(): Promise<void> {
    await this.pair.target.query(
      `SELECT pglogical.create_subscription(subscription_name := $1, provider_dsn := $2,
         replication_sets := ARRAY['default'],
         synchronize_structure := false, synchronize_data := false)`,
      [SUBSCRIPTION, this.pair.source.url],
    );
    await this.#until(true);
  }

  async stop(): Promise<void> {
    await this.pair.target.query("SELECT pglogical.drop_subscription($1)", [SUBSCRIPTION]);
    await this.#until(false);
  }

  async hold(): Promise<void> {
    await this.#enable(false);
    await this.#until(false);
  }

  async release(): Promise<void> {
    await this.#enable(true);
  }

  async #enable(yes: boolean): Promise<void> {
    const verb = yes ? "enable" : "disable";
    await this.pair.target.query(
      `SELECT pglogical.alter_subscription_${verb}($1, immediate := true)`,
      [SUBSCRIPTION],
    );
  }

  /** Waits until the sender streams, or is gone. */
  async #until(streaming: boolean): Promise<void> {
    for (;;) {
      const state = await this.pair.source.value(
        `SELECT state FROM pg_stat_replication JOIN pg_replication_slots ON active_pid = pid
         WHERE database = current_database() AND plugin = 'pglogical_output'`,
      );
      if (streaming ? state === "streaming" : state === null) return;
      await sleep(20);
    }
  }
}
