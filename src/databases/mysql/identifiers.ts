import { TidemarkError } from "../../core/errors.ts";
import { inPieces } from "../../core/long-text.ts";
import type { TableName } from "../../core/table.ts";

/** The one place where a name becomes SQL: quoted, so that no name from a config or catalog is ever syntax. */
export function quoteName(name: string): string {
  if (name.includes("\0")) {
    throw new TidemarkError(
      "TM-INTERNAL",
      "A name holds a NUL character, which MySQL cannot quote.",
    );
  }
  return `\`${name.replaceAll("`", "``")}\``;
}

/** Characters of which no name may hold any. */
export const BEYOND = /[\u{10000}-\u{10FFFF}]/u;

/** The server does not even compare a name that it could not have. */
export function mayStand({ name }: TableName): boolean {
  return !BEYOND.test(name);
}

export function quoteTable(table: TableName): string {
  return table.schema === null
    ? quoteName(table.name)
    : `${quoteName(table.schema)}.${quoteName(table.name)}`;
}

/** All of a database, as a GRANT takes it: there `_` and `%` stand for others, too. */
export function wholeDatabase(name: string): string {
  return `${quoteName(name.replace(/[\\_%]/g, "\\$&"))}.*`;
}

/** Does what SHOW GRANTS says of whole databases hold for this one? `pattern`: as it is quoted there; `*` for all. */
export function coversDatabase(pattern: string, database: string): boolean {
  if (pattern === "*") return true;
  const parts = pattern.slice(1, -1).replaceAll("``", "`").match(/\\?./gsu) ?? [];
  const source = parts.map((part) => {
    if (part === "%") return ".*";
    return part === "_" ? "." : ([...part].at(-1) ?? "").replace(/[^\w\s]/u, "\\$&");
  });
  return new RegExp(`^${source.join("")}$`, "s").test(database);
}

/**
 * A string literal. Complete because every session of ours speaks utf8mb4 (no byte of a multi-byte
 * character is a quote) and never sets NO_BACKSLASH_ESCAPES; see connection.ts.
 */
export function quoteText(text: string): string {
  return `'${inPieces(text, "", (piece) => piece.replace(/['\\]/g, "\\$&"))}'`;
}

export function quoteNames(names: readonly string[]): string {
  return names.map(quoteName).join(", ");
}
