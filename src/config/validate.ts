import type { z } from "zod";
import { TidemarkError } from "../core/errors.ts";
import { nearest } from "../core/suggest.ts";
import type { ConfigFile } from "./config-file.ts";
import { formatPath, type Path } from "./path.ts";
import { configSchema, knownKeys } from "./schema.ts";

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
  const parsed = configSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const all = parsed.error.issues.flatMap((issue) => explain(file, value, issue, []));
  // A key that is missing because it was misspelt is one mistake, not two.
  const meant = new Set(all.map((each) => each.meant));
  const mistakes = all.filter((each) => each.meant !== undefined || !meant.has(each.key));
  const first = mistakes.find((each) => each.fix !== undefined);
  throw new TidemarkError(
    "TM-CONFIG-INVALID",
    mistakes.map((mistake) => mistake.message).join("\n"),
    {
      fix: first?.fix ?? "See docs/reference/config.md for every key.",
      details: { file: file.path, mistakes },
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

function explain(file: ConfigFile, root: unknown, issue: Issue, above: Path): Mistake[] {
  const path = [...above, ...issue.path];
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => unknownKey(file, path, key));
    case "invalid_union": {
      if (at(root, path) === undefined) return [missing(file, path)];
      const branch = nearestBranch(issue.errors);
      if (branch !== null) return branch.flatMap((each) => explain(file, root, each, path));
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

function unknownKey(file: ConfigFile, path: Path, key: string): Mistake {
  const known = knownKeys(path);
  const other = OTHER_WORDS[key.toLowerCase()];
  const guess = other !== undefined && known.includes(other) ? other : nearest(key, known);
  const full = formatPath([...path, key]);
  return {
    message: `${file.where(path, { key })}: ${full} is not a key of the config.${
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
