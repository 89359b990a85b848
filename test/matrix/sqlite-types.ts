// The declared types that SQLite applications use, with what their columns may hold. SQLite takes
// any value anywhere, so each has values of the storage classes that its type does not mean.
import { group, type TypeEntry, type TypeValue } from "./types.ts";

const BLOB: TypeValue = ["X'00ff'", "a blob"];
const TEXT: TypeValue = ["'word'", "a text"];
const WHOLE: TypeValue = ["7", "a number"];
const REAL: TypeValue = ["1.5", "a number with a fraction"];
const INFINITE: readonly TypeValue[] = [
  ["9e999", "infinity"],
  ["-9e999", "infinity"],
];
const INTEGERS: readonly TypeValue[] = [
  "-9223372036854775808",
  "9223372036854775807",
  "9007199254740993",
  "0",
  REAL,
  TEXT,
  BLOB,
];
const TEXTS: readonly TypeValue[] = [
  "''",
  "' a '",
  "'q\" \\ '' ' || char(9, 10, 13, 1)",
  "'ß 漢 😀'",
  "'5'",
  "'1.10'",
  // Becomes text, as TEXT columns make it.
  "5",
  ["'a' || char(0) || 'b'", "NUL in a text"],
  ["CAST(X'61ff62c3' AS TEXT)", "bytes that are not UTF-8"],
  BLOB,
];
const DOUBLES: readonly TypeValue[] = [
  "0.1",
  "1.7976931348623157e308",
  "5e-324",
  "123456789.12345679",
  "1",
  "1e15",
  ["-0.0", "-0"],
  ...INFINITE,
  TEXT,
  BLOB,
];
const DECIMALS: readonly TypeValue[] = [
  "1.5",
  "-12",
  "1e-7",
  "9007199254740993",
  "1e20",
  ...INFINITE,
  TEXT,
  BLOB,
];
const NOT_A_DATE = "a text of another form";
const TIMESTAMPS: readonly TypeValue[] = [
  "'2024-02-29 23:59:59'",
  "'2024-02-29 23:59:59.120'",
  ["'0001-01-01 00:00:00.000001'", "years before 1000"],
  ["'2024-02-29T23:59:59Z'", NOT_A_DATE],
  ["1709251199", "a number"],
  BLOB,
];

export const SQLITE_TYPES: readonly TypeEntry[] = [
  ...group("Numbers", {
    INTEGER: INTEGERS,
    INT: INTEGERS,
    BIGINT: INTEGERS,
    "UNSIGNED BIG INT": INTEGERS,
    REAL: DOUBLES,
    DOUBLE: DOUBLES,
    FLOAT: DOUBLES,
    NUMERIC: DECIMALS,
    "DECIMAL(10,2)": DECIMALS,
    BOOLEAN: ["1", "0", ["2", "a number but 0 and 1"], TEXT, BLOB],
  }),
  ...group("Characters and bytes", {
    TEXT: TEXTS,
    "VARCHAR(10)": [...TEXTS, "'longer than ten characters'"],
    "CHARACTER(20)": TEXTS,
    CLOB: TEXTS,
    BLOB: ["X''", "X'00ff5c22'", "zeroblob(3000)", TEXT, WHOLE, REAL],
  }),
  ...group("Dates and times", {
    DATE: [
      "'2024-02-29'",
      "'9999-12-31'",
      ["'0001-01-01'", "years before 1000"],
      ["'2024-2-9'", NOT_A_DATE],
      ["20240229", "a number"],
      BLOB,
    ],
    TIME: ["'10:00:00'", "'23:59:59.120'", ["'10:00'", NOT_A_DATE], WHOLE, BLOB],
    DATETIME: TIMESTAMPS,
    TIMESTAMP: TIMESTAMPS,
  }),
  ...group("Other values", {
    UUID: ["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", TEXT, BLOB],
    JSON: [
      `'{"b": 1.10,  "a": [null, "\\u00e9"], "b": 2}'`,
      "'\"x\"'",
      "'17'",
      "'1.10'",
      ["'word'", "a text that is no JSON"],
      BLOB,
    ],
    "": ["5", "1.5", "0.1", "'5'", "'word'", "''", "X'00ff'", "X''", "9e999"],
    STRING: ["5", "1.5", "'word'", "X'00ff'"],
  }),
];
