// A replica as source: what it replicates as rows fires no triggers there, and no batch will ever hold it (G8).
import { describe, expect, it } from "vitest";
import { makePlan } from "../../src/pipeline/plan.ts";
import { canStart, startMariadb, startMysql } from "../servers/index.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, type TestTable } from "../support/test-tables.ts";

const ITEMS: TestTable = { name: "items", columns: { id: "integer" }, key: ["id"] };
const KINDS = {
  mariadb: { start: startMariadb, follow: "CHANGE MASTER TO MASTER_HOST = '127.0.0.1'" },
  mysql: { start: startMysql, follow: "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1'" },
} as const;

describe.each(["mariadb", "mysql"] as const)("a replica of %s as source", (kind) => {
  it.skipIf(!canStart(kind))("is told by plan, and by the log at the start", async () => {
    await using server = await KINDS[kind].start();
    const servers = { source: server.url };
    await using bed = await TestBed.make({ source: kind, target: "sqlite" }, { servers });
    const source = await bed.sql("source");
    await createTables(source, kind, [ITEMS]);
    const definition = bed.define([{ from: "source", to: "target", tables: ["items"] }]);
    const noted = async () => JSON.stringify(await makePlan(definition, bed.logger));
    const told = "This server replicates from another";
    expect(await noted()).not.toContain(told);
    await source.run(KINDS[kind].follow);
    expect(await noted()).toContain(told);
    const pipeline = await bed.start(definition);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    expect(bed.logger.text()).toContain(told);
  });
});
