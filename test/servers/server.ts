// What all test servers have in common: a folder, a port, a process that can be killed and started
// again on the same folder and port, and an end that leaves nothing behind.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Account } from "./account.ts";
import { choosePort } from "./ports.ts";
import {
  endProcess,
  isAlive,
  killTree,
  type ProcessRecord,
  recordOf,
  signalTree,
  spawnServer,
} from "./process.ts";
import { endForGood, type RunningServer, rememberServer, removeFolder } from "./register.ts";

export interface Server extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** The folder with the data and the log; removed by dispose. */
  readonly folder: string;
  readonly pid: number;
  /** What another process needs to end it. */
  readonly record: RunningServer;
  /** SIGKILL to the server and its children. */
  kill(): Promise<void>;
  /** A clean shutdown; the data stay. */
  stop(): Promise<void>;
  /** Up again on the same port and data; returns when it answers. */
  start(): Promise<void>;
  restart(): Promise<void>;
  /** SIGSTOP to the server and its children: connections stay, nothing is answered. */
  freeze(): void;
  thaw(): void;
}

/** What a kind of server adds to the common part. */
export interface ServerKind {
  readonly name: string;
  readonly folder: string;
  readonly account: Account | undefined;
  /** Variables of its process, on top of ours. */
  readonly env?: Readonly<Record<string, string>>;
  readonly stopSignal: NodeJS.Signals;
  /** The fastest end, for data that are removed next. */
  readonly disposeSignal: NodeJS.Signals;
  command(port: number): { command: string; args: string[] };
  url(port: number): string;
  /** Resolves when the server answers a question, rejects while it does not. */
  ping(url: string): Promise<void>;
}

const START_TIMEOUT_MS = 60_000;

export async function launch(kind: ServerKind): Promise<Server> {
  const server = new LocalServer(kind, await choosePort());
  await server.start();
  return server;
}

class LocalServer implements Server {
  readonly port: number;
  readonly #kind: ServerKind;
  #process: ProcessRecord | undefined;

  constructor(kind: ServerKind, port: number) {
    this.#kind = kind;
    this.port = port;
  }

  get url(): string {
    return this.#kind.url(this.port);
  }

  get folder(): string {
    return this.#kind.folder;
  }

  get pid(): number {
    return this.record.pid;
  }

  get record(): RunningServer {
    const { name, folder, disposeSignal } = this.#kind;
    if (!this.#process) throw new Error(`${name} is not running.`);
    return { ...this.#process, name, folder, endSignal: disposeSignal };
  }

  async start(): Promise<void> {
    if (this.#process && isAlive(this.#process)) return;
    const deadline = Date.now() + START_TIMEOUT_MS;
    let lastError: unknown;
    let delay = 20;
    while (Date.now() < deadline) {
      // A killed PostgreSQL may refuse to start until the kernel has let go of its memory: again.
      if (!this.#process || !isAlive(this.#process)) this.#spawn();
      try {
        await this.#kind.ping(this.url);
        return;
      } catch (error) {
        lastError = error;
        await sleep(delay);
        delay = Math.min(delay * 1.5, 500);
      }
    }
    throw new Error(`${this.#kind.name} did not answer in time.\n${this.#tailOfLog()}`, {
      cause: lastError,
    });
  }

  async stop(): Promise<void> {
    if (this.#process) await endProcess(this.#process, this.#kind.stopSignal);
    this.#process = undefined;
  }

  async kill(): Promise<void> {
    if (this.#process) await killTree(this.#process);
    this.#process = undefined;
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  freeze(): void {
    if (this.#process) signalTree(this.#process, "SIGSTOP");
  }

  thaw(): void {
    if (this.#process) signalTree(this.#process, "SIGCONT");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process) await endForGood(this.record);
    else removeFolder(this.folder);
    this.#process = undefined;
  }

  #spawn(): void {
    const { command, args } = this.#kind.command(this.port);
    const { account, folder, env } = this.#kind;
    const child = spawnServer({
      ...{ command, args, cwd: folder, account, logFile: this.#logFile },
      ...(env && { env }),
    });
    child.on("error", () => {}); // told by the missing pid, and by the ping that fails
    if (child.pid === undefined) throw new Error(`Cannot run ${command}.`);
    this.#process = recordOf(child.pid);
    rememberServer(this.record);
  }

  get #logFile(): string {
    return join(this.folder, "server.log");
  }

  #tailOfLog(): string {
    return readFileSync(this.#logFile, "utf8").split("\n").slice(-20).join("\n");
  }
}
