import { randomUUID } from "node:crypto";
import { type FenceAnswer, type FenceDocument, keys } from "./documents.ts";
import type { Documents } from "./queue.ts";

/**
 * Asks the relay of a source for a position that holds everything committed before this call
 * (a fence). With `join`, from that position on the log is kept for the named sync.
 * Null when the signal aborts before the relay answers.
 */
export async function askFence(
  documents: Documents,
  source: string,
  options: { readonly join?: string; readonly signal: AbortSignal },
): Promise<FenceAnswer | null> {
  const id = randomUUID();
  const key = keys.fence(source, id);
  const askedAt = new Date().toISOString();
  const question: FenceDocument = { askedAt, join: options.join ?? null, answer: null };
  await documents.put(key, question);
  try {
    for await (const { value } of documents.watch(key, options.signal)) {
      const answer = (value as FenceDocument | null)?.answer;
      if (answer) return answer;
    }
    return null;
  } finally {
    await documents.remove(key);
  }
}
