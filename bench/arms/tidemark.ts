// Tidemark as users run it: the command line, in one process or one for each role.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { loadConfig } from "../../src/config/load-config.ts";
import { silentLogger } from "../../src/core/log.ts";
import { openQueue } from "../../src/pipeline/queue.ts";
import { waitForSync } from "../../src/pipeline/wait.ts";
import type { Bed } from "../bed.ts";
import type { Endpoints } from "../endpoints.ts";
import type { Pair } from "../pair.ts";
import { peakMemoryMb } from "../process-figures.ts";
import type { Arm } from "./arm.ts";

/** What users run; scripts/bench.mjs has built it. */
const MAIN = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

export type Role = "all" | "relay" | "applier";

export class Tidemark<P extends Endpoints = Pair> implements Arm<P> {
  readonly pair: P;
  readonly #bed: Bed;
  readonly #folder: string;
  readonly #config: string;
  readonly #roles: readonly Role[];
  readonly #processes = new Map<Role, ChildProcess>();
  /** The most memory each role ever had, over all starts. */
  readonly #peaks = new Map<Role, number>();

  static async create<P extends Endpoints>(
    bed: Bed,
    pair: P,
    tables: readonly string[],
    roles: readonly Role[] = ["all"],
  ): Promise<Tidemark<P>> {
    const folder = join(bed.folder, pair.source.name);
    mkdirSync(folder);
    const queue =
      bed.options.queue === "nats"
        ? `${(await bed.nats()).url}/?prefix=${pair.source.name}`
        : `sqlite:${join(folder, "queue.db")}`;
    const targets = (pair.targets ?? [pair.target]).map(({ url }, i) => [`target${i + 1}`, url]);
    const schema = pair.source.url.startsWith("postgres:") ? "public." : "";
    const config = {
      databases: { source: pair.source.url, ...Object.fromEntries(targets) },
      queue,
      syncs: [
        {
          from: "source",
          to: targets.map(([name]) => name),
          tables: tables.map((name) => `${schema}${name}`),
        },
      ],
    };
    const file = join(folder, "tidemark.json");
    writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
    const arm = new Tidemark(bed, pair, { folder, config: file, roles });
    bed.atEnd(() => arm.stop());
    pair.assertRunning = () => arm.#assertRunning();
    return arm;
  }

  private constructor(
    bed: Bed,
    pair: P,
    parts: { folder: string; config: string; roles: readonly Role[] },
  ) {
    this.#bed = bed;
    this.pair = pair;
    this.#folder = parts.folder;
    this.#config = parts.config;
    this.#roles = parts.roles;
  }

  /** Process ids by role, while it runs. */
  get pids(): ReadonlyMap<Role, number> {
    return new Map([...this.#processes].map(([role, { pid }]) => [role, pid ?? 0]));
  }

  /** Spawns without waiting for anything. */
  launch(): void {
    for (const role of this.#roles) this.#processes.set(role, this.#spawn(role));
  }

  async start(): Promise<void> {
    this.launch();
    await this.synced();
  }

  /** Waits until the target has what the source has now. */
  async synced(): Promise<void> {
    const { definition } = await loadConfig({
      file: this.#config,
      library: () => import("../../src/index.ts"),
    });
    const queue = await openQueue(definition.queue, silentLogger);
    const ended = new AbortController();
    try {
      const wait = waitForSync(definition, queue, { timeoutMs: 300_000, signal: ended.signal });
      await Promise.race([wait, this.#unexpectedEnd(ended.signal)]);
    } finally {
      ended.abort();
      await queue.close();
    }
  }

  async stop(): Promise<void> {
    for (const [role, child] of this.#processes) {
      this.#notePeak(role, child);
      child.kill("SIGCONT");
      child.kill("SIGTERM");
      await ended(child);
    }
    this.#processes.clear();
  }

  async hold(): Promise<void> {
    for (const child of this.#processes.values()) child.kill("SIGSTOP");
  }

  async release(): Promise<void> {
    for (const child of this.#processes.values()) child.kill("SIGCONT");
  }

  /** MB; null where the system does not tell. */
  peakMemory(role: Role): number | null {
    const child = this.#processes.get(role);
    if (child !== undefined) this.#notePeak(role, child);
    return this.#peaks.get(role) ?? null;
  }

  #notePeak(role: Role, { pid }: ChildProcess): void {
    const peak = pid === undefined ? null : peakMemoryMb(pid);
    if (peak !== null) this.#peaks.set(role, Math.max(peak, this.#peaks.get(role) ?? 0));
  }

  #spawn(role: Role): ChildProcess {
    const { profile } = this.#bed.options;
    const log = openSync(this.#logFile(role), "a");
    return spawn(
      process.execPath,
      [
        ...(profile === null ? [] : ["--cpu-prof", `--cpu-prof-dir=${resolve(profile)}`]),
        ...[MAIN, "run", "--config", this.#config, "--quiet"],
        ...(role === "all" ? [] : ["--role", role]),
      ],
      {
        cwd: this.#folder,
        stdio: ["ignore", log, log],
        env: { ...process.env, LOG_LEVEL: "warn" },
      },
    );
  }

  /** Rejects when a process ends by itself. */
  async #unexpectedEnd(signal: AbortSignal): Promise<void> {
    try {
      await Promise.race([...this.#processes.values()].map((child) => ended(child, signal)));
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    if (!signal.aborted) this.#assertRunning();
  }

  #assertRunning(): void {
    for (const [role, { exitCode, signalCode }] of this.#processes) {
      if (exitCode === null && signalCode === null) continue;
      const log = readFileSync(this.#logFile(role), "utf8").slice(-2_000);
      throw new Error(`tidemark run (${role}) ended with ${exitCode ?? signalCode}:\n${log}`);
    }
  }

  #logFile(role: Role): string {
    return join(this.#folder, `${role}.log`);
  }
}

async function ended(child: ChildProcess, signal?: AbortSignal): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  await once(child, "exit", signal === undefined ? {} : { signal });
}
