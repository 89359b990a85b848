// Rows without a key that hold megabytes: they are compared, too, where their JSON has no room in a packet (G1).
import { describe, expect, it } from "vitest";
import { available, canStart, startMariadb, startMysql } from "../servers/index.ts";
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

  it.skipIf(!available(kind))("tells values of bytes apart, to the last one", async () => {
    await using bed = await TestBed.make({ source: "sqlite", target: kind });
    const source = await bed.sql("source");
    await source.run("PRAGMA journal_mode = WAL");
    await source.run("CREATE TABLE docs (n int, body blob)");
    const bodies = [
      "NULL",
      "X''",
      "X'00'",
      "X'0000'",
      "X'61'",
      "X'6100'",
      "X'41'",
      "X'20'",
      "X'3631'",
    ];
    await source.run(`INSERT INTO docs VALUES ${bodies.map((body) => `(1, ${body})`).join(", ")}`);
    const pipeline = await bed.start(
      bed.define([{ from: "source", to: "target", tables: ["docs"] }]),
    );
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    const target = await bed.sql("target");
    const left = async (sql: typeof source) =>
      (
        await sql.rows(
          "SELECT CASE WHEN body IS NULL THEN 'null' ELSE hex(body) END AS h FROM docs",
        )
      ).map(({ h }) => h);
    // Each by itself, so that a wrong one is seen.
    for (const body of ["X'00'", "X'61'", "NULL", "X'3631'", "X''", "X'6100'", "X'20'"]) {
      await source.run(`DELETE FROM docs WHERE body IS ${body}`);
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      expect((await left(target)).sort(), body).toEqual((await left(source)).sort());
    }
  });
});

// MySQL hashes it all the same, whatever its size.
it.skipIf(!canStart("mariadb")).each([
  ["bytes", "LONGBLOB", "REPEAT('a', 5000000)", 5_000_000],
  // In digits it has no room.
  [
    "a shape",
    "GEOMETRY",
    "ST_GeomFromText(CONCAT('MULTIPOINT(', REPEAT('1 1,', 149999), '1 1)'))",
    3_150_013,
  ],
])(
  "a value that is larger than a packet by itself is no NULL: %s in mariadb",
  async (_, type, value, length) => {
    await using server = await startMariadb({ settings: { max_allowed_packet: "16M" } });
    const servers = { source: server.url, target: server.url };
    await using bed = await TestBed.make({ source: "mariadb", target: "mariadb" }, { servers });
    const source = await bed.sql("source");
    await source.run(`CREATE TABLE docs (n int, body ${type})`);
    await source.run(`INSERT INTO docs VALUES (2, ${value}), (2, NULL)`);
    const definition = bed.define([{ from: "source", to: "target", tables: ["docs"] }]);
    const first = await bed.start(definition);
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(first);
    const target = await bed.sql("target");
    // From now on it has no room.
    await target.run("SET GLOBAL max_allowed_packet = 4194304");
    const pipeline = await bed.start(definition);
    await source.run("DELETE FROM docs WHERE body IS NULL");
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    const rows = await target.rows("SELECT n, length(body) AS l FROM docs");
    expect(rows.map(({ n, l }) => [n, Math.floor(Number(l) / 100)])).toEqual([
      ["2", Math.floor(length / 100)],
    ]);
  },
  TIMEOUT_MS,
);
