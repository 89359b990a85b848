/**
 * The neutral column types: what a column *means*, free of any one database's spelling.
 *
 * A source adapter maps its native types to these and prints each value in the canonical text of
 * the type; a target adapter maps these to its own types and reads the canonical text. Neither
 * knows the other. The canonical text of each type (docs/reference/values.md):
 *
 * | kind        | canonical text                                                               |
 * |-------------|------------------------------------------------------------------------------|
 * | boolean     | `t` or `f`                                                                   |
 * | integer     | decimal digits, `-` sign                                                     |
 * | decimal     | plain decimal digits with the source's scale; `NaN`, `Infinity`, `-Infinity` |
 * | float       | shortest text that reads back to the same value; `NaN`, `Infinity`, `-0`     |
 * | text        | the characters                                                               |
 * | bytes       | lower-case hex, no prefix                                                    |
 * | date        | `YYYY-MM-DD`; `infinity`, `-infinity`, ` BC` suffix where the source has them |
 * | time        | `HH:MM:SS[.ffffff]`; may be negative or beyond a day where the source allows |
 * | timetz      | as time, followed by `+HH[:MM[:SS]]`                                         |
 * | timestamp   | `YYYY-MM-DD HH:MM:SS[.ffffff]`, wall clock, no zone                          |
 * | timestamptz | as timestamp, in UTC, followed by `+00`                                      |
 * | interval    | ISO 8601 duration                                                            |
 * | json        | the source's own text                                                        |
 * | uuid        | lower-case, hyphenated                                                       |
 * | bit         | digits `0` and `1`                                                           |
 * | enum        | the label                                                                    |
 * | native      | the source's own text; a target of the same kind takes the type, others the text |
 */
export type ColumnType =
  | { readonly kind: "boolean" }
  | { readonly kind: "integer"; readonly bits: 8 | 16 | 24 | 32 | 64; readonly unsigned?: boolean }
  | { readonly kind: "decimal"; readonly precision?: number; readonly scale?: number }
  | { readonly kind: "float"; readonly bits: 32 | 64 }
  | { readonly kind: "text"; readonly maxLength?: number; readonly fixed?: boolean }
  | { readonly kind: "bytes"; readonly maxLength?: number; readonly fixed?: boolean }
  | { readonly kind: "date" }
  | { readonly kind: "time"; readonly precision?: number }
  | { readonly kind: "timetz"; readonly precision?: number }
  | { readonly kind: "timestamp"; readonly precision?: number }
  | { readonly kind: "timestamptz"; readonly precision?: number }
  | { readonly kind: "interval" }
  | { readonly kind: "json" }
  | { readonly kind: "uuid" }
  | { readonly kind: "bit"; readonly length?: number; readonly varying?: boolean }
  | { readonly kind: "enum"; readonly values: readonly string[] }
  | {
      readonly kind: "native";
      readonly database: string;
      readonly name: string;
      /** Each value has a storage class of its own: all but NULL travel as Tagged (core/value.ts). */
      readonly mixed?: boolean;
    };

export type ColumnKind = ColumnType["kind"];

/** May values of this type be of any storage class? Then a text column holds `ownText` of each. */
export function isMixed(type: ColumnType): boolean {
  return type.kind === "native" && type.mixed === true;
}

/** Has one number of this type several texts: 1.0 and 1.00, 0 and -0? */
export function hasManyTexts(type: ColumnType): boolean {
  return type.kind === "float" || (type.kind === "decimal" && type.precision === undefined);
}

/** The type as people read it: `integer(64)`, `decimal(10,2)`, `native(postgres tsvector)`. */
export function describeType(type: ColumnType): string {
  switch (type.kind) {
    case "integer":
      return `integer(${type.bits}${type.unsigned ? " unsigned" : ""})`;
    case "decimal":
      return type.precision === undefined
        ? "decimal"
        : `decimal(${type.precision},${type.scale ?? 0})`;
    case "float":
      return `float(${type.bits})`;
    case "text":
    case "bytes":
      return type.maxLength === undefined ? type.kind : `${type.kind}(${type.maxLength})`;
    case "bit":
      return `bit${type.varying ? " varying" : ""}${type.length === undefined ? "" : `(${type.length})`}`;
    case "enum":
      return `enum(${type.values.join(",")})`;
    case "native":
      return `native(${type.database} ${type.name})`;
    default:
      return type.kind;
  }
}
