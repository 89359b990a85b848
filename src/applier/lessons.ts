import { TidemarkError } from "../core/errors.ts";
import { FalseStarts } from "./false-starts.ts";

/**
 * What a session of the applier learns for the next one, which begins again where the last commit was and would meet
 * the same. It ends with an error that says what: {@link appliedAgain}, {@link askedAsText}, or one of the inbox that
 * counts a false start.
 */
export class Lessons {
  readonly falseStarts = new FalseStarts();
  #postponeUpTo = 0;
  readonly #asText = new Set<string>();

  /** Foreign keys are to be checked only at the end of each group up to this batch. */
  get postponeUpTo(): number {
    return this.#postponeUpTo;
  }

  learn({ details }: TidemarkError): void {
    const { asText, beganAnew, postponeUpTo } = details;
    if (typeof asText === "string") this.#asText.add(asText);
    if (typeof beganAnew === "number") this.falseStarts.note(beganAnew);
    if (typeof postponeUpTo === "number") this.#postponeUpTo = postponeUpTo;
  }

  /** Are rows of this source table to come as text? */
  isAsText(table: string): boolean {
    return this.#asText.has(table);
  }

  /** What stood in the way of rows in binary is gone. */
  emptied(table: string): void {
    this.#asText.delete(table);
  }
}

/**
 * A transaction of the source may keep its foreign keys only at its end: a child before its parent,
 * further ahead than what is applied at a time; rows that exchange unique values while others refer
 * to them. So the group is begun again, with foreign keys checked when all of it stands; and, as while a table is being
 * copied, when nobody checks them anyway, with more applied together.
 */
export function appliedAgain(batch: number, cause: TidemarkError): TidemarkError {
  return new TidemarkError(
    "TM-APPLY-RETRY",
    `Batch ${batch} breaks a rule of the target on its way: it is applied again, more of it together and with foreign keys put off.`,
    { cause, details: { postponeUpTo: batch } },
  );
}

/** Rows in binary are taken as they are or not at all: what stands in their way can be told of lines only. */
export function askedAsText(table: string | undefined): TidemarkError {
  return new TidemarkError(
    "TM-APPLY-RETRY",
    `Rows of ${table} came in binary, and one of them stands already or is refused: they are asked for as text.`,
    { details: { asText: table } },
  );
}

/** Rows that stand before they are copied are nothing to be warned of, or to be waited for. */
export function isAskedAsText({ details }: TidemarkError): boolean {
  return typeof details.asText === "string";
}
