import type { StoredLayout } from "./layouts.ts";
import type { TableFacts } from "./table-facts.ts";

/** By column: how a generated one is computed; of one that it is computed from, what it is. */
export type Computed = Readonly<Record<string, string>>;

/** Of all from which the server computes the generated columns of these filters, as the table stands now. */
export function computedOf(
  layout: Pick<StoredLayout, "columns" | "filterColumns">,
  { columns }: TableFacts,
): Computed {
  const expressions = new Map(
    columns.flatMap(({ name, expression }) =>
      expression === null ? [] : [[name, foldPrint(expression)] as const],
    ),
  );
  if (expressions.size === 0) return {};
  const reached = new Set(layout.filterColumns);
  // Those that are added are visited as well.
  for (const name of reached) {
    const names = namesIn(expressions.get(name) ?? "");
    for (const each of columns) {
      if (names.has(each.name.toLowerCase())) reached.add(each.name);
    }
  }
  // What these are is in the signature.
  const signed = new Set([...layout.columns.map(({ name }) => name), ...layout.filterColumns]);
  const computed: Record<string, string> = {};
  for (const { name, columnType, collation } of columns.filter((each) => reached.has(each.name))) {
    const what = signed.has(name) ? [] : [columnType, collation];
    const told = [...what, expressions.get(name)].filter((each) => each != null);
    if (told.length > 0) computed[name] = told.join(" ");
  }
  return computed;
}

/** What a name is when nothing quotes it, and no function. */
const BARE = String.raw`[\p{L}\p{N}_$]+(?![\p{L}\p{N}_$]|\s*\()`;
const NAMES = new RegExp(`\`((?:[^\`]|\`\`)+)\`|${BARE}`, "gu");

/**
 * All that may be one. MySQL keeps the names as the session that made the table would print them: bare ones where its
 * sql_quote_show_create is off. A word too many only has one more column watched.
 */
function namesIn(expression: string): Set<string> {
  const found = expression.matchAll(NAMES);
  const names = [...found].map(([word, quoted]) => quoted?.replaceAll("``", "`") ?? word);
  return new Set(names.map((name) => name.toLowerCase()));
}

/**
 * MySQL keeps an expression as the session prints it that alters the table last, whatever it alters: names in quotes or bare,
 * in the case that was typed or the column's, texts with one character set before them or another.
 */
export function foldPrint(expression: string): string {
  return asSql(expression).replace(PARTS, (part) =>
    part.startsWith("'")
      ? part
      : part.toLowerCase().replace(QUOTED_NEEDLESSLY, "$1").replace(CHARACTER_SET, ""),
  );
}

/** What the server would compute by this. */
export function asSql(expression: string): string {
  return ESCAPED.test(expression) ? expression.replace(/\\(.)/gs, "$1") : expression;
}

/** As MySQL tells it: where no text has begun, a backslash can be nothing else. */
const ESCAPED = /^[^']*\\'/;
const PARTS = /'(?:[^'\\]|\\.|'')*'|`(?:[^`]|``)+`|[^'`]+/gs;
const QUOTED_NEEDLESSLY = /^`([\p{L}\p{N}_$]+)`$/u;
/** Before a text. It is printed as what it says in that set. */
const CHARACTER_SET = /(?<![\p{L}\p{N}_$])_(?:utf8(?:mb[34])?|latin1|ascii)$/u;
