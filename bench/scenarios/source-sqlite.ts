// What capture costs a SQLite source: one-row inserts by one connection, each synced to the disk.
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { sqlite as adapter } from "../../src/databases/sqlite/index.ts";
import { installCapture } from "../capture.ts";
import { runRounds } from "../rounds.ts";
import type { Context, Scenario } from "../scenario.ts";

const TABLE = `CREATE TABLE wide (
  id INTEGER PRIMARY KEY, account INTEGER NOT NULL, code TEXT NOT NULL, name TEXT NOT NULL,
  amount NUMERIC NOT NULL, created_at TEXT NOT NULL, active INTEGER NOT NULL, note TEXT)`;
const INSERT =
  "INSERT INTO wide (account, code, name, amount, created_at, active, note) VALUES (?, ?, ?, ?, ?, ?, ?)";

export const sourceSqlite: Scenario = {
  name: "source-sqlite",
  what: "SQLite: one-row INSERTs a second, with capture / without",

  async run(context: Context): Promise<void> {
    const plain = create(join(context.bed.folder, "plain.db"));
    const captured = create(join(context.bed.folder, "captured.db"));
    await installCapture(adapter, `sqlite:${captured}`);
    for (const file of [plain, captured]) await insert(file, 1);
    const seconds = context.size(3, 1);
    const measured = await runRounds(
      context.rounds(5),
      () => insert(plain, seconds),
      () => insert(captured, seconds),
      context.say,
    );
    const figure = { figure: "tps", label: "one-row INSERT", unit: "tps", goal: 0.8 } as const;
    context.results.compare("source-sqlite", "no capture", measured, {
      ...figure,
      better: "higher",
    });
  },
};

function create(file: string): string {
  const database = new DatabaseSync(file);
  database.exec("PRAGMA journal_mode = WAL");
  database.exec(TABLE);
  database.close();
  return file;
}

async function insert(file: string, seconds: number): Promise<{ tps: number }> {
  const database = new DatabaseSync(file);
  database.exec("PRAGMA synchronous = FULL");
  const statement = database.prepare(INSERT);
  const note = "a note about one row, fifty characters long or so";
  const start = performance.now();
  const end = start + seconds * 1000;
  let count = 0;
  for (; performance.now() < end; count++) {
    statement.run(7, "code 7", "name of one", 13.37, "2026-01-01 00:00:00", 1, note);
  }
  const elapsed = (performance.now() - start) / 1000;
  database.close();
  return { tps: count / elapsed };
}
