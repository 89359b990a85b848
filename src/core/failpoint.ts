import { TidemarkError } from "./errors.ts";

/**
 * Places where it would hurt most to die: between two steps that belong together. A test arms one of them in
 * a process of its own (TIDEMARK_FAILPOINT=name:kill), which then ends there without warning. For users
 * these do not exist: with none armed, passing one costs a comparison.
 */
export const FAILPOINTS = {
  "relay-lease-taken": "the relay holds the source, and has done nothing yet",
  "capture-half": "some of what captures a table has been run, not all",
  "cut-stored": "the record of a batch stands in the source, nothing of it in the queue",
  "batch-half-sent": "some pieces of a batch stand in the queue, more are to come",
  "piece-sent": "the queue has acknowledged a piece, the relay has not noted it",
  "chunk-sent": "a chunk of a copy was handed to the queue, the relay has not noted it",
  "fence-answered": "a fence has been answered; a sync that joined is kept in mind",
  "stream-emptied": "the stream was emptied for a resend, nothing of it sent again",
  "confirmation-stored": "the source knows what a sync has confirmed, nothing has been purged",
  "purge-due": "what all have confirmed is about to be purged",
  "purge-half": "a purge has begun and not ended",
  purged: "what all have confirmed has been purged",
  "log-switched": "writers have been sent to the next log table, the time of it is not stored",
  "log-truncated": "a log table was emptied, not yet committed",
  "tables-created": "the target's tables have been created, nothing has been copied",
  "applier-lease-taken": "the applier holds the sync, and has done nothing yet",
  "sync-joined": "the relay has told a new sync where to begin, the target has not stored it",
  "commit-due":
    "rows have been written at the target, or are on their way to it; the commit is due",
  committed: "the target has committed rows and progress, nobody has been told",
  "notice-due": "what was committed is durable, the notice has not been written",
  "notice-told": "the notice has been written",
} as const;

export type Failpoint = keyof typeof FAILPOINTS;

interface Armed {
  readonly name: Failpoint;
  /** Times that it is still to be passed. */
  left: number;
  readonly act: () => void;
}

let armed: Armed | null = null;

/** Passes a failpoint; does not return when it is armed and due. */
export function failpoint(name: Failpoint): void {
  if (armed === null || armed.name !== name) return;
  if (--armed.left === 0) armed.act();
}

const SPEC = /^(?<name>[a-z-]+):kill(?:@(?<times>[1-9]\d*))?$/;

/** `spec`: `name:kill`, or `name:kill@3` for the third time that it is reached. Throws TM-USAGE. */
export function armFailpoint(spec: string, act: () => void): void {
  const { name = "", times = "1" } = SPEC.exec(spec)?.groups ?? {};
  if (!isFailpoint(name)) {
    throw new TidemarkError("TM-USAGE", `TIDEMARK_FAILPOINT="${spec}" names no failpoint.`, {
      fix: `Unset it: it is for tests. Else NAME:kill or NAME:kill@3, with one of: ${Object.keys(FAILPOINTS).join(", ")}.`,
    });
  }
  armed = { name, left: Number(times), act };
}

function isFailpoint(name: string): name is Failpoint {
  return Object.hasOwn(FAILPOINTS, name);
}
