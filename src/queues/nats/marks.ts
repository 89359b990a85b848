import type { Mark } from "../../core/queue.ts";

/** Where the mark travels: a reader finds its place without opening a body. */
export const MARK_HEADER = "Tidemark-Mark";
/** A message without a mark: the stream was emptied here on purpose. */
export const RESET_HEADER = "Tidemark-Reset";

export function encodeMark(mark: Mark): string {
  const { timeline, batch, chunk, piece, fragment, fragments, last, checksum } = mark;
  const text = JSON.stringify([timeline, batch, chunk, piece, fragment, fragments, last, checksum]);
  // Headers are one line of ASCII on their way through proxies and tools.
  return text.replace(/[^\x20-\x7e]/g, (unit) => {
    return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** Null for a message that has none. */
export function decodeMark(text: string): Mark | null {
  if (text === "") return null;
  const [timeline, batch, chunk, piece, fragment, fragments, last, checksum] = JSON.parse(text);
  return { timeline, batch, chunk, piece, fragment, fragments, last, checksum };
}
