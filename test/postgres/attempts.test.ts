// Attempts that are sent before the one under way is answered: nothing of them may be done out of turn (G3).
import type pg from "pg";
import { describe, expect, it } from "vitest";
import { isTidemarkError } from "../../src/core/errors.ts";
import { START } from "../../src/core/position.ts";
import type { ApplierSession, BoundTable, Progress, Target } from "../../src/core/target.ts";
import type { Row } from "../../src/core/value.ts";
import { postgres } from "../../src/databases/postgres/index.ts";
import type { PostgresTransaction } from "../../src/databases/postgres/target-transaction.ts";
import { canStart, type FreshDatabase, freshDatabase } from "../servers/index.ts";
import { connect, optionsOf } from "./support.ts";

describe.skipIf(!canStart("postgres"))("attempts behind each other", () => {
  it("sends the next while the server is at the one before", async () => {
    await using site = await Site.open();
    const { application } = site;
    await application.query("INSERT INTO t VALUES (1, 'a')");
    const open = await site.begin();
    await application.query("BEGIN; UPDATE t SET name = 'locked' WHERE id = 1");
    const first = open.attempt(() => site.put(open, ["1", "b"]));
    const sent = Promise.withResolvers<void>();
    const second = open.attemptBehind(async () => {
      await site.put(open, ["2", "c"]);
      sent.resolve();
    });
    await sent.promise;
    await application.query("COMMIT");
    expect(await Promise.all([first, second])).toEqual([undefined, true]);
    await site.commit(open);
    expect(await site.rows()).toEqual(["1 b", "2 c"]);
  });

  it("does nothing of what stands behind one that meets a constraint", async () => {
    await using site = await Site.open();
    const open = await site.begin();
    await open.attempt(() => site.put(open, ["1", "taken"]));
    const first = open.attempt(() => site.put(open, ["2", "taken"]));
    const second = open.attemptBehind(() => site.putSlowly(open, ["3", "c"], ["4", "d"]));
    await expect(first).rejects.toMatchObject({ code: "TM-APPLY-CONSTRAINT" });
    expect(await second).toBe(false);
    expect(await open.attemptBehind(() => Promise.reject(new Error("not to be tried")))).toBe(
      false,
    );
    await open.attempt(() => site.put(open, ["2", "free"]));
    await open.attempt(() => site.put(open, ["3", "last"]));
    await site.commit(open);
    expect(await site.rows()).toEqual(["1 taken", "2 free", "3 last"]);
  });

  it("undoes one alone that meets a constraint behind another", async () => {
    await using site = await Site.open();
    const open = await site.begin();
    const first = open.attempt(() => site.put(open, ["1", "taken"]));
    const second = open.attemptBehind(() => site.put(open, ["2", "b"], ["3", "taken"]));
    const outcome = expect(second).rejects.toMatchObject({ code: "TM-APPLY-CONSTRAINT" });
    await first;
    await outcome;
    await site.commit(open);
    expect(await site.rows()).toEqual(["1 taken"]);
  });

  it("commits nothing of what stands behind a value that is refused", async () => {
    await using site = await Site.open();
    const open = await site.begin();
    const first = open.attempt(() => site.put(open, ["99999999999", "a"]));
    const second = open.attemptBehind(() => site.putSlowly(open, ["2", "b"], ["3", "c"]));
    await expect(first).rejects.toMatchObject({ code: "TM-VALUE-REFUSED" });
    expect(await second).toBe(false);
    await open.rollback();
    expect(await site.rows()).toEqual([]);
  });

  it("writes nothing when the transaction could not be begun", async () => {
    await using site = await Site.open();
    await site.loseBegin();
    const many = Array.from({ length: 3_000 }, (_, id): Row => [`${id}`, `n${id}`]);
    const whole = await site.begin();
    const done = whole.finish(() => site.put(whole, ...many), site.next(2));
    await expect(done).rejects.toMatchObject({ details: { sqlState: "26000" } });
    await whole.rollback();
    expect((await site.progress()).position.batch).toBe(1);
    expect(await site.rows()).toEqual(["-1 before"]);

    await site.loseBegin();
    const open = await site.begin();
    const first = open.attempt(() => site.put(open, ...many.slice(0, 1_500)));
    const second = open.attemptBehind(() => site.put(open, ...many.slice(1_500)));
    const outcomes = await Promise.allSettled([first, second]);
    expect(outcomes[0]).toMatchObject({ reason: { details: { sqlState: "26000" } } });
    expect(outcomes[1]).not.toEqual({ status: "fulfilled", value: true });
    await open.rollback();
    expect(await site.rows()).toEqual(["-1 before"]);
  });

  it.each([
    [
      "an attempt",
      async (open: PostgresTransaction, write: () => Promise<void>) => open.attempt(write),
    ],
    [
      "a whole transaction",
      async (open: PostgresTransaction, write: () => Promise<void>, next: Progress) =>
        open.finish(write, next),
    ],
  ])("takes an error of a trigger that fires at the end of %s for what it is", async (_, apply) => {
    await using site = await Site.open();
    await site.application.query(
      `CREATE FUNCTION share() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM 1 / (NEW.id - 1); RETURN NULL; END $$;
       CREATE CONSTRAINT TRIGGER share AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION share()`,
    );
    const open = await site.begin();
    const done = apply(open, () => site.put(open, ["1", "a"]), site.next(1));
    await expect(done).rejects.toMatchObject({ code: "TM-VALUE-REFUSED" });
    await open.rollback();
  });

  it("finds the row that breaks a rule among many slices", async () => {
    await using site = await Site.open();
    const many = Array.from({ length: 3_000 }, (_, id): Row => [`${id}`, `n${id}`]);
    const open = await site.begin();
    const twice = open.attempt(() => site.put(open, ...many.slice(0, 2_900), ["9999", "n100"]));
    await expect(twice).rejects.toMatchObject({ code: "TM-APPLY-CONSTRAINT" });
    await open.attempt(() => site.put(open, ...many));
    await site.commit(open);
    expect(await site.rows()).toHaveLength(3_000);
  });
});

/** A table `t (id, name)`, of which no two rows have the same name, and a session that applies to it. */
class Site {
  readonly application: pg.Client;
  readonly #database: FreshDatabase;
  readonly #target: Target;
  readonly #session: ApplierSession;
  readonly #table: BoundTable;

  static async open(): Promise<Site> {
    const database = await freshDatabase("postgres");
    const application = await connect(database.url);
    await application.query("CREATE TABLE t (id int PRIMARY KEY, name text UNIQUE)");
    const target = await postgres.openTarget(optionsOf(database.url));
    const column = { sourceKind: "postgres", nullable: true };
    const id = { name: "id", type: { kind: "integer", bits: 32 }, nativeType: "integer" } as const;
    const name = { name: "name", type: { kind: "text" }, nativeType: "text" } as const;
    const columns = [
      { ...column, ...id, nullable: false },
      { ...column, ...name },
    ];
    const plan = await target.plan([{ name: { schema: null, name: "t" }, columns, key: ["id"] }]);
    await target.prepare(plan);
    const session = (await target.openApplier("a->b", plan.tables)) as ApplierSession;
    return new Site({
      application,
      database,
      target,
      session,
      table: plan.tables[0] as BoundTable,
    });
  }

  private constructor(parts: {
    application: pg.Client;
    database: FreshDatabase;
    target: Target;
    session: ApplierSession;
    table: BoundTable;
  }) {
    this.application = parts.application;
    this.#database = parts.database;
    this.#target = parts.target;
    this.#session = parts.session;
    this.#table = parts.table;
  }

  async begin(): Promise<PostgresTransaction> {
    return (await this.#session.begin(await this.#session.load())) as PostgresTransaction;
  }

  put(open: PostgresTransaction, ...rows: readonly Row[]): Promise<void> {
    return open.put(this.#table, rows);
  }

  /** As what is long does: the second statement leaves when the first is answered, whatever the answer. */
  async putSlowly(open: PostgresTransaction, first: Row, second: Row): Promise<void> {
    await this.put(open, first);
    await open.settle().catch((error: unknown) => {
      if (!isTidemarkError(error)) throw error;
    });
    await this.put(open, second);
  }

  commit(open: PostgresTransaction): Promise<void> {
    return open.commit(this.next(1));
  }

  next(batch: number): Progress {
    return { timeline: "t", position: { ...START, batch }, hash: "h", tables: [] };
  }

  progress(): Promise<Progress> {
    return this.#session.load();
  }

  /** As a cancellation in that moment does: the next BEGIN of the session is an error. */
  async loseBegin(): Promise<void> {
    await this.application.query(
      `CREATE OR REPLACE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN DEALLOCATE "BEGIN"; RETURN NULL; END $$;
       CREATE OR REPLACE TRIGGER lose AFTER INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION lose()`,
    );
    const open = await this.begin();
    await open.attempt(() => this.put(open, ["-1", "before"]));
    await this.commit(open);
    await this.application.query("DROP TRIGGER lose ON t");
  }

  async rows(): Promise<string[]> {
    const { rows } = await this.application.query("SELECT id, name FROM t ORDER BY id");
    return rows.map(({ id, name }) => `${id} ${name}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session.close();
    await this.#target.close();
    await this.application.end();
    await this.#database[Symbol.asyncDispose]();
  }
}
