import type { Finding } from "./database.ts";
import { TidemarkError } from "./errors.ts";

/** The source is in an older state than what was made of it; `message` says how that shows. */
export function rewound(
  message: string,
  details: Readonly<Record<string, unknown>> = {},
  fix = BEGIN_ANEW,
): TidemarkError {
  return new TidemarkError("TM-SOURCE-REWOUND", message, { fix, details });
}

const BEGIN_ANEW = "Source and targets must begin anew: see docs/errors/TM-SOURCE-REWOUND.md.";

/** Of a log that was begun these tables are not there: what they held is unknown, and to make them anew would hide that. */
export function logLost(database: string, tables: readonly string[]): TidemarkError {
  return rewound(
    `Of the change log in database "${database}" ${tables.join(", ")} ${tables.length === 1 ? "is" : "are"} gone: dropped, or left out of a dump. Until tidemark uninstall, writes of the application to captured tables may fail.`,
    { tables },
  );
}

/** There is no log any more for the triggers that stand on these tables. */
export function triggersWithoutLog(tables: readonly string[]): Finding {
  return {
    check: "log-lost",
    severity: "error",
    message: `The triggers that log ${tables.join(", ")} stand, and the change log is gone: every write to ${tables.length === 1 ? "it" : "them"} fails.`,
    fix: "tidemark uninstall, which takes the triggers away; or tidemark run, which begins a new log.",
  };
}

/** A target has a batch that the source does not have. */
export function aheadOf(
  source: string,
  { sync, batch }: { readonly sync: string; readonly batch: number },
): TidemarkError {
  return rewound(
    `${sync} has applied a batch ${batch} of ${source} that the source does not have: it was restored to an earlier time.`,
    { sync, batch },
  );
}
