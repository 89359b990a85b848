// The bank: random transactions over three tables under rules that every state of the source keeps,
// so that a reader of the target can tell at any moment whether it sees one.
//
// - The balances of accounts and wallets add up to the same sum.
// - The entries of the ledger add up to zero: each transaction writes a debit and a credit.
// - An account's version only grows.
// - What was rolled back (marked "poison") never stands anywhere.
import { sleep } from "../../src/core/async.ts";
import type { Random } from "./random.ts";
import { isTransient, type SqlClient } from "./sql-client.ts";
import type { TestTable } from "./test-tables.ts";

export const ACCOUNTS: TestTable = {
  name: "accounts",
  columns: { id: "integer", owner: "varchar", balance: "bigint", ver: "bigint" },
  key: ["id"],
  required: ["balance", "ver"],
};

/** Come, go and change their key. */
export const WALLETS: TestTable = {
  name: "wallets",
  columns: { id: "integer", label: "varchar", balance: "bigint" },
  key: ["id"],
  required: ["label", "balance"],
};

/** Inserts only. */
export const LEDGER: TestTable = {
  name: "ledger",
  columns: { id: "bigint", account_id: "integer", amount: "bigint", note: "varchar" },
  key: ["id"],
  references: { account_id: "accounts" },
};

export const BANK: readonly TestTable[] = [ACCOUNTS, WALLETS, LEDGER];
export const BANK_NAMES: readonly string[] = BANK.map(({ name }) => name);

const SHARED_ACCOUNTS = 20;
/** Only long transactions touch these, so that they do not hold back the short ones. */
const LONG_ACCOUNTS = 10;
const WALLET_IDS = 25;
const BALANCE = 1_000;
export const BANK_SUM = (SHARED_ACCOUNTS + LONG_ACCOUNTS) * BALANCE;

export async function fillBank(sql: SqlClient): Promise<void> {
  await sql.begin();
  for (let id = 1; id <= SHARED_ACCOUNTS + LONG_ACCOUNTS; id++) {
    await sql.run("INSERT INTO accounts (id, owner, balance, ver) VALUES (?, ?, ?, 0)", [
      id,
      `owner ${id}`,
      BALANCE,
    ]);
  }
  await sql.commit();
}

export interface ClientOptions {
  /** Opens a connection of the writer's own; called again when it was lost. */
  readonly connect: () => Promise<SqlClient>;
  readonly random: Random;
  /** Transactions to run, at most. */
  readonly transactions: number;
  /** Milliseconds between two transactions, at most. */
  readonly pauseMs?: number;
  readonly signal?: AbortSignal;
}

export interface WriterOptions extends ClientOptions {
  /** Tells the writers' ledger entries apart. */
  readonly writer: number;
  /** Milliseconds that a long transaction stays open. */
  readonly longMs: number;
}

/** One client of the bank. Gives the number of transactions it knows to be committed. */
export function runWriter(options: WriterOptions): Promise<number> {
  let entry = options.writer * 10_000_000;
  const means = { nextEntry: () => ++entry, longMs: options.longMs };
  return runClient(options, (sql, random) => transact(sql, random, means));
}

/**
 * Runs transactions one after the other, through losses of the server. `transact` gives true when it has
 * committed. Gives the number of those that are known to be committed.
 */
export async function runClient(
  options: ClientOptions,
  transact: (sql: SqlClient, random: Random) => Promise<boolean>,
): Promise<number> {
  const { random, transactions, signal } = options;
  let sql: SqlClient | null = null;
  let committed = 0;
  for (let turn = 0; turn < transactions && !signal?.aborted; turn++) {
    try {
      sql ??= await options.connect();
      if (await transact(sql, random)) committed++;
      if (options.pauseMs !== undefined) await sleep(random.unit() * options.pauseMs, signal);
    } catch (error) {
      if (!isTransient(error) && !isDuplicate(error)) throw error;
      if (sql !== null && !(await rolledBack(sql))) {
        await sql[Symbol.asyncDispose]();
        sql = null;
      }
      // A full disk fails at once, again and again: others need their turn, too.
      await sleep(sql === null ? 50 : 1, signal);
    }
  }
  await sql?.[Symbol.asyncDispose]();
  return committed;
}

interface Means {
  readonly nextEntry: () => number;
  readonly longMs: number;
}

/** One transaction; true when it was committed. */
async function transact(sql: SqlClient, random: Random, means: Means): Promise<boolean> {
  const kind = random.pick([
    "transfer",
    "transfer",
    "transfer",
    "wallet",
    "wallet",
    "many",
    "long",
  ]);
  const isLong = kind === "long" && random.chance(0.3);
  await sql.begin();
  if (isLong) {
    for (let step = 0; step < 5; step++) {
      await transfer(sql, random, { ...means, isLong });
      await sleep(means.longMs / 5);
    }
  } else if (kind === "wallet") {
    await playWallet(sql, random);
    if (random.chance(0.3)) await playWallet(sql, random);
  } else if (kind === "many") {
    for (let step = random.between(2, 12); step > 0; step--) await transfer(sql, random, means);
  } else {
    await transfer(sql, random, means);
  }
  if (random.chance(0.15)) await poisonedSavepoint(sql, random, means);
  if (random.chance(0.1)) {
    await poison(sql, random, means);
    await sql.rollback();
    return false;
  }
  await sql.commit();
  return true;
}

/** In the order of ids, so that writers rarely deadlock (now and then they should). */
async function transfer(
  sql: SqlClient,
  random: Random,
  { nextEntry, isLong = false }: Means & { readonly isLong?: boolean },
): Promise<void> {
  const id = () =>
    isLong
      ? SHARED_ACCOUNTS + random.between(1, LONG_ACCOUNTS)
      : random.between(1, SHARED_ACCOUNTS);
  const pair = [id(), id()];
  if (random.chance(0.9)) pair.sort((a, b) => a - b);
  const amount = random.between(1, 100) * (random.chance(0.5) ? 1 : -1);
  for (const [index, account] of pair.entries()) {
    const change = index === 0 ? amount : -amount;
    await sql.run("UPDATE accounts SET balance = balance + ?, ver = ver + 1 WHERE id = ?", [
      change,
      account,
    ]);
    await sql.run("INSERT INTO ledger (id, account_id, amount, note) VALUES (?, ?, ?, ?)", [
      nextEntry(),
      account,
      change,
      "transfer",
    ]);
  }
}

/** A wallet is opened with money of an account, moved to another key, changed, or closed. */
async function playWallet(sql: SqlClient, random: Random): Promise<void> {
  const id = random.between(1, WALLET_IDS);
  const account = random.between(1, SHARED_ACCOUNTS);
  const [wallet] = await sql.rows(`SELECT balance FROM wallets WHERE id = ?${locking(sql)}`, [id]);
  const move = async (balance: number) => {
    await sql.run("UPDATE accounts SET balance = balance + ?, ver = ver + 1 WHERE id = ?", [
      balance,
      account,
    ]);
  };
  if (wallet === undefined) {
    const balance = random.between(1, 50);
    await move(-balance);
    await sql.run("INSERT INTO wallets (id, label, balance) VALUES (?, ?, ?)", [
      id,
      "new",
      balance,
    ]);
    return;
  }
  switch (random.pick(["close", "reopen", "rekey", "rekey", "change", "swap"])) {
    case "close":
      await move(Number(wallet.balance));
      await sql.run("DELETE FROM wallets WHERE id = ?", [id]);
      break;
    case "reopen":
      await sql.run("DELETE FROM wallets WHERE id = ?", [id]);
      await sql.run("INSERT INTO wallets (id, label, balance) VALUES (?, 'reopened', ?)", [
        id,
        wallet.balance ?? 0,
      ]);
      break;
    case "rekey":
      await sql.run("UPDATE wallets SET id = ?, label = 'moved' WHERE id = ?", [
        random.between(1, WALLET_IDS),
        id,
      ]);
      break;
    case "change":
      await sql.run("UPDATE wallets SET label = ? WHERE id = ?", [
        `at ${random.between(0, 9)}`,
        id,
      ]);
      break;
    case "swap":
      await swapKeys(sql, id, random.between(1, WALLET_IDS));
      break;
  }
}

/** Two rows change keys, by way of a third key; where only one stands it moves. */
async function swapKeys(sql: SqlClient, a: number, b: number): Promise<void> {
  await sql.run("UPDATE wallets SET id = ? WHERE id = ?", [-a, a]);
  await sql.run("UPDATE wallets SET id = ? WHERE id = ?", [a, b]);
  await sql.run("UPDATE wallets SET id = ? WHERE id = ?", [b, -a]);
}

async function poisonedSavepoint(sql: SqlClient, random: Random, means: Means): Promise<void> {
  await sql.run("SAVEPOINT poisoned");
  await poison(sql, random, means);
  await sql.run("ROLLBACK TO SAVEPOINT poisoned");
}

async function poison(sql: SqlClient, random: Random, { nextEntry }: Means): Promise<void> {
  const account = random.between(1, SHARED_ACCOUNTS);
  await sql.run("INSERT INTO ledger (id, account_id, amount, note) VALUES (?, ?, 1, 'poison')", [
    nextEntry(),
    account,
  ]);
  await sql.run("UPDATE accounts SET owner = 'poison', balance = balance + 1 WHERE id = ?", [
    account,
  ]);
}

function locking(sql: SqlClient): string {
  return sql.dialect === "sqlite" ? "" : " FOR UPDATE";
}

/** False when the connection is of no more use. */
async function rolledBack(sql: SqlClient): Promise<boolean> {
  try {
    await sql.rollback();
    return true;
  } catch {
    return false;
  }
}

/** Two writers wanted one key: as in life, one of them loses. */
function isDuplicate(error: unknown): boolean {
  const { code, errno, errcode } = error as { code?: string; errno?: number; errcode?: number };
  return code === "23505" || errno === 1062 || ((errcode ?? 0) & 0xff) === 19;
}
