import { inPieces } from "../../core/long-text.ts";

/**
 * PostgreSQL's text of a composite value, as `record_out` prints it: `(1,,"a ""b"" \\c","")`.
 * Gives its fields; SQL NULL is the empty unquoted field.
 */
export function parseRowText(text: string): (string | null)[] {
  const end = text.length - 1;
  if (!text.includes('"')) {
    const fields: (string | null)[] = text.slice(1, end).split(",");
    for (let i = 0; i < fields.length; i++) if (fields[i] === "") fields[i] = null;
    return fields;
  }
  const fields: (string | null)[] = [];
  let at = 1;
  for (;;) {
    if (text.charCodeAt(at) === QUOTE) {
      const close = closingQuote(text, at + 1);
      fields.push(unquote(text.slice(at + 1, close)));
      at = close + 1;
    } else {
      const comma = text.indexOf(",", at);
      const stop = comma === -1 ? end : comma;
      fields.push(stop === at ? null : text.slice(at, stop));
      at = stop;
    }
    if (at >= end) return fields;
    at++; // the comma
    if (at === end) {
      fields.push(null);
      return fields;
    }
  }
}

const QUOTE = 0x22;

/** Inside quotes a quote or a backslash is doubled: the closing quote is the first single one. */
function closingQuote(text: string, from: number): number {
  let at = from;
  for (;;) {
    const quote = text.indexOf('"', at);
    if (text.charCodeAt(quote + 1) !== QUOTE) return quote;
    at = quote + 2;
  }
}

function unquote(body: string): string {
  const plain = body.includes('"')
    ? inPieces(body, '"', (piece) => piece.split('""').join('"'))
    : body;
  if (!plain.includes("\\")) return plain;
  return inPieces(plain, "\\", (piece) => piece.replace(/\\(.)/gs, "$1"));
}

/** Prints fields as `record_out` does. */
export function formatRowText(fields: readonly (string | null)[]): string {
  return `(${fields.map(formatField).join(",")})`;
}

function formatField(field: string | null): string {
  if (field === null) return "";
  if (field !== "" && !/[\s"\\(),]/.test(field)) return field;
  return `"${field.replaceAll("\\", "\\\\").replaceAll('"', '""')}"`;
}

/** The text of a one-dimensional array, for binding. */
export function formatArrayText(items: readonly (string | null)[]): string {
  let out = "{";
  for (let i = 0; i < items.length; i++) {
    if (i > 0) out += ",";
    const item = items[i] as string | null;
    out += item === null ? "NULL" : quoteItem(item);
  }
  return `${out}}`;
}

function quoteItem(item: string): string {
  if (isPlainNumber(item)) return item;
  return item.includes("\\") || item.includes('"')
    ? `"${inPieces(item, "", (piece) => piece.replace(/["\\]/g, "\\$&"))}"`
    : `"${item}"`;
}

/** Digits, signs and points need no quotes; anything else is quoted. */
function isPlainNumber(item: string): boolean {
  if (item.length === 0 || item.length > 20) return false;
  for (let i = 0; i < item.length; i++) {
    const code = item.charCodeAt(i);
    if ((code < 0x30 || code > 0x39) && code !== 0x2d && code !== 0x2e) return false;
  }
  return true;
}
