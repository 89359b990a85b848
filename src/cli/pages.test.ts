// The pages keep to what is there: links lead somewhere, commands can be typed, every option and key is told (G8).
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { Command } from "commander";
import { expect, test } from "vitest";
import { knownKeys } from "../config/schema.ts";
import { COMMANDS } from "./program.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const PAGES = globSync(["*.md", "docs/**/*.md"], { cwd: ROOT });
const COMMON = ["--config", "--json", "--quiet", "--log-level", "--help"];
const ENDS = ["--from", "--to", "--table", "--except", "--queue"];

function read(page: string): string {
  return readFileSync(resolve(ROOT, page), "utf8");
}

const withoutFences = (text: string) => text.replaceAll(/^```.*?^```$/gms, "");

/** Anchors as GitHub makes them of headings. */
function anchorsOf(page: string): string[] {
  return [...withoutFences(read(page)).matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
    heading
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1")
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

test.each(PAGES)("%s: every link leads somewhere", (page) => {
  const links = [...withoutFences(read(page)).matchAll(/\]\(([^)\s]+)\)/g)].map(
    ([, to = ""]) => to,
  );
  const broken = links.filter((link) => {
    if (/^https?:/.test(link)) return false;
    const [path = "", anchor] = link.split("#");
    const file = path === "" ? page : resolve(ROOT, dirname(page), path);
    if (!existsSync(resolve(ROOT, file))) return true;
    return anchor !== undefined && !anchorsOf(file).includes(anchor);
  });
  expect(broken).toEqual([]);
});

test("the pages that errors send to are there", () => {
  const sources = globSync("src/**/*.ts", { cwd: ROOT });
  const named = sources.flatMap((file) => read(file).match(/docs\/[\w/-]+\.(md|json)/g) ?? []);
  expect(named.length).toBeGreaterThan(10);
  expect(named.filter((page) => !existsSync(resolve(ROOT, page)))).toEqual([]);
});

/** Options of a verb by their long names; those that `--help` does not show, too. */
function optionsOf(verb: string): { readonly shown: string[]; readonly all: string[] } {
  const command = new Command(verb);
  COMMANDS.find(({ name }) => name === verb)?.configure(command);
  const long = (options: typeof command.options) => options.map((option) => option.long ?? "");
  return {
    shown: long(command.options.filter(({ hidden }) => !hidden)),
    all: [...long(command.options), ...COMMON],
  };
}

test.each(COMMANDS.map(({ name }) => name))("commands.md tells each option of %s", (verb) => {
  const page = read("docs/reference/commands.md");
  const row = page.split("\n").find((line) => line.startsWith(`| \`${verb}\` `)) ?? "";
  const own = optionsOf(verb).shown.filter((option) => !ENDS.includes(option));
  const untold = own.filter((option) => !row.includes(option));
  expect(untold).toEqual([]);
  for (const option of [...COMMON, ...ENDS]) expect(page).toContain(option);
});

/** Commands in fences and between backticks; `…` stands for what is left out. */
function commandsIn(text: string): string[] {
  const fenced = text.match(/^(?:npx )?tidemark .*$/gm) ?? [];
  const inline = [...withoutFences(text).matchAll(/`(tidemark [^`]+)`/g)].map(
    ([, line = ""]) => line,
  );
  return [...fenced, ...inline].map((line) => line.replace(/^npx /, "").replace(/ +[#|].*$/, ""));
}

const TEXTS = [
  ...PAGES.map((page) => [page, read(page)] as const),
  ["the examples of --help", COMMANDS.flatMap(({ examples }) => examples).join("\n")] as const,
];

test.each(TEXTS.filter(([, text]) => commandsIn(text).length > 0))(
  "%s: the commands that it names can be typed",
  (_page, text) => {
    for (const line of commandsIn(text)) {
      const [, verb = "", ...rest] = line.replaceAll(/'[^']*'/g, "QUOTED").split(/\s+/);
      if (verb === "VERB" || verb === "…" || verb.startsWith("-")) continue;
      expect(
        COMMANDS.map(({ name }) => name),
        line,
      ).toContain(verb);
      const { all } = optionsOf(verb);
      for (const word of rest.filter((each) => each.startsWith("--"))) {
        expect(all, line).toContain(word.replace(/=.*$/, ""));
      }
      // A shell takes these for its own.
      expect(rest.join(" "), line).not.toMatch(/[*?<>]/);
    }
  },
);

test.each([
  ["databases", ["databases", "a"]],
  ["queue", ["queue"]],
  ["syncs", ["syncs", 0]],
  ["tables", ["syncs", 0, "tables", 0]],
  ["retention", ["retention"]],
])("config.md tells every key of %s, and no other", (section, path) => {
  const page = read("docs/reference/config.md");
  const [, text = ""] = page.split(new RegExp(`^##+ \`${section}\`$`, "m"));
  const part = text.split(/^##+ /m)[0] ?? "";
  const keys = [...part.matchAll(/^\| `(\w+)` +\|/gm)].map(([, key]) => key);
  if (section === "databases") expect(part).toContain("`{ url: … }`");
  else expect(keys.toSorted()).toEqual([...knownKeys(path)].toSorted());
});
