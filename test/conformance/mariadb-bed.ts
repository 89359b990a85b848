import mysql from "mysql2/promise";
import { mysql as mysqlAdapter } from "../../src/databases/mysql/index.ts";
import type { DatabaseBed, Dialect, SqlSession } from "../../src/testing/index.ts";
import { freshDatabase } from "../servers/index.ts";

export async function mariadbBed(kind: "mariadb" | "mysql"): Promise<DatabaseBed> {
  const database = await freshDatabase(kind);
  return {
    adapter: mysqlAdapter,
    url: database.url,
    dialect: kind === "mysql" ? normalisingJson(dialect) : dialect,
    connect: () => connect(database.url),
    dispose: async () => database[Symbol.asyncDispose](),
  };
}

async function connect(url: string): Promise<SqlSession> {
  const connection = await mysql.createConnection({
    uri: url,
    charset: "utf8mb4",
    rowsAsArray: true,
    typeCast: (field) => field.string(),
  });
  let open = true;
  return {
    async run(sql) {
      await connection.query(sql);
    },
    async rows(sql) {
      const [rows] = await connection.query(sql);
      return rows as (string | null)[][];
    },
    async close() {
      if (open) await connection.end();
      open = false;
    },
  };
}

const quote = (name: string) => `\`${name.replaceAll("`", "``")}\``;

const dialect: Dialect = {
  schema: null,
  concurrentWriters: true,
  relaxes: true,
  integer: "BIGINT",
  text: "VARCHAR(190) COLLATE utf8mb4_bin",
  begin: "START TRANSACTION",
  quote,
  objects: `
    SELECT 'table', table_name FROM information_schema.tables WHERE table_schema = database()
    UNION ALL SELECT 'trigger', trigger_name FROM information_schema.triggers WHERE trigger_schema = database()
    UNION ALL SELECT 'routine', routine_name FROM information_schema.routines WHERE routine_schema = database()
    UNION ALL SELECT 'event', event_name FROM information_schema.events WHERE event_schema = database()
    ORDER BY 1, 2`,
  bumpTrigger: (table) =>
    ["INSERT", "UPDATE"].map(
      (event) =>
        `CREATE TRIGGER bump_${event} BEFORE ${event} ON ${table} FOR EACH ROW SET NEW.qty = 7`,
    ),
  async breakCapture(session, table) {
    const triggers = await session.rows(
      `SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = database() AND event_object_table = '${table}' AND trigger_name LIKE 'tidemark%' LIMIT 1`,
    );
    await session.run(`DROP TRIGGER ${quote(String(triggers[0]?.[0]))}`);
  },
  async dumpLog(session) {
    const tables = await session.rows(
      "SELECT table_name FROM information_schema.tables WHERE table_schema = database() AND table_name LIKE 'tidemark%'",
    );
    const texts: string[] = [];
    for (const [table] of tables) {
      texts.push(String(await session.rows(`SELECT * FROM ${quote(String(table))}`)));
    }
    return texts.join("\n");
  },
  readsBack(type, text) {
    if (type.kind === "boolean") return text === "t" ? "1" : "0";
    return type.kind === "timestamptz" ? text.replace(/\+00$/, "") : text;
  },
  unfitForDecimal: "INT",
  shortText: "VARCHAR(5)",
  samples: [
    { declared: "TINYINT", literal: "-128", canonical: "-128" },
    { declared: "SMALLINT UNSIGNED", literal: "65535", canonical: "65535" },
    { declared: "MEDIUMINT", literal: "-8388608", canonical: "-8388608" },
    { declared: "INT", literal: "2147483647", canonical: "2147483647" },
    { declared: "BIGINT", literal: "-9223372036854775808", canonical: "-9223372036854775808" },
    {
      declared: "BIGINT UNSIGNED",
      literal: "18446744073709551615",
      canonical: "18446744073709551615",
    },
    {
      declared: "DECIMAL(30,10)",
      literal: "12345678901234567890.1234567890",
      canonical: "12345678901234567890.1234567890",
    },
    { declared: "DECIMAL(10,2)", literal: "-0.5", canonical: "-0.50" },
    { declared: "DOUBLE", literal: "0.1e0", canonical: "0.1" },
    { declared: "DOUBLE", literal: "123456789.12345679e0", canonical: "123456789.12345679" },
    { declared: "FLOAT", literal: "16777216e0", canonical: "16777216" },
    { declared: "VARCHAR(50)", literal: "''", canonical: "" },
    {
      declared: "TEXT",
      literal: `'a "quoted", (one) \\\\ it''s, 漢 \u{1f30a}'`,
      canonical: `a "quoted", (one) \\ it's, 漢 \u{1f30a}`,
    },
    {
      declared: "TEXT",
      literal: "'line\\nline\\ttab\\r\\0nul'",
      canonical: "line\nline\ttab\r\0nul",
    },
    { declared: "BLOB", literal: "x'00ff5c22'", canonical: "00ff5c22" },
    { declared: "VARBINARY(10)", literal: "x''", canonical: "" },
    { declared: "DATE", literal: "'2024-02-29'", canonical: "2024-02-29" },
    { declared: "TIME(6)", literal: "'-838:59:58.123456'", canonical: "-838:59:58.123456" },
    {
      declared: "DATETIME(6)",
      literal: "'2024-02-29 23:59:59.123456'",
      canonical: "2024-02-29 23:59:59.123456",
    },
    { declared: "ENUM('new','it''s')", literal: "'it''s'", canonical: "it's" },
    { declared: "BIT(4)", literal: "b'0101'", canonical: "0101" },
    { declared: "JSON", literal: `'{"b": 1.50, "a": 1}'`, canonical: `{"b": 1.50, "a": 1}` },
  ],
};

/** MySQL stores JSON in a form of its own; MariaDB keeps the text. */
function normalisingJson(dialect: Dialect): Dialect {
  return {
    ...dialect,
    readsBack: (type, text) =>
      type.kind === "json"
        ? normalJson(JSON.parse(text))
        : (dialect.readsBack?.(type, text) ?? text),
    samples: dialect.samples.map((sample) =>
      sample.declared === "JSON"
        ? { ...sample, canonical: normalJson(JSON.parse(String(sample.canonical))) }
        : sample,
    ),
  };
}

/** Keys by length and then by bytes, a space after each comma and colon (MySQL manual, "The JSON Data Type"). */
function normalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(normalJson).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).sort(([a], [b]) => a.length - b.length || (a < b ? -1 : 1));
  return `{${entries.map(([key, each]) => `${JSON.stringify(key)}: ${normalJson(each)}`).join(", ")}}`;
}
