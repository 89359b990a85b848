// A PgBouncer of our own before a PostgreSQL server.
import { chownSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { serverAccount, serverFolder } from "./account.ts";
import { findProgram } from "./programs.ts";
import { launch, type Server } from "./server.ts";

export interface PgbouncerOptions {
  /** Of the server that it stands before. */
  readonly url: string;
  readonly settings: Readonly<Record<string, string | number>>;
}

/** Why there is none; undefined where there is one. */
export function whyNoPgbouncer(): string | undefined {
  return findProgram("pgbouncer") === undefined
    ? "PgBouncer is not installed (Debian: pgbouncer)"
    : undefined;
}

export async function startPgbouncer(options: PgbouncerOptions): Promise<Server> {
  const program = findProgram("pgbouncer");
  if (!program) throw new Error("PgBouncer is not installed: install the package pgbouncer.");
  const { hostname, port: behind, username, password, pathname } = new URL(options.url);
  const account = serverAccount("postgres");
  const folder = serverFolder("pgbouncer", account);
  const users = join(folder, "users");
  writeFileSync(users, `"${username}" "${password}"\n`);
  const configOf = (port: number) => {
    const config = join(folder, "pgbouncer.ini");
    const settings = {
      listen_addr: "127.0.0.1",
      listen_port: port,
      unix_socket_dir: "",
      auth_type: "plain",
      auth_file: users,
      ...options.settings,
    };
    const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`);
    const databases = `* = host=${hostname} port=${behind}`;
    writeFileSync(config, ["[databases]", databases, "[pgbouncer]", ...lines, ""].join("\n"));
    if (account) for (const file of [config, users]) chownSync(file, account.uid, account.gid);
    return config;
  };
  return launch({
    name: "pgbouncer",
    folder,
    account,
    stopSignal: "SIGINT",
    disposeSignal: "SIGTERM",
    url: (port) => `postgres://${username}:${password}@127.0.0.1:${port}${pathname}`,
    ping,
    command: (port) => ({ command: program, args: [configOf(port)] }),
  });
}

async function ping(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on("error", () => {});
  try {
    await client.connect();
    await client.query("SELECT 1");
  } finally {
    await client.end().catch(() => {});
  }
}
