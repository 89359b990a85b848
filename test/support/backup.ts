// A source brought back to an earlier time.
import { execFile } from "node:child_process";
import { copyFileSync, existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import type { DatabaseKind } from "../servers/index.ts";
import { findProgram } from "../servers/programs.ts";
import { dialectOf, openSql, withSql } from "./sql-client.ts";
import type { TestBed } from "./test-bed.ts";

/** Keeps the source as it now is, and brings it back; nothing may be connected to it. */
export interface Backup {
  take(bed: TestBed): Promise<void>;
  restore(bed: TestBed): Promise<void>;
}

/** Null where the programs that dump such a database are not there. */
export function backupOf(kind: DatabaseKind): Backup | null {
  if (dialectOf(kind) !== "mariadb") return kind === "sqlite" ? SQLITE_BACKUP : POSTGRES_BACKUP;
  return dumpPrograms() === null ? null : DUMP;
}

/** Of the file alone: what the relay has noted beside it stays as it is. */
const SQLITE_BACKUP: Backup = {
  async take(bed) {
    const path = bed.database("source").url.replace("sqlite:", "");
    copyFileSync(path, `${path}.backup`);
  },
  async restore(bed) {
    const path = bed.database("source").url.replace("sqlite:", "");
    for (const suffix of ["-wal", "-shm", "-journal"]) {
      if (existsSync(path + suffix)) rmSync(path + suffix);
    }
    copyFileSync(`${path}.backup`, path);
  },
};

const POSTGRES_BACKUP: Backup = {
  take: (bed) => inServer(bed, (name) => [`CREATE DATABASE ${name}_backup TEMPLATE ${name}`]),
  restore: (bed) =>
    inServer(bed, (name) => [
      `DROP DATABASE ${name} WITH (FORCE)`,
      `ALTER DATABASE ${name}_backup RENAME TO ${name}`,
    ]),
};

async function inServer(bed: TestBed, statements: (name: string) => string[]): Promise<void> {
  const url = new URL(bed.database("source").url);
  const name = url.pathname.slice(1);
  url.pathname = "/postgres";
  await using sql = await openSql({ kind: "postgres", url: url.href });
  for (const statement of statements(name)) await sql.run(statement);
}

/** Dumped and loaded; MariaDB's programs serve MySQL, too. */
const DUMP: Backup = {
  take: (bed) =>
    runDump(bed, "dump", (name, file) => [
      ...["--single-transaction", "--add-drop-database", `--result-file=${file}`],
      ...["--databases", name],
    ]),
  async restore(bed) {
    await untilLater(bed);
    await runDump(bed, "load", (_, file) => [`--execute=source ${file}`]);
  },
};

/** The server keeps when a table was made in whole seconds: what is made anew within the same one cannot be told from it. */
async function untilLater(bed: TestBed): Promise<void> {
  await withSql(bed.database("source"), async (sql) => {
    const isLater = `SELECT MAX(CREATE_TIME) < NOW() AS later FROM information_schema.TABLES
      WHERE TABLE_SCHEMA = DATABASE()`;
    while (Number((await sql.rows(isLater))[0]?.later) !== 1) await sleep(20);
  });
}

async function runDump(
  bed: TestBed,
  task: "dump" | "load",
  args: (name: string, file: string) => readonly string[],
): Promise<void> {
  const programs = dumpPrograms();
  if (programs === null) throw new Error("mariadb-dump and mariadb are not installed.");
  const { hostname, port, username, password, pathname } = new URL(bed.database("source").url);
  const own = args(pathname.slice(1), join(bed.folder, "backup.sql"));
  await promisify(execFile)(
    programs[task],
    [`--host=${hostname}`, `--port=${port}`, `--user=${username}`, ...own],
    { env: { ...process.env, MYSQL_PWD: password } },
  );
}

function dumpPrograms(): { readonly dump: string; readonly load: string } | null {
  const [dump, load] = [findProgram("mariadb-dump"), findProgram("mariadb")];
  return dump === undefined || load === undefined ? null : { dump, load };
}
