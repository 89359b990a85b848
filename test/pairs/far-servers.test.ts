// Servers that are far away: one is connected to while another is asked, and what was begun is ended with what failed (G8).
import { describe, expect, test } from "vitest";
import { silentLogger } from "../../src/core/log.ts";
import { makePlan } from "../../src/pipeline/plan.ts";
import { planUninstall, uninstall } from "../../src/pipeline/uninstall.ts";
import { available, type TestPair, title } from "../support/pairs.ts";
import { CUSTOMERS } from "../support/shop-tables.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { TestBed } from "../support/test-bed.ts";
import { createTables } from "../support/test-tables.ts";

const PAIRS: readonly TestPair[] = [
  { source: "postgres", target: "postgres-newest", queue: "embedded" },
  { source: "mariadb", target: "mysql", queue: "embedded" },
];

/** Of a source, for a first copy of one table. */
const SESSIONS: Readonly<Record<string, number>> = { postgres: 6, mariadb: 5 };

function openSockets(): number {
  return process.getActiveResourcesInfo().filter((each) => each === "TCPSocketWrap").length;
}

for (const pair of PAIRS) {
  describe.skipIf(!available(pair))(`${title(pair)}, both far away`, () => {
    async function far(tables: readonly string[]) {
      const bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
      const sql = await bed.sql("source");
      await createTables(sql, pair.source, [CUSTOMERS]);
      const definition = bed.define([{ from: "source", to: "target", tables }]);
      const proxies = new Map<string, TcpProxy>();
      const databases = [];
      for (const database of definition.databases) {
        if (!("url" in database)) throw new Error("not a database");
        const proxy = await TcpProxy.start(database.url);
        proxies.set(database.name, proxy);
        databases.push({ ...database, url: proxy.through(database.url) });
      }
      return {
        bed,
        definition: { ...definition, databases },
        source: proxies.get("source") as TcpProxy,
        target: proxies.get("target") as TcpProxy,
        async [Symbol.asyncDispose]() {
          for (const proxy of proxies.values()) await proxy[Symbol.asyncDispose]();
          await bed[Symbol.asyncDispose]();
        },
      };
    }

    test("the target is connected to while the source is asked", async () => {
      await using at = await far(["customers"]);
      at.source.stall();
      const planned = makePlan(at.definition, silentLogger);
      await expect.poll(() => at.target.connections).toBe(1);
      at.source.heal();
      expect((await planned).databases.map(({ name }) => name)).toEqual(["source", "target"]);
    });

    test("capture is planned while the target is asked", async () => {
      await using at = await far(["customers"]);
      at.target.stall();
      const planned = makePlan(at.definition, silentLogger);
      await expect.poll(() => at.source.accepted).toBe(2);
      await expect.poll(() => at.source.connections).toBe(0);
      at.target.heal();
      expect((await planned).databases[0]?.statements.length).toBeGreaterThan(0);
    });

    test("what is wrong with the target is told though the source no longer answers", {
      timeout: 8_000,
    }, async () => {
      await using at = await far(["customers"]);
      await (await at.bed.sql("target")).run("CREATE TABLE customers (id varchar(5) PRIMARY KEY)");
      at.target.stall();
      at.source.slow(20);
      const opened = at.bed.open(at.definition).catch((error) => error);
      await expect.poll(() => at.source.accepted).toBe(2);
      at.source.stall();
      at.target.heal();
      expect(await opened).toMatchObject({ code: "TM-COLUMN-UNFIT" });
      at.source.heal();
      await expect.poll(() => at.source.connections).toBe(0);
    });

    test("the target is freed while the source does not answer", async () => {
      await using at = await far(["customers"]);
      await at.bed.stop(await at.bed.start(at.definition));
      at.source.stall();
      const removed = uninstall(at.definition, silentLogger);
      const target = at.definition.databases.filter(({ name }) => name === "target");
      const left = () => planUninstall({ ...at.definition, databases: target }, silentLogger);
      await expect.poll(left).toEqual([{ name: "target", statements: [] }]);
      at.source.heal();
      for (const { statements } of await removed) expect(statements.length).toBeGreaterThan(0);
    });

    test("a start goes on with the sessions of its check, and asks anew", async () => {
      await using at = await far(["customers"]);
      const sql = await at.bed.sql("source");
      const pipeline = await at.bed.open(at.definition);
      // Its catalog, and what capture was planned with.
      expect([at.source.connections, at.target.connections]).toEqual([2, 1]);
      await sql.run("ALTER TABLE customers ADD COLUMN nickname varchar(20)");
      await sql.run("INSERT INTO customers (id, name, nickname) VALUES (1, 'Ada', 'A')");
      await pipeline.start();
      await pipeline.waitFor({ timeoutMs: 30_000 });
      const found = await (await at.bed.sql("target")).rows("SELECT nickname FROM customers");
      expect(found).toEqual([{ nickname: "A" }]);
      // Its own, the one that writes, and the look for logs that nobody reads.
      expect(at.target.accepted).toBe(3);
      // And the relay's, beside the catalog, by which the applier asks until there is a timeline.
      expect(at.source.accepted).toBe(SESSIONS[pair.source]);
      await at.bed.stop(pipeline);
      await expect.poll(() => at.source.connections + at.target.connections).toBe(0);
    });

    test("sessions that have ended since the check are opened anew", async () => {
      await using at = await far(["customers"]);
      const pipeline = await at.bed.open(at.definition);
      expect([at.source.cut(), at.target.cut()]).toEqual([2, 1]);
      await pipeline.start();
      await pipeline.waitFor({ timeoutMs: 30_000 });
      await at.bed.stop(pipeline);
    });

    test("a check that no start follows leaves no session", async () => {
      await using at = await far(["customers"]);
      const left = () => at.source.connections + at.target.connections;
      const stopped = await at.bed.open(at.definition);
      expect(left()).toBe(3);
      await at.bed.stop(stopped);
      await expect.poll(left).toBe(0);
      await at.bed.open(at.definition);
      expect(left()).toBe(3);
      await expect.poll(left, { timeout: 10_000 }).toBe(0);
    });

    test("sessions that have stopped answering since the check are opened anew", async () => {
      await using at = await far(["customers"]);
      const pipeline = await at.bed.open(at.definition);
      at.source.stall();
      const started = pipeline.start();
      await expect.poll(() => at.source.accepted, { timeout: 10_000 }).toBe(3);
      at.source.heal();
      await started;
      await pipeline.waitFor({ timeoutMs: 30_000 });
      await at.bed.stop(pipeline);
    });

    // Before the ten seconds of a stop are over.
    test("a check that no start follows ends though no server answers any more", {
      timeout: 8_000,
    }, async () => {
      await using at = await far(["customers"]);
      const pipeline = await at.bed.open(at.definition);
      at.source.stall();
      at.target.stall();
      await at.bed.stop(pipeline);
    });

    test("a plan that is refused leaves no session with a source that does not answer", async () => {
      await using at = await far(["customers"]);
      at.target.stall();
      at.source.slow(20);
      const planned = makePlan(at.definition, silentLogger).catch((error) => error);
      // The one that was asked for tables is gone, with both its ends at the proxy.
      const left = () => [at.source.accepted, at.source.connections];
      await expect.poll(left, { interval: 5 }).toEqual([2, 1]);
      at.source.stall();
      const before = openSockets();
      at.target.cut();
      expect(await planned).toMatchObject({ code: "TM-CONNECT-FAILED" });
      // Three had the target's connection, through the proxy; and of that of the source at least ours is gone.
      await expect.poll(openSockets).toBeLessThanOrEqual(before - 4);
    });

    // Before it would be given up by itself.
    test("what is wrong with the source is told though the target does not answer", {
      timeout: 8_000,
    }, async () => {
      await using at = await far(["nowhere"]);
      at.target.stall();
      const failure = await makePlan(at.definition, silentLogger).catch((error) => error);
      expect(failure).toMatchObject({ code: "TM-TABLE-MISSING" });
      at.target.heal();
      await expect.poll(() => at.target.connections).toBe(0);
    });
  });
}
