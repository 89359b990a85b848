// The oldest Node that users may have, for the tests that run the command line with it: in a folder of its own, since
// the project's tools need a newer one.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./project-node.mjs";

const VERSION = "22.13.0"; // as LEAST_NODE in src/cli/main.ts
const STATE = join(ROOT, ".servers");
const INSTALLED = join(STATE, `node-${VERSION}`);
/** The tests look for it there (test/cli/programs.ts). */
const PROGRAM = "node_modules/node/bin/node";
const INSTALL_TIMEOUT_MS = 300_000;

/** Not an error when it fails: it is told, and the tests that need it are skipped; under CI they fail. */
export function installLeastNode() {
  if (existsSync(join(INSTALLED, PROGRAM))) return;
  console.log(`Installing Node ${VERSION} for the tests …`);
  mkdirSync(STATE, { recursive: true });
  const folder = mkdtempSync(join(STATE, "node-"));
  try {
    const quiet = ["--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"];
    const { status, stderr, error } = spawnSync(
      "npm",
      ["install", `--prefix=${folder}`, ...quiet, `node@${VERSION}`],
      {
        cwd: folder,
        stdio: ["ignore", "ignore", "pipe"],
        encoding: "utf8",
        timeout: INSTALL_TIMEOUT_MS,
      },
    );
    if (status !== 0) throw new Error(`npm failed. ${error?.message ?? stderr}`);
    // npm may have been told not to run install scripts: then the package has no program yet.
    if (!existsSync(join(folder, PROGRAM))) {
      const cwd = join(folder, "node_modules/node");
      spawnSync(process.execPath, ["installArchSpecificPackage.js"], { cwd, stdio: "ignore" });
    }
    if (!existsSync(join(folder, PROGRAM))) throw new Error("The package brought no program.");
    // Whole or not at all: another run may look for it at this moment.
    rmSync(INSTALLED, { recursive: true, force: true });
    renameSync(folder, INSTALLED);
  } catch (error) {
    console.log(`Node ${VERSION} is left out of the tests: ${error.message}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
