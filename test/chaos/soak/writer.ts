import { sleep } from "../../../src/core/async.ts";
import type { Random } from "../../support/random.ts";
import { isTransient, type SqlClient } from "../../support/sql-client.ts";
import type { SoakTable } from "./random-schema.ts";
import { moveSql, randomStep } from "./random-statement.ts";

/** A client of the source. What the source's own rules forbid is undone: a step of it, or all. */
export class Writer {
  readonly sql: SqlClient;
  committed = 0;
  refused = 0;
  readonly #random: Random;
  readonly #number: number;
  readonly #log: string[];

  constructor(sql: SqlClient, random: Random, number: number, log: string[]) {
    this.sql = sql;
    this.#random = random;
    this.#number = number;
    this.#log = log;
  }

  async write(
    tables: readonly SoakTable[],
    moving: readonly SoakTable[],
    transactions: number,
  ): Promise<void> {
    for (let turn = 0; turn < transactions; turn++) {
      // Drawn before anything runs, so that what happens cannot change what comes next.
      const random = this.#random.fork();
      try {
        await this.sql.begin();
        if (await this.#transact(random, tables, moving)) this.committed++;
      } catch {
        this.refused++;
        this.#log.push("ROLLBACK");
        await this.sql.rollback();
      }
      await sleep(random.unit() * 4);
    }
  }

  async #transact(
    random: Random,
    tables: readonly SoakTable[],
    moving: readonly SoakTable[],
  ): Promise<boolean> {
    const table = () => moving[random.between(0, moving.length - 1)] as SoakTable;
    const amount = random.between(1, 9);
    await this.#run(moveSql(table(), this.#number, -amount));
    for (let step = random.between(1, 5); step > 0; step--) {
      const statements = randomStep(random, this.sql.dialect, tables, this.#number);
      if (random.chance(0.7)) await this.#guarded(statements, random.chance(0.15));
      else for (const statement of statements) await this.#run(statement);
    }
    await this.#run(moveSql(table(), this.#number, amount));
    if (random.chance(0.1)) {
      this.#log.push("ROLLBACK");
      await this.sql.rollback();
      return false;
    }
    await this.sql.commit();
    this.#log.push("COMMIT");
    return true;
  }

  /** Under a savepoint, which is given up when a statement is refused, or on purpose. */
  async #guarded(statements: readonly string[], undo: boolean): Promise<void> {
    await this.#run("SAVEPOINT step");
    try {
      for (const statement of statements) await this.#run(statement);
      if (!undo) {
        await this.#run("RELEASE SAVEPOINT step");
        return;
      }
    } catch (error) {
      if (isTransient(error)) throw error;
      this.refused++;
    }
    await this.#run("ROLLBACK TO SAVEPOINT step");
  }

  async #run(statement: string): Promise<void> {
    this.#log.push(`/* ${this.#number} */ ${statement}`);
    await this.sql.run(statement);
  }
}
