// Debezium Engine, which reads PostgreSQL's log, and a consumer that writes to the target by JDBC.
// Debezium's own JDBC sink is not among the artifacts of that version that could be fetched, so
// bench/arms/debezium/EngineToJdbc.java does what its documentation says the sink does.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { mavenLibraries } from "../fetch/maven.ts";
import { Pair } from "../pair.ts";
import type { Arm, Rival, RivalSetup } from "./arm.ts";

const FOLDER = join(import.meta.dirname, "debezium");
const VERSION = "3.6.1.Final";

/**
 * All else as it is by itself, but for one: it waits up to `poll.interval.ms` for a batch to be full,
 * and with 500 ms, the default, lags by as much. Strings keep every digit, as Tidemark's text does.
 */
const CONNECTOR = {
  "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
  "offset.storage": "org.apache.kafka.connect.storage.MemoryOffsetBackingStore",
  "plugin.name": "pgoutput",
  "publication.autocreate.mode": "filtered",
  "slot.drop.on.stop": "true",
  "snapshot.mode": "no_data",
  "tombstones.on.delete": "false",
  "decimal.handling.mode": "string",
  "time.precision.mode": "isostring",
  "poll.interval.ms": "10",
};

export async function createDebezium({ bed, name, tables, fill }: RivalSetup): Promise<Rival> {
  const libraries = await mavenLibraries(`debezium-${VERSION}`, join(FOLDER, "pom.xml"));
  const pair = await Pair.create(bed, name);
  await fill(pair);
  const { hostname, port, username, password, pathname } = new URL(pair.source.url);
  const properties = {
    ...CONNECTOR,
    name,
    "topic.prefix": name,
    "slot.name": name,
    "publication.name": name,
    "database.hostname": hostname,
    "database.port": port,
    "database.user": username,
    "database.password": password,
    "database.dbname": pathname.slice(1),
    "table.include.list": tables.map((table) => `public.${table}`).join(","),
  };
  const file = join(bed.folder, `${name}.properties`);
  const lines = Object.entries(properties).map(([key, value]) => `${key}=${value}\n`);
  writeFileSync(file, lines.join(""), { mode: 0o600 });
  const arm = new Debezium(pair, { name, libraries, file, log: join(bed.folder, `${name}.log`) });
  bed.atEnd(() => arm.stop());
  return { arm, version: VERSION };
}

interface Parts {
  readonly name: string;
  readonly libraries: string;
  readonly file: string;
  readonly log: string;
}

/** As with native replication, the slot lives only while measured. */
class Debezium implements Arm {
  readonly pair: Pair;
  readonly #parts: Parts;
  #process: ChildProcess | undefined;

  constructor(pair: Pair, parts: Parts) {
    this.pair = pair;
    this.#parts = parts;
    pair.assertRunning = () => this.#assertRunning();
  }

  async start(): Promise<void> {
    const { libraries, file, log } = this.#parts;
    const output = openSync(log, "a");
    const program = join(FOLDER, "EngineToJdbc.java");
    this.#process = spawn(
      "java",
      ["-cp", `${libraries}/*`, program, file, jdbcUrl(this.pair.target.url)],
      { stdio: ["ignore", output, output] },
    );
    this.#process.on("error", () => {}); // told by the missing pid
    for (;;) {
      this.#assertRunning();
      const isStreaming = await this.pair.source.value(
        "SELECT active FROM pg_replication_slots WHERE slot_name = $1 AND active",
        [this.#parts.name],
      );
      if (isStreaming !== null) return;
      await sleep(50);
    }
  }

  async stop(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGCONT");
    child.kill("SIGTERM");
    await once(child, "exit");
  }

  async hold(): Promise<void> {
    this.#process?.kill("SIGSTOP");
  }

  async release(): Promise<void> {
    this.#process?.kill("SIGCONT");
  }

  #assertRunning(): void {
    const child = this.#process;
    if (child === undefined) return;
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) return;
    const words = readFileSync(this.#parts.log, "utf8").slice(-2_000);
    throw new Error(`Debezium's process has ended:\n${words}`);
  }
}

/** With what the driver's documentation recommends for batches; types are the columns'. */
function jdbcUrl(url: string): string {
  const { host, username, password, pathname } = new URL(url);
  const query = new URLSearchParams({
    ...{ user: username, password, reWriteBatchedInserts: "true", stringtype: "unspecified" },
  });
  return `jdbc:postgresql://${host}${pathname}?${query}`;
}
