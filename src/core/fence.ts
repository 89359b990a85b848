import { randomUUID } from "node:crypto";
import { sleep } from "./async.ts";
import {
  type FenceAnswer,
  type FenceDocument,
  type Held,
  keys,
  NOT_ANSWERED,
  NOT_ASKED,
} from "./documents.ts";
import type { Documents } from "./queue.ts";
import type { Meant } from "./same-source.ts";
import type { Progress } from "./target.ts";

/** A question still unanswered after this is looked for, and asked again if the queue has lost it. */
const REPEAT_MS = 3_000;

/**
 * Asks the relay of a source for a position that holds everything committed before this call
 * (a fence). With `join`, from that position on the log is kept for the named sync; with `holds`, the answer tells
 * whether the source has that batch. `anywhere`: the position need not hold anything, only be of the history that
 * the source is on. A relay of another database than is `meant` lets nobody join: the answer tells whose it is.
 * Null when the signal aborts before the relay answers.
 */
export async function askFence(
  documents: Documents,
  source: string,
  options: {
    readonly join?: string;
    readonly holds?: Held;
    readonly anywhere?: boolean;
    readonly meant?: Meant;
    readonly signal: AbortSignal;
  },
): Promise<FenceAnswer | null> {
  const id = randomUUID();
  const key = keys.fence(source, id);
  const askedAt = new Date().toISOString();
  const { signal: _, ...asked } = options;
  const question: FenceDocument = { ...NOT_ASKED, askedAt, ...asked };
  await documents.put(key, question);
  const answered = new AbortController();
  const repeating = repeat(
    async () => {
      if ((await documents.get(key)) === null) await documents.put(key, question);
    },
    AbortSignal.any([options.signal, answered.signal]),
  );
  try {
    for await (const { value } of documents.watch(key, options.signal)) {
      const answer = (value as FenceDocument | null)?.answer;
      if (answer) return { ...NOT_ANSWERED, ...answer };
    }
    return null;
  } finally {
    answered.abort();
    await repeating;
    await documents.remove(key);
  }
}

/** What is to be compared of what was applied. */
export function heldOf({
  timeline,
  position: { batch },
  hash,
}: Pick<Progress, "timeline" | "position"> & { readonly hash?: string }): Held {
  return { timeline, batch, hash: hash ?? null };
}

async function repeat(ask: () => Promise<void>, signal: AbortSignal): Promise<void> {
  for (;;) {
    await sleep(REPEAT_MS, signal);
    if (signal.aborted) return;
    try {
      await ask();
    } catch {
      // The watch beside it tells what is wrong with the queue; here the next turn tries again.
    }
  }
}
