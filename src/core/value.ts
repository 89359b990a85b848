/**
 * One value on its way: canonical text (see column-type.ts), SQL NULL, or one of two markers.
 *
 * 64-bit integers and decimals never pass through a JavaScript number; bytes are hex.
 */
export type Value = string | null | Unchanged | Tagged;

/** A row: values in the order of its layout's columns. */
export type Row = readonly Value[];

/**
 * "This column was not changed and its value was not captured": a marker of its own type, so that
 * no string a user can store is ever mistaken for it.
 */
export const UNCHANGED = 0;
export type Unchanged = typeof UNCHANGED;

/**
 * A value whose storage class is not that of its column (SQLite's dynamic typing: text in an
 * INTEGER column), or a text that its MariaDB or MySQL has no Unicode for, as bytes. Only a target with
 * SQLite's freedom takes it; others refuse it by name.
 * `[class, text]`; the text is canonical for the class.
 */
export type Tagged = readonly [storage: "integer" | "real" | "text" | "blob", text: string];

export function isTagged(value: Value): value is Tagged {
  return Array.isArray(value);
}

/**
 * What stands for a tagged value in a text column that takes values of every class (by the rule of
 * docs/reference/values.md): numbers by their digits, text as it is, bytes as `X'00ff'`. Null for
 * text that is no Unicode: it would arrive as another text.
 */
export function ownText([storage, text]: Tagged): string | null {
  if (storage === "blob") return `X'${text}'`;
  return text.isWellFormed() ? text : null;
}
