// A partition of a target that is set UNLOGGED while the sync is at work: a crash of the server empties it alone (G1, G8).
import { expect, it } from "vitest";
import { canStart, startPostgres } from "../servers/index.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { connect } from "./support.ts";

it.skipIf(!canStart("postgres-newest")).each(["running", "stopped"])(
  "rows that a crash takes from one partition of a target come back, the sync being %s",
  async (when) => {
    await using server = await startPostgres({ version: "newest" });
    await using bed = await TestBed.make(
      { source: "sqlite", target: "postgres-newest" },
      { servers: { target: server.url } },
    );
    const definition = bed.define([{ from: "source", to: "target", tables: ["t"] }]);
    const source = await bed.sql("source");
    await source.run("CREATE TABLE t (id INTEGER PRIMARY KEY)");
    await source.run("INSERT INTO t VALUES (1), (11)");
    const before = await connect(bed.database("target").url);
    await before.query("CREATE TABLE t (id bigint PRIMARY KEY) PARTITION BY RANGE (id)");
    await before.query("CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (10)");
    await before.query("CREATE TABLE high PARTITION OF t DEFAULT");
    const pipeline = await bed.start(definition);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    if (when === "stopped") await bed.stop(pipeline);
    await before.query("ALTER TABLE low SET UNLOGGED");
    await before.end();
    await server.kill();
    await server.start();
    if (when === "running") {
      await source.run("INSERT INTO t VALUES (12)");
      await expect(pipeline.waitFor({ timeoutMs: PATIENCE_MS })).rejects.toThrow("TM-SCHEMA-DRIFT");
      await bed.stop(pipeline);
    } else {
      await expect(bed.start(definition)).rejects.toMatchObject({ code: "TM-COLUMN-UNFIT" });
    }
    const after = await connect(bed.database("target").url);
    await after.query("ALTER TABLE low SET LOGGED");
    const again = await bed.start(definition);
    await again.waitFor({ timeoutMs: PATIENCE_MS });
    const { rows } = await after.query("SELECT id FROM t ORDER BY 1");
    await after.end();
    await bed.stop(again);
    expect(rows.map(({ id }) => Number(id))).toEqual(when === "running" ? [1, 11, 12] : [1, 11]);
  },
);
