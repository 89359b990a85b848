// `tidemark run` as a process of its own, to be killed.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFailed } from "vitest";
import type { PipelineDefinition } from "../../src/core/definition.ts";

const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
const CLOCK_JUMPS = new URL("./clock-jumps.ts", import.meta.url).href;

/** Writes a definition without functions as a config file. */
export function writeConfig(folder: string, definition: PipelineDefinition): string {
  const databases = definition.databases.map((entry) => [
    entry.name,
    "url" in entry ? entry.url : "",
  ]);
  const config = {
    databases: Object.fromEntries(databases) as object,
    queue: definition.queue.url,
    syncs: definition.syncs.map(({ from, to, tables }) => ({ from, to, tables })),
    retention: { applied: `${definition.retention.keptMs}ms` },
  };
  const file = join(folder, "tidemark.json");
  writeFileSync(file, JSON.stringify(config));
  return file;
}

export interface ProcessOptions {
  /** May its wall clock be made to jump (jumpClock)? */
  readonly clockJumps?: boolean;
  /** Not to be printed when the test fails: whoever starts many tells of the right one. */
  readonly isQuiet?: boolean;
  /** Told all that it says, as it says it. */
  readonly onOutput?: (text: string) => void;
  /** Where it shall die: `name:kill@3` (src/core/failpoint.ts). */
  readonly failpoint?: string;
  /** Modules that it loads before all else, with what they are told by the environment. */
  readonly preload?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export class PipelineProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  #output = "";

  /** `args`: after `run --config FILE`. */
  static start(
    config: string,
    args: readonly string[] = [],
    options: ProcessOptions = {},
  ): PipelineProcess {
    const { failpoint, clockJumps, preload = [], env = {} } = options;
    const first = [...(clockJumps ? [CLOCK_JUMPS] : []), ...preload];
    const command = [
      ...first.flatMap((each) => ["--import", each]),
      MAIN,
      "run",
      "--config",
      config,
      "--json",
      ...args,
    ];
    const armed = failpoint === undefined ? {} : { TIDEMARK_FAILPOINT: failpoint };
    const child = spawn(process.execPath, command, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, LOG_LEVEL: "info", NO_COLOR: "1", ...armed, ...env },
    });
    return new PipelineProcess(child, options);
  }

  private constructor(child: ChildProcess, { onOutput, isQuiet }: ProcessOptions) {
    this.#child = child;
    // With "close" all that it has said is here.
    this.#exited = once(child, "close");
    const keep = (chunk: Buffer) => {
      onOutput?.(chunk.toString());
      this.#output = (this.#output + chunk.toString()).slice(-20_000);
    };
    child.stdout?.on("data", keep);
    child.stderr?.on("data", keep);
    if (isQuiet) return;
    onTestFailed(() => console.error(`--- run ${child.pid} ---\n${this.#output.slice(-6_000)}`));
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  /** It ended by itself: it must not, whatever happens around it. */
  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Resolves when it is gone, whoever ended it. */
  async ended(): Promise<void> {
    await this.#exited;
  }

  /** The last that it has said. */
  get output(): string {
    return this.#output;
  }

  /** Did it die where it was told to? */
  get diedAtFailpoint(): boolean {
    return this.#child.signalCode === "SIGKILL" && /^failpoint .* reached$/m.test(this.#output);
  }

  /** Its exit code; null while it runs, and when a signal ended it. */
  get exitCode(): number | null {
    return this.#child.exitCode;
  }

  /** The most memory that it has had since it began, in megabytes; 0 where the system does not tell. */
  get peakMegabytes(): number {
    try {
      const status = readFileSync(`/proc/${this.pid}/status`, "utf8");
      return Math.round(Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) / 1024);
    } catch {
      return 0;
    }
  }

  freeze(): void {
    if (!this.hasEnded) this.#child.kill("SIGSTOP");
  }

  thaw(): void {
    if (!this.hasEnded) this.#child.kill("SIGCONT");
  }

  jumpClock(): void {
    if (!this.hasEnded) this.#child.kill("SIGUSR2");
  }

  /** kill -9; resolves when it is gone. */
  async kill(): Promise<void> {
    if (!this.hasEnded) this.#child.kill("SIGKILL");
    await this.#exited;
  }

  /** Asks it to end, as Ctrl-C does; gives its exit code. */
  async stop(): Promise<number | null> {
    if (!this.hasEnded) this.#child.kill("SIGINT");
    await this.#exited;
    return this.#child.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}
