// A PostgreSQL server of our own: durable as in production (fsync stays on), ready for logical
// replication, which the benchmark compares with.
import { execFile } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { copyData, serverAccount, serverFolder } from "./account.ts";
import { startContainer } from "./container.ts";
import {
  newestPostgres,
  oldestPostgres,
  readyPackagedPostgres,
  systemPostgres,
} from "./programs.ts";
import { launch, type Server } from "./server.ts";

const PASSWORD = "tidemark";

const SETTINGS = {
  fsync: "on",
  wal_level: "logical",
  max_connections: 200,
  max_prepared_transactions: 20,
  max_wal_senders: 20,
  max_replication_slots: 20,
  shared_buffers: "256MB",
  max_wal_size: "2GB",
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
};

const COMMON = {
  stopSignal: "SIGINT", // "fast": open transactions are rolled back, clients are disconnected
  url: (port: number) => `postgres://postgres:${PASSWORD}@127.0.0.1:${port}/postgres`,
  ping,
} as const;

type Version = "system" | "newest" | "oldest";

/**
 * A collation of a language, as most databases have one: key ranges cut with the byte order of "C" in mind would pass on a
 * server that has only that. The oldest has those of the machine alone, which may be none.
 */
const OF_A_LANGUAGE = ["--locale=C", "--locale-provider=icu", "--icu-locale=en-US"];
const LOCALES: Readonly<Record<Version, readonly string[]>> = {
  system: OF_A_LANGUAGE,
  newest: OF_A_LANGUAGE,
  oldest: ["--locale=C"],
};

const PROGRAMS: Readonly<Record<Version, () => string | undefined>> = {
  system: systemPostgres,
  newest: newestPostgres,
  oldest: oldestPostgres,
};

export interface PostgresOptions {
  /** "system": the newest on this machine (the default). "newest", "oldest": from an npm package. */
  readonly version?: Version;
  /** Server settings on top of ours. */
  readonly settings?: Readonly<Record<string, string | number>>;
  /** The folder of the programs of another installation, which the server's account can reach. */
  readonly programs?: string;
  /** Variables of the server's process. */
  readonly env?: Readonly<Record<string, string>>;
  /** The folder that its own is made in, instead of the usual one: a disk whose power is cut. */
  readonly within?: string;
  /** The folder of a server that is stopped: this one begins with a copy of its data, a cluster of the same history. */
  readonly copyOf?: string;
}

export async function startPostgres(options: PostgresOptions = {}): Promise<Server> {
  const { version = "system" } = options;
  const found = options.programs ?? PROGRAMS[version]();
  if (!found) throw new Error("PostgreSQL is not installed: install the package postgresql.");
  const account = serverAccount("postgres");
  const folder = serverFolder("postgres", account, options.within);
  const bin = version === "system" ? found : readyPackagedPostgres(found, account, folder);
  const data = join(folder, "data");
  if (options.copyOf) await copyData(options.copyOf, folder);
  else await createCluster(bin, folder, data, { account, locale: LOCALES[version] });
  const settings = Object.entries({ ...SETTINGS, ...options.settings });
  return launch({
    ...COMMON,
    ...(options.env && { env: options.env }),
    name: version === "system" ? "postgres" : `postgres-${version}`,
    folder,
    account,
    disposeSignal: "SIGQUIT", // "immediate": no checkpoint, but the backends are ended too
    command: (port) => ({
      command: join(bin, "postgres"),
      args: ["-D", data, "-p", `${port}`, ...settings.flatMap(([k, v]) => ["-c", `${k}=${v}`])],
    }),
  });
}

/** The same server in a container, for a machine that has no PostgreSQL. */
export function startPostgresContainer(): Promise<Server> {
  const { listen_addresses: _, unix_socket_directories: __, ...settings } = SETTINGS;
  return startContainer({
    image: "docker.io/library/postgres:15",
    port: 5432,
    environment: {
      POSTGRES_PASSWORD: PASSWORD,
      POSTGRES_INITDB_ARGS: "--locale=C --locale-provider=icu --icu-locale=en-US",
    },
    args: Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
    kind: { ...COMMON, name: "postgres" },
  });
}

async function createCluster(
  bin: string,
  folder: string,
  data: string,
  {
    account,
    locale,
  }: {
    readonly account: ReturnType<typeof serverAccount>;
    readonly locale: readonly string[];
  },
): Promise<void> {
  const passwordFile = join(folder, "password");
  writeFileSync(passwordFile, PASSWORD);
  await promisify(execFile)(
    join(bin, "initdb"),
    [
      ...["-D", data, "-U", "postgres", "-A", "scram-sha-256", `--pwfile=${passwordFile}`],
      ...["-E", "UTF8", ...locale],
    ],
    { cwd: folder, env: { ...process.env, HOME: folder, TZ: "UTC" }, ...account },
  );
  rmSync(passwordFile);
}

async function ping(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on("error", () => {}); // a server that goes down while it starts is told by the query
  await client.connect();
  try {
    await client.query("SELECT 1");
  } finally {
    await client.end();
  }
}
