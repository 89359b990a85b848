import { createHash } from "node:crypto";

/** `sha256(parts joined by newline)`, hex. */
export function sha256(...parts: readonly string[]): string {
  return createHash("sha256").update(parts.join("\n")).digest("hex");
}

/** The `prevHash` of batch 1: ties the chain to its timeline. */
export function timelineHash(timeline: string): string {
  return sha256("timeline", timeline);
}

/**
 * The hash of a batch: over the previous hash, the number and the definition of the cut (whatever
 * text the source stores that fixes the content), so a source restored to the past and gone on
 * from there forks the chain at its first new batch.
 */
export function batchHash(prevHash: string, batch: number, definition: string): string {
  return sha256("batch", prevHash, String(batch), definition);
}
