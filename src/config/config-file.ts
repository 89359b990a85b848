import { existsSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, extname, join, resolve } from "node:path";
import type { Document, Node } from "yaml";
import { TidemarkError } from "../core/errors.ts";
import { defineConfig } from "./define-config.ts";
import type { Path } from "./path.ts";

/** The names looked for in the working directory; each base with each ending. */
const BASES = ["tidemark", "tidemark.config"] as const;
const ENDINGS = [".yaml", ".yml", ".json", ".ts", ".mts", ".js", ".mjs"] as const;

/** A config as it stands in its file, before any check. */
export interface ConfigFile {
  readonly path: string;
  readonly value: unknown;
  /** `tidemark.yaml:12` for a place in it, or only the file name where lines are not known. */
  where(path: Path, options?: { readonly key?: string }): string;
}

/**
 * The config file to use: the one given, or the only one in the folder. Throws TM-CONFIG-NOT-FOUND;
 * TM-CONFIG-INVALID when a folder holds several, because silently taking one hides the others.
 */
export function findConfig(folder: string, given?: string): string {
  if (given !== undefined) {
    const path = resolve(folder, given);
    if (existsSync(path) && statSync(path).isDirectory()) {
      throw new TidemarkError("TM-CONFIG-NOT-FOUND", `${path} is a folder, not a config.`, {
        fix: `Name the file in it, as --config ${join(given, "tidemark.yaml")}`,
      });
    }
    if (existsSync(path)) return path;
    throw new TidemarkError("TM-CONFIG-NOT-FOUND", `There is no file ${path}.`, {
      fix: "Give the path of an existing config with --config, or write one: tidemark init",
    });
  }
  const names = BASES.flatMap((base) => ENDINGS.map((ending) => `${base}${ending}`));
  const found = names.filter((name) => existsSync(join(folder, name)));
  const [first] = found;
  if (first === undefined) {
    throw new TidemarkError("TM-CONFIG-NOT-FOUND", `There is no tidemark.yaml in ${folder}.`, {
      fix: "Write one with: tidemark init   (or name another file with --config, or do without: --from URL --to URL --table 'public.*')",
    });
  }
  if (found.length > 1) {
    throw new TidemarkError(
      "TM-CONFIG-INVALID",
      `There are several configs in ${folder}: ${found.join(", ")}.`,
      { fix: `Keep one, or say which: --config ${first}` },
    );
  }
  return join(folder, first);
}

/** Loads what `import … from "tidemark"` gives inside a config. */
export type Library = () => Promise<Readonly<Record<string, unknown>>>;

/**
 * Reads a config file by its ending. A .ts or .js config gets this very package for
 * `import … from "tidemark"`, so that it also works where the package is installed elsewhere.
 */
export async function readConfig(
  path: string,
  library: Library = async () => ({ defineConfig }),
): Promise<ConfigFile> {
  const ending = extname(path).toLowerCase();
  if ([".yaml", ".yml", ".json"].includes(ending)) {
    return parseConfig(path, await readFile(path, "utf8"));
  }
  if ([".ts", ".mts", ".js", ".mjs"].includes(ending)) return runConfig(path, library);
  throw new TidemarkError(
    "TM-CONFIG-INVALID",
    `${basename(path)} has an ending that says nothing about its format.`,
    { fix: "Name it .yaml, .yml, .json, .ts, .js or .mjs." },
  );
}

/** Parses YAML or JSON (which is YAML too); tells the line of each key. */
export function parseConfig(path: string, text: string): ConfigFile {
  const plain = parseJson(text);
  if (plain === null) return parseYaml(path, text);
  let read: ConfigFile | undefined;
  return {
    path,
    value: plain.value,
    where(place, options) {
      // Only a mistake asks for lines, and only YAML's parser knows them.
      read ??= parseYaml(path, text);
      return read.where(place, options);
    },
  };
}

/** Null of what is no JSON, and of what names a key twice: JSON.parse would take the last in silence. */
function parseJson(text: string): { readonly value: unknown } | null {
  let keys = 0;
  let value: unknown;
  try {
    value = JSON.parse(text, (_key, each: unknown) => {
      if (typeof each === "object" && each !== null && !Array.isArray(each))
        keys += Object.keys(each).length;
      return each;
    });
  } catch {
    return null;
  }
  const written = text.match(/"(?:[^"\\]|\\.)*"\s*:?/g)?.filter((each) => each.endsWith(":"));
  return (written?.length ?? 0) === keys ? { value } : null;
}

/** Large, and a JSON config that is right does without; there is no other way to load it within what is synchronous. */
function loadYaml(): typeof import("yaml") {
  return createRequire(import.meta.url)("yaml");
}

function parseYaml(path: string, text: string): ConfigFile {
  const { LineCounter, parseDocument } = loadYaml();
  const file = basename(path);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const [error] = document.errors;
  if (error !== undefined) {
    const { line, col } = lines.linePos(error.pos[0]);
    // Of several documents it speaks to programmers.
    const problem =
      error.code === "MULTIPLE_DOCS" ? "a second document begins here." : error.message;
    throw new TidemarkError("TM-CONFIG-INVALID", `${file}:${line}:${col}: ${problem}`, {
      fix:
        extname(path).toLowerCase() === ".json"
          ? "Correct the JSON: mind commas, quotes and brackets."
          : "Correct the YAML: mind the indentation, and quote a value that begins with * or holds ': '.",
      details: { file, line, column: col },
    });
  }
  return {
    path,
    value: document.toJS() as unknown,
    where(place, { key } = {}) {
      const offset = offsetOf(document, place, key);
      return offset === null ? file : `${file}:${lines.linePos(offset).line}`;
    },
  };
}

/** Where the value at a path begins (or its key `key`), or the nearest part above that stands in the file. */
function offsetOf(document: Document, path: Path, key: string | undefined): number | null {
  const { isMap, isScalar } = loadYaml();
  for (let length = path.length; length >= 0; length--) {
    const node = document.getIn(path.slice(0, length), true) as Node | undefined;
    if (key !== undefined && length === path.length && isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && item.key.value === key);
      const range = isScalar(pair?.key) ? pair.key.range : undefined;
      if (range) return range[0];
    }
    if (node?.range) return node.range[0];
  }
  return null;
}

async function runConfig(path: string, library: Library): Promise<ConfigFile> {
  // Large, and only these need it.
  const { createJiti } = await import("jiti");
  const jiti = createJiti(import.meta.url, {
    virtualModules: { tidemark: await library() },
    moduleCache: false,
    fsCache: false,
  });
  let value: unknown;
  try {
    const loaded: unknown = await jiti.import(path);
    const exported = await exportedBy(loaded);
    if (exported === undefined) throw exportsNone(basename(path));
    value = typeof exported === "function" ? await exported() : exported;
  } catch (error) {
    if (error instanceof TidemarkError) throw error;
    throw new TidemarkError(
      "TM-CONFIG-INVALID",
      `${basename(path)} cannot be run: ${error instanceof Error ? error.message : String(error)}`,
      {
        cause: error,
        fix: "Correct the program; it must export the config as its default export.",
      },
    );
  }
  return { path, value, where: () => basename(path) };
}

/**
 * The default export. Without one jiti gives as such what a CommonJS module is, which may be meant, or all that is exported
 * by name; Node gives an empty object of a CommonJS module that exports nothing.
 */
async function exportedBy(loaded: unknown): Promise<unknown> {
  if (typeof loaded === "function") return loaded;
  if (typeof loaded !== "object" || loaded === null) return undefined;
  if (!["default", "databases", "syncs"].some((key) => key in loaded)) return undefined;
  // It may be a promise of the config.
  const exported = await (loaded as { readonly default: unknown }).default;
  const isEmpty = typeof exported === "object" && Object.keys(exported ?? {}).length === 0;
  return isEmpty ? undefined : exported;
}

function exportsNone(file: string): TidemarkError {
  return new TidemarkError("TM-CONFIG-INVALID", `${file} exports no config.`, {
    fix: 'Export the config as the default: export default { databases: { shop: "postgres://…", copy: "sqlite:./copy.db" }, syncs: [{ from: "shop", to: "copy", tables: ["public.*"] }] }',
  });
}
