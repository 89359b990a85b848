// Every error code has a page that says what to do (G8).
import { readdir, readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { ERROR_CODES } from "../core/errors.ts";

const FOLDER = new URL("../../docs/errors/", import.meta.url);

test("every error code has a page, and every page a code", async () => {
  const pages = (await readdir(FOLDER)).filter((name) => name !== "README.md");
  expect(pages.toSorted()).toEqual(ERROR_CODES.map((code) => `${code}.md`).toSorted());
});

test.each(ERROR_CODES)("%s: meaning, causes, what to do", async (code) => {
  const page = await readFile(new URL(`${code}.md`, FOLDER), "utf8");
  expect(page).toMatch(new RegExp(`^# ${code}\n\n\\S`));
  expect(page).toMatch(/\n## Usual causes\n\n- \S/);
  expect(page).toMatch(/\n## What to do\n\n\S/);
});
