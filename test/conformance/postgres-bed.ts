import pg from "pg";
import { postgres } from "../../src/databases/postgres/index.ts";
import type { DatabaseBed, Dialect, SqlSession } from "../../src/testing/index.ts";
import { freshDatabase, type PostgresKind } from "../servers/index.ts";

export async function postgresBed(kind: PostgresKind): Promise<DatabaseBed> {
  const database = await freshDatabase(kind);
  return {
    adapter: postgres,
    url: database.url,
    dialect,
    connect: () => connect(database.url),
    dispose: async () => database[Symbol.asyncDispose](),
  };
}

/** Every value as the server prints it. */
const AS_PRINTED = { getTypeParser: () => (value: string | Buffer) => String(value) };

async function connect(url: string): Promise<SqlSession> {
  const client = new pg.Client({ connectionString: url, types: AS_PRINTED });
  // A connection that dies is told by the statement that needs it.
  client.on("error", () => {});
  await client.connect();
  let open = true;
  return {
    async run(sql) {
      await client.query(sql);
    },
    async rows(sql) {
      const { rows } = await client.query<(string | null)[]>({ text: sql, rowMode: "array" });
      return rows;
    },
    async close() {
      if (open) await client.end();
      open = false;
    },
  };
}

const quote = (name: string) => `"${name.replaceAll('"', '""')}"`;

const dialect: Dialect = {
  schema: "public",
  concurrentWriters: true,
  relaxes: true,
  integer: "bigint",
  text: "text",
  begin: "BEGIN",
  quote,
  objects: `
    SELECT 'schema', nspname::text FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    UNION ALL SELECT c.relkind::text, n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
      WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    UNION ALL SELECT 'function', n.nspname || '.' || proname FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace
      WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    UNION ALL SELECT 'trigger', tgrelid::regclass || '.' || tgname FROM pg_trigger WHERE NOT tgisinternal
    ORDER BY 1, 2`,
  bumpTrigger: (table) => [
    `CREATE FUNCTION bump() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE ${table} SET qty = 7 WHERE id = NEW.id; RETURN NULL; END $$`,
    `CREATE TRIGGER bump AFTER INSERT OR UPDATE OF qty ON ${table} FOR EACH ROW WHEN (NEW.qty <> 7) EXECUTE FUNCTION bump()`,
  ],
  async breakCapture(session, table) {
    await session.run(`ALTER TABLE ${quote(table)} DISABLE TRIGGER USER`);
  },
  async dumpLog(session) {
    const tables = await session.rows(
      "SELECT tablename FROM pg_tables WHERE schemaname = 'tidemark'",
    );
    const texts: string[] = [];
    for (const [table] of tables) {
      const name = quote(String(table));
      texts.push(String(await session.rows(`SELECT t::text FROM tidemark.${name} AS t`)));
    }
    return texts.join("\n");
  },
  unfitForDecimal: "integer",
  shortText: "varchar(5)",
  samples: [
    { declared: "smallint", literal: "-32768", canonical: "-32768" },
    { declared: "integer", literal: "2147483647", canonical: "2147483647" },
    { declared: "bigint", literal: "9223372036854775807", canonical: "9223372036854775807" },
    {
      declared: "numeric",
      literal: "12345678901234567890.1234567890",
      canonical: "12345678901234567890.1234567890",
    },
    { declared: "numeric(10,2)", literal: "1.5", canonical: "1.50" },
    { declared: "numeric", literal: "'NaN'", canonical: "NaN" },
    { declared: "numeric", literal: "1e25", canonical: "10000000000000000000000000" },
    { declared: "real", literal: "0.1", canonical: "0.1" },
    { declared: "double precision", literal: "0.1", canonical: "0.1" },
    { declared: "double precision", literal: "'-Infinity'", canonical: "-Infinity" },
    { declared: "double precision", literal: "'NaN'", canonical: "NaN" },
    { declared: "double precision", literal: "'-0'", canonical: "-0" },
    { declared: "boolean", literal: "true", canonical: "t" },
    { declared: "boolean", literal: "false", canonical: "f" },
    { declared: "text", literal: "''", canonical: "" },
    { declared: "text", literal: "'NULL'", canonical: "NULL" },
    {
      declared: "text",
      literal: `'a "quoted", (one) \\ it''s, 漢 \u{1f30a}'`,
      canonical: `a "quoted", (one) \\ it's, 漢 \u{1f30a}`,
    },
    {
      declared: "text",
      literal: "E'line\\nline\\ttab\\r\\\\N'",
      canonical: "line\nline\ttab\r\\N",
    },
    { declared: "varchar(10)", literal: "' a '", canonical: " a " },
    { declared: "bytea", literal: "'\\x00ff5c22'", canonical: "00ff5c22" },
    { declared: "bytea", literal: "''", canonical: "" },
    { declared: "date", literal: "'2024-02-29'", canonical: "2024-02-29" },
    { declared: "date", literal: "'infinity'", canonical: "infinity" },
    { declared: "date", literal: "'0044-03-15 BC'", canonical: "0044-03-15 BC" },
    { declared: "time", literal: "'23:59:59.123456'", canonical: "23:59:59.123456" },
    {
      declared: "timestamp",
      literal: "'2024-02-29 23:59:59.5'",
      canonical: "2024-02-29 23:59:59.5",
    },
    {
      declared: "timestamptz",
      literal: "'2024-06-01 12:00:00+02'",
      canonical: "2024-06-01 10:00:00+00",
    },
    { declared: "interval", literal: "'1 year 2 days 03:04:05.5'", canonical: "P1Y2DT3H4M5.5S" },
    {
      declared: "uuid",
      literal: "'0F8FAD5B-D9CB-469F-A165-70867728950E'",
      canonical: "0f8fad5b-d9cb-469f-a165-70867728950e",
    },
    {
      declared: "json",
      literal: `'{"b": 1.50, "a": 1, "a": 2}'`,
      canonical: `{"b": 1.50, "a": 1, "a": 2}`,
    },
    { declared: "json", literal: `'"\\u0000"'`, canonical: `"\\u0000"` },
    { declared: "jsonb", literal: `'{"b": 1.50}'`, canonical: `{"b": 1.50}` },
    { declared: "bit(4)", literal: "B'0101'", canonical: "0101" },
    { declared: "text[]", literal: `'{a,NULL,"b,c"}'`, canonical: '{a,NULL,"b,c"}' },
    { declared: "inet", literal: "'10.0.0.1/8'", canonical: "10.0.0.1/8" },
  ],
};
