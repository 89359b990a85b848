import { basename } from "node:path";
import type { z } from "zod";
import { TidemarkError } from "../core/errors.ts";
import { nearest } from "../core/suggest.ts";
import type { ConfigFile } from "./config-file.ts";
import { formatPath, type Path } from "./path.ts";
import { configSchema, definitionSchema, knownInDefinition, knownKeys } from "./schema.ts";

type Issue = z.core.$ZodIssue;

/** What other tools call our keys: a better hint than the nearest spelling. */
const OTHER_WORDS: Readonly<Record<string, string>> = {
  source: "from",
  sources: "databases",
  sink: "to",
  sinks: "to",
  target: "to",
  targets: "to",
  destination: "to",
  destinations: "to",
  connections: "databases",
  pipelines: "syncs",
  streams: "syncs",
  exclude: "except",
  include: "columns",
  alias: "as",
  broker: "queue",
};

/** The config with the right shape, or TM-CONFIG-INVALID naming every mistake, each with its place and how to mend it. */
export function validate(file: ConfigFile, value: unknown): z.output<typeof configSchema> {
  if (value === null || value === undefined) {
    throw new TidemarkError("TM-CONFIG-INVALID", `${basename(file.path)} is empty.`, {
      fix: "tidemark init asks and writes one; every key: docs/reference/config.md.",
      details: { file: file.path },
    });
  }
  const parsed = configSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const checked = { file, value, known: knownKeys, whole: "the config" };
  throw invalid(checked, parsed.error.issues, "See docs/reference/config.md for every key.");
}

/**
 * A definition that a program has put together, and no compiler has looked at: a misspelt `where` or `except` would have
 * rows and columns travel that must not. Throws TM-CONFIG-INVALID.
 */
export function validateDefinition(value: unknown): void {
  const parsed = definitionSchema.safeParse(value);
  if (parsed.success) return;
  const { databases } = Object(value) as { databases?: unknown };
  if (!Array.isArray(databases)) {
    throw new TidemarkError("TM-CONFIG-INVALID", "This is not the definition of a pipeline.", {
      fix: "Give what definePair gives, or `definition` of what loadConfig gives; a config is not one yet.",
    });
  }
  const file = { path: "definition", value, where: () => "definition" };
  const checked = { file, value, known: knownInDefinition, whole: "a definition" };
  throw invalid(checked, parsed.error.issues, "See the types PipelineDefinition and TableRule.");
}

/** What is checked, and against which keys. */
interface Checked {
  readonly file: ConfigFile;
  readonly value: unknown;
  readonly known: (path: Path) => readonly string[];
  readonly whole: string;
}

function invalid(checked: Checked, issues: readonly Issue[], fix: string): TidemarkError {
  const all = issues.flatMap((issue) => explain(checked, issue, []));
  // A key that is missing because it was misspelt is one mistake, not two.
  const meant = new Set(all.map((each) => each.meant));
  const mistakes = all.filter((each) => each.meant !== undefined || !meant.has(each.key));
  const first = mistakes.find((each) => each.fix !== undefined);
  return new TidemarkError(
    "TM-CONFIG-INVALID",
    mistakes.map((mistake) => mistake.message).join("\n"),
    {
      fix: first?.fix ?? fix,
      details: { file: checked.file.path, mistakes },
    },
  );
}

interface Mistake {
  /** File, line, key and what is wrong. */
  readonly message: string;
  readonly key: string;
  readonly fix: string | undefined;
  /** The key that an unknown one was most likely meant as. */
  readonly meant?: string;
}

function explain(checked: Checked, issue: Issue, above: Path): Mistake[] {
  const { file, value: root } = checked;
  const path = [...above, ...issue.path];
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => unknownKey(checked, path, key));
    case "invalid_union": {
      if (at(root, path) === undefined) return [missing(file, path)];
      const branch = nearestBranch(issue.errors);
      if (branch !== null) return branch.flatMap((each) => explain(checked, each, path));
      return [mistake(file, path, issue.message)];
    }
    case "invalid_key":
      return [mistake(file, path, `is not a good name: it ${issue.issues[0]?.message ?? ""}`)];
    case "invalid_type": {
      if (at(root, path) === undefined) return [missing(file, path)];
      const own = issue.message.startsWith("must ");
      return [mistake(file, path, own ? issue.message : `must be ${article(issue.expected)}`)];
    }
    default:
      return [mistake(file, path, issue.message)];
  }
}

/** Of a value that may be this or that: the mistakes of the alternative it was most likely meant as. */
function nearestBranch(branches: readonly (readonly Issue[])[]): readonly Issue[] | null {
  const isOfOtherKind = (issue: Issue): boolean =>
    issue.path.length === 0 && (issue.code === "invalid_type" || issue.code === "custom");
  const fitting = branches.filter((issues) => !issues.some(isOfOtherKind));
  return fitting[0] ?? null;
}

function unknownKey({ file, known: knownAt, whole }: Checked, path: Path, key: string): Mistake {
  const known = knownAt(path);
  const other = OTHER_WORDS[key.toLowerCase()];
  const guess = other !== undefined && known.includes(other) ? other : nearest(key, known);
  const full = formatPath([...path, key]);
  return {
    message: `${file.where(path, { key })}: ${full} is not a key of ${whole}.${
      guess === null ? "" : ` Did you mean "${guess}"?`
    }`,
    key: full,
    ...(guess === null ? {} : { meant: formatPath([...path, guess]) }),
    fix:
      guess === null ? `Known here: ${known.join(", ")}.` : `Write "${guess}" instead of "${key}".`,
  };
}

function missing(file: ConfigFile, path: Path): Mistake {
  const key = formatPath(path);
  return {
    message: `${file.where(path)}: ${key} is missing.`,
    key,
    fix: `Add the key "${String(path.at(-1))}".`,
  };
}

function mistake(file: ConfigFile, path: Path, problem: string): Mistake {
  const key = formatPath(path);
  return { message: `${file.where(path)}: ${key} ${problem}.`, key, fix: undefined };
}

function article(kind: string): string {
  if (kind === "record" || kind === "object") return "a group of keys";
  return kind === "array" ? "a list" : `a ${kind}`;
}

function at(root: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (value, step) =>
      typeof value === "object" && value !== null ? Reflect.get(value, step) : undefined,
    root,
  );
}
