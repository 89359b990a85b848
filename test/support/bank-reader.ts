// A reader of the target who looks all the time and notices any state that the source never had.
import { sleep } from "../../src/core/async.ts";
import { BANK_SUM } from "./bank.ts";
import { isTransient, type SqlClient } from "./sql-client.ts";
import { Watcher } from "./watcher.ts";

/** So many states a reader must have seen: one who never saw anything move proves nothing. */
const STATES = 6;

export interface ReaderOptions {
  /** Leaves room for the others of this process. */
  readonly pauseMs?: number;
  /**
   * What comes after a loss of its connection may be older than what was seen before, though not than what was
   * confirmed: a PostgreSQL target shows a commit before it is on disk (docs/decisions/0012-target-commits.md).
   */
  readonly forgetful?: boolean;
}

/** Reads until it is stopped, through losses of the server. */
export class BankReader {
  /** What was seen that must not be; empty when all is well. */
  readonly violations: string[] = [];
  readonly #connect: () => Promise<SqlClient>;
  readonly #forgetful: boolean;
  readonly #versions = new Map<string, bigint>();
  #confirmed: ReadonlyMap<string, bigint> = new Map();
  readonly #watcher: Watcher;
  #sql: SqlClient | null = null;
  #last = "";
  #states = 0;

  constructor(connect: () => Promise<SqlClient>, options: ReaderOptions = {}) {
    const { pauseMs = 1, forgetful = false } = options;
    this.#forgetful = forgetful;
    this.#connect = connect;
    this.#watcher = new Watcher(() => this.#look(), pauseMs);
  }

  /** How many states it has seen. */
  get states(): number {
    return this.#states;
  }

  /** Resolves when it has seen the bank move often enough. Somebody must be moving it. */
  sawItMove(): Promise<void> {
    return this.#watcher.until(() => this.#states >= STATES);
  }

  /** A notice has told that the target holds these versions of accounts: no crash may take them back. */
  confirm(versions: ReadonlyMap<string, bigint>): void {
    this.#confirmed = versions;
  }

  async stop(): Promise<void> {
    try {
      await this.#watcher.stop();
    } finally {
      await close(this.#sql);
    }
  }

  async #look(): Promise<void> {
    try {
      this.#sql ??= await this.#connect();
      const state = await look(this.#sql);
      const text = JSON.stringify(state);
      if (text !== this.#last) this.#states++;
      this.#last = text;
      this.violations.push(...judge(state, this.#versions));
    } catch (error) {
      if (!isTransient(error)) throw error;
      await close(this.#sql);
      this.#sql = null;
      if (this.#forgetful) this.#forget();
      await sleep(50);
    }
  }

  #forget(): void {
    this.#versions.clear();
    for (const [id, version] of this.#confirmed) this.#versions.set(id, version);
  }
}

/** The version of each account, by its id. */
export async function versionsOf(sql: SqlClient): Promise<ReadonlyMap<string, bigint>> {
  const accounts = await sql.rows("SELECT id, ver FROM accounts");
  return new Map(accounts.map(({ id, ver }) => [id ?? "", BigInt(ver ?? 0)]));
}

async function look(sql: SqlClient) {
  await sql.beginSnapshot();
  const accounts = await sql.rows("SELECT id, owner, balance, ver FROM accounts");
  const wallets = await sql.rows("SELECT balance FROM wallets");
  const ledger = await sql.rows(
    "SELECT COUNT(*) AS entries, SUM(amount) AS total, SUM(CASE WHEN note = 'poison' THEN 1 ELSE 0 END) AS poison FROM ledger",
  );
  await sql.commit();
  return { accounts, wallets, ledger };
}

function judge(
  { accounts, wallets, ledger }: Awaited<ReturnType<typeof look>>,
  versions: Map<string, bigint>,
): string[] {
  const found: string[] = [];
  const sum = [...accounts, ...wallets].reduce((total, { balance }) => total + Number(balance), 0);
  if (sum !== BANK_SUM) found.push(`bank sum ${sum} instead of ${BANK_SUM}`);
  const [book] = ledger;
  if (Number(book?.total ?? 0) !== 0) found.push(`the ledger adds up to ${book?.total}`);
  if (Number(book?.entries) % 2 !== 0) found.push(`${book?.entries} entries: half a transfer`);
  if (Number(book?.poison ?? 0) !== 0) found.push("an entry that was rolled back");
  for (const { id, owner, ver } of accounts) {
    if (owner === "poison") found.push(`account ${id}: a value that was rolled back`);
    const before = versions.get(id ?? "") ?? 0n;
    const version = BigInt(ver ?? 0);
    if (version < before) found.push(`account ${id} went back from version ${before} to ${ver}`);
    versions.set(id ?? "", version);
  }
  return found;
}

async function close(sql: SqlClient | null): Promise<void> {
  try {
    await sql?.[Symbol.asyncDispose]();
  } catch {
    // its server is gone
  }
}
