// What capture costs a MariaDB source: one-row inserts by four clients, committed one by one.
import { randomBytes } from "node:crypto";
import mysql, { type Connection } from "mysql2/promise";
import { mysql as adapter } from "../../src/databases/mysql/index.ts";
import { installCapture } from "../capture.ts";
import { runRounds } from "../rounds.ts";
import type { Context, Scenario } from "../scenario.ts";

const CLIENTS = 4;
const TABLE = `CREATE TABLE wide (
  id int AUTO_INCREMENT PRIMARY KEY, account int NOT NULL, code varchar(40) NOT NULL,
  name varchar(40) NOT NULL, amount decimal(12, 2) NOT NULL, created_at datetime(6) NOT NULL,
  active boolean NOT NULL, note varchar(200))`;
const INSERT =
  "INSERT INTO wide (account, code, name, amount, created_at, active, note) VALUES (?, ?, ?, ?, ?, ?, ?)";
const ROW = [
  ...[7, "code 7", "name of one", "13.37", "2026-01-01 00:00:00", 1],
  "a note about one row, fifty characters long or so",
];

export const sourceMariadb: Scenario = {
  name: "source-mariadb",
  what: "MariaDB: one-row INSERTs a second, with capture / without",

  async run(context: Context): Promise<void> {
    const { url } = await context.bed.mariadb();
    const plain = await createDatabase(url);
    const captured = await createDatabase(url);
    await installCapture(adapter, captured);
    for (const database of [plain, captured]) await insert(database, context.size(2, 1));
    const seconds = context.size(5, 1);
    const measured = await runRounds(
      context.rounds(3),
      () => insert(plain, seconds),
      () => insert(captured, seconds),
      context.say,
    );
    const figure = { figure: "tps", label: "one-row INSERT", unit: "tps", goal: 0.85 } as const;
    context.results.compare("source-mariadb", "no capture", measured, {
      ...figure,
      better: "higher",
    });
  },
};

async function createDatabase(server: string): Promise<string> {
  const name = `bench_${randomBytes(4).toString("hex")}`;
  const url = new URL(server);
  const connection = await mysql.createConnection(server);
  await connection.query(`CREATE DATABASE ${name}`);
  await connection.query(`USE ${name}`);
  await connection.query(TABLE);
  await connection.end();
  url.pathname = `/${name}`;
  return url.href;
}

async function insert(url: string, seconds: number): Promise<{ tps: number }> {
  const clients: Connection[] = [];
  for (let i = 0; i < CLIENTS; i++) clients.push(await mysql.createConnection(url));
  const start = performance.now();
  const end = start + seconds * 1000;
  const counts = await Promise.all(
    clients.map(async (client) => {
      let count = 0;
      for (; performance.now() < end; count++) await client.execute(INSERT, ROW);
      return count;
    }),
  );
  const elapsed = (performance.now() - start) / 1000;
  for (const client of clients) await client.end();
  return { tps: counts.reduce((sum, count) => sum + count, 0) / elapsed };
}
