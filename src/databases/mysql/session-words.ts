// What a condition says by settings of the session that writes: a trigger judges it by those, the copy by ours.
import { TidemarkError } from "../../core/errors.ts";
import { formatTable } from "../../core/table.ts";
import { type Call, callsIn } from "./calls.ts";
import { filterCheckOver } from "./capture-sql.ts";
import { asSql } from "./computed.ts";
import type { Session } from "./connection.ts";
import { errorNumber } from "./errors.ts";
import { quoteName } from "./identifiers.ts";
import { namedIn, type StoredLayout } from "./layouts.ts";
import type { TableFacts } from "./table-facts.ts";

interface Word {
  readonly what: string;
  readonly setting: string;
  readonly fix: string;
  isIn(call: Call): boolean;
}

/** What a session's setting gives another answer, and the server takes as whoever was first to run a trigger had it. */
const WORDS: readonly Word[] = [
  {
    what: "names of days or months",
    setting: "lc_time_names",
    fix: "compare numbers: DAYOFWEEK(column) = 2, MONTH(column) = 1",
    isIn: ({ name, args: [, format = "", ...others] }) => {
      if (name === "dayname" || name === "monthname") return true;
      // MariaDB takes the language as well.
      if (others.length > 0) return false;
      if (name === "to_char") return /DAY|DY|MON/i.test(format.replace(/DD/gi, ""));
      return name === "date_format" && /%[abMW]/.test(format.replaceAll("%%", ""));
    },
  },
  {
    what: "a WEEK without its mode",
    setting: "default_week_format",
    fix: "give the mode: WEEK(column, 0)",
    isIn: ({ name, args }) =>
      (name === "week" && args.length === 1) ||
      (name === "extract" && /^\s*WEEK\s+FROM\b/i.test(args[0] ?? "")),
  },
  {
    what: "FROM_UNIXTIME, or UNIX_TIMESTAMP of what is no TIMESTAMP",
    setting: "time_zone",
    fix: "compare seconds with numbers, column >= 1704067200, and dates with dates, column >= '2024-01-01'",
    // What is the same everywhere is gone by now.
    isIn: ({ name, args: [of = ""] }) =>
      name === "from_unixtime" || (name === "unix_timestamp" && of.trim() !== ""),
  },
];

/** Throws TM-CONFIG-INVALID where a row filter says another thing by who writes: rows would come or stay away by that. */
export async function refuseSessionWords(
  session: Session,
  layout: StoredLayout,
  facts: TableFacts,
): Promise<void> {
  const moments = facts.columns
    .filter(({ dataType }) => dataType === "timestamp")
    .map(({ name }) => name);
  const judged = (await judgedTexts(session, layout, facts)).map(({ text, column }) => ({
    text: moments.reduce(withoutMoment, text),
    column,
  }));
  const texts = judged.map(({ text }) => text);
  if (await areNamed(session, layout, facts, { texts, names: moments })) {
    throw zoned(layout, moments);
  }
  for (const { text, column } of judged) {
    const calls = callsIn(text);
    const found = WORDS.find(({ isIn }) => calls.some(isIn));
    if (found === undefined) continue;
    const table = formatTable(layout.table);
    const by = column === null ? "" : ` (column ${column} is computed so)`;
    throw new TidemarkError(
      "TM-CONFIG-INVALID",
      `A row filter of ${table} asks for ${found.what}${by}, which ${found.setting} of each session that writes decides.`,
      { fix: found.fix, details: { table, setting: found.setting } },
    );
  }
}

interface Judged {
  readonly text: string;
  /** Null for a filter. */
  readonly column: string | null;
}

/** The filters, and what the virtual columns are computed by that they name. What is stored is the same for everyone. */
async function judgedTexts(
  session: Session,
  layout: StoredLayout,
  facts: TableFacts,
): Promise<readonly Judged[]> {
  const virtual = new Map(
    facts.columns.flatMap(({ name, virtual, expression }) =>
      virtual && expression !== null ? [[name, asSql(expression)] as const] : [],
    ),
  );
  const judged: Judged[] = layout.filters.map((text) => ({ text, column: null }));
  // Those that are added are looked through as well.
  for (const { text } of judged) {
    for (const [name, expression] of virtual) {
      if (!(await areNamed(session, layout, facts, { texts: [text], names: [name] }))) continue;
      virtual.delete(name);
      judged.push({ text: expression, column: name });
    }
  }
  return judged;
}

/** A TIMESTAMP reads otherwise in the time zone of each session; that of the copy is UTC. */
function zoned(layout: StoredLayout, columns: readonly string[]): TidemarkError {
  const table = formatTable(layout.table);
  return new TidemarkError(
    "TM-CONFIG-INVALID",
    `A row filter of ${table} compares a TIMESTAMP (${columns.join(", ")}), which reads otherwise in the time zone of each session that writes.`,
    {
      fix: `compare the moment, in seconds since 1970: UNIX_TIMESTAMP(${quoteName(columns[0] ?? "")}) >= 1704067200 for 2024-01-01 UTC`,
      details: { table, columns },
    },
  );
}

/** The server tells by not finding one. */
async function areNamed(
  session: Session,
  layout: StoredLayout,
  facts: TableFacts,
  { texts, names }: { readonly texts: readonly string[]; readonly names: readonly string[] },
): Promise<boolean> {
  const named = namedIn(texts, facts);
  const others = named.filter((name) => !names.includes(name));
  if (others.length === named.length) return false;
  try {
    await session.rows(filterCheckOver(layout, texts, others));
    return false;
  } catch (error) {
    if (errorNumber(error) !== UNKNOWN_COLUMN) throw error;
    return true;
  }
}

/** Without what is the same in every time zone: the moment itself, and whether there is one. */
function withoutMoment(filter: string, column: string): string {
  const escaped = (text: string) => text.replace(/[^\w\s]/g, "\\$&");
  const name = `(?<![\\w$\`])(?:[\\w$\`]+\\s*\\.\\s*)?(?:${escaped(quoteName(column))}|${escaped(column)})`;
  return filter
    .replace(new RegExp(`\\bUNIX_TIMESTAMP\\s*\\(\\s*${name}\\s*\\)`, "gi"), "1")
    .replace(new RegExp(`${name}\\s+IS\\s+(?:NOT\\s+)?NULL\\b`, "gi"), "TRUE");
}

const UNKNOWN_COLUMN = 1054;
