// Values for which MariaDB's JSON_ARRAY has no array: neither may the application's write fail, nor the row be lost (G1).
import { describe, expect, it } from "vitest";
import { canStart, startMariadb, startMysql } from "../servers/index.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";

const KINDS = { mariadb: startMariadb, mysql: startMysql };
const SETTINGS = { max_allowed_packet: "1G" };

describe.each(["mariadb", "mysql"] as const)("a long value of a table of %s", (kind) => {
  it.skipIf(!canStart(kind))(
    "arrives, and so does what the same session writes after it",
    async () => {
      await using server = await KINDS[kind]({ settings: SETTINGS });
      const servers = { source: server.url };
      await using bed = await TestBed.make({ source: kind, target: "sqlite" }, { servers });
      const source = await bed.sql("source");
      await source.run("CREATE TABLE docs (id int PRIMARY KEY, body longtext, bytes longblob)");
      await source.run("CREATE TABLE loose (id int, bytes longblob)");
      const tables = ["docs", "loose"];
      const pipeline = await bed.start(bed.define([{ from: "source", to: "target", tables }]));
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      const target = await bed.sql("target");
      const expectSame = async () => {
        await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
        for (const [table, columns] of [
          ["docs", "id, length(body) AS t, length(bytes) AS b"],
          ["loose", "id, length(bytes) AS b"],
        ] as const) {
          const query = `SELECT ${columns} FROM ${table} ORDER BY 1, 2`;
          expect(await target.rows(query)).toEqual(await source.rows(query));
        }
      };
      await source.run("INSERT INTO docs VALUES (1, repeat('a', 46000000), NULL)");
      await source.run(
        "INSERT IGNORE INTO docs VALUES (2, NULL, repeat('b', 23000000)), (3, 'c', 'c')",
      );
      await source.run("INSERT INTO loose VALUES (1, repeat('d', 23000000)), (2, 'd')");
      await expectSame();
      await source.run("UPDATE docs SET id = 4 WHERE id = 1");
      await source.run("UPDATE docs SET body = 'e' WHERE id = 2");
      await source.run("UPDATE loose SET id = id + 10");
      await expectSame();
      await source.run("DELETE FROM loose WHERE id = 11");
      await source.run("DELETE FROM docs WHERE id = 2");
      await expectSame();
    },
    4 * PATIENCE_MS,
  );
});
