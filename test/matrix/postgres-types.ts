// Every built-in type of PostgreSQL with values at its edges.
import { group, nameOf, type TypeEntry, type TypeValue } from "./types.ts";

const NAN = ["'NaN'", "NaN"] as const;
const INFINITE = [
  ["'Infinity'", "infinity"],
  ["'-Infinity'", "infinity"],
] as const;
const BC = "years before 1";
const FAR = "years beyond 9999";
const DATES: readonly TypeValue[] = [
  "'2024-02-29'",
  "'1000-01-01'",
  "'9999-12-31'",
  ["'0001-01-01'", "years before 1000"],
  ["'4713-01-01 BC'", BC],
  ["'10000-01-01'", FAR],
  ...INFINITE,
];
const TIMESTAMPS: readonly TypeValue[] = [
  "'2024-02-29 23:59:59.123456'",
  "'1970-01-01 00:00:00'",
  "'2024-03-31 02:30:00.1'",
  "'9999-12-31 23:59:59.999999'",
  ["'0044-03-15 12:00:00 BC'", BC],
  ["'294276-12-31 23:59:59.999999'", FAR],
  ...INFINITE,
];
const TEXTS: readonly string[] = [
  "''",
  "' a '",
  "E'q\" \\\\ '' \\t\\n\\r \\x01'",
  "'ß 漢 😀 é'",
  "'NULL'",
  "'\\N'",
  "'{a,b}'",
  "'5'",
];
const JSONS: readonly TypeValue[] = [
  `'{"b": 1.10,  "a": [null, true], "b": 2}'`,
  `'"\\u00e9 \\ud83d\\ude00 é"'`,
  "'null'",
  "'17'",
  "'[]'",
  ["'1e400'", "numbers in JSON beyond a double"],
];

const NUMBERS = group("Numbers", {
  smallint: ["-32768", "32767", "0"],
  integer: ["-2147483648", "2147483647"],
  bigint: ["-9223372036854775808", "9223372036854775807", "9007199254740993"],
  "numeric(10,2)": ["-12345678.90", "0.01", "0.00", NAN],
  "numeric(65,30)": [
    "12345678901234567890123456789012345.123456789012345678901234567890",
    "-1e-30",
  ],
  "numeric(1000,500)": ["'1e499'::numeric", "'-1e-500'::numeric"],
  "numeric(3,-2)": ["12300", "-99900"],
  "numeric(2,5)": ["0.00012", "-0.00099"],
  numeric: ["'1.10'", "'1e1000'", "'-1.23e-200'", "'-0'", NAN, ...INFINITE],
  real: ["0.1", "3.4028235e38", "1e-45", "16777216", ["'-0'", "-0"], NAN, ...INFINITE],
  "double precision": [
    "0.1",
    "1.7976931348623157e308",
    "5e-324",
    "123456789.12345679",
    "1e15",
    ["'-0'", "-0"],
    NAN,
    ...INFINITE,
  ],
  money: ["'-92233720368547758.08'", "'1234.5'"],
});

const CHARACTERS = group("Characters", {
  text: TEXTS,
  "character varying": TEXTS,
  "character varying(10)": ["'é€😀'", "'0123456789'", "'a '"],
  "character(5)": ["'ab'", "'ab   '", "''", "'漢字'"],
  bpchar: ["'ab'", "'ab   '", "''"],
  name: ["'n'", `repeat('x', 63)`],
  '"char"': ["'x'", "''", `(-23)::"char"`],
});

const BYTES = group("Bytes and bits", {
  bytea: ["'\\x'", "'\\x00ff5c220a'", "decode(repeat('ff', 3000), 'hex')"],
  "bit(3)": ["B'101'", "B'000'"],
  "bit(64)": ["repeat('1', 64)::bit(64)"],
  "bit(100)": ["repeat('10', 50)::bit(100)"],
  "bit varying(9)": ["B'1'", "B''", "B'000000001'"],
  "bit varying": ["B''", "repeat('01', 100)::varbit"],
});

const TIMES = group("Dates and times", {
  date: DATES,
  time: ["'00:00'", "'23:59:59.999999'", "'24:00'"],
  "time(3)": ["'12:34:56.789'"],
  "time with time zone": ["'23:59:59.999999+05:30'", "'00:00-15:59:59'", "'24:00+00'"],
  timestamp: TIMESTAMPS,
  "timestamp(0)": ["'2024-01-01 00:00:00'"],
  "timestamp with time zone": [
    "'2026-01-01 00:00:00.123456+14'",
    "'2024-03-31 01:30:00+01'",
    ["'0044-03-15 12:00:00+00 BC'", BC],
    ["'294276-12-31 23:59:59.999999+00'", FAR],
    ...INFINITE,
  ],
  interval: [
    "'-1 year 2 mons 3 days -04:05:06.789'",
    "'178000000 years'",
    "'0'",
    "'-00:00:00.000001'",
    "'1 mon -1 day 24:00:01'",
  ],
  "interval day to second(3)": ["'1 day 00:00:00.123'"],
});

/** From PostgreSQL 17 on. */
export const INFINITE_INTERVALS = group("Dates and times", {
  interval: INFINITE,
  "interval[]": [["'{infinity,1 day,-infinity}'", "infinity"]],
});

const OTHERS = group("Other values", {
  boolean: ["true", "false"],
  uuid: [
    "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'",
    "'00000000-0000-0000-0000-000000000000'",
    "'ffffffff-ffff-ffff-7fff-ffffffffffff'",
  ],
  json: [...JSONS, `'"\\u0000"'`],
  jsonb: JSONS,
  xml: [`'<a b="c">t &amp; é</a>'`, "'text only'"],
  inet: ["'10.0.0.1/8'", "'::ffff:1.2.3.4'"],
  cidr: ["'10.0.0.0/8'", "'::/0'"],
  macaddr: ["'08:00:2b:01:02:03'"],
  macaddr8: ["'08:00:2b:01:02:03:04:05'"],
  tsvector: ["'fat:1A cat'", "''"],
  tsquery: ["'fat & (rat | !cat:*)'"],
});

const SHAPES = group("Geometric shapes", {
  point: ["'(1.5,-2)'", "'(NaN,1e-300)'"],
  line: ["'{1,-1,0.1}'"],
  lseg: ["'[(0,0),(1,0.1)]'"],
  box: ["'(1,1),(0,0)'"],
  path: ["'[(0,0),(1,1)]'", "'((0,0),(1,1))'"],
  polygon: ["'((0,0),(1,1),(0.1,0))'"],
  circle: ["'<(1,2),0.1>'"],
});

const RANGES = group("Ranges", {
  int4range: ["'[1,5)'", "'empty'", "'(,)'"],
  int8range: ["'[,9223372036854775807)'"],
  numrange: ["'[1.10,2.0]'"],
  daterange: ["'[2024-01-01,infinity)'"],
  tsrange: ["'[2024-01-01 00:00:00.5,)'"],
  tstzrange: ["'[2024-01-01 00:00:00+02,2024-02-01 00:00:00+02]'"],
  int4multirange: ["'{[1,3),[5,7)}'", "'{}'"],
  int8multirange: ["'{[,-9223372036854775807),[9223372036854775806,)}'"],
  nummultirange: ["'{[1.10,2.0],(2.00,3e20)}'"],
  datemultirange: ["'{[0044-03-15 BC,2024-01-01),[2024-02-01,infinity)}'"],
  tsmultirange: ["'{[2024-01-01 00:00:00.5,2024-01-02 00:00:00]}'"],
  tstzmultirange: ["'{[2024-01-01 00:00:00+02,)}'"],
});

const ARRAYS = group("Arrays", {
  "integer[]": [
    "'{1,NULL,-3}'",
    "'{}'",
    "'[-1:1]={1,2,3}'",
    "'{{1,2},{3,4}}'",
    "'{{{1,2},{3,NULL}},{{5,6},{7,8}}}'",
  ],
  "text[][]": [`'{{"a,b",NULL},{"","q\\"\\\\"}}'`, `'{"NULL"," x ","é"}'`],
  "numeric(10,2)[]": ["'{1.50,-2.25}'"],
  "double precision[]": ["'{0.1,NaN,-Infinity,-0}'"],
  "timestamp with time zone[]": [`'{"2024-01-01 00:00:00+05",infinity}'`],
  "interval[]": ["'{1 day,-1 mon 2 days}'"],
  "bytea[]": [`'{"\\\\x00ff"}'`],
  "jsonb[]": [`'{"{\\"a\\": 1}"}'`],
  "uuid[]": ["'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'"],
  "boolean[]": ["'{t,f,NULL}'"],
  "bit(3)[]": ["'{101,NULL,000}'"],
  "inet[]": ["'{10.0.0.1/8,NULL,::1}'"],
  "int4range[]": [`'{"[1,5)",empty,NULL,"(,)"}'`],
});

const SYSTEM = group("Types of the system", {
  oid: ["0", "4294967295"],
  pg_lsn: ["'16/B374D848'"],
  xid: ["'4294967295'"],
  xid8: ["'18446744073709551615'"],
  cid: ["'4294967295'"],
  tid: ["'(1,2)'"],
  regclass: ["'pg_catalog.pg_class'", "'-'", "4294967295"],
  regtype: ["'integer'", "'pg_catalog.text'"],
  regproc: ["'pg_catalog.now'"],
  regprocedure: ["'pg_catalog.abs(integer)'"],
  regoper: ["'pg_catalog.||/'"],
  regoperator: ["'pg_catalog.+(integer,integer)'"],
  regrole: ["'pg_monitor'"],
  regnamespace: ["'pg_catalog'"],
  regconfig: ["'pg_catalog.english'"],
  regdictionary: ["'pg_catalog.english_stem'"],
  regcollation: [`'pg_catalog."C"'`],
  refcursor: ["'a cursor'"],
  aclitem: ["'pg_monitor=r*w/pg_monitor'"],
  int2vector: ["'1 2'"],
  oidvector: ["'1 2'"],
  jsonpath: [`'$."a"[*].size()'`],
  pg_snapshot: ["'10:20:10,14'"],
  txid_snapshot: ["'10:20:10,14'"],
});

const OWN: readonly TypeEntry[] = [
  own("mood", "CREATE TYPE mood AS ENUM ('sad', 'it''s \"ok\"', '')", [
    "'sad'",
    `'it''s "ok"'`,
    "''",
  ]),
  own("pair", "CREATE TYPE pair AS (a int, b text, at timestamptz)", [
    `ROW(1, 'x,"y"', '2024-01-01 00:00:00+03')`,
    "ROW(NULL, '', NULL)",
  ]),
  own("positive", "CREATE DOMAIN positive AS numeric(10,2) CHECK (VALUE > 0)", ["0.01"]),
  own("short", "CREATE DOMAIN short AS character varying(5) CHECK (VALUE <> '')", ["'abc'"]),
  own("floats", "CREATE TYPE floats AS RANGE (subtype = float8)", ["'[0.1,Infinity]'"]),
  own("numbers", "CREATE DOMAIN numbers AS integer[] CHECK (cardinality(VALUE) < 9)", [
    "'{1,NULL}'",
    "'[0:1]={1,2}'",
  ]),
  own("pairs", "CREATE DOMAIN pairs AS pair CHECK ((VALUE).a > 0)", [
    `ROW(1, 'x,"y"', 'infinity')`,
  ]),
  own("mood[]", null, [`'{sad,NULL,"it''s \\"ok\\"",""}'`]),
  own("pair[]", null, [`ARRAY[ROW(1, '{"a"}', NULL), NULL, ROW(NULL, '', NULL)]::pair[]`]),
  own("positive[]", null, ["'{0.10,NULL,2}'"]),
];

const EXTENSIONS: readonly TypeEntry[] = [
  own("hstore", "CREATE EXTENSION IF NOT EXISTS hstore", [`'a=>1, "b c"=>NULL, q=>"\\""'`]),
  own("hstore[]", null, [`ARRAY['a=>"1,2"', NULL, '']::hstore[]`]),
  own("citext", "CREATE EXTENSION IF NOT EXISTS citext", ["'Abc'", "''"]),
  own("ltree", "CREATE EXTENSION IF NOT EXISTS ltree", ["'Top.Science'"]),
  own("cube", "CREATE EXTENSION IF NOT EXISTS cube", ["'(1,2),(3,0.1)'"]),
];

/** `before`: what makes the type; null where it is there with another one. */
function own(declared: string, before: string | null, values: readonly TypeValue[]): TypeEntry {
  const isExtension = /^(?:hstore|citext|ltree|cube)/.test(declared);
  const name = isExtension ? "Types of extensions" : "Types of your own";
  return { group: name, declared, before: before === null ? [] : [before], values };
}

export const POSTGRES_TYPES: readonly TypeEntry[] = [
  ...NUMBERS,
  ...CHARACTERS,
  ...BYTES,
  ...TIMES,
  ...OTHERS,
  ...SHAPES,
  ...RANGES,
  ...ARRAYS,
  ...SYSTEM,
  ...OWN,
  ...EXTENSIONS,
];

/** What 13 has not yet, and what of its numeric: multiranges, a scale outside the digits, an infinite number; and what it cannot print. */
const AFTER_13 = /multirange|numeric\(3,-2\)|numeric\(2,5\)|^"char"/;
export const POSTGRES_13_TYPES: readonly TypeEntry[] = POSTGRES_TYPES.filter(
  ({ declared }) => !AFTER_13.test(declared),
).map((entry) =>
  entry.declared.startsWith("numeric")
    ? { ...entry, values: entry.values.filter((value) => nameOf(value) !== "infinity") }
    : entry,
);
