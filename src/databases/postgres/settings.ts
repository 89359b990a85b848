import type { ColumnType } from "../../core/column-type.ts";
import type { CaptureSpec } from "./capture-row.ts";

type Kind = ColumnType["kind"];

/** A session setting that the text of some types depends on. */
interface TextSetting {
  readonly name: string;
  readonly value: string;
  readonly kinds: readonly Kind[];
  /** Values under which the text is the same, those usual first. */
  readonly same: readonly string[];
}

/** Not the time zone: a timestamptz is printed with its distance from UTC, and read by it (inUtc). */
const TEXT_SETTINGS: readonly TextSetting[] = [
  {
    name: "DateStyle",
    value: "ISO, YMD",
    kinds: ["date", "timestamp", "timestamptz"],
    // The order is for input only.
    same: ["ISO, MDY", "ISO, DMY", "ISO, YMD"],
  },
  { name: "IntervalStyle", value: "iso_8601", kinds: ["interval"], same: ["iso_8601"] },
  { name: "bytea_output", value: "hex", kinds: ["bytes"], same: ["hex"] },
  { name: "extra_float_digits", value: "1", kinds: ["float"], same: ["1", "2", "3"] },
];

/** What conditions and native types may depend on, too. */
const OTHER_SETTINGS = [
  "TimeZone TO 'UTC'",
  "lc_monetary TO 'C'",
  // regclass and its like print names.
  "quote_all_identifiers TO off",
];

/**
 * How the text of a condition is read, and what its functions may depend on beside; `when`: only in such a condition. A
 * function that the user names with its schema may depend on any. The sessions that copy have the same.
 */
const CONDITION_SETTINGS: readonly {
  readonly name: string;
  readonly value: string;
  readonly when: RegExp;
}[] = [
  // A backslash in a literal; one that makes it unreadable would end the application's statement.
  { name: "standard_conforming_strings", value: "on", when: /\\/ },
  { name: "backslash_quote", value: "safe_encoding", when: /\\/ },
  { name: "transform_null_equals", value: "off", when: /null/i },
  // '{NULL}'
  { name: "array_nulls", value: "on", when: /null/i },
  { name: "timezone_abbreviations", value: "Default", when: /time|\d\s*[a-z]/i },
  { name: "xmloption", value: "content", when: /xml|document/i },
  { name: "xmlbinary", value: "base64", when: /xml/i },
  { name: "lc_numeric", value: "C", when: /to_/i },
  { name: "lc_time", value: "C", when: /to_/i },
  { name: "default_text_search_config", value: "pg_catalog.simple", when: /ts|@@/i },
];

/** `app.f(…)` or `::app.type`: a column goes by its name alone. */
const NAMED_WITH_SCHEMA = /[\p{L}_"]\s*\.\s*["\p{L}_]/u;

/** All of them. */
export const FOR_CONDITIONS = CONDITION_SETTINGS.map(({ name, value }) => [name, value] as const);

/** Those that the table's conditions may depend on. */
export function conditionSettings({ filters }: CaptureSpec): readonly string[] {
  if (filters.length === 0) return [];
  const text = filters.join("\n");
  const all = NAMED_WITH_SCHEMA.test(text);
  return CONDITION_SETTINGS.filter(({ when }) => all || when.test(text)).map(
    ({ name, value }) => `${name} TO '${value}'`,
  );
}

/**
 * The SET clauses of a table's trigger functions. Each costs every call, and search_path most: the
 * server looks up its schemas anew at both ends of the call. Statement triggers on columns of plain
 * types do without any: whatever their functions name is qualified, operators and types too, what a
 * path could hide (a transition table, a variable) is found before any schema, and to the settings
 * they see themselves (settingsFit, underSettings). Conditions are the user's words, and a native type
 * may print by the path (regclass).
 */
export function functionSettings(spec: CaptureSpec): readonly string[] {
  if (isPlain(spec)) return [];
  const kinds = new Set(spec.columns.map((column) => column.type.kind));
  const all = kinds.has("native") || spec.filters.length > 0;
  return [
    "search_path TO pg_catalog, pg_temp",
    ...TEXT_SETTINGS.filter((setting) => all || setting.kinds.some((kind) => kinds.has(kind))).map(
      ({ name, value }) => `${name} TO '${value}'`,
    ),
    ...(all ? OTHER_SETTINGS : []),
    ...conditionSettings(spec),
  ];
}

function isPlain({ shape, columns, filters }: CaptureSpec): boolean {
  return (
    shape === "statement" &&
    filters.length === 0 &&
    columns.every((column) => column.type.kind !== "native")
  );
}

/**
 * Conditions that hold where the session prints these columns as the log has them. Looking at a setting
 * costs a small write less than setting it and putting it back.
 */
export function settingsFit(spec: CaptureSpec, names: readonly string[]): readonly string[] {
  return neededSettings(spec, names).map(
    ({ name, same }) =>
      `${settingNow(name)} OPERATOR(pg_catalog.=) ANY ('{${same.map((value) => `"${value}"`).join(",")}}')`,
  );
}

/**
 * The statements, with the settings set for the transaction before, and put back right after. An
 * error in between undoes them with the transaction or savepoint that it ends.
 */
export function underSettings(
  spec: CaptureSpec,
  names: readonly string[],
  statements: string,
): string {
  const needed = neededSettings(spec, names);
  if (needed.length === 0) return statements;
  const set = (name: string, value: string) =>
    `tidemark_set := pg_catalog.set_config('${name}', ${value}, true);`;
  return `DECLARE
${needed.map(({ name }, i) => `tidemark_was_${i} pg_catalog.text := ${settingNow(name)};`).join("\n")}
tidemark_set pg_catalog.text;
BEGIN
${needed.map(({ name, value }) => set(name, `'${value}'`)).join("\n")}
${statements}
${needed.map(({ name }, i) => set(name, `tidemark_was_${i}`)).join("\n")}
END;`;
}

/** None where the function has SET clauses. */
function neededSettings(spec: CaptureSpec, names: readonly string[]): readonly TextSetting[] {
  if (!isPlain(spec)) return [];
  const kinds = new Set(
    spec.columns.filter(({ name }) => names.includes(name)).map(({ type }) => type.kind),
  );
  return TEXT_SETTINGS.filter((setting) => setting.kinds.some((kind) => kinds.has(kind)));
}

function settingNow(name: string): string {
  return `pg_catalog.current_setting('${name}')`;
}
