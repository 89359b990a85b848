// A source brought back to an earlier time.
import { copyFileSync, existsSync, rmSync } from "node:fs";
import { openSql } from "./sql-client.ts";
import type { TestBed } from "./test-bed.ts";

/** Keeps the source as it now is, and brings it back; nothing may be connected to it. */
export interface Backup {
  take(bed: TestBed): Promise<void>;
  restore(bed: TestBed): Promise<void>;
}

export const SQLITE_BACKUP: Backup = {
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

export const POSTGRES_BACKUP: Backup = {
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
