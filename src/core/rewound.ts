import { TidemarkError } from "./errors.ts";

/** The source is in an older state than what was made of it; `message` says how that shows. */
export function rewound(
  message: string,
  details: Readonly<Record<string, unknown>> = {},
): TidemarkError {
  return new TidemarkError("TM-SOURCE-REWOUND", message, {
    fix: "Source and targets must begin anew: see docs/errors/TM-SOURCE-REWOUND.md.",
    details,
  });
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
