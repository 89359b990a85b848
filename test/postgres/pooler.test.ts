// A pooler between (PgBouncer): one that gives the server's session of ours to the application is found out before
// anything is set in it (G8), and one in session mode is worked through.
import { describe, expect, it, type TestContext } from "vitest";
import { Connection } from "../../src/databases/postgres/connection.ts";
import { postgres } from "../../src/databases/postgres/index.ts";
import { behindPooler } from "../../src/databases/postgres/pooler.ts";
import { available, freshDatabase, startPgbouncer, whyNoPgbouncer } from "../servers/index.ts";
import { connect, optionsOf } from "./support.ts";

const REFUSED = { code: "TM-SERVER-UNSUPPORTED" };
const TRANSACTION = { pool_mode: "transaction", default_pool_size: 4 };

describe.skipIf(!available("postgres"))("a pooler between", () => {
  const withPooler =
    (
      settings: Readonly<Record<string, string | number>>,
      test: (url: string) => Promise<void>,
    ): ((context: TestContext) => Promise<void>) =>
    async (context) => {
      const why = whyNoPgbouncer();
      if (why && process.env.CI === undefined) return context.skip(why);
      await using database = await freshDatabase("postgres");
      await using pooler = await startPgbouncer({ url: database.url, settings });
      await test(pooler.url);
    };

  it.for([
    ["transaction mode", TRANSACTION],
    ["transaction mode with one session", { pool_mode: "transaction", default_pool_size: 1 }],
    ["statement mode", { pool_mode: "statement", default_pool_size: 4 }],
  ] as const)(
    "in %s is refused, and the application's sessions are as they were",
    ([, settings], context) =>
      withPooler(settings, async (url) => {
        const application = await connect(url);
        const question =
          "SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) AS text FROM pg_settings WHERE name <> 'application_name'";
        const before = await application.query(question);
        for (const open of [postgres.openCatalog, postgres.openSource, postgres.openTarget]) {
          await expect(open(optionsOf(url))).rejects.toMatchObject(REFUSED);
          expect((await application.query(question)).rows).toEqual(before.rows);
        }
        await application.end();
      })(context),
  );

  it("in transaction mode is refused, too, when each session of ours happens upon another of the server", (context) =>
    withPooler(TRANSACTION, async (url) => {
      const [application, session] = [await connect(url), await connect(url)];
      // The application holds what the session had when it was asked first, so that the second one is given another.
      const openOther = async () => {
        await application.query("BEGIN");
        const { rows } = await application.query("SELECT pg_backend_pid() AS pid");
        const other = await connect(url);
        const { rows: others } = await other.query("SELECT pg_backend_pid() AS pid");
        expect(others).not.toEqual(rows);
        return Object.assign(other, { processID: null, leave: () => void other.end() });
      };
      const asked = Object.assign(session, { processID: null });
      await expect(behindPooler(asked, openOther, "shop")).rejects.toMatchObject(REFUSED);
      await application.query("ROLLBACK");
      await session.end();
      await application.end();
    })(context));

  it("in session mode that does not reset a session is refused", (context) =>
    withPooler({ pool_mode: "session", server_reset_query: "" }, async (url) => {
      await expect(Connection.open(optionsOf(url), "test")).rejects.toMatchObject(REFUSED);
    })(context));

  it("in session mode is worked through, and leaves nothing to the application", (context) =>
    withPooler({ pool_mode: "session", default_pool_size: 2 }, async (url) => {
      const session = await Connection.open(optionsOf(url), "test");
      expect(session.pooled).toBe(true);
      expect(await session.rows("SHOW search_path")).toEqual([["pg_catalog"]]);
      await session.close();
      const other = Connection.open({ ...optionsOf(url), only: "another" }, "test");
      await expect(other).rejects.toMatchObject({ code: "TM-CONNECTION-LOST" });
      const [one, two] = [await connect(url), await connect(url)];
      for (const application of [one, two]) {
        const { rows } = await application.query("SHOW search_path");
        expect(rows).toEqual([{ search_path: '"$user", public' }]);
      }
      await Promise.all([one.end(), two.end()]);
    })(context));

  it("whose pool is used up is named", (context) =>
    withPooler({ pool_mode: "session", default_pool_size: 1 }, async (url) => {
      await expect(Connection.open(optionsOf(url), "test")).rejects.toMatchObject({
        code: "TM-CONNECT-FAILED",
        message: expect.stringContaining("its pool is used up"),
      });
    })(context));

  it("is not seen where there is none", async () => {
    await using database = await freshDatabase("postgres");
    const session = await Connection.open(optionsOf(database.url), "test");
    expect(session.pooled).toBe(false);
    await session.close();
  });
});
