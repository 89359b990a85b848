// Every built-in type of MariaDB and MySQL with values at its edges. Written under sql_mode = ''.
import { group, type TypeEntry, type TypeValue } from "./types.ts";

const TEXTS: readonly TypeValue[] = [
  "''",
  "' a '",
  "'q\" \\\\ '' \\t\\n\\r\\Z'",
  "'é ß'",
  ["'a\\0b'", "NUL in a text"],
];
const WIDE: readonly TypeValue[] = [...TEXTS, "'漢 😀'"];

const NUMBERS = group("Numbers", {
  tinyint: ["-128", "127"],
  "tinyint(1)": ["0", "1", "127"],
  "tinyint unsigned": ["0", "255"],
  smallint: ["-32768", "32767"],
  "smallint unsigned": ["65535"],
  mediumint: ["-8388608", "8388607"],
  "mediumint unsigned": ["16777215"],
  int: ["-2147483648", "2147483647"],
  "int unsigned": ["4294967295"],
  "int(7) unsigned zerofill": ["42"],
  bigint: ["-9223372036854775808", "9223372036854775807", "9007199254740993"],
  "bigint unsigned": ["0", "18446744073709551615"],
  "decimal(10,2)": ["-12345678.90", "0.01", "0"],
  "decimal(65,30)": [
    "12345678901234567890123456789012345.123456789012345678901234567890",
    "-0.000000000000000000000000000001",
  ],
  "decimal(65,0)": [`-${"9".repeat(65)}`],
  "decimal(8,2) unsigned zerofill": ["0.5"],
  float: ["0.1", "-3.40282e38", "3.4028234e38", "1e-38", "16777216", ["-0e0", "-0"]],
  "float unsigned": ["0.5"],
  "float(7,3)": ["1234.567"],
  double: [
    "0.1",
    "1.7976931348623157e308",
    "2.2250738585072014e-308",
    "5e-324",
    "1e15",
    "123456789.12345679",
    ["-0e0", "-0"],
  ],
  "double(10,3)": ["1234567.891"],
  year: ["1901", "2155", "'0000'"],
  "bit(1)": ["b'1'", "b'0'"],
  "bit(9)": ["b'101'"],
  "bit(64)": ["b'1000000000000000000000000000000000000000000000000000000000000001'"],
});

const CHARACTERS = group("Characters", {
  "char(5)": ["'ab'", "'é漢😀'", "''"],
  "varchar(20)": WIDE,
  "varchar(5000)": ["REPEAT('漢', 5000)"],
  tinytext: WIDE,
  text: WIDE,
  mediumtext: [...WIDE, "REPEAT('漢', 30000)"],
  longtext: [...WIDE, "REPEAT('漢', 30000)"],
  "varchar(20) character set latin1": ["'Ä€'", "'a '"],
  "varchar(20) character set utf8mb3": ["'漢é'"],
  "varchar(20) character set ascii": ["'a'"],
  "varchar(20) character set sjis": ["'漢字ｱ'"],
  "varchar(20) character set utf16": ["'漢😀'"],
  "varchar(20) character set utf32": ["'漢😀'"],
  "varchar(20) character set ucs2": ["'漢é'"],
  "varchar(20) character set big5": ["'漢字'"],
  "varchar(20) character set gbk": ["'汉字'"],
  "varchar(20) character set cp1251": ["'Ж№'"],
  "enum('z','it''s','a b')": ["'it''s'", "'z'", ["0", "the empty value (index 0)"]],
  "set('x','y','it''s')": ["'y,x'", "''", "'it''s'"],
});

const BYTES = group("Bytes", {
  "binary(3)": ["X'0100'", "X'ff00ff'"],
  "varbinary(20)": ["X''", "X'00FF7F00'"],
  tinyblob: ["X''", "REPEAT(X'ff', 255)"],
  blob: ["X'00'", "REPEAT(X'ff', 3000)"],
  mediumblob: ["X'00'", "REPEAT(X'ff00', 40000)"],
  longblob: ["X'00'", "REPEAT(X'ff00', 40000)"],
});

const ZERO = "zero dates";
const PARTIAL = "dates without month or day";
const BEYOND = "times beyond a day or below zero";

const TIMES = group("Dates and times", {
  date: [
    "'2024-02-29'",
    "'9999-12-31'",
    "'0001-01-01'",
    ["'0000-00-00'", ZERO],
    ["'2024-00-00'", PARTIAL],
  ],
  time: ["'10:00:00'", "'23:59:59'", ["'838:59:59'", BEYOND], ["'-00:00:01'", BEYOND]],
  "time(6)": ["'10:00:00.120000'", "'24:00:00'", ["'-838:59:59.000000'", BEYOND]],
  datetime: ["'2024-02-29 10:00:00'", "'1000-01-01 00:00:00'", ["'0000-00-00 00:00:00'", ZERO]],
  "datetime(6)": ["'9999-12-31 23:59:59.999999'", "'2024-01-01 00:00:00.100000'"],
  // Written under +05:30: the instant is what counts.
  timestamp: [
    "'2024-01-01 05:30:00'",
    "'1970-01-01 05:30:01'",
    "'2038-01-19 08:44:07'",
    ["'0000-00-00 00:00:00'", ZERO],
  ],
  "timestamp(6)": ["'2024-01-01 05:30:00.000001'", "'2037-12-31 23:59:59.999999'"],
});

const OTHERS = group("Other values", {
  json: [
    '\'{"b": 1.10, "a": [1, null, true], "c": "é"}\'',
    "'[]'",
    "'\"x\"'",
    "'17'",
    ['\'{"a": 1, "a": 2}\'', "doubled keys"],
  ],
  geometry: ["ST_GeomFromText('POINT(1.5 -2)', 4326)", "ST_GeomFromText('LINESTRING(0 0,1 1)')"],
  point: ["POINT(1, -2)"],
  linestring: ["ST_GeomFromText('LINESTRING(0 0,1 0.1)')"],
  polygon: ["ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))')"],
  multipoint: ["ST_GeomFromText('MULTIPOINT(0 0,1 1)')"],
  multilinestring: ["ST_GeomFromText('MULTILINESTRING((0 0,1 1))')"],
  multipolygon: ["ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)))')"],
  geometrycollection: ["ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1))')"],
});

const MARIADB_ONLY = group("Other values", {
  uuid: ["'AAAAAAAA-0000-1000-8000-00000000000F'", "'00000000-0000-0000-0000-000000000000'"],
  inet4: ["'1.2.3.4'", "'0.0.0.0'"],
  inet6: ["'::ffff:1.2.3.4'", "'2001:db8::1'", "'::'"],
});

export const MYSQL_TYPES: readonly TypeEntry[] = [
  ...NUMBERS,
  ...CHARACTERS,
  ...BYTES,
  ...TIMES,
  ...OTHERS,
];

export const MARIADB_TYPES: readonly TypeEntry[] = [...MYSQL_TYPES, ...MARIADB_ONLY];
