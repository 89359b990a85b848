import type { ColumnType } from "../core/column-type.ts";

/** A type and texts of it that every target must give back as they are, or refuse the type at plan. */
export interface ValueSample {
  readonly type: ColumnType;
  readonly nativeType: string;
  readonly texts: readonly string[];
}

/** Of each common kind, in canonical text (core/column-type.ts), with its edges. */
export const VALUE_SAMPLES: readonly ValueSample[] = [
  { type: { kind: "boolean" }, nativeType: "boolean", texts: ["t", "f"] },
  { type: { kind: "integer", bits: 16 }, nativeType: "smallint", texts: ["-32768", "32767", "0"] },
  {
    type: { kind: "integer", bits: 32 },
    nativeType: "integer",
    texts: ["-2147483648", "2147483647"],
  },
  {
    type: { kind: "integer", bits: 64 },
    nativeType: "bigint",
    texts: ["-9223372036854775808", "9223372036854775807", "9007199254740993"],
  },
  {
    type: { kind: "integer", bits: 64, unsigned: true },
    nativeType: "bigint unsigned",
    texts: ["0", "18446744073709551615"],
  },
  {
    type: { kind: "decimal", precision: 30, scale: 10 },
    nativeType: "numeric(30,10)",
    texts: ["12345678901234567890.1234567890", "-0.0000000001", "1.1000000000"],
  },
  {
    type: { kind: "float", bits: 64 },
    nativeType: "double precision",
    texts: ["0.1", "1.7976931348623157e+308", "5e-324", "-1.5", "123456789.12345679"],
  },
  {
    type: { kind: "text" },
    nativeType: "text",
    texts: [
      "",
      " a ",
      'it\'s "quoted" \\ back',
      "line\nline\ttab\r",
      "ß 漢 \u{1f30a}",
      "NULL",
      "\\N",
      "5",
      "1.10",
    ],
  },
  {
    type: { kind: "bytes" },
    nativeType: "bytea",
    texts: ["", "00", "00ff10275c0a", "ff".repeat(300)],
  },
  { type: { kind: "date" }, nativeType: "date", texts: ["2024-02-29", "1970-01-01", "9999-12-31"] },
  {
    type: { kind: "time", precision: 6 },
    nativeType: "time",
    texts: ["00:00:00", "23:59:59.999999", "12:34:56"],
  },
  {
    type: { kind: "timestamp", precision: 6 },
    nativeType: "timestamp",
    texts: ["2024-02-29 23:59:59.123456", "1970-01-01 00:00:00"],
  },
  {
    type: { kind: "timestamptz", precision: 6 },
    nativeType: "timestamp with time zone",
    texts: ["2024-03-31 01:30:00+00", "1999-12-31 23:59:59.999999+00"],
  },
  {
    type: { kind: "uuid" },
    nativeType: "uuid",
    texts: ["0f8fad5b-d9cb-469f-a165-70867728950e"],
  },
  {
    type: { kind: "json" },
    nativeType: "json",
    texts: ['{"b": 1, "a": [1.50, null, "ß"]}', "[]", '"x"', "17"],
  },
  { type: { kind: "bit", length: 4 }, nativeType: "bit(4)", texts: ["0101", "0000"] },
  {
    type: { kind: "enum", values: ["new", "it's", "10"] },
    nativeType: "enum",
    texts: ["new", "it's", "10"],
  },
  {
    type: { kind: "native", database: "elsewhere", name: "point" },
    nativeType: "point",
    texts: ["(1,2)", "10"],
  },
];
