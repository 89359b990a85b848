import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { execa } from "execa";

export const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
/** A Node and what it is to run. */
export type Program = readonly [node: string, main: string];

/** What every command prints last with --json. */
export interface Envelope {
  readonly command: string;
  readonly ok: boolean;
  readonly result: Record<string, unknown> | null;
  readonly error: { code: string; message: string; fix: string | null } | null;
}

/** A folder with the real command line in it. */
export class Workplace implements AsyncDisposable {
  readonly folder: string;
  readonly #root: string;
  readonly #program: Program;

  private constructor(root: string, folder: string, program: Program) {
    this.#root = root;
    this.folder = folder;
    this.#program = program;
  }

  /** With a name, in a folder of that name within one of its own. */
  static async make(name = "", program: Program = [process.execPath, MAIN]): Promise<Workplace> {
    const root = await mkdtemp(join(tmpdir(), "tidemark-cli-"));
    const folder = join(root, name);
    await mkdir(folder, { recursive: true });
    return new Workplace(root, folder, program);
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** Starts `tidemark`; never rejects on an exit code. */
  start(args: readonly string[], env: Record<string, string> = {}) {
    const [node, main] = this.#program;
    return execa(node, [main, ...args], {
      cwd: this.folder,
      env: { NO_COLOR: "1", LOG_LEVEL: "warn", ...env },
      reject: false,
      timeout: 50_000,
    });
  }

  /** A line for the shell, in which stdout may go anywhere. Its exit code is that of `tidemark`, not of who reads. */
  shell(line: string) {
    const [node, main] = this.#program;
    const command = `tidemark() { "${node}" "${main}" "$@"; }; ${line}`;
    return execa("bash", ["-o", "pipefail", "-c", command], {
      cwd: this.folder,
      env: { NO_COLOR: "1", LOG_LEVEL: "warn" },
      reject: false,
      timeout: 50_000,
    });
  }

  async json(args: readonly string[], env?: Record<string, string>) {
    const { stdout, exitCode } = await this.start([...args, "--json"], env);
    const lines = stdout.split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);
    return { exitCode, lines, envelope: lines.at(-1) as unknown as Envelope };
  }

  /** Runs SQL on a database file of the workplace, as any other program would. */
  sql(name: string, sql: string): Record<string, unknown>[] {
    const database = new DatabaseSync(this.path(name));
    try {
      database.exec("PRAGMA busy_timeout = 5000");
      if (/^\s*(select|pragma)/i.test(sql)) return database.prepare(sql).all();
      database.exec(sql);
      return [];
    } finally {
      database.close();
    }
  }

  /** Lets nobody else write it until it is disposed of. */
  locked(name: string): Disposable {
    const database = new DatabaseSync(this.path(name));
    database.exec("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE");
    return { [Symbol.dispose]: () => database.close() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#root, { recursive: true, force: true });
  }
}

/** A command that streams JSON lines. */
export class Running {
  readonly #command: ReturnType<Workplace["start"]>;
  readonly #lines: Record<string, unknown>[] = [];
  #wake: () => void = () => {};
  #ended = false;

  constructor(command: ReturnType<Workplace["start"]>) {
    this.#command = command;
    createInterface({ input: command.stdout }).on("line", (line) => {
      this.#lines.push(JSON.parse(line) as Record<string, unknown>);
      this.#wake();
    });
    void command.finally(() => {
      this.#ended = true;
      this.#wake();
    });
  }

  /** The next line that fits; those before it are dropped. Fails when the command ends without one. */
  async until<T>(fits: (line: T) => boolean): Promise<T> {
    for (;;) {
      for (let line = this.#lines.shift(); line !== undefined; line = this.#lines.shift()) {
        if (fits(line as T)) return line as T;
      }
      if (this.#ended) {
        const { exitCode, stdout, stderr } = await this.#command;
        throw new Error(`ended with ${exitCode}: ${stdout.slice(-500)}\n${stderr}`);
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  kill(signal: "SIGHUP"): void {
    this.#command.kill(signal);
  }

  /** Sends the signal and waits for the end. */
  async end(signal: "SIGINT" | "SIGTERM") {
    this.#command.kill(signal);
    const { exitCode, stderr } = await this.#command;
    return { exitCode, stderr };
  }
}
