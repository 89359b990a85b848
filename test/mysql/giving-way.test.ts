// Triggers that are made and dropped while the application is in transactions of the tables: it is never the one that has to give way.
import { randomUUID } from "node:crypto";
import type { Connection } from "mysql2/promise";
import { describe, expect, it } from "vitest";
import { sleep } from "../../src/core/async.ts";
import { mysql } from "../../src/databases/mysql/index.ts";
import { available } from "../servers/index.ts";
import { PATIENCE_MS } from "../support/test-bed.ts";
import { type Bed, openBed, openLog } from "./bed.ts";

/** Resolves when `work`, which makes or drops triggers, has asked for the table that somebody has, or waits for it. */
async function asked(bed: Bed, counter: string): Promise<() => Promise<void>> {
  const count = async () => {
    const [rows] = await bed.admin.query(`SHOW GLOBAL STATUS LIKE '${counter}'`);
    return Number((rows as unknown as string[][])[0]?.[1]);
  };
  const before = await count();
  return async () =>
    void (await expect.poll(count, { timeout: PATIENCE_MS }).toBeGreaterThan(before));
}

async function reading(bed: Bed): Promise<Connection> {
  const application = await bed.connect();
  await application.query("START TRANSACTION; SELECT * FROM t");
  return application;
}

describe.skipIf(!available("mariadb"))("a transaction that has read a table, on MariaDB", () => {
  it("may write it while triggers are made and dropped", async () => {
    await using bed = await openBed("mariadb");
    await bed.admin.query(
      "CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 1)",
    );
    const tables = await bed.capture("t");

    const first = await reading(bed);
    const isMade = await asked(bed, "Com_create_trigger");
    const opened = openLog(bed, tables);
    await isMade();
    await first.query("UPDATE t SET v = 2; COMMIT");
    await (await opened)[Symbol.asyncDispose]();

    const second = await reading(bed);
    const isDropped = await asked(bed, "Com_drop_trigger");
    const catalog = await mysql.openCatalog(bed.options);
    const removed = catalog.uninstall();
    await isDropped();
    await second.query("UPDATE t SET v = 3; COMMIT");
    await removed;
    await catalog.close();
    const [triggers] = await bed.admin.query("SHOW TRIGGERS");
    expect(triggers).toEqual([]);
  });

  it("may write it while an account makes another's triggers its own", async () => {
    await using bed = await openBed("mariadb");
    await bed.admin.query(
      "CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 1)",
    );
    const tables = await bed.capture("t");
    await (await openLog(bed, tables))[Symbol.asyncDispose]();
    const user = `tm_${randomUUID().slice(0, 8)}`;
    await bed.admin.query(
      `CREATE USER ${user} IDENTIFIED BY 'secret'; GRANT ALL ON *.* TO ${user}`,
    );
    try {
      const application = await reading(bed);
      const isMade = await asked(bed, "Com_create_trigger");
      const opened = openLog({ options: bed.as(user, "secret") }, tables);
      await isMade();
      await application.query("UPDATE t SET v = 2; COMMIT");
      await (await opened)[Symbol.asyncDispose]();
      const [triggers] = await bed.admin.query(
        "SELECT DISTINCT DEFINER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()",
      );
      expect(triggers).toEqual([[`${user}@%`]]);
    } finally {
      await bed.admin.query(`DROP USER ${user}`);
    }
  });

  it("does not keep triggers from a table that is never free", async () => {
    await using bed = await openBed("mariadb");
    await bed.admin.query(
      "CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 1)",
    );
    const tables = await bed.capture("t");
    // Each begins before the one before it ends, unless somebody waits for the table.
    const turns = [await bed.connect(), await bed.connect()];
    let isOver = false;
    const use = async () => {
      for (let id = 2; !isOver; id++) {
        const begun = turns[id % 2]?.query(`START TRANSACTION; INSERT INTO t VALUES (${id}, 0)`);
        await Promise.race([begun, sleep(100)]);
        await sleep(5);
        await turns[(id + 1) % 2]?.query("COMMIT");
        await begun;
      }
    };
    const used = use();
    await (await openLog(bed, tables))[Symbol.asyncDispose]();
    isOver = true;
    await used;
  });
});
