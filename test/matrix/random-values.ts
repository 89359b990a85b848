// Random values of each type, as SQL that says the same under any settings of the session.
import fc from "fast-check";

export type SqlValues = fc.Arbitrary<string>;

/** By declared type. */
export type RandomTypes = Readonly<Record<string, SqlValues>>;

const integer = (bits: number): SqlValues =>
  fc
    .bigInt({ min: -(2n ** BigInt(bits - 1)), max: 2n ** BigInt(bits - 1) - 1n })
    .map((value) => `${value}`);
const bytes = fc.uint8Array({ maxLength: 40 }).map((value) => Buffer.from(value).toString("hex"));
/** Any characters but NUL, which PostgreSQL has not. */
const characters = fc
  .string({ unit: "binary", maxLength: 20 })
  .filter((text) => !text.includes("\0"));
const document = fc.json({ stringUnit: "grapheme", maxDepth: 2 });
const double = fc.double();
const single = fc.float();

function decimal(digits: number, scale: number): SqlValues {
  const limit = 10n ** BigInt(digits);
  return fc.bigInt({ min: -limit + 1n, max: limit - 1n }).map((value) => {
    const text = (value < 0n ? -value : value).toString().padStart(scale + 1, "0");
    const point = text.length - scale;
    return `${value < 0n ? "-" : ""}${text.slice(0, point)}${scale > 0 ? `.${text.slice(point)}` : ""}`;
  });
}

function hexOf(text: string): string {
  return Buffer.from(text, "utf8").toString("hex");
}

const bits = (min: number, max: number) =>
  fc
    .array(fc.constantFrom("0", "1"), { minLength: min, maxLength: max })
    .map((digits) => digits.join(""));

// PostgreSQL

const pgText = (text: string) => `convert_from(decode('${hexOf(text)}', 'hex'), 'UTF8')`;
const pgFloat = (type: string) => (value: number) =>
  `'${Object.is(value, -0) ? "-0" : value}'::${type}`;
const pgBytes = bytes.map((hex) => `decode('${hex}', 'hex')`);
/** From the year 4000 before to far beyond 9999. */
const pgMoment = fc
  .bigInt({ min: -188_000_000_000_000_000n, max: 300_000_000_000_000_000n })
  .map((value) => `'epoch'::timestamptz + ${value} * interval '1 microsecond'`);
const pgInterval = fc
  .record({
    months: fc.integer({ min: -5000, max: 5000 }),
    days: fc.integer({ min: -5000, max: 5000 }),
    micros: fc.bigInt({ min: -(10n ** 13n), max: 10n ** 13n }),
  })
  .map(
    ({ months, days, micros }) =>
      `make_interval(months => ${months}, days => ${days}) + ${micros} * interval '1 microsecond'`,
  );
const pgArray = (items: SqlValues, type: string): SqlValues =>
  fc
    .array(fc.oneof({ weight: 5, arbitrary: items }, fc.constant("NULL")), { maxLength: 4 })
    .map((all) => `ARRAY[${all.join(", ")}]::${type}[]`);
const pgTexts = characters.map(pgText);
/** Bounds in order, closed or open, or none. */
const pgRange = (items: fc.Arbitrary<readonly [low: string, high: string]>, type: string) =>
  fc
    .tuple(items, fc.constantFrom("[)", "[]", "()", "(]"), fc.constantFrom("both", "low", "high"))
    .map(([[low, high], ends, given]) => {
      const bounds = [given === "high" ? "NULL" : low, given === "low" ? "NULL" : high];
      return `${type}(${bounds.join(", ")}, '${ends}')`;
    });
const inOrder = (bits: number) =>
  fc
    .tuple(fc.integer({ min: -(2 ** (bits - 2)), max: 2 ** (bits - 2) }), fc.nat(1_000_000))
    .map(([low, size]) => [`${low}`, `${low + size}`] as const);
const pgDays = inOrder(20).map(
  ([a, b]) => [`'epoch'::date + ${a}`, `'epoch'::date + ${b}`] as const,
);
const pgSpans = fc
  .tuple(pgMoment, fc.nat(1_000_000_000))
  .map(([from, micros]) => [from, `${from} + ${micros} * interval '1 microsecond'`] as const);
const pgMultirange = (ranges: SqlValues, type: string): SqlValues =>
  fc.array(ranges, { maxLength: 4 }).map((all) => `${type}(${all.join(", ")})`);
const octets = (count: number) =>
  fc
    .uint8Array({ minLength: count, maxLength: count })
    .map((all) => Buffer.from(all).toString("hex"));
const pgAddress = fc.oneof(
  fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 })),
  fc.tuple(fc.ipV6(), fc.integer({ min: 0, max: 128 })),
);
/** What XML may hold, which is less than what PostgreSQL puts into an element. */
const pgXmlTexts = characters
  .map((text) => text.replace(/[^\t\n\x20-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "."))
  .map(pgText);
const pgWords = characters.filter((text) => text !== "").map(pgText);
const or = (values: SqlValues, ...rare: string[]): SqlValues =>
  fc.oneof({ weight: 9, arbitrary: values }, fc.constantFrom(...rare));

export const POSTGRES_RANDOM: RandomTypes = {
  bigint: integer(64),
  numeric: or(decimal(60, 25), "'NaN'", "'Infinity'", "'-Infinity'", "'1e300'"),
  "numeric(20,5)": decimal(20, 5),
  real: single.map(pgFloat("real")),
  "double precision": double.map(pgFloat("double precision")),
  money: integer(50).map((cents) => `(${cents}::numeric / 100)::money`),
  text: pgTexts,
  "character(10)": characters.map((text) => `${pgText([...text].slice(0, 10).join(""))}`),
  bytea: pgBytes,
  "bit varying": bits(0, 70).map((digits) => `B'${digits}'`),
  date: fc.integer({ min: -2_000_000, max: 5_000_000 }).map((days) => `'epoch'::date + ${days}`),
  time: fc
    .bigInt({ min: 0n, max: 86_399_999_999n })
    .map((micros) => `'00:00'::time + ${micros} * interval '1 microsecond'`),
  "time with time zone": fc
    .tuple(fc.integer({ min: 0, max: 86_399_999 }), fc.integer({ min: -959, max: 959 }))
    .map(
      ([millis, zone]) =>
        `('00:00+00'::timetz + ${millis} * interval '1 millisecond') AT TIME ZONE interval '${zone} minutes'`,
    ),
  timestamp: or(pgMoment, "'infinity'", "'-infinity'").map((moment) =>
    moment.startsWith("'epoch") ? moment.replace("timestamptz", "timestamp") : moment,
  ),
  "timestamp with time zone": or(pgMoment, "'infinity'", "'-infinity'"),
  interval: pgInterval,
  json: document.map(pgText).map((text) => `${text}::json`),
  jsonb: document.map(pgText).map((text) => `${text}::jsonb`),
  uuid: fc.uuid().map((text) => `'${text}'`),
  "integer[]": pgArray(integer(32), "integer"),
  "text[]": pgArray(pgTexts, "text"),
  "bytea[]": pgArray(pgBytes, "bytea"),
  "double precision[]": pgArray(double.map(pgFloat("float8")), "float8"),
  "timestamp with time zone[]": pgArray(pgMoment, "timestamptz"),
  "interval[]": pgArray(pgInterval, "interval"),
  "money[]": pgArray(
    integer(40).map((cents) => `(${cents}::numeric / 100)::money`),
    "money",
  ),
  tstzrange: or(pgRange(pgSpans, "tstzrange"), "'empty'"),
  int4range: pgRange(inOrder(32), "int4range"),
  numrange: pgRange(
    inOrder(40).map(([a, b]) => [`${a} * 0.010`, `${b} * 0.01`] as const),
    "numrange",
  ),
  daterange: pgRange(pgDays, "daterange"),
  floats: pgRange(inOrder(40), "public.floats"),
  int8multirange: pgMultirange(pgRange(inOrder(50), "int8range"), "int8multirange"),
  tstzmultirange: pgMultirange(pgRange(pgSpans, "tstzrange"), "tstzmultirange"),
  "bit(17)": bits(17, 17).map((digits) => `B'${digits}'`),
  inet: pgAddress.map(([address, length]) => `'${address}/${length}'`),
  cidr: pgAddress.map(([address, length]) => `network('${address}/${length}'::inet)`),
  macaddr: octets(6).map((hex) => `'${hex}'`),
  macaddr8: octets(8).map((hex) => `'${hex}'`),
  xml: fc
    .tuple(pgXmlTexts, pgXmlTexts)
    .map(([a, b]) => `xmlelement(name e, xmlattributes(${a} AS a), ${b})`),
  tsvector: fc
    .array(pgWords, { maxLength: 4 })
    .map((words) => `array_to_tsvector(ARRAY[${words.join(", ")}]::text[])`),
  mood: fc.constantFrom("'sad'", `'it''s "ok"'`, "''"),
  "mood[]": pgArray(fc.constantFrom("'sad'", `'it''s "ok"'`, "''"), "public.mood"),
  positive: fc.integer({ min: 1 }).map((cents) => `${cents} / 100.0`),
  hstore: fc.array(fc.tuple(pgTexts, or(pgTexts, "NULL")), { maxLength: 4 }).map((all) => {
    const [keys, values] = [0, 1].map((i) => all.map((pair) => pair[i]).join(", "));
    return `public.hstore(ARRAY[${keys}]::text[], ARRAY[${values}]::text[])`;
  }),
  citext: pgTexts.map((text) => `${text}::public.citext`),
  pair: fc
    .tuple(integer(32), pgTexts, pgMoment)
    .map((fields) => `ROW(${fields.join(", ")})::public.pair`),
  point: fc.tuple(double, double).map((xy) => `point(${xy.map(pgFloat("float8")).join(", ")})`),
};

// MariaDB and MySQL

const mysqlText = (charset: string) => (text: string) =>
  `CONVERT(X'${hexOf(text)}' USING ${charset})`;
const mysqlNumber = (value: number) =>
  Object.is(value, -0) ? "0" : `${value}e0`.replace(/e([+-]?\d+)e0$/, "e$1");
const finite = { noNaN: true, noDefaultInfinity: true } as const;
/** A moment of the years 1970 to 2037, which every type has. */
const mysqlMoment = fc
  .tuple(fc.integer({ min: 86_400, max: 2_145_000_000 }), fc.integer({ min: 0, max: 999_999 }))
  .map(
    ([seconds, micros]) =>
      `TIMESTAMP'1970-01-01 00:00:00' + INTERVAL ${seconds} SECOND + INTERVAL ${micros} MICROSECOND`,
  );

export const MYSQL_RANDOM: RandomTypes = {
  bigint: integer(64),
  "bigint unsigned": fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((value) => `${value}`),
  "decimal(65,30)": decimal(65, 30),
  float: fc
    .float(finite)
    .filter((value) => Math.abs(value) > 1e-37 || value === 0)
    .map(mysqlNumber),
  double: fc.double(finite).map(mysqlNumber),
  "bit(64)": bits(1, 64).map((digits) => `b'${digits}'`),
  year: fc.integer({ min: 1901, max: 2155 }).map(String),
  "char(20)": characters.map(mysqlText("utf8mb4")),
  "varchar(20)": characters.map(mysqlText("utf8mb4")),
  ...Object.fromEntries(
    ["tinytext", "text", "mediumtext", "longtext"].map((type) => [
      type,
      characters.map(mysqlText("utf8mb4")),
    ]),
  ),
  // It takes no others.
  "varchar(20) character set latin1": fc
    .string({
      unit: fc.integer({ min: 1, max: 255 }).map((code) => String.fromCharCode(code)),
      maxLength: 20,
    })
    .map((text) => `CONVERT(X'${Buffer.from(text, "latin1").toString("hex")}' USING latin1)`),
  "varchar(20) character set sjis": fc
    .string({ unit: fc.constantFrom("漢", "字", "ア", "a", "ｱ", "表"), maxLength: 20 })
    .map(mysqlText("utf8mb4")),
  "binary(50)": bytes.map((hex) => `X'${hex}'`),
  ...Object.fromEntries(
    ["varbinary(50)", "tinyblob", "blob", "mediumblob", "longblob"].map((type) => [
      type,
      bytes.map((hex) => `X'${hex}'`),
    ]),
  ),
  date: fc.integer({ min: 1, max: 3_600_000 }).map((days) => `FROM_DAYS(${days + 366})`),
  "time(6)": fc
    .tuple(
      fc.constantFrom("", "-"),
      fc.integer({ min: 0, max: 838 }),
      fc.integer({ min: 0, max: 3_599_999 }),
    )
    .map(([sign, hours, millis]) => {
      const pad = (value: number, length = 2) => String(value).padStart(length, "0");
      const [minutes, seconds] = [Math.floor(millis / 60_000), Math.floor(millis / 1000) % 60];
      return `'${sign}${pad(hours)}:${pad(minutes)}:${pad(seconds)}.${pad(millis % 1000, 3)}'`;
    }),
  "datetime(6)": mysqlMoment,
  // By the number of the second: a wall clock's text may name a moment that a zone leaves out.
  "timestamp(6)": fc
    .tuple(fc.integer({ min: 1, max: 2_145_000_000 }), fc.integer({ min: 0, max: 999_999 }))
    .map(([seconds, micros]) => `FROM_UNIXTIME(${seconds}.${String(micros).padStart(6, "0")})`),
  "enum('a','it''s','ß')": fc.constantFrom("'a'", "'it''s'", "3"),
  "set('x','y','z')": fc.integer({ min: 0, max: 7 }).map(String),
  json: document.map(mysqlText("utf8mb4")),
  point: fc
    .tuple(fc.double(finite), fc.double(finite))
    .map((xy) => `POINT(${xy.map(mysqlNumber).join(", ")})`),
};

export const MARIADB_RANDOM: RandomTypes = {
  ...MYSQL_RANDOM,
  uuid: fc.uuid({ version: [1, 3, 4, 5] }).map((text) => `'${text}'`),
  inet4: fc.ipV4().map((text) => `'${text}'`),
  inet6: fc.oneof(fc.ipV4(), fc.ipV6()).map((text) => `'${text.replace(/^(?=\d+\.)/, "::ffff:")}'`),
};

// SQLite

/** In either encoding of the file: made of code points. */
const sqliteText = (text: string) =>
  text === "" ? "''" : `char(${[...text].map((each) => each.codePointAt(0)).join(", ")})`;
const sqliteNumber = (value: number) =>
  Number.isFinite(value) ? mysqlNumber(value) : value > 0 ? "9e999" : "-9e999";
const reals = fc.double({ noNaN: true }).map(sqliteNumber);
const blobs = bytes.map((hex) => `X'${hex}'`);
const texts = characters.map(sqliteText);
/** Whatever SQLite can hold. */
const anything: SqlValues = fc.oneof(integer(64), reals, texts, blobs);
const instant = fc.date({
  min: new Date("0001-01-01T00:00:00Z"),
  max: new Date("9999-12-31"),
  noInvalidDate: true,
});

export const SQLITE_RANDOM: RandomTypes = {
  INTEGER: integer(64),
  REAL: reals,
  NUMERIC: fc.oneof(integer(64), reals),
  BOOLEAN: fc.constantFrom("0", "1"),
  TEXT: texts,
  BLOB: blobs,
  DATE: instant.map((date) => `'${date.toISOString().slice(0, 10)}'`),
  TIME: instant.map((date) => `'${date.toISOString().slice(11, 23)}'`),
  DATETIME: instant.map((date) => `'${date.toISOString().slice(0, 23).replace("T", " ")}'`),
  UUID: fc.uuid().map((text) => `'${text}'`),
  JSON: document.map(sqliteText),
  "": anything,
};

/** Bytes that may be no text, in either encoding. */
const broken: SqlValues = blobs.map((hex) => `CAST(${hex} AS TEXT)`);

/** Which no other database has in a text, or at which some end it. */
const withNul: SqlValues = fc
  .tuple(characters, characters)
  .map((around) => sqliteText(around.join("\0")));

/** Any value in any column, for a target that has the same freedom. */
export const SQLITE_ANYTHING: RandomTypes = Object.fromEntries(
  Object.keys(SQLITE_RANDOM).map((declared) => [
    declared,
    fc.oneof({ weight: 4, arbitrary: anything }, broken, withNul),
  ]),
);
