import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { makeFolder } from "./make-folder.ts";

let root = "";
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "tidemark-folder-"));
});
afterEach(() => rmSync(root, { recursive: true }));

test("all folders that are missing are made, with their mode; one that stands is left", () => {
  makeFolder(join(root, "a/b/c"), 0o700);
  expect([join(root, "a"), join(root, "a/b/c")].map((path) => statSync(path).mode & 0o777)).toEqual(
    [0o700, 0o700],
  );
  makeFolder(join(root, "a"), 0o755);
  expect(statSync(join(root, "a")).mode & 0o777).toBe(0o700);
});

test("a file in the way is told with its path", () => {
  const file = join(root, "file");
  writeFileSync(file, "");
  expect(() => makeFolder(file)).toThrow(`EEXIST: file already exists, mkdir '${file}'`);
  expect(() => makeFolder(join(file, "a/b"))).toThrow(
    `ENOTDIR: not a directory, mkdir '${join(file, "a")}'`,
  );
});

test.skipIf(process.platform !== "linux")("where none can be made, it ends", () => {
  expect(() => makeFolder("/proc/tidemark/a")).toThrow("mkdir '/proc/tidemark'");
});
