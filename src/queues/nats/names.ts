import { sha256 } from "../../core/hash.ts";

/**
 * Names on the server. A source's name may hold anything; stream names and subjects may not, and some
 * servers keep streams in folders that do not tell A from a: so a readable part and a hash.
 */
export function streamName(prefix: string, source: string): string {
  const readable = source.replace(/[^A-Za-z0-9]+/g, "-").slice(0, 32);
  return `${prefix}_${readable}_${sha256("stream", source).slice(0, 16)}`;
}

export function streamSubject(prefix: string, source: string): string {
  return `${prefix}.stream.${streamName(prefix, source)}`;
}

/** A bucket as every NATS tool knows it: `nats kv ls tidemark_documents`. */
export function bucketName(prefix: string): string {
  return `${prefix}_documents`;
}

const PLAIN = /^[A-Za-z0-9_/-]$/;

/** Letters, digits, `-`, `_` and `/` as they are, all else as `=` and the hex digits of its UTF-16 unit. */
export function encodeKey(key: string): string {
  let encoded = "";
  for (const unit of key.split("")) {
    encoded += PLAIN.test(unit) ? unit : `=${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  }
  return encoded;
}

export function decodeKey(encoded: string): string {
  return encoded.replace(/=([0-9a-f]{4})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}
