// The ordering of concurrent transactions (G1, G3): several writers with pauses, one long
// transaction, rollbacks and savepoints, while the relay cuts, purges and rotates without a pause.
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { describe, expect, it } from "vitest";
import type { Change } from "../../src/core/change.ts";
import { PostgresChangeLog } from "../../src/databases/postgres/change-log.ts";
import { available, freshDatabase } from "../servers/index.ts";
import { captureTables, changesOf, connect, optionsOf, SERVERS } from "./support.ts";

const HOT_ROWS = 20;
const WRITERS = 5;
const RUN_MS = 4_000;

describe.each(SERVERS)("%s under concurrent writers", (kind) => {
  it.skipIf(!available(kind))(
    "gives every committed change once, in row order, in whole transactions",
    async () => {
      await using database = await freshDatabase(kind);
      const options = optionsOf(database.url);
      const clients = await Promise.all(
        Array.from({ length: WRITERS + 2 }, () => connect(database.url)),
      );
      const [admin, long, ...writers] = clients as [pg.Client, pg.Client, ...pg.Client[]];
      try {
        await admin.query(
          `CREATE TABLE hot (id int PRIMARY KEY, version int NOT NULL);
         INSERT INTO hot SELECT i, 0 FROM generate_series(1, ${HOT_ROWS}) i;
         CREATE TABLE entries (id bigserial PRIMARY KEY, tx text NOT NULL, size int NOT NULL);
         CREATE TABLE never (id bigserial PRIMARY KEY)`,
        );
        const log = await PostgresChangeLog.open(options, { bytes: 1, ageMs: 0 });
        if (!log) throw new TypeError("The lease is taken.");
        await log.capture(await captureTables(database.url, ["hot", "entries", "never"]));
        const stop = new AbortController();
        const batches: Change[][] = [];
        const relay = follow(log, batches, stop.signal);
        const deadline = Date.now() + RUN_MS;
        const committed = await Promise.all([
          ...writers.map((client, i) => write(client, `w${i}`, deadline)),
          writeLong(long, deadline),
        ]);
        await drained(log, stop);
        await relay;
        const stats = await log.stats();
        await log.close();

        const changes = batches.flat();
        const total = committed.reduce((sum, each) => sum + each, 0);
        const tables = { hot: [] as Change[], entries: [] as Change[], never: [] as Change[] };
        const names = ["hot", "entries", "never"] as const;
        for (const change of changes) tables[names[change.layout - 1] ?? "never"].push(change);
        expect(tables.never).toEqual([]);

        const entryIds = tables.entries.map((change) => change.row?.[0]);
        expect(new Set(entryIds).size).toBe(entryIds.length);
        const { rows } = await admin.query("SELECT count(*)::int AS n FROM entries");
        expect(entryIds.length).toBe(rows[0].n);

        // Versions of each row go up by one, in the order given.
        const versions = new Map<unknown, number>();
        for (const change of tables.hot) {
          const [id, version] = change.row as string[];
          expect(Number(version)).toBe((versions.get(id) ?? 0) + 1);
          versions.set(id, Number(version));
        }
        const final = await admin.query("SELECT id::text, version FROM hot WHERE version > 0");
        expect([...versions].sort()).toEqual(final.rows.map((row) => [row.id, row.version]).sort());

        // All entries of a transaction stand in one batch.
        for (const batch of batches) {
          const sizes = new Map<string, number>();
          for (const change of batch.filter((each) => names[each.layout - 1] === "entries")) {
            const [, tx, size] = change.row as string[];
            const key = `${tx} ${size}`;
            sizes.set(key, (sizes.get(key) ?? 0) + 1);
          }
          for (const [key, count] of sizes) expect(`${key.split(" ")[0]} ${count}`).toBe(key);
        }
        expect(total).toBeGreaterThan(50);
        // Everything is purged and all but the last table truncated.
        expect(stats.bytes).toBeLessThan(2_000_000);
        const slots = await admin.query(
          "SELECT switched_at > created_at AS moved FROM tidemark.source",
        );
        expect(slots.rows[0].moved).toBe(true);
      } finally {
        await Promise.all(clients.map((client) => client.end()));
      }
    },
  );

  it.skipIf(!available(kind))("tells at a cut that a transaction was overtaken", async () => {
    await using database = await freshDatabase(kind);
    const [slow, quick] = await Promise.all([connect(database.url), connect(database.url)]);
    try {
      await slow.query("CREATE TABLE t (id int PRIMARY KEY)");
      const log = await PostgresChangeLog.open(optionsOf(database.url));
      if (!log) throw new TypeError("The lease is taken.");
      await log.capture(await captureTables(database.url, ["t"]));
      await slow.query("BEGIN; INSERT INTO t VALUES (1)");
      await quick.query("INSERT INTO t VALUES (2)");
      const cut = await log.batches.cut();
      expect(cut.header).not.toBeNull();
      expect(cut.overtaken).toBeGreaterThanOrEqual(1); // the server has other writers
      await changesOf(cut);
      await log.close();
    } finally {
      await Promise.all([slow.end(), quick.end()]);
    }
  });
});

async function follow(
  log: PostgresChangeLog,
  batches: Change[][],
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const cut = await log.batches.cut();
    if (cut.header === null) {
      await log.waitForChanges(signal);
      continue;
    }
    batches.push(await changesOf(cut));
    if (cut.header.batch % 7 === 0) {
      const again = await changesOf({ pages: log.batches.pages(cut.header.batch) });
      expect(again).toEqual(batches.at(-1));
      await log.batches.purge(cut.header.batch);
    }
  }
}

async function drained(log: PostgresChangeLog, stop: AbortController): Promise<void> {
  let before = -1;
  for (;;) {
    const last = (await log.batches.last())?.batch ?? 0;
    if (last === before) break;
    before = last;
    await sleep(300);
  }
  stop.abort();
  await log.batches.purge(before);
}

/** Transactions of a few entries and hot rows; some are rolled back, whole or to a savepoint. */
async function write(client: pg.Client, name: string, deadline: number): Promise<number> {
  let committed = 0;
  for (let n = 0; Date.now() < deadline; n++) {
    const size = 1 + Math.floor(Math.random() * 4);
    const tx = `${name}-${n}`;
    await client.query("BEGIN");
    const first = 1 + Math.floor(Math.random() * (HOT_ROWS - 2));
    await client.query("UPDATE hot SET version = version + 1 WHERE id = $1", [first]);
    for (let i = 0; i < size; i++) {
      await client.query("INSERT INTO entries (tx, size) VALUES ($1, $2)", [tx, size]);
      if (Math.random() < 0.3) await sleep(Math.random() * 5);
    }
    await client.query("SAVEPOINT s; INSERT INTO never DEFAULT VALUES; ROLLBACK TO s");
    // In ascending order of ids: writers never deadlock.
    await client.query("UPDATE hot SET version = version + 1 WHERE id = $1", [first + 1]);
    if (Math.random() < 0.2) {
      await client.query("INSERT INTO never DEFAULT VALUES; ROLLBACK");
    } else {
      await client.query("COMMIT");
      committed++;
    }
  }
  return committed;
}

/** Open for the whole run; its ids are among the first, its commit is the last. */
async function writeLong(client: pg.Client, deadline: number): Promise<number> {
  await client.query("BEGIN");
  const size = 1 + Math.ceil(RUN_MS / 200);
  await client.query("INSERT INTO entries (tx, size) VALUES ('long', $1)", [size]);
  for (let i = 1; i < size; i++) {
    if (Date.now() < deadline) await sleep(150);
    await client.query("INSERT INTO entries (tx, size) VALUES ('long', $1)", [size]);
  }
  await client.query("COMMIT");
  return 1;
}
