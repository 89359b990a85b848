// src -> dist: compiled by tsc; files of other kinds (SQL, schemas) are copied beside.
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { projectNode, ROOT } from "./project-node.mjs";

const SOURCE = join(ROOT, "src");
const OUTPUT = join(ROOT, "dist");
const STAMP = join(OUTPUT, ".built");

export function buildIfNeeded() {
  if (!isFresh()) build();
}

export function build() {
  console.log("Building …");
  const startedAt = new Date();
  const tsc = join(ROOT, "node_modules/typescript/bin/tsc");
  const args = [tsc, "-p", join(ROOT, "tsconfig.build.json")];
  const { status, error } = spawnSync(projectNode(), args, { cwd: ROOT, stdio: "inherit" });
  if (status !== 0) throw error ?? new Error("The build failed.");
  copyOtherFiles();
  removeLeftovers();
  // The time of the start, so that a file saved during the build is compiled by the next one.
  writeFileSync(STAMP, `${startedAt.toISOString()}\n`);
}

function isFresh() {
  if (!existsSync(STAMP)) return false;
  const built = statSync(STAMP).mtimeMs;
  const settings = ["tsconfig.json", "tsconfig.build.json", "package-lock.json"];
  const inputs = [...filesIn(SOURCE), ...settings.map((name) => join(ROOT, name))];
  return inputs.every((file) => statSync(file).mtimeMs <= built);
}

function copyOtherFiles() {
  for (const file of filesIn(SOURCE)) {
    if (/\.(ts|md)$/.test(file)) continue;
    const target = join(OUTPUT, relative(SOURCE, file));
    cpSync(file, target);
  }
}

/** What was built from a source file that is gone would still be imported, and published. */
function removeLeftovers() {
  for (const file of filesIn(OUTPUT)) {
    const name = relative(OUTPUT, file);
    const source = name.replace(/(\.d\.ts|\.js)(\.map)?$/, ".ts");
    const isOurs =
      name.startsWith(".") || [name, source].some((each) => existsSync(join(SOURCE, each)));
    if (!isOurs) rmSync(file);
  }
}

function filesIn(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((each) => each.isFile())
    .map((each) => join(each.parentPath ?? dirname(each.path), each.name));
}
