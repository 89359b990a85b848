// The repository brings its own Node (the npm package `node`), because the tools need a newer one
// than many machines have. Everything in scripts/ must itself run on Node 20 and without packages.
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const MODULES = join(ROOT, "node_modules");
const LEAST = [22, 13];

/** The Node to run the project with; installs nothing when there is one already. */
export function projectNode() {
  const found = firstThatRuns(ownNodes());
  if (found) return found;
  if (isNewEnough(process.versions.node)) return process.execPath;
  // npm may have been told not to run install scripts: then the package has no program yet.
  const folder = join(MODULES, "node");
  spawnSync(process.execPath, ["installArchSpecificPackage.js"], { cwd: folder, stdio: "ignore" });
  const installed = firstThatRuns(ownNodes());
  if (installed) return installed;
  throw new Error(
    `Node ${process.versions.node} is too old: install Node ${LEAST.join(".")} or later (https://nodejs.org).`,
  );
}

/** Goes on in this process if its Node will do, else runs the same script under one that does. */
export async function runUnderProjectNode(scriptUrl) {
  if (isNewEnough(process.versions.node, [22, 18])) return; // from here on it reads TypeScript
  endAs(await run(projectNode(), [fileURLToPath(scriptUrl), ...process.argv.slice(2)]));
  await new Promise(() => {}); // the rest of the script is the other process's
}

/** The environment in which `node` and the tools are those of the project. */
export function projectEnvironment(node = projectNode()) {
  const path = [resolve(node, ".."), join(MODULES, ".bin"), process.env.PATH].join(delimiter);
  return { ...process.env, PATH: path };
}

/** Runs a program in front: signals reach it. Resolves to how it ended, for `endAs`. */
export function run(command, args, options = {}) {
  const child = spawn(command, args, { stdio: "inherit", cwd: ROOT, ...options });
  const asked = new Set();
  const handlers = ["SIGINT", "SIGTERM", "SIGHUP"].map((signal) => {
    const handler = () => {
      asked.add(signal);
      // A terminal sends Ctrl-C to every process in front of it, so the child has it already.
      if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
    };
    process.on(signal, handler);
    return [signal, handler];
  });
  const stopWatching = onceNpmIsGone(() => {
    asked.add("SIGTERM");
    child.kill("SIGTERM");
  });
  return new Promise((done, fail) => {
    child.on("error", fail);
    child.on("close", (code, endedBy) => {
      stopWatching();
      for (const [signal, handler] of handlers) process.off(signal, handler);
      const signal = endedBy ?? [...asked].find((each) => code === 128 + NUMBERS[each]);
      done({ code, signal });
    });
  });
}

/**
 * Ends this process as another one ended. One that ended on Ctrl-C makes us end by the signal too,
 * which is what tells npm that the user wanted it, and not to print an error.
 */
export function endAs({ code, signal }) {
  if (signal) process.kill(process.pid, signal);
  else process.exit(code);
}

/**
 * npm passes a signal to its shell, and not every shell passes it on to us: `kill` of npm would
 * leave us running. So the end of the shell counts as being asked to end.
 */
function onceNpmIsGone(react) {
  if (!process.env.npm_lifecycle_event) return () => {};
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    react();
  }, 200);
  return () => clearInterval(timer);
}

const NUMBERS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 };

function ownNodes() {
  const platform = process.platform === "win32" ? "win" : process.platform;
  const program = process.platform === "win32" ? "bin/node.exe" : "bin/node";
  const names = [`node-${platform}-${process.arch}`, `node-bin-${platform}-${process.arch}`];
  const packages = [join(MODULES, "node")];
  for (const name of names) {
    packages.push(join(MODULES, "node/node_modules", name), join(MODULES, name));
  }
  return packages.map((each) => join(each, program));
}

function firstThatRuns(programs) {
  return programs.find((program) => {
    if (!existsSync(program)) return false;
    const { status, stdout } = spawnSync(program, ["--version"], { encoding: "utf8" });
    return status === 0 && isNewEnough(stdout.trim().slice(1));
  });
}

function isNewEnough(version, least = LEAST) {
  const [major, minor] = version.split(".").map(Number);
  return major > least[0] || (major === least[0] && minor >= least[1]);
}
