import { createHash } from "node:crypto";

/** `sha256(parts joined by newline)`, hex. */
export function sha256(...parts: readonly string[]): string {
  return createHash("sha256").update(parts.join("\n")).digest("hex");
}

/** Characters hashed at a time: of a long text no second copy is made. */
const HASHED_AT_ONCE = 64 * 1024;

/** As {@link sha256} of one text, but of its UTF-16: what is no valid Unicode, too, has a hash of its own. */
export function longTextHash(text: string): string {
  const hash = createHash("sha256");
  for (let at = 0; at < text.length; at += HASHED_AT_ONCE) {
    hash.update(text.slice(at, at + HASHED_AT_ONCE), "utf16le");
  }
  return hash.digest("hex");
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
