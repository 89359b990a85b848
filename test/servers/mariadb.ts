// A MariaDB server of our own, with the row binlog that later captures may read.
import { execFile } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import mysql from "mysql2/promise";
import { serverAccount, serverFolder } from "./account.ts";
import { startContainer } from "./container.ts";
import { findProgram } from "./programs.ts";
import { launch, type Server } from "./server.ts";

const PASSWORD = "tidemark";

const SETTINGS = {
  "bind-address": "127.0.0.1",
  "character-set-server": "utf8mb4",
  "log-bin": "binlog",
  "binlog-format": "ROW",
  "server-id": "1",
  "local-infile": "1",
  "max-connections": "200",
  "innodb-buffer-pool-size": "256M",
};

// Run at each start: the only way to set a password before the first client can connect. The
// accounts that the installer makes are dropped, since one without a password may be among them.
const FIRST_STATEMENTS = `
DELETE FROM mysql.global_priv WHERE User IN ('', 'root', 'mysql') AND Host <> '%';
FLUSH PRIVILEGES;
CREATE USER IF NOT EXISTS 'root'@'%' IDENTIFIED BY '${PASSWORD}';
GRANT ALL PRIVILEGES ON *.* TO 'root'@'%' WITH GRANT OPTION;
`;

const COMMON = {
  name: "mariadb",
  stopSignal: "SIGTERM",
  url: (port: number) => `mysql://root:${PASSWORD}@127.0.0.1:${port}/mysql`,
  ping,
} as const;

export interface MariadbOptions {
  /** Server settings on top of ours. */
  readonly settings?: Readonly<Record<string, string>>;
}

export async function startMariadb(options: MariadbOptions = {}): Promise<Server> {
  const program = findProgram("mariadbd");
  const installer = findProgram("mariadb-install-db");
  if (!program || !installer) {
    throw new Error("MariaDB is not installed: install the package mariadb-server.");
  }
  const account = serverAccount("mysql");
  const folder = serverFolder("mariadb", account);
  const own = account ?? {};
  const paths = {
    datadir: join(folder, "data"),
    socket: join(folder, "server.sock"),
    "pid-file": join(folder, "server.pid"),
    "init-file": join(folder, "first.sql"),
    tmpdir: folder,
  };
  writeFileSync(paths["init-file"], FIRST_STATEMENTS);
  mkdirSync(join(folder, "home"));
  await promisify(execFile)(
    installer,
    [
      ...["--no-defaults", `--datadir=${paths.datadir}`, "--skip-test-db", "--skip-name-resolve"],
      "--auth-root-authentication-method=normal",
    ],
    { cwd: folder, env: { ...process.env, HOME: folder, TMPDIR: folder }, ...own },
  );
  const settings = Object.entries({ ...SETTINGS, ...paths, ...options.settings });
  return launch({
    ...COMMON,
    folder,
    account,
    disposeSignal: "SIGKILL",
    command: (port) => ({
      command: program,
      args: [
        ...["--no-defaults", "--skip-name-resolve", `--port=${port}`],
        ...settings.map(([name, value]) => `--${name}=${value}`),
      ],
    }),
  });
}

/** The same server in a container, for a machine that has no MariaDB. */
export function startMariadbContainer(): Promise<Server> {
  const { "bind-address": _, ...settings } = SETTINGS;
  return startContainer({
    image: "docker.io/library/mariadb:10.11",
    port: 3306,
    environment: { MARIADB_ROOT_PASSWORD: PASSWORD },
    args: Object.entries(settings).map(([name, value]) => `--${name}=${value}`),
    kind: COMMON,
  });
}

async function ping(url: string): Promise<void> {
  const connection = await mysql.createConnection({ uri: url, connectTimeout: 5_000 });
  try {
    await connection.query("SELECT 1");
  } finally {
    connection.destroy();
  }
}
