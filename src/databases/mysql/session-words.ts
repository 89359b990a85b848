import { TidemarkError } from "../../core/errors.ts";
import { formatTable } from "../../core/table.ts";
import type { StoredLayout } from "./layouts.ts";

interface Word {
  readonly what: string;
  readonly setting: string;
  readonly fix: string;
  isIn(filter: string): boolean;
}

/** What a session's setting gives another answer, and the server takes as whoever was first to run a trigger had it. */
const WORDS: readonly Word[] = [
  {
    what: "names of days or months",
    setting: "lc_time_names",
    fix: "compare numbers: DAYOFWEEK(column) = 2, MONTH(column) = 1",
    isIn: (filter) =>
      /\b(?:DAY|MONTH)NAME\s*\(/i.test(filter) ||
      (/\bDATE_FORMAT\s*\(/i.test(filter) && /%[abMW]/.test(filter)),
  },
  {
    what: "WEEK() without its mode",
    setting: "default_week_format",
    fix: "give the mode: WEEK(column, 0)",
    isIn: (filter) => /\bWEEK\s*\((?:[^,()]|\((?:[^()]|\([^()]*\))*\))*\)/i.test(filter),
  },
];

/** Throws TM-CONFIG-INVALID where a row filter says another thing by who writes: rows would come or stay away by that. */
export function refuseSessionWords(layout: Pick<StoredLayout, "table" | "filters">): void {
  const found = WORDS.find(({ isIn }) => layout.filters.some(isIn));
  if (found === undefined) return;
  const table = formatTable(layout.table);
  throw new TidemarkError(
    "TM-CONFIG-INVALID",
    `A row filter of ${table} asks for ${found.what}, which ${found.setting} of each session that writes decides.`,
    { fix: found.fix, details: { table, setting: found.setting } },
  );
}
