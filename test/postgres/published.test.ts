// Logical replication of the application's own at a target, and partitions that a target lacks: what the server refuses is
// named, with what mends it, and the sync goes on after that (G1, G8).
import { describe, expect, it } from "vitest";
import { diagnose } from "../../src/pipeline/diagnose.ts";
import { available } from "../servers/index.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { connect, SERVERS } from "./support.ts";

describe.each(SERVERS)("a target on %s", (kind) => {
  async function running(both: string, target: string) {
    const bed = await TestBed.make({ source: kind, target: kind });
    const clients = {
      source: await connect(bed.database("source").url),
      target: await connect(bed.database("target").url),
    };
    await clients.source.query(both);
    await clients.target.query(`${both}; ${target}`);
    const definition = bed.define([{ from: "source", to: "target", tables: ["public.t"] }]);
    const start = async () => {
      const pipeline = await bed.start(definition);
      return { pipeline, applied: pipeline.waitFor({ timeoutMs: PATIENCE_MS }) };
    };
    const rows = async (end: keyof typeof clients) =>
      (await clients[end].query("SELECT t::text FROM t ORDER BY 1")).rows;
    const dispose = async () => {
      await Promise.all([clients.source.end(), clients.target.end()]);
      await bed[Symbol.asyncDispose]();
    };
    return { bed, ...clients, definition, start, rows, [Symbol.asyncDispose]: dispose };
  }

  it.skipIf(!available(kind)).each([
    ["a table without a key", "CREATE PUBLICATION theirs FOR TABLE t"],
    [
      "as a whole one whose partitions have none",
      "DROP TABLE t; CREATE TABLE t (a int, b text) PARTITION BY LIST (a); CREATE TABLE p PARTITION OF t DEFAULT; CREATE PUBLICATION theirs FOR TABLE t WITH (publish_via_partition_root)",
    ],
  ])("that publishes %s", async (_, publish) => {
    await using at = await running("CREATE TABLE t (a int, b text)", publish);
    await at.source.query("INSERT INTO t VALUES (1, 'one'), (1, 'one'), (2, 'two')");
    const first = await at.start();
    await first.applied.catch(() => {});
    await at.source.query("UPDATE t SET b = 'deux' WHERE a = 2");
    await expect(first.pipeline.waitFor({ timeoutMs: PATIENCE_MS })).rejects.toMatchObject({
      message: expect.stringMatching(/TM-TABLE-UNSUPPORTED .*"[tp]".* replica identity/),
      fix: expect.stringContaining("REPLICA IDENTITY FULL"),
    });
    await at.bed.stop(first.pipeline);
    const told = await diagnose(at.definition, at.bed.logger);
    const found = told
      .flatMap(({ findings }) => findings)
      .filter(({ check }) => check === "publication-identity");
    expect(found).toMatchObject([{ severity: "error" }]);
    await at.target.query(found[0]?.fix ?? "");
    await (await at.start()).applied;
    expect(await at.rows("target")).toEqual(await at.rows("source"));
  });

  it.skipIf(!available(kind) || kind === "postgres-oldest")(
    "that publishes rows by what its replica identity lacks",
    async () => {
      await using at = await running(
        "CREATE TABLE t (a int PRIMARY KEY, b text)",
        "CREATE PUBLICATION theirs FOR TABLE t WHERE (b <> '')",
      );
      await at.source.query("INSERT INTO t VALUES (1, 'one')");
      const first = await at.start();
      await first.applied.catch(() => {});
      await at.source.query("UPDATE t SET b = 'un'");
      await expect(first.pipeline.waitFor({ timeoutMs: PATIENCE_MS })).rejects.toMatchObject({
        message: expect.stringContaining("TM-TABLE-UNSUPPORTED"),
        fix: expect.stringContaining("has a WHERE with columns"),
      });
      await at.bed.stop(first.pipeline);
      await at.target.query("ALTER TABLE t REPLICA IDENTITY FULL");
      await (await at.start()).applied;
      expect(await at.rows("target")).toEqual(await at.rows("source"));
    },
  );

  it.skipIf(!available(kind))("that lacks a partition", async () => {
    await using at = await running(
      "CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id)",
      "CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (10)",
    );
    await at.source.query("CREATE TABLE every PARTITION OF t DEFAULT; INSERT INTO t VALUES (1)");
    const first = await at.start();
    await first.applied;
    await at.source.query("INSERT INTO t VALUES (2), (10)");
    await expect(first.pipeline.waitFor({ timeoutMs: PATIENCE_MS })).rejects.toMatchObject({
      message: expect.stringMatching(
        /TM-APPLY-CONSTRAINT Table public\.t .*no partition that takes/,
      ),
      fix: expect.stringContaining("PARTITION OF <the table> DEFAULT"),
    });
    await at.bed.stop(first.pipeline);
    await at.target.query("CREATE TABLE rest PARTITION OF t DEFAULT");
    await (await at.start()).applied;
    expect(await at.rows("target")).toEqual(await at.rows("source"));
  });
});
