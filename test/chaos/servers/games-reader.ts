// A reader of the target who looks at the games all the time.
import { sleep } from "../../../src/core/async.ts";
import { isTransient, type SqlClient } from "../../support/sql-client.ts";
import { Watcher } from "../../support/watcher.ts";
import { judgeGames } from "./games.ts";

const PAUSE_MS = 60;

export class GamesReader {
  /** What was seen that must not be; empty when all is well. */
  readonly violations = new Set<string>();
  /** Looks that succeeded. */
  looks = 0;
  readonly #connect: () => Promise<SqlClient>;
  readonly #forgetful: boolean;
  readonly #watcher: Watcher;
  readonly #lengths = new Map<string, number>();
  #sql: SqlClient | null = null;

  /** `forgetful`: as of the bank's reader. */
  constructor(connect: () => Promise<SqlClient>, forgetful: boolean) {
    this.#connect = connect;
    this.#forgetful = forgetful;
    this.#watcher = new Watcher(() => this.#look(), PAUSE_MS);
  }

  async stop(): Promise<void> {
    try {
      await this.#watcher.stop();
    } finally {
      await this.#close();
    }
  }

  async #look(): Promise<void> {
    try {
      this.#sql ??= await this.#connect();
      await this.#sql.beginSnapshot();
      const found = await judgeGames(this.#sql);
      const heads = await this.#sql.rows("SELECT id, length FROM heads");
      await this.#sql.commit();
      this.looks++;
      for (const violation of found) this.violations.add(violation);
      for (const { id, length } of heads) this.#neverBack(id ?? "", Number(length));
    } catch (error) {
      if (!isTransient(error)) throw error;
      await this.#close();
      if (this.#forgetful) this.#lengths.clear();
      await sleep(50);
    }
  }

  #neverBack(list: string, length: number): void {
    const before = this.#lengths.get(list) ?? 0;
    if (length < before) this.violations.add(`list ${list} went back from ${before} to ${length}`);
    this.#lengths.set(list, length);
  }

  async #close(): Promise<void> {
    try {
      await this.#sql?.[Symbol.asyncDispose]();
    } catch {
      // its server is gone
    }
    this.#sql = null;
  }
}
