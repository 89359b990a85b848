// Every error code has a page that says what to do, and the list of all of them is current (G8).
import { readdir, readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { ERROR_CODES, type ErrorCode, TidemarkError } from "../core/errors.ts";

const FOLDER = new URL("../../docs/errors/", import.meta.url);

const HEAD = `# Errors

A code never changes its meaning; its page names the usual causes and the way out. _Exit_ is the exit code of a
command that it ends. What a running pipeline does: _tries again_, by itself, from where it was; or _stops_ the sync
with the message, while the others go on, until you have mended it and started again.

`;

function readPage(code: ErrorCode): Promise<string> {
  return readFile(new URL(`${code}.md`, FOLDER), "utf8");
}

test("every error code has a page, and every page a code", async () => {
  const pages = (await readdir(FOLDER)).filter((name) => name !== "README.md");
  expect(pages.toSorted()).toEqual(ERROR_CODES.map((code) => `${code}.md`).toSorted());
});

test.each(ERROR_CODES)("%s: meaning, causes, what to do", async (code) => {
  const page = await readPage(code);
  expect(page).toMatch(new RegExp(`^# ${code}\n\n\\S`));
  expect(page).toMatch(/\n## Usual causes\n\n- \S/);
  expect(page).toMatch(/\n## What to do\n\n\S/);
});

test("the list of all codes is current (else: npm run errors:docs)", async () => {
  const rows = await Promise.all(ERROR_CODES.toSorted().map(rowOf));
  const lines = table([["code", "exit", "running", "what it says"], ...rows]);
  await expect(`${HEAD}${lines}`).toMatchFileSnapshot(new URL("README.md", FOLDER).pathname);
});

async function rowOf(code: ErrorCode): Promise<string[]> {
  const { exitCode, retryable } = new TidemarkError(code, "");
  const meaning = (await readPage(code)).split("\n").slice(2).join(" ");
  const sentence = /^.*?[^.]\.(?= )/.exec(meaning)?.[0] ?? "";
  return [`[${code}](${code}.md)`, `${exitCode}`, retryable ? "tries again" : "stops", sentence];
}

/** A table of Markdown, its columns aligned. */
function table(rows: readonly (readonly string[])[]): string {
  const [head = []] = rows;
  const widths = head.map((_, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(" | ")} |\n`;
  const rule = `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |\n`;
  return [line(head), rule, ...rows.slice(1).map(line)].join("");
}
