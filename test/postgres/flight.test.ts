// Statements that leave and are answered together.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Connection } from "../../src/databases/postgres/connection.ts";
import { available, type FreshDatabase, freshDatabase } from "../servers/index.ts";
import { optionsOf } from "./support.ts";

const DIVIDE = "SELECT 1 / $1::int";
const ECHO = "SELECT $1::text";

describe.skipIf(!available("postgres"))("a flight of statements", () => {
  let database: FreshDatabase;
  let connection: Connection;

  beforeAll(async () => {
    database = await freshDatabase("postgres");
    connection = await Connection.open(optionsOf(database.url), "test");
  });

  afterAll(async () => {
    await connection.close();
    await database[Symbol.asyncDispose]();
  });

  it("gives each statement its own rows, count and error, and runs nothing behind an error", async () => {
    const release = connection.hold();
    const answers = [
      connection.run("BEGIN", [], "begin"),
      connection.rows(ECHO, ["before"], "echo"),
      connection.rows("SELECT n FROM generate_series(1, 3) n"),
      connection.rows(DIVIDE, ["0"], "divide"),
      connection.rows(DIVIDE, ["1"], "behind"),
      connection.commit(),
    ];
    release();
    const outcomes = await Promise.allSettled(answers);
    expect(
      outcomes.map((each) => (each.status === "fulfilled" ? each.value : each.status)),
    ).toEqual([0, [["before"]], [["1"], ["2"], ["3"]], "rejected", "rejected", "rejected"]);
    const causes = outcomes.flatMap((each) =>
      each.status === "rejected" ? [each.reason.cause] : [],
    );
    expect(new Set(causes.map(({ code }) => code))).toEqual(new Set(["22012"]));
    await connection.script("ROLLBACK");
  });

  it("prepares again what failed, and what stood behind it", async () => {
    expect(await connection.rows(DIVIDE, ["1"], "divide")).toEqual([["1"]]);
    expect(await connection.rows(DIVIDE, ["1"], "behind")).toEqual([["1"]]);
    expect(await connection.rows(ECHO, [null], "echo")).toEqual([[null]]);
    const prepared = await connection.rows("SELECT name FROM pg_prepared_statements ORDER BY 1");
    expect(prepared.flat()).toEqual(["begin", "behind", "divide", "echo"]);
  });

  it("tells a rule that breaks only with the commit that ends it", async () => {
    await connection.script(
      "CREATE TABLE public.parent (id int PRIMARY KEY); CREATE TABLE public.child (id int REFERENCES public.parent DEFERRABLE INITIALLY DEFERRED)",
    );
    const insert = connection.run("INSERT INTO public.child VALUES ($1)", ["1"], "insert");
    await expect(insert).rejects.toMatchObject({ code: "TM-APPLY-CONSTRAINT" });
    expect(await connection.rows("SELECT id FROM public.child")).toEqual([]);
  });

  it("keeps the order with what cannot be part of it", async () => {
    const release = connection.hold();
    const answers = [
      connection.run("BEGIN", [], "begin"),
      connection.rows(ECHO, ["one"], "echo"),
      connection.script("SELECT 1; SELECT 2"),
      connection.rows(ECHO, ["two"], "echo"),
      connection.commit(),
    ];
    release();
    expect(await Promise.all(answers)).toEqual([0, [["one"]], undefined, [["two"]], undefined]);
  });
});
