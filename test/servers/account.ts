// PostgreSQL, MariaDB and MySQL refuse to run as root. When the tests are run by root (a container, CI),
// the servers run as an unprivileged account that exists already; otherwise as whoever runs the tests.
import { execFile } from "node:child_process";
import { accessSync, chownSync, constants, mkdtempSync, readFileSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { rememberFolder } from "./register.ts";

export interface Account {
  readonly uid: number;
  readonly gid: number;
}

export function serverAccount(...preferred: string[]): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const passwd = readFileSync("/etc/passwd", "utf8").split("\n");
  for (const name of [...preferred, "nobody"]) {
    const fields = passwd.find((line) => line.startsWith(`${name}:`))?.split(":");
    if (fields) return { uid: Number(fields[2]), gid: Number(fields[3]) };
  }
  throw new Error("No unprivileged account to run the test servers as: add a user named nobody.");
}

/**
 * A new empty folder that the account owns and can reach, within another one if that is named. Kept short: sockets
 * allow 107 bytes.
 */
export function serverFolder(name: string, account: Account | undefined, within?: string): string {
  const usual = [process.env.TIDEMARK_TEST_DIR, tmpdir(), "/var/tmp", "/tmp"];
  const roots = within === undefined ? usual : [within];
  const root = roots.find((each) => each && isUsable(each) && isReachable(each, account));
  if (!root) throw new Error("No temporary folder for the test servers: set TIDEMARK_TEST_DIR.");
  const folder = mkdtempSync(join(root, `tidemark-${name}-`));
  rememberFolder(folder);
  if (account) chownSync(folder, account.uid, account.gid);
  return folder;
}

/** Copies the data of a server that is stopped into the folder of another one, as the account owns them. */
export async function copyData(from: string, to: string): Promise<void> {
  await promisify(execFile)("cp", ["-a", join(from, "data"), join(to, "data")]);
}

/** Whether the account can walk to the path: a checkout under /root cannot be entered by others. */
export function isReachable(path: string, account: Account | undefined): boolean {
  if (!account) return true;
  for (let folder = path; ; folder = dirname(folder)) {
    const stat = statSync(folder);
    const shift = stat.uid === account.uid ? 6 : stat.gid === account.gid ? 3 : 0;
    if (((stat.mode >> shift) & 1) === 0) return false;
    if (dirname(folder) === folder) return true;
  }
}

function isUsable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
