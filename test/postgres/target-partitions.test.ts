// Partitions of a target's table that are detached or dropped while the sync is at work: the rows they held are gone there,
// which the log says (G8).
import { expect, it } from "vitest";
import { available } from "../servers/index.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { SERVERS } from "./support.ts";

const WAYS = [
  ["detached", "ALTER TABLE t DETACH PARTITION low"],
  ["dropped", "DROP TABLE low"],
  [
    "exchanged for another",
    `BEGIN; ALTER TABLE t DETACH PARTITION low; CREATE TABLE other PARTITION OF t FOR VALUES FROM (0) TO (10); COMMIT`,
  ],
  ["detached below another", "ALTER TABLE high DETACH PARTITION higher"],
] as const;
const CONCURRENTLY = [
  "detached concurrently",
  "ALTER TABLE t DETACH PARTITION low CONCURRENTLY",
] as const;

for (const kind of SERVERS) {
  const ways = kind === "postgres-oldest" ? WAYS : [...WAYS, CONCURRENTLY];
  it.skipIf(!available(kind)).each(ways)(
    `${kind}: a partition of a target that is %s is told of, and the sync goes on`,
    async (_, sql) => {
      await using bed = await TestBed.make({ source: "sqlite", target: kind });
      const definition = bed.define([{ from: "source", to: "target", tables: ["t"] }]);
      const source = await bed.sql("source");
      await source.run("CREATE TABLE t (id INTEGER PRIMARY KEY)");
      await source.run("INSERT INTO t VALUES (1), (11), (101)");
      const target = await bed.sql("target");
      await target.run(
        `CREATE TABLE t (id bigint PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (10);
         CREATE TABLE high PARTITION OF t FOR VALUES FROM (10) TO (1000) PARTITION BY RANGE (id);
         CREATE TABLE higher PARTITION OF high FOR VALUES FROM (10) TO (100);
         CREATE TABLE highest PARTITION OF high FOR VALUES FROM (100) TO (1000)`,
      );
      const pipeline = await bed.start(definition);
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      // One that comes, or is kept in another place, is no loss.
      await target.run(
        "CREATE TABLE more PARTITION OF t FOR VALUES FROM (1000) TO (2000); CREATE SCHEMA aside; ALTER TABLE highest SET SCHEMA aside",
      );
      await target.run(sql);
      const told = () => bed.logger.text().match(/detached or dropped\): public\.(low|higher)\./g);
      await expect.poll(told, { timeout: PATIENCE_MS }).toHaveLength(1);
      await source.run("INSERT INTO t VALUES (102)");
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      const ids = (await target.rows("SELECT id FROM t ORDER BY id")).map(({ id }) => Number(id));
      expect(ids.slice(-2)).toEqual([101, 102]);
      await bed.stop(pipeline);
      expect(told()).toHaveLength(1);
    },
  );
}
