// The leases of relay and applier end with whoever holds them, also with a machine that vanishes (G8).
import { describe, expect, it } from "vitest";
import { sleep } from "../../src/core/async.ts";
import { sha256 } from "../../src/core/hash.ts";
import { mysql } from "../../src/databases/mysql/index.ts";
import { available } from "../servers/index.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { type Bed, openBed, openLog, SERVERS } from "./bed.ts";

const AN_HOUR = 3_600_000;

describe.concurrent.each(SERVERS)("leases on %s", (kind) => {
  const test = it.skipIf(!available(kind));

  test("are free soon when the machine that held them has vanished without a word", async () => {
    await using bed = await openBed(kind);
    await using proxy = await TcpProxy.start(bed.options.url);
    const options = { ...bed.options, url: proxy.through(bed.options.url) };
    const [first, second] = [await open(bed, options), await open(bed)];
    await first.takeAll();
    expect(await second.take()).toEqual([]);
    // Idle for longer than the server would wait for somebody who has vanished.
    await sleep(12_000);
    expect(await second.take()).toEqual([]);
    proxy.abandon(AN_HOUR);
    const vanishedAt = performance.now();
    await second.takeAll();
    expect(performance.now() - vanishedAt).toBeLessThan(20_000);
    await second.close();
    await first.close().catch(() => {}); // its connections are gone
  });

  test("that are lost while a start waits for a table leave its triggers to the next holder", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query("CREATE TABLE t (id INT PRIMARY KEY)");
    const tables = await bed.capture("t");
    const writer = await bed.connect();
    await writer.query("BEGIN; INSERT INTO t VALUES (1)");
    const asked = async (sql: string) => {
      const [rows] = await bed.admin.query(sql).catch(() => [[]]);
      return (rows as unknown as string[][])[0]?.[0];
    };
    const name = `tidemark_${sha256((await asked("SELECT DATABASE()")) ?? "", "relay").slice(0, 40)}`;
    const holder = () => asked(`SELECT IS_USED_LOCK('${name}')`);
    const lost = expect(openLog(bed, tables)).rejects.toMatchObject({
      code: "TM-CONNECTION-LOST",
    });
    await expect
      .poll(() => asked("SELECT 1 FROM tidemark_layouts WHERE id > 0"), { timeout: 20_000 })
      .toBeTruthy();
    const first = await holder();
    await bed.admin.query(`KILL ${first}`);
    await expect.poll(holder, { timeout: 20_000 }).toBe(null);
    const opening = openLog(bed, tables);
    await lost;
    await writer.query("COMMIT");
    await using open = await opening;
    await open.log.batches.look?.();
  });

  test("of a relay opens its other sessions beside each other", async () => {
    await using bed = await openBed(kind);
    await using proxy = await TcpProxy.start(bed.options.url);
    const source = await mysql.openSource({
      ...bed.options,
      url: proxy.through(bed.options.url),
    });
    proxy.slow(20);
    const opening = source.openChangeLog();
    // Its own, and the one with the lease.
    while (proxy.accepted < 3) await sleep(1);
    const { turns } = proxy;
    while (proxy.accepted < 4) await sleep(1);
    // To be let in takes more.
    expect(proxy.turns - turns).toBeLessThan(2);
    await (await opening)?.close();
    await source.close();
  });

  test("are free when a start that has failed is told", async () => {
    await using bed = await openBed(kind);
    const user = `unfit_${process.pid}`;
    await bed.admin.query(
      `DROP USER IF EXISTS '${user}'@'%'; CREATE USER '${user}'@'%' IDENTIFIED BY 'one';
       SET @sql = CONCAT('GRANT SELECT ON ', DATABASE(), ".* TO '${user}'@'%'");
       PREPARE granting FROM @sql; EXECUTE granting`,
    );
    const [source, target] = await Promise.all([
      mysql.openSource(bed.as(user, "one")),
      mysql.openTarget(bed.as(user, "one")),
    ]);
    const gone = { name: { schema: null, name: "gone" }, columns: [], key: [] };
    const tables = [{ ...gone, parents: [], cascades: false, followed: false }];
    for (let attempt = 0; attempt < 50; attempt++) {
      await expect(source.openChangeLog()).rejects.toMatchObject({ code: "TM-GRANT-MISSING" });
    }
    for (let attempt = 0; attempt < 50; attempt++) {
      await expect(target.openApplier("a->b", tables)).rejects.toMatchObject({
        code: "TM-TABLE-MISSING",
      });
    }
    await Promise.all([source.close(), target.close()]);
    await bed.admin.query(`DROP USER '${user}'@'%'`);
  });
});

/** The source and the target of one database, and what is held of their leases. */
async function open(bed: Bed, options = bed.options) {
  const source = await mysql.openSource(options);
  const target = await mysql.openTarget(options);
  const leases = {
    relay: () => source.openChangeLog(),
    applier: () => target.openApplier("a->b", []),
  };
  const held = new Map<string, { close(): Promise<void> }>();
  const take = async () => {
    for (const [name, lease] of Object.entries(leases)) {
      const taken = held.has(name) ? null : await lease();
      if (taken !== null) held.set(name, taken);
    }
    return [...held.keys()];
  };
  return {
    /** Tries once, and names those that are held. */
    take,
    async takeAll() {
      while ((await take()).length < 2) await sleep(100);
    },
    async close() {
      for (const lease of held.values()) await lease.close();
      await source.close();
      await target.close();
    },
  };
}
