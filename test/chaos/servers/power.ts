// The disks of a world whose power is cut, and the servers and files that stand on them.
import {
  type DatabaseKind,
  Disk,
  type Server,
  startMariadb,
  startMysql,
  startNats,
  startPostgres,
} from "../../servers/index.ts";
import type { TestPair } from "../../support/pairs.ts";
import type { Role } from "./crew.ts";
import type { WorldServers } from "./fleet.ts";
import { HealthCheck } from "./health-check.ts";

/** What has power of its own. */
export const PARTS = ["queue", "source", "target"] as const;
export type Part = (typeof PARTS)[number];

/** Each part on a disk of its own, or all on one. */
export const WIRINGS = ["each", "one"] as const;
export type Wiring = (typeof WIRINGS)[number];

export interface PowerOptions {
  readonly pair: TestPair;
  readonly wiring: Wiring;
  /** Of servers, on top of ours. */
  readonly settings?: Partial<Record<Part, Settings>>;
}
export type Settings = Readonly<Record<string, string>>;

export class Power implements AsyncDisposable {
  readonly #servers: ReadonlyMap<Part, Server>;
  readonly #disks: ReadonlyMap<Part, Disk>;
  readonly #check: HealthCheck | null;

  static async supply({ pair, wiring, settings = {} }: PowerOptions): Promise<Power> {
    await using stack = new AsyncDisposableStack();
    const add = () => stack.use(new Disk());
    const shared = wiring === "one" ? add() : null;
    const disks = new Map(PARTS.map((part) => [part, shared ?? add()]));
    const servers = new Map<Part, Server>();
    for (const part of PARTS) {
      const within = disks.get(part)?.folder ?? "";
      const server = await start(pair[part], within, settings[part] ?? {});
      if (server !== null) servers.set(part, stack.use(server));
    }
    const broker = servers.get("queue");
    const check = broker === undefined ? null : stack.use(new HealthCheck(broker));
    return new Power(disks, { servers, check, stack: stack.move() });
  }

  readonly #stack: AsyncDisposableStack;

  private constructor(
    disks: ReadonlyMap<Part, Disk>,
    parts: {
      readonly servers: ReadonlyMap<Part, Server>;
      readonly check: HealthCheck | null;
      readonly stack: AsyncDisposableStack;
    },
  ) {
    this.#disks = disks;
    this.#servers = parts.servers;
    this.#check = parts.check;
    this.#stack = parts.stack;
  }

  get servers(): WorldServers {
    const of = (part: Part) => this.#servers.get(part) ?? null;
    return { source: of("source"), target: of("target"), broker: of("queue") };
  }

  folderOf(part: Part): string {
    return this.#disks.get(part)?.folder ?? "";
  }

  /** Everything that loses power with these. */
  with(parts: readonly Part[]): readonly Part[] {
    const disks = new Set(parts.map((part) => this.#disks.get(part)));
    return PARTS.filter((part) => disks.has(this.#disks.get(part)));
  }

  /** How often a broker did not answer any more, and was started again. */
  get healed(): number {
    return this.#check?.restarts ?? 0;
  }

  /** Before anything is cut or filled; until all is up again. */
  async hold(): Promise<Disposable> {
    await this.#check?.hold();
    return { [Symbol.dispose]: () => this.#check?.letGo() };
  }

  /** Does a process of this role have a file of theirs open? */
  isUsedBy(role: Role, parts: readonly Part[]): boolean {
    const isFile = (part: Part) => parts.includes(part) && !this.#servers.has(part);
    if (isFile("queue")) return true;
    return (role !== "applier" && isFile("source")) || (role !== "relay" && isFile("target"));
  }

  /** How many servers lose power with these. */
  serversOn(parts: readonly Part[]): number {
    return this.#serversOf(parts).length;
  }

  /** Stops the servers in the middle of what they do, and cuts. */
  cut(parts: readonly Part[]): void {
    for (const server of this.#serversOf(parts)) server.freeze();
    Disk.cut(this.#disksOf(parts));
  }

  /** Nobody else has anything open there. */
  async mend(parts: readonly Part[]): Promise<void> {
    for (const server of this.#serversOf(parts)) await server.kill();
    for (const disk of this.#disksOf(parts)) await disk.mend();
  }

  fill(parts: readonly Part[]): void {
    for (const disk of this.#disksOf(parts)) disk.fill();
  }

  free(parts: readonly Part[]): void {
    for (const disk of this.#disksOf(parts)) disk.free();
  }

  /** Those that are down. */
  async start(parts: readonly Part[]): Promise<void> {
    await Promise.all(this.#serversOf(parts).map((server) => server.start()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }

  #serversOf(parts: readonly Part[]): readonly Server[] {
    return parts.flatMap((part) => this.#servers.get(part) ?? []);
  }

  #disksOf(parts: readonly Part[]): readonly Disk[] {
    return [...new Set(parts.flatMap((part) => this.#disks.get(part) ?? []))];
  }
}

// What a power cut must not take is durable only with these: MariaDB does not sync its binary log by itself, and then
// forgets with it what it had acknowledged. Small, since all of it is written to the disk.
const POSTGRES = { max_wal_size: "256MB" };
const FAMILY = {
  "innodb-flush-log-at-trx-commit": "1",
  "sync-binlog": "1",
  "innodb-log-file-size": "32M",
};

// Where no bound is set it is three quarters of what is free when the server starts: nothing, on a disk that is full. And
// 2.9 may go on counting what a stream had reserved that a cut has taken: there is room for some of these.
const NATS = "jetstream: {max_file_store: 8GB}";

async function start(
  kind: DatabaseKind | TestPair["queue"],
  within: string,
  settings: Settings,
): Promise<Server | null> {
  switch (kind) {
    case "sqlite":
    case "embedded":
      return null;
    case "nats":
      return await startNats({ within, config: NATS });
    case "mariadb":
      return await startMariadb({ within, settings: { ...FAMILY, ...settings } });
    case "mysql":
      return await startMysql({ within, settings: { ...FAMILY, ...settings } });
    default:
      return await startPostgres({ within, settings: { ...POSTGRES, ...settings } });
  }
}
