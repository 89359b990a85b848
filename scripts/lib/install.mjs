// npm packages: installed only when they differ from the lock file.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { projectEnvironment, projectNode, ROOT } from "./project-node.mjs";

const LOCKED = join(ROOT, "package-lock.json");
const INSTALLED = join(ROOT, "node_modules/.package-lock.json");

export function installPackages() {
  if (isInstalled()) return;
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
