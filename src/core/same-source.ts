import type { FenceAnswer } from "./documents.ts";
import { TidemarkError } from "./errors.ts";

/** What whoever asks the relay of a source knows of that source; null of what it does not know. */
export interface Meant {
  readonly timeline: string | null;
  /** Where its config says that it is: a word for it, where it cannot be reached to be asked. */
  readonly database: string | null;
}

/** Is that the source which is meant? Where it is not known what is meant, any is. */
export function isMeant(
  meant: Meant,
  { timeline, database }: Pick<FenceAnswer, "timeline" | "database">,
): boolean {
  if (meant.timeline !== null) return meant.timeline === timeline;
  return meant.database === null || database === null || meant.database === database;
}

/** Two databases go by one name in one queue. */
export function nameTaken(
  source: string,
  { own, other }: { readonly own: string | null; readonly other: string },
): TidemarkError {
  const here = own === null ? "this one" : own;
  return new TidemarkError(
    "TM-NAME-TAKEN",
    `The name "${source}" is in use in this queue, by ${other}; this config gives it to ${here}.`,
    {
      fix: "Give this pipeline a queue of its own (on NATS another ?prefix= will do), or the database another name.",
      details: { source, own, other },
    },
  );
}
