// npm packages: installed only when they differ from the lock file.
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { projectEnvironment, projectNode, ROOT } from "./project-node.mjs";

const LOCKED = join(ROOT, "package-lock.json");
const MODULES = join(ROOT, "node_modules");
const INSTALLED = join(MODULES, ".package-lock.json");
/** Stands while somebody installs, and holds the number of that process. */
const INSTALLING = join(MODULES, ".installing");
const LOOK_AGAIN_MS = 200;

export function installPackages() {
  if (isInstalled() && installer() === null) return;
  takeTurn();
  if (!isInstalled()) install();
  rmSync(INSTALLING);
}

/**
 * Two installs at a time leave things out, and so does one that was cut off: npm then believes what it finds. So one waits for
 * the other, and what was cut off is begun anew.
 */
function takeTurn() {
  for (let isTold = false; ; ) {
    mkdirSync(MODULES, { recursive: true });
    try {
      writeFileSync(INSTALLING, String(process.pid), { flag: "wx" });
      return;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
    const pid = installer();
    if (pid !== null && !runs(pid)) {
      console.log("An earlier installation was cut off: beginning anew …");
      rmSync(MODULES, { recursive: true, force: true });
    } else {
      if (!isTold)
        console.log(
          `npm packages are being installed by another command (process ${pid}): waiting …`,
        );
      isTold = true;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOOK_AGAIN_MS);
    }
  }
}

function installer() {
  try {
    return Number(readFileSync(INSTALLING, "utf8"));
  } catch {
    return null;
  }
}

function runs(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

function install() {
  console.log("Installing npm packages …");
  // What the lock file says, and the file stays as it is. Not `npm ci`: that would remove all first,
  // also from under a demo or a test that runs in another terminal.
  // Errors only: the machine's own Node may be too old for some packages, which run on ours.
  const args = ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"];
  runNpm(process.execPath, args);
  // npm leaves out an optional package, and so some tool's program for this platform, when the
  // machine's Node is too old for it. The project's Node is there by now, and adds it.
  if (leftOut().length > 0) runNpm(projectNode(), args);
}

/** Compared by content: times say nothing after a clone, or after npm has rewritten a file. */
function isInstalled() {
  const locked = packagesIn(LOCKED);
  const installed = packagesIn(INSTALLED);
  if (!locked || !installed) return false;
  const root = locked[""];
  const direct = new Set(
    [root.dependencies, root.devDependencies, root.optionalDependencies]
      .flatMap((each) => Object.keys(each ?? {}))
      .map((name) => `node_modules/${name}`),
  );
  return Object.entries(locked).every(([path, { version, optional }]) => {
    if (path === "") return true;
    // Packages for other platforms are in the lock file but never installed.
    const here = installed[path];
    return here ? here.version === version : optional && !direct.has(path);
  });
}

function leftOut() {
  const installed = packagesIn(INSTALLED) ?? {};
  return Object.entries(packagesIn(LOCKED) ?? {})
    .filter(([path, { os, cpu, libc }]) => {
      const fits = os?.includes(process.platform) && cpu?.includes(process.arch);
      return fits && (!libc || libc.includes(libcHere())) && !installed[path];
    })
    .map(([path]) => path);
}

function libcHere() {
  return process.report?.getReport().header.glibcVersionRuntime ? "glibc" : "musl";
}

function packagesIn(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8")).packages;
  } catch {
    return undefined;
  }
}

/** With the npm that called us, where it did; a Node of its own choice would be the machine's. */
function runNpm(node, args) {
  const cli = process.env.npm_execpath;
  const env = node === process.execPath ? process.env : projectEnvironment(node);
  const options = { cwd: ROOT, stdio: "inherit", env };
  const { status, error } = cli?.endsWith(".js")
    ? spawnSync(node, [cli, ...args], options)
    : spawnSync("npm", args, { ...options, shell: process.platform === "win32" });
  if (status !== 0) throw error ?? new Error(`npm ${args[0]} failed.`);
}
