// What a batch promises, under the load that breaks weaker readers of a log (G1, G3, B1-B3).
import type { Connection } from "mysql2/promise";
import { describe, expect, it, vi } from "vitest";
import { Session } from "../../src/databases/mysql/connection.ts";
import { type Copied, takeChunk } from "../../src/testing/replica.ts";
import { available } from "../servers/index.ts";
import { type Bed, type CutBatch, collect, cutOnce, openBed, openLog, SERVERS } from "./bed.ts";

const ROWS = 12;
const TRANSACTIONS = 60;

/** Transactions that read-modify-write hot rows: `ver` tells the order of each row, `trx` who wrote. */
async function write(
  connection: Connection,
  writer: number,
  random: () => number,
): Promise<string[]> {
  const committed: string[] = [];
  for (let turn = 0; turn < TRANSACTIONS; turn++) {
    const name = `${writer}.${turn}`;
    const ids = [...new Set([0, 1, 2].map(() => Math.floor(random() * ROWS)))].sort(
      (a, b) => a - b,
    );
    const rollback = random() < 0.2;
    await connection.query("START TRANSACTION");
    for (const id of ids) {
      await connection.query("UPDATE hot SET ver = ver + 1, trx = ? WHERE id = ?", [name, id]);
      if (random() < 0.3) await connection.query("DO SLEEP(?)", [random() * 0.01]);
    }
    await connection.query("INSERT INTO entries (trx, part, parts) VALUES (?, 1, 2), (?, 2, 2)", [
      name,
      name,
    ]);
    await connection.query(rollback ? "ROLLBACK" : "COMMIT");
    if (!rollback) committed.push(name);
  }
  return committed;
}

function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state / 2_147_483_648;
  };
}

async function setUp(bed: Bed): Promise<void> {
  await bed.admin.query(
    `CREATE TABLE hot (id INT PRIMARY KEY, ver INT NOT NULL, trx VARCHAR(20));
     CREATE TABLE entries (id BIGINT AUTO_INCREMENT PRIMARY KEY, trx VARCHAR(20), part INT, parts INT)`,
  );
  const rows = Array.from({ length: ROWS }, (_, id) => `(${id}, 0, '')`).join(",");
  await bed.admin.query(`INSERT INTO hot VALUES ${rows}`);
}

/** Each row's versions rise by one from batch to batch and inside each; no transaction is cut. */
function check(batches: readonly CutBatch[], tables: ReadonlyMap<number, string>): Set<string> {
  const versions = new Map<string, number>();
  const seen = new Set<string>();
  batches.forEach(({ header, changes }, index) => {
    expect(header.batch).toBe(index + 1);
    if (index > 0) expect(header.prevHash).toBe(batches[index - 1]?.header.hash);
    const parts = new Map<string, number>();
    const hot = new Set<string>();
    for (const { layout, op, row } of changes) {
      if (tables.get(layout) === "hot") {
        const [id = "", ver, trx] = row as string[];
        expect(op).toBe("update");
        expect(Number(ver)).toBe((versions.get(id) ?? 0) + 1);
        versions.set(id, Number(ver));
        hot.add(trx ?? "");
      } else {
        const trx = (row as string[])[1] ?? "";
        parts.set(trx, (parts.get(trx) ?? 0) + 1);
      }
    }
    for (const [trx, count] of parts) {
      expect(count).toBe(2);
      expect(seen.has(trx)).toBe(false);
      seen.add(trx);
    }
    expect([...hot].every((trx) => parts.has(trx))).toBe(true);
  });
  return seen;
}

describe.each(SERVERS)("batches cut under load on %s", (kind) => {
  it.skipIf(!available(kind))(
    "hold each committed transaction whole, once and in order, whoever is still open",
    async () => {
      await using bed = await openBed(kind);
      await setUp(bed);
      await using opened = await openLog(bed, await bed.capture("hot", "entries"));
      const { log, layouts } = opened;
      const tables = new Map([...layouts].map(([id, layout]) => [id, layout.table.name]));
      // Open for the whole run with low ids drawn; and idle ones with a view of their own.
      const long = await bed.connect();
      await long.query("START TRANSACTION");
      await long.query("INSERT INTO entries (trx, part, parts) VALUES ('long', 1, 2)");
      for (let i = 0; i < 20; i++) {
        const idle = await bed.connect();
        await idle.query("START TRANSACTION WITH CONSISTENT SNAPSHOT; SELECT COUNT(*) FROM hot");
      }
      let writing = true;
      const writers = Promise.all(
        [1, 2, 3, 4, 5].map(async (writer) => write(await bed.connect(), writer, seeded(writer))),
      ).finally(() => {
        writing = false;
      });
      const batches: CutBatch[] = [];
      while (writing) {
        const batch = await cutOnce(log);
        if (batch === null) continue;
        batches.push(batch);
        // Confirmed at once, now and then: purge works between open transactions.
        if (batches.length % 10 === 0) await log.batches.purge(batches.length - 3);
      }
      const committed = (await writers).flat();
      await long.query("INSERT INTO entries (trx, part, parts) VALUES ('long', 2, 2); COMMIT");
      const signal = AbortSignal.timeout(10_000);
      await log.waitForChanges(signal);
      expect(signal.aborted).toBe(false);
      for (let batch = await cutOnce(log); batch !== null; batch = await cutOnce(log))
        batches.push(batch);
      const seen = check(batches, tables);
      expect([...seen].sort()).toEqual([...committed, "long"].sort());
      const last = batches.at(-1);
      expect(last && (await collect(log.batches.pages(last.header.batch)))).toEqual(last?.changes);
      await log.batches.purge(batches.length);
      expect((await log.stats()).rows).toBe(0);
    },
  );

  it.skipIf(!available(kind))(
    "are cut on from where another relay stopped, late rows included",
    async () => {
      await using bed = await openBed(kind);
      await setUp(bed);
      const tables = await bed.capture("entries");
      const late = await bed.connect();
      let first: CutBatch | null;
      {
        await using opened = await openLog(bed, tables);
        await late.query(
          "START TRANSACTION; INSERT INTO entries (trx, part, parts) VALUES ('late', 1, 1)",
        );
        await bed.admin.query("INSERT INTO entries (trx, part, parts) VALUES ('a', 1, 1)");
        first = await cutOnce(opened.log);
        expect(first?.changes.map(({ row }) => row?.[1])).toEqual(["a"]);
        await opened.log.batches.purge(1);
      }
      await using opened = await openLog(bed, tables);
      expect(await opened.log.batches.last()).toEqual(first?.header);
      await expect(collect(opened.log.batches.pages(1))).rejects.toMatchObject({
        code: "TM-BATCH-PURGED",
      });
      expect(await cutOnce(opened.log)).toBeNull();
      await late.query("COMMIT");
      await opened.log.waitForChanges(AbortSignal.timeout(10_000));
      const second = await cutOnce(opened.log);
      expect(second?.header).toMatchObject({ batch: 2, prevHash: first?.header.hash });
      expect(second?.changes.map(({ row }) => row?.[1])).toEqual(["late"]);
      expect(await cutOnce(opened.log)).toBeNull();
    },
  );

  it.skipIf(!available(kind))("take a chunk of a table as of exactly the batch", async () => {
    await using bed = await openBed(kind);
    await setUp(bed);
    await bed.admin.query(
      `CREATE TABLE wide (a VARCHAR(20) COLLATE utf8mb4_general_ci, b DECIMAL(6,2), e ENUM('z','a') NOT NULL,
         body LONGTEXT, PRIMARY KEY (a, b, e))`,
    );
    const rows = Array.from(
      { length: 60 },
      (_, i) => `('k${i % 7}', ${i}.5, '${i % 2 ? "z" : "a"}', REPEAT('x', ${i * 50}))`,
    );
    await bed.admin.query(`INSERT INTO wide VALUES ${rows.join(",")}`);
    await using opened = await openLog(bed, await bed.capture("wide"));
    const keys: string[] = [];
    let after: string | null = null;
    for (let turn = 0; ; turn++) {
      const request = { table: { schema: null, name: "wide" }, after, maxRows: 9, maxBytes: 6_000 };
      const { chunk, cut, changes }: Copied = await takeChunk(opened.log.batches, request);
      expect(cut.header?.batch ?? null).toBe(turn === 1 ? 1 : null);
      expect(changes.length).toBe(turn === 1 ? 1 : 0);
      expect(chunk.rows.length).toBeGreaterThan(0);
      keys.push(...chunk.rows.map((row) => row.slice(0, 3).join("|")));
      after = chunk.cursor;
      if (chunk.done) break;
      // Beyond the upper key fixed by the first chunk: the log brings it, the copy does not.
      if (turn === 0) await bed.admin.query("INSERT INTO wide VALUES ('zzz', 1, 'a', '')");
    }
    expect(keys.length).toBe(60);
    expect(new Set(keys).size).toBe(60);
  });
});

describe.each(SERVERS)("purging on %s", (kind) => {
  it.skipIf(!available(kind))("takes nothing back that a cut sees at the same time", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query("CREATE TABLE t (id INT PRIMARY KEY)");
    await using opened = await openLog(bed, await bed.capture("t"));
    const { log } = opened;
    // So many numbers are lost that they are no longer watched one by one.
    const lost = (id: number) => `SAVEPOINT s; INSERT INTO t VALUES (${id}); ROLLBACK TO s;`;
    const row = (id: number) => `${lost(id)} INSERT INTO t VALUES (${id});`;
    const ids = Array.from({ length: 1_100 }, (_, id) => id);
    await bed.admin.query(`START TRANSACTION; ${ids.map(row).join(" ")} COMMIT`);
    expect((await cutOnce(log))?.changes.length).toBe(ids.length);

    // The cut is held up with its snapshot open, as a busy machine may hold it up.
    const looked = Promise.withResolvers<void>();
    const purged = Promise.withResolvers<void>();
    const { rows } = Session.prototype;
    const held = vi.spyOn(Session.prototype, "rows").mockImplementation(async function (
      this: Session,
      ...query
    ) {
      const found = await rows.apply(this, query);
      if (query[0].includes("FORCE INDEX (PRIMARY)")) {
        looked.resolve();
        await purged.promise;
      }
      return found;
    });
    try {
      const cutting = cutOnce(log);
      await looked.promise;
      await log.batches.purge(1);
      purged.resolve();
      expect(await cutting).toBe(null);
    } finally {
      held.mockRestore();
    }
    expect(await cutOnce(log)).toBe(null);
    await bed.admin.query("DELETE FROM t WHERE id > 1");
    expect((await cutOnce(log))?.changes.length).toBe(ids.length - 2);
  });

  it.skipIf(!available(kind))("goes on where its session was ended for its silence", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query("CREATE TABLE t (id INT PRIMARY KEY)");
    await using opened = await openLog(bed, await bed.capture("t"));
    const sessions = async () => {
      const [rows] = await bed.admin.query(
        // Not the view: MySQL 9 fails to give it where a session's statement holds what utf8mb3 has not.
        "SHOW PROCESSLIST",
      );
      const [[own]] = (await bed.admin.query("SELECT DATABASE()"))[0] as unknown as [[string]];
      return (rows as unknown[][]).filter((row) => row[3] === own).map(([id]) => String(id));
    };
    const before = await sessions();
    for (const n of [1, 2]) {
      await bed.admin.query(`INSERT INTO t VALUES (${n})`);
      await cutOnce(opened.log);
      await opened.log.batches.purge(n);
      const [id, ...more] = (await sessions()).filter((each) => !before.includes(each));
      expect(more).toEqual([]);
      await bed.admin.query(`KILL ${id}`);
    }
    expect((await opened.log.stats()).rows).toBe(0);
  });

  it.skipIf(!available(kind))("goes between the rows of transactions that are open", async () => {
    await using bed = await openBed(kind);
    await bed.admin.query("CREATE TABLE t (id INT PRIMARY KEY)");
    await using opened = await openLog(bed, await bed.capture("t"));
    const open = await bed.connect();
    await open.query("START TRANSACTION");
    for (let id = 0; id < 2_000; id += 2) {
      await bed.admin.query(`INSERT INTO t VALUES (${id})`);
      if (id % 40 === 0) await open.query(`INSERT INTO t VALUES (${id + 1})`);
    }
    expect((await cutOnce(opened.log))?.changes.length).toBe(1_000);
    const run = vi.spyOn(Session.prototype, "run");
    try {
      await opened.log.batches.purge(1);
      // Each is a round trip, and may be one to the other side of the world.
      const deletes = run.mock.calls.filter(([sql]) => sql.startsWith("DELETE"));
      expect(deletes.length).toBeLessThan(10);
    } finally {
      run.mockRestore();
    }
    await open.query("COMMIT");
    const [rows] = await bed.admin.query("SELECT COUNT(*) FROM tidemark_change_log WHERE id > 0");
    expect(rows).toEqual([["50"]]);
    expect((await cutOnce(opened.log))?.changes.length).toBe(50);
  });
});
