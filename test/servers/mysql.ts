// A MySQL server of our own.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { serverAccount, serverFolder } from "./account.ts";
import { startContainer } from "./container.ts";
import {
  asArguments,
  familyKind,
  launchFamily,
  PASSWORD,
  preparePaths,
  SETTINGS,
  type Settings,
} from "./mysql-family.ts";
import { findMysql, reachableMysql } from "./programs.ts";
import type { Server } from "./server.ts";

const KIND = familyKind("mysql");

// The account that --initialize-insecure makes has no password.
const FIRST_STATEMENTS = `
CREATE USER IF NOT EXISTS 'root'@'%' IDENTIFIED BY '${PASSWORD}';
GRANT ALL PRIVILEGES ON *.* TO 'root'@'%' WITH GRANT OPTION;
DROP USER IF EXISTS 'root'@'localhost';
`;

/** Off: a second port, and 300 MB of counters that no test looks at. */
const LEFT_OUT = { mysqlx: "OFF", "performance-schema": "OFF" } as const;

export interface MysqlOptions {
  /** Server settings on top of ours. */
  readonly settings?: Settings;
  /** The folder that its own is made in, instead of the usual one: a disk whose power is cut. */
  readonly within?: string;
}

export async function startMysql(options: MysqlOptions = {}): Promise<Server> {
  const found = findMysql();
  if (!found) throw new Error("MySQL is not installed.");
  const account = serverAccount("mysql");
  const folder = serverFolder("mysql", account, options.within);
  const { program, basedir } = reachableMysql(found, account, folder);
  const paths = { ...preparePaths(folder, FIRST_STATEMENTS), ...basedir };
  // How names are compared can be said once alone.
  const { "lower-case-table-names": folding } = options.settings ?? {};
  const forGood = folding === undefined ? {} : { "lower-case-table-names": folding };
  await promisify(execFile)(
    program,
    [
      "--no-defaults",
      "--initialize-insecure",
      ...asArguments({ datadir: paths.datadir, ...basedir, ...forGood }),
    ],
    { cwd: folder, env: { ...process.env, HOME: folder, TMPDIR: folder }, ...account },
  );
  const settings = { ...SETTINGS, ...LEFT_OUT, ...paths, ...options.settings };
  return launchFamily({ kind: KIND, program, folder, account, settings });
}

/** The same server in a container, for a machine that has no MySQL. */
export function startMysqlContainer(): Promise<Server> {
  const { "bind-address": _, ...settings } = { ...SETTINGS, ...LEFT_OUT };
  return startContainer({
    image: "docker.io/library/mysql:8.0",
    port: 3306,
    environment: { MYSQL_ROOT_PASSWORD: PASSWORD },
    args: asArguments(settings),
    kind: KIND,
  });
}
