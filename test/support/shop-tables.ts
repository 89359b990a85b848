// The tables that most whole-pipeline tests write: a parent and its children, and one column of
// each common type.
import type { TestRow, TestTable } from "./test-tables.ts";

export const CUSTOMERS: TestTable = {
  name: "customers",
  columns: { id: "integer", name: "varchar", credit: "bigint" },
  key: ["id"],
  required: ["name"],
};

export const ORDERS: TestTable = {
  name: "orders",
  columns: { id: "integer", customer_id: "integer", total: "decimal", status: "varchar" },
  key: ["id"],
  required: ["customer_id", "status"],
  references: { customer_id: "customers" },
};

/** A key of two columns. */
export const LINES: TestTable = {
  name: "order_lines",
  columns: { order_id: "integer", line: "smallint", article: "varchar", amount: "integer" },
  key: ["order_id", "line"],
  references: { order_id: "orders" },
};

export const SHOP: readonly TestTable[] = [CUSTOMERS, ORDERS, LINES];

export const VALUES: TestTable = {
  name: "all_values",
  columns: {
    id: "bigint",
    small: "smallint",
    whole: "integer",
    large: "bigint",
    amount: "decimal",
    ratio: "double",
    label: "varchar",
    note: "text",
    data: "bytes",
    flag: "boolean",
    day: "date",
    at: "timestamp",
    moment: "timestamptz",
    doc: "json",
  },
  key: ["id"],
};

const EVERY_BYTE = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));

/** Values that all three databases can hold: extremes, and everything that some text format escapes. */
export const VALUE_ROWS: readonly TestRow[] = [
  {
    id: "9223372036854775807",
    small: "32767",
    whole: "2147483647",
    large: "9223372036854775807",
    amount: "12345678.25",
    ratio: "1.7976931348623157e308",
    label: "Ärger, 'quotes', \"double\", `back`",
    note: "first\nsecond\r\nthird\tend\\n\\",
    data: EVERY_BYTE,
    flag: true,
    day: "9999-12-31",
    at: "1999-12-31 23:59:59.999999",
    moment: "2037-12-31 23:59:59.999999",
    doc: '{"b": [1, 2.5, null, true], "a": {"deep": "ünï\\n\\"x\\""}}',
  },
  {
    id: "-9223372036854775808",
    small: "-32768",
    whole: "-2147483648",
    large: "-9223372036854775808",
    amount: "-0.0625",
    ratio: "-2.2250738585072014e-308",
    label: "\u{1f30a} 潮汐 \u{10ffff} é",
    note: "",
    data: Buffer.alloc(0),
    flag: false,
    day: "1000-01-01",
    at: "2024-02-29 00:00:00",
    moment: "1970-01-02 00:00:00",
    doc: "[]",
  },
  {
    id: "0",
    small: "0",
    whole: "0",
    large: "0",
    amount: "0",
    ratio: "0.1",
    label: "",
    note: "x".repeat(100_000),
    data: Buffer.from("\\N\\x00'\"", "latin1"),
    flag: false,
    day: "2024-02-29",
    at: "2024-06-30 12:00:00.5",
    moment: "2024-06-30 12:00:00.123",
    doc: '{"n": 123456789.125}',
  },
  // Texts that some bulk format reads as something else.
  { id: "1", label: "\\N", note: "NULL" },
  { id: "2", label: "null", note: "\\." },
  { id: "3", label: " both ends ", note: '{"t":["x"]}' },
  { id: "4", label: "a,b;c|d", note: "%s $1 ? :name @x" },
  // Nothing but the key.
  { id: "5" },
];
