// The application waits while a long row is compressed for the log.
import { describe, expect, it } from "vitest";
import { available } from "../servers/index.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { SERVERS } from "./support.ts";

// The oldest has pglz alone, and nothing that tells of it.
describe.each(SERVERS.filter((server) => server !== "postgres-oldest"))("%s", (server) => {
  it.skipIf(!available(server))("logs a long row by LZ4, where it was built with it", async () => {
    await using bed = await TestBed.make({ source: server, target: "sqlite" });
    const source = await bed.sql("source");
    await source.run("CREATE TABLE docs (id int PRIMARY KEY, body text)");
    const pipeline = await bed.start(
      bed.define([{ from: "source", to: "target", tables: ["docs"] }]),
    );
    await source.run("INSERT INTO docs VALUES (1, repeat('a long body', 2000))");
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    const [built] = await source.rows(
      `SELECT CASE WHEN 'lz4' = ANY (enumvals) THEN 'lz4' ELSE 'pglz' END AS by
       FROM pg_settings WHERE name = 'default_toast_compression'`,
    );
    const logged = await source.rows(
      "SELECT pg_column_compression(row) AS by FROM tidemark.change_log_0",
    );
    expect(logged).toEqual([built]);
  });
});
