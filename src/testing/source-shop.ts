import { sleep } from "../core/async.ts";
import type { Layout } from "../core/change.ts";
import type { ChangeLog, Source } from "../core/source.ts";
import type { Row } from "../core/value.ts";
import type { Bench, SqlSession } from "./database-bed.ts";
import { sorted } from "./replica.ts";

/** A table that is captured, and all it takes to change it and to see the changes. */
export interface Shop {
  readonly sql: SqlSession;
  readonly source: Source;
  readonly log: ChangeLog;
  readonly layouts: readonly Layout[];
}

export const ITEMS = "items";

export async function createItems(bench: Bench): Promise<SqlSession> {
  const { integer, text } = bench.dialect;
  const sql = await bench.sql();
  await sql.run(
    `CREATE TABLE items (id ${integer} NOT NULL PRIMARY KEY, name ${text}, qty ${integer}, secret ${text})`,
  );
  return sql;
}

export async function openShop(
  bench: Bench,
  options: { readonly columns?: readonly string[]; readonly filters?: readonly string[] } = {},
): Promise<Shop> {
  const sql = await createItems(bench);
  const source = await bench.source();
  const log = await bench.log(source);
  const columns = options.columns ?? ["id", "name", "qty"];
  const layouts = await log.capture([await bench.captureTable(ITEMS, { ...options, columns })]);
  return { sql, source, log, layouts };
}

export async function tableRows(sql: SqlSession): Promise<readonly Row[]> {
  return sorted(await sql.rows("SELECT id, name, qty FROM items"));
}

/** Of one writer. */
const TRANSACTIONS = 25;

/**
 * One writer: transactions of three rows under one tag, each also counting up one of two rows that
 * all writers share; every fourth is rolled back. Gives the tags it committed.
 */
export async function write(bench: Bench, writer: number): Promise<string[]> {
  const sql = await bench.sql();
  const tags: string[] = [];
  for (let i = 0; i < TRANSACTIONS; i++) {
    const id = 1_000 + (writer * TRANSACTIONS + i) * 3;
    const tag = `w${writer}t${i}`;
    const rolledBack = i % 4 === 3;
    await sql.run(bench.dialect.begin);
    await sql.run(`UPDATE items SET qty = qty + 1 WHERE id = ${i % 2}`);
    await sql.run(`INSERT INTO items (id, name) VALUES (${id}, '${tag}'), (${id + 1}, '${tag}')`);
    if (i % 3 === 0) await sleep(1);
    await sql.run(`INSERT INTO items (id, name) VALUES (${id + 2}, '${tag}')`);
    await sql.run(rolledBack ? "ROLLBACK" : "COMMIT");
    if (!rolledBack) tags.push(tag);
  }
  return tags;
}
