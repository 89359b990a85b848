// The schema tidemark in other hands: renamed, which fails writes until it has its name back, or with what is another's in it (G8).
import { afterEach, describe, expect, it } from "vitest";
import type { ChangeLog } from "../../src/core/source.ts";
import { postgres } from "../../src/databases/postgres/index.ts";
import { available, freshDatabase } from "../servers/index.ts";
import { captureTables, changesOf, connect, line, optionsOf, SERVERS, SHAPES } from "./support.ts";

describe.each(SERVERS)("on %s", (kind) => {
  const open: { close(): Promise<unknown> }[] = [];
  afterEach(async () => {
    for (const each of open.splice(0).reverse()) await each.close();
  });

  async function start(shape: string) {
    const database = await freshDatabase(kind);
    open.push({ close: async () => database[Symbol.asyncDispose]() });
    const sql = await connect(database.url);
    open.push({ close: () => sql.end() });
    await sql.query(`CREATE TABLE t (id int PRIMARY KEY, name text); ${shape}`);
    const capture = async () => {
      const source = await postgres.openSource(optionsOf(database.url));
      open.push(source);
      const log = (await source.openChangeLog()) as ChangeLog;
      open.push(log);
      await log.capture(await captureTables(database.url, ["t"]));
      return log;
    };
    await (await capture()).close();
    const catalog = await postgres.openCatalog(optionsOf(database.url));
    open.push(catalog);
    return { sql, capture, catalog };
  }

  describe.skipIf(!available(kind)).each(SHAPES)("with %s", (_, shape) => {
    it("a start and uninstall tell of the schema's new name, and go on once it has its own", async () => {
      const { sql, capture, catalog } = await start(shape);
      await sql.query("INSERT INTO t VALUES (1, 'a')");
      await sql.query('ALTER SCHEMA tidemark RENAME TO "my old"');
      await expect(sql.query("INSERT INTO t VALUES (2, 'b')")).rejects.toThrow(/tidemark/);
      const told = {
        code: "TM-CAPTURE-BROKEN",
        message: expect.stringContaining('renamed to "my old"'),
        fix: expect.stringContaining('ALTER SCHEMA "my old" RENAME TO tidemark;'),
      };
      await expect(capture()).rejects.toMatchObject(told);
      await expect(catalog.uninstall()).rejects.toMatchObject(told);
      await sql.query('ALTER SCHEMA "my old" RENAME TO tidemark');
      await sql.query("INSERT INTO t VALUES (2, 'b')");
      const log = await capture();
      expect((await changesOf(await log.batches.cut())).map(line)).toEqual([
        "insert 1,a",
        "insert 2,b",
      ]);
    });
  });

  it.skipIf(!available(kind))(
    "a start tells how to be rid of the old one beside a new one",
    async () => {
      const { sql, capture } = await start("");
      await sql.query("ALTER SCHEMA tidemark RENAME TO old; CREATE SCHEMA tidemark");
      const told = { code: "TM-CAPTURE-BROKEN", fix: expect.stringContaining("DROP SCHEMA") };
      await expect(capture()).rejects.toMatchObject(told);
      await sql.query("DROP SCHEMA old CASCADE");
      await sql.query("INSERT INTO t VALUES (1, 'a')");
      await capture();
    },
  );

  it.skipIf(!available(kind)).each([
    ["a view", "CREATE VIEW tidemark.lag AS SELECT 1", "ALTER VIEW tidemark.lag SET SCHEMA …"],
    ["a table", 'CREATE TABLE tidemark."My" ()', 'ALTER TABLE tidemark."My" SET SCHEMA …'],
  ])("%s of another's in it is to leave it, not the schema its name", async (_, create, fix) => {
    const { sql, capture } = await start("");
    await sql.query(create);
    await expect(capture()).rejects.toMatchObject({ code: "TM-TABLE-UNSUPPORTED", fix });
  });
});
