// What a MariaDB and a MySQL server of our own have in common.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import mysql from "mysql2/promise";
import type { Account } from "./account.ts";
import { launch, type Server, type ServerKind } from "./server.ts";

export const PASSWORD = "tidemark";

/** With the row binlog that later captures may read; what a whole run writes to it would fill a memory. */
export const SETTINGS = {
  "bind-address": "127.0.0.1",
  "character-set-server": "utf8mb4",
  "log-bin": "binlog",
  "binlog-format": "ROW",
  "max-binlog-size": "64M",
  "binlog-expire-logs-seconds": "120",
  "server-id": "1",
  "local-infile": "1",
  "max-connections": "200",
  "innodb-buffer-pool-size": "256M",
} as const;

export type Settings = Readonly<Record<string, string>>;

export function familyKind<Name extends string>(name: Name) {
  return {
    name,
    stopSignal: "SIGTERM",
    url: (port: number) => `mysql://root:${PASSWORD}@127.0.0.1:${port}/mysql`,
    ping,
  } as const satisfies Partial<ServerKind>;
}

/** An empty folder of a server, with the statements that it runs at each start, one a line. */
export function preparePaths(folder: string, firstStatements: string) {
  const paths = {
    datadir: join(folder, "data"),
    socket: join(folder, "server.sock"),
    "pid-file": join(folder, "server.pid"),
    "init-file": join(folder, "first.sql"),
    tmpdir: folder,
  };
  writeFileSync(paths["init-file"], firstStatements);
  mkdirSync(join(folder, "home"));
  return paths;
}

export interface FamilyServer {
  readonly kind: ReturnType<typeof familyKind>;
  readonly program: string;
  readonly folder: string;
  readonly account: Account | undefined;
  readonly settings: Settings;
}

export function launchFamily(server: FamilyServer): Promise<Server> {
  const { kind, program, folder, account, settings } = server;
  return launch({
    ...kind,
    folder,
    account,
    disposeSignal: "SIGKILL",
    command: (port) => ({
      command: program,
      args: ["--no-defaults", "--skip-name-resolve", `--port=${port}`, ...asArguments(settings)],
    }),
  });
}

export function asArguments(settings: Settings): string[] {
  return Object.entries(settings).map(([name, value]) => `--${name}=${value}`);
}

async function ping(url: string): Promise<void> {
  const connection = await mysql.createConnection({ uri: url, connectTimeout: 5_000 });
  try {
    await connection.query("SELECT 1");
  } finally {
    connection.destroy();
  }
}
