// npm packages: installed only when they differ from the lock file.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./project-node.mjs";

export function installPackages() {
  if (isInstalled()) return;
  console.log("Installing npm packages …");
  // Errors only: the machine's own Node may be too old for some packages, which run on ours.
  const args = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
  const { status, error } = runNpm(args);
  if (status !== 0) throw error ?? new Error("npm ci failed.");
}

/** Compared by content: times say nothing after a clone, or after npm has rewritten a file. */
function isInstalled() {
  const locked = packagesIn(join(ROOT, "package-lock.json"));
  const installed = packagesIn(join(ROOT, "node_modules/.package-lock.json"));
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

function packagesIn(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8")).packages;
  } catch {
    return undefined;
  }
}

function runNpm(args) {
  const options = { cwd: ROOT, stdio: "inherit" };
  const npm = process.env.npm_execpath; // set by npm: the very npm that called us
  return npm?.endsWith(".js")
    ? spawnSync(process.execPath, [npm, ...args], options)
    : spawnSync("npm", args, { ...options, shell: process.platform === "win32" });
}
