// A MariaDB server of our own.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { copyData, serverAccount, serverFolder } from "./account.ts";
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
import { findProgram } from "./programs.ts";
import type { Server } from "./server.ts";

const KIND = familyKind("mariadb");

// Run at each start: the only way to set a password before the first client can connect. The
// accounts that the installer makes are dropped, since one without a password may be among them.
const FIRST_STATEMENTS = `
DELETE FROM mysql.global_priv WHERE User IN ('', 'root', 'mysql') AND Host <> '%';
FLUSH PRIVILEGES;
CREATE USER IF NOT EXISTS 'root'@'%' IDENTIFIED BY '${PASSWORD}';
GRANT ALL PRIVILEGES ON *.* TO 'root'@'%' WITH GRANT OPTION;
`;

export interface MariadbOptions {
  /** Server settings on top of ours. */
  readonly settings?: Settings;
  /** The folder that its own is made in, instead of the usual one: a disk whose power is cut. */
  readonly within?: string;
  /** The folder of a server that is stopped: this one begins with a copy of its data. */
  readonly copyOf?: string;
}

export async function startMariadb(options: MariadbOptions = {}): Promise<Server> {
  const program = findProgram("mariadbd");
  const installer = findProgram("mariadb-install-db");
  if (!program || !installer) {
    throw new Error("MariaDB is not installed: install the package mariadb-server.");
  }
  const account = serverAccount("mysql");
  const folder = serverFolder("mariadb", account, options.within);
  const paths = preparePaths(folder, FIRST_STATEMENTS);
  if (options.copyOf) await copyData(options.copyOf, folder);
  else await install(installer, folder, { datadir: paths.datadir, account });
  const settings = { ...SETTINGS, ...paths, ...options.settings };
  return launchFamily({ kind: KIND, program, folder, account, settings });
}

async function install(
  installer: string,
  folder: string,
  {
    datadir,
    account,
  }: { readonly datadir: string; readonly account: ReturnType<typeof serverAccount> },
): Promise<void> {
  await promisify(execFile)(
    installer,
    [
      ...["--no-defaults", `--datadir=${datadir}`, "--skip-test-db", "--skip-name-resolve"],
      "--auth-root-authentication-method=normal",
    ],
    { cwd: folder, env: { ...process.env, HOME: folder, TMPDIR: folder }, ...account },
  );
}

/** The same server in a container, for a machine that has no MariaDB. */
export function startMariadbContainer(): Promise<Server> {
  const { "bind-address": _, ...settings } = SETTINGS;
  return startContainer({
    image: "docker.io/library/mariadb:10.11",
    port: 3306,
    environment: { MARIADB_ROOT_PASSWORD: PASSWORD },
    args: asArguments(settings),
    kind: KIND,
  });
}
