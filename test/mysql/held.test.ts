// A table that somebody waits to alter behind a transaction that stays open: who looks at it is told, and soon.
import { describe, expect, it } from "vitest";
import { mysql } from "../../src/databases/mysql/index.ts";
import { available, canStart, startMysql } from "../servers/index.ts";
import { type Bed, openBed, openLog, SERVERS } from "./bed.ts";

/** Runs `work` while the table waits to be altered; gives the sessions that hold it and wait for it. */
async function whileHeld(
  bed: Bed,
  work: (holder: number, waits: number) => Promise<void>,
  table = "t",
): Promise<void> {
  const [holder, altering] = [await bed.connect(), await bed.connect()];
  await holder.query(`START TRANSACTION; SELECT * FROM ${table}`);
  const altered = altering.query(`ALTER TABLE ${table} ADD KEY (w)`);
  await expect
    .poll(async () => {
      const [rows] = await bed.admin.query(
        `SELECT STATE FROM information_schema.PROCESSLIST WHERE ID = ${altering.threadId}`,
      );
      return String(rows);
    })
    .toBe("Waiting for table metadata lock");
  await work(holder.threadId, altering.threadId);
  await holder.query("ROLLBACK");
  await altered;
}

/** A filter is tried on the table itself, in MariaDB as well. */
async function captured(bed: Bed, name = "t") {
  await bed.admin.query(`CREATE TABLE ${name} (id INT PRIMARY KEY, w INT)`);
  const tables = (await bed.capture(name)).map((table) => ({ ...table, filters: ["w <> 1"] }));
  await (await openLog(bed, tables))[Symbol.asyncDispose]();
  return tables;
}

describe.each(SERVERS)("a table that waits to be altered, on %s", (kind) => {
  it.skipIf(!available(kind))("is named with the session that waits", async () => {
    // MySQL looks at the tables of all databases: every test beside this one would wait, too.
    const isApart = kind === "mysql" && canStart(kind);
    await using server = isApart ? await startMysql() : null;
    await using bed = await openBed(kind, server?.url);
    const tables = await captured(bed);
    const source = await mysql.openSource(bed.options);
    await whileHeld(bed, async (_, waits) => {
      const message = expect.stringMatching(
        new RegExp(`\\.t is locked, or waits to be altered.*session ${waits} waits to alter it`),
      );
      const fix = expect.stringContaining(`KILL QUERY ${waits}`);
      const held = { code: "TM-TABLE-HELD", retryable: true, message, fix };
      const doctor = await mysql.openSource(bed.options);
      const [findings] = await Promise.all([
        doctor.diagnose(tables),
        expect(source.planCapture(tables)).rejects.toMatchObject(held),
        expect(openLog(bed, tables)).rejects.toMatchObject(held),
      ]);
      await doctor.close();
      const errors = findings.filter(({ severity }) => severity === "error");
      expect(errors).toEqual([{ check: "table-held", severity: "error", message, fix }]);
      expect(findings.map(({ check }) => check)).toContain("binary-log");
    });
    await source.planCapture(tables);
    await source.close();
  });
});

it.skipIf(!available("mariadb"))(
  "names the table that was looked at, of two that wait",
  async () => {
    await using bed = await openBed("mariadb");
    const names = ["t", "other"];
    const tables = [await captured(bed, "t"), await captured(bed, "other")];
    const sources = await Promise.all(names.map(() => mysql.openSource(bed.options)));
    const told = (waits: readonly number[]) =>
      Promise.all(
        sources.map((source, at) =>
          expect(source.planCapture(tables[at] ?? [])).rejects.toMatchObject({
            code: "TM-TABLE-HELD",
            message: expect.stringMatching(
              new RegExp(`\\.${names[at]} is locked.*session ${waits[at]} waits`),
            ),
          }),
        ),
      );
    await whileHeld(bed, async (_, first) => {
      await whileHeld(bed, async (__, second) => void (await told([first, second])), "other");
    });
    for (const source of sources) await source.close();
  },
);

it.skipIf(!canStart("mysql"))(
  "MySQL tells which session holds a table that waits to be altered, and which has it locked",
  async () => {
    await using server = await startMysql({ settings: { "performance-schema": "ON" } });
    await using bed = await openBed("mysql", server.url);
    const tables = await captured(bed);
    const unfiltered = tables.map((table) => ({ ...table, filters: [] }));
    const source = await mysql.openSource(bed.options);
    await whileHeld(bed, async (holder, waits) => {
      // Of a table of no filter, too: the engine's numbers are told of all tables or of none.
      await expect(source.planCapture(unfiltered)).rejects.toMatchObject({
        code: "TM-TABLE-HELD",
        message: expect.stringMatching(
          new RegExp(
            `\\.t is locked.*: session ${waits} waits to alter it; session ${holder} holds it in a transaction`,
          ),
        ),
        fix: expect.stringContaining(`KILL ${holder})`),
      });
    });
    await bed.admin.query("LOCK TABLES t WRITE");
    await expect(source.planCapture(tables)).rejects.toMatchObject({
      code: "TM-TABLE-HELD",
      message: expect.stringContaining(`.t is locked`),
      details: { holders: [String(bed.admin.threadId)] },
    });
    await bed.admin.query("UNLOCK TABLES");
    await source.planCapture(tables);
    await source.close();
  },
);
