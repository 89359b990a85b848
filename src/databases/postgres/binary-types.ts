/**
 * Built-in types whose binary form (their `send` and `recv` functions) is the same in every version that we know, and holds
 * all that their text does. What is made by users, or is printed by settings or a locale, is left to its text. So is interval: the
 * infinite ones that PostgreSQL 17 has are numbers like others to earlier versions, which refuse them as text.
 */
const SAME = new Set([
  "boolean",
  "smallint",
  "integer",
  "bigint",
  "oid",
  "real",
  "double precision",
  "numeric",
  "text",
  "character varying",
  "character",
  "bytea",
  "date",
  "time without time zone",
  "time with time zone",
  "timestamp without time zone",
  "timestamp with time zone",
  "uuid",
  "json",
  "jsonb",
  "bit",
  "bit varying",
  "inet",
  "cidr",
  "macaddr",
]);

/**
 * What a type (as format_type gives it) is called in binary: without its modifier, which whoever reads applies as to a text;
 * null when its values are to travel as text.
 */
export function binaryType(nativeType: string): string | null {
  const bare = nativeType.replace(/\(\d+(,-?\d+)?\)/, "");
  return SAME.has(bare.replace(/\[\]$/, "")) ? bare : null;
}
