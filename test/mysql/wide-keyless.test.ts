// Rows without a key that hold megabytes: they are compared, too, where their JSON has no room in a packet (G1).
import { describe, expect, it } from "vitest";
import { canStart, startMariadb, startMysql } from "../servers/index.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";

const KINDS = { mariadb: startMariadb, mysql: startMysql };
const TIMEOUT_MS = 2 * PATIENCE_MS;

describe.each(["mariadb", "mysql"] as const)("a table of %s without a key", (kind) => {
  it.skipIf(!canStart(kind))(
    "is changed beside a row whose JSON is larger than a packet",
    async () => {
      await using server = await KINDS[kind]({ settings: { max_allowed_packet: "4M" } });
      const servers = { target: server.url };
      await using bed = await TestBed.make({ source: "sqlite", target: kind }, { servers });
      const source = await bed.sql("source");
      await source.run("PRAGMA journal_mode = WAL");
      await source.run("CREATE TABLE docs (n int, body text)");
      // As JSON each quote is two characters, and more than the server lets a value have.
      const wide = "replace(hex(zeroblob(1100000)), '0', '\"')";
      await source.run(
        `INSERT INTO docs VALUES (1, 'a'), (1, 'b'), (1, 'b'), (1, 'b'), (NULL, 'n'), (NULL, 'm'), (2, ${wide}), (2, 's')`,
      );
      const pipeline = await bed.start(
        bed.define([{ from: "source", to: "target", tables: ["docs"] }]),
      );
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      await source.run("UPDATE docs SET body = 'c' WHERE body = 'a'");
      await source.run("DELETE FROM docs WHERE rowid IN (2, 3, 5, 8)");
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      const target = await bed.sql("target");
      const rows = (sql: typeof source) =>
        sql.rows("SELECT n, substr(body, 1, 1) AS b, length(body) AS l FROM docs ORDER BY 1, 2, 3");
      expect(await rows(target)).toEqual([
        { n: null, b: "m", l: "1" },
        { n: "1", b: "b", l: "1" },
        { n: "1", b: "c", l: "1" },
        { n: "2", b: '"', l: "2200000" },
      ]);
    },
    TIMEOUT_MS,
  );
});

// MySQL hashes it all the same, whatever its size.
it.skipIf(!canStart("mariadb"))(
  "a value that is larger than a packet by itself is no NULL: mariadb",
  async () => {
    await using server = await startMariadb({ settings: { max_allowed_packet: "16M" } });
    const servers = { target: server.url };
    await using bed = await TestBed.make({ source: "sqlite", target: "mariadb" }, { servers });
    const source = await bed.sql("source");
    await source.run("PRAGMA journal_mode = WAL");
    await source.run("CREATE TABLE docs (n int, body blob)");
    await source.run("INSERT INTO docs VALUES (2, zeroblob(3000000)), (2, NULL)");
    const definition = bed.define([{ from: "source", to: "target", tables: ["docs"] }]);
    const first = await bed.start(definition);
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(first);
    const target = await bed.sql("target");
    // From now on the digits of the blob have no room.
    await target.run("SET GLOBAL max_allowed_packet = 4194304");
    const pipeline = await bed.start(definition);
    await source.run("DELETE FROM docs WHERE body IS NULL");
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    expect(await target.rows("SELECT n, length(body) AS l FROM docs")).toEqual([
      { n: "2", l: "3000000" },
    ]);
  },
  TIMEOUT_MS,
);
