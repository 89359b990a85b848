import { z } from "zod";
import { TidemarkError } from "../core/errors.ts";
import { nearest } from "../core/suggest.ts";

// What the options of the library's functions are made of.
export const aText = z.string("must be a text");
/** Infinity, too: without end. */
export const milliseconds = z.custom(
  (value) => typeof value === "number" && !Number.isNaN(value),
  "must be a number of milliseconds",
);
export const aFunction = z.custom((value) => typeof value === "function", "must be a function");
export const trueOrFalse = z.boolean("must be true or false");
export const names = z.array(z.string("must be a list of names"), "must be a list of names");
export const aSignal = z.instanceof(AbortSignal, {
  error: "must be an AbortSignal (of an AbortController: its `signal`)",
});

const LOGS = ["debug", "info", "warn", "error", "child"];
export const aLogger = z.custom(
  (value) => LOGS.every((name) => typeof Object(value)[name] === "function"),
  `must be a logger with ${LOGS.join(", ")}, such as pino's or \`silentLogger\``,
);

/**
 * Options as a program gives them, where no compiler has looked. Throws TM-USAGE for what is misspelt, missing or of
 * another kind: a wait without its bound, or a process that does nothing, would not tell.
 */
export function checkOptions(what: string, given: unknown, schema: z.ZodObject): void {
  const [issue] = schema.safeParse(given).error?.issues ?? [];
  if (issue === undefined) return;
  const known = Object.keys(schema.shape);
  const [option] = issue.path;
  if (issue.code === "unrecognized_keys") {
    const [name = ""] = issue.keys;
    const guess = nearest(name, known);
    throw new TidemarkError("TM-USAGE", `${what} has no option "${name}".`, {
      fix: guess === null ? `Known: ${known.join(", ")}.` : `Did you mean "${guess}"?`,
    });
  }
  throw new TidemarkError(
    "TM-USAGE",
    option === undefined
      ? `${what} takes its options as an object.`
      : `${what}: \`${String(option)}\` ${issue.message}.`,
    { fix: `Known: ${known.join(", ")}.` },
  );
}
