// Keys of several columns, of any types: through updates and swaps, and copied in ranges that begin
// and end between rows of equal first columns.
import { describe, expect, test } from "vitest";
import type { ChunkRequest } from "../../src/core/source.ts";
import { databaseAdapterFor } from "../../src/pipeline/registry.ts";
import { takeChunk } from "../../src/testing/replica.ts";
import { type DatabaseKind, available as isAvailable } from "../servers/index.ts";
import { available, ELEVEN_PAIRS, type TestPair, title } from "../support/pairs.ts";
import { startPlayer } from "../support/player.ts";
import { type Dialect, type SqlClient, transaction } from "../support/sql-client.ts";
import { TestBed } from "../support/test-bed.ts";
import {
  contents,
  exact,
  insertRow,
  type TestRow,
  type TestTable,
} from "../support/test-tables.ts";

/** How its values are meant; the types are each dialect's own. */
const VISITS: TestTable = {
  name: "visits",
  columns: {
    region: "varchar",
    at: "timestamp",
    amount: "decimal",
    tag: "varchar",
    raw: "bytes",
    valid: "boolean",
    state: "varchar",
    note: "varchar",
  },
  key: ["region", "at", "amount", "tag", "raw", "valid", "state"],
};
const KEY = `PRIMARY KEY (${VISITS.key.join(", ")})`;
const ddl = (kind: DatabaseKind): Readonly<Record<Dialect, readonly string[]>> => ({
  postgres: [
    "CREATE TYPE state AS ENUM ('open', 'closed', 'Open')",
    `CREATE TABLE visits (region text, at timestamp, amount numeric(12,3), tag uuid, raw bytea, valid boolean, state state, note text, ${KEY})`,
  ],
  mariadb: [
    `CREATE TABLE visits (region varchar(20) ${exact(kind)}, at datetime(6), amount decimal(12,3), tag char(36), raw varbinary(16), valid boolean, state enum('open', 'closed', 'Open') ${exact(kind)}, note varchar(50), ${KEY})`,
  ],
  sqlite: [
    `CREATE TABLE visits (region TEXT NOT NULL, at TEXT NOT NULL, amount NUMERIC NOT NULL, tag TEXT NOT NULL, raw BLOB NOT NULL, valid INTEGER NOT NULL, state TEXT NOT NULL, note TEXT, ${KEY})`,
  ],
});

const REGIONS = ["a", "A", "a ", "é"];
const TIMES = ["2024-01-31 23:59:59.999999", "2024-02-01 00:00:00"];
const AMOUNTS = ["-0.5", "0", "1.25", "10"];
const TAGS = ["00000000-0000-0000-0000-000000000001", "ffffffff-0000-4000-8000-000000000000"];
const RAWS = [Buffer.alloc(0), Buffer.from([0]), Buffer.from([0, 255])];
const STATES = ["open", "closed", "Open"];

describe.each(ELEVEN_PAIRS.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  describe.skipIf(!available(pair))("", () => registerTests(pair));
});

function registerTests(pair: TestPair): void {
  test("keys of many types change and are swapped", async () => {
    await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    const source = await bed.sql("source");
    await fill(source, pair.source);
    const round = await startPlayer(bed, { tables: [VISITS] });
    await round("UPDATE visits SET note = 'changed' WHERE amount = 1.25 AND note LIKE 'row%'");
    await round(
      "UPDATE visits SET region = 'x' WHERE region = 'a'",
      "UPDATE visits SET region = 'a' WHERE region = 'A'",
      "UPDATE visits SET region = 'A' WHERE region = 'x'",
    );
    await round(
      "UPDATE visits SET amount = 77 WHERE amount = 0",
      "UPDATE visits SET amount = 0 WHERE amount = 10",
      "UPDATE visits SET amount = 10 WHERE amount = 77",
    );
    await round(
      "UPDATE visits SET at = '2030-01-01 00:00:00' WHERE at = '2024-02-01 00:00:00'",
      "UPDATE visits SET at = '2024-02-01 00:00:00' WHERE at < '2024-02-01 00:00:00'",
      "UPDATE visits SET at = '2024-01-31 23:59:59.999999' WHERE at = '2030-01-01 00:00:00'",
    );
    // Those that differ in it alone would collide on the way.
    await round("DELETE FROM visits WHERE note IS NULL");
    await round(`UPDATE visits SET valid = NOT valid, note = 'other' WHERE region = 'A'`);
    await round(
      `UPDATE visits SET tag = '11111111-1111-4111-8111-111111111111' WHERE tag = '${TAGS[0]}'`,
      `UPDATE visits SET tag = '${TAGS[0]}' WHERE tag = '${TAGS[1]}'`,
      "DELETE FROM visits WHERE state = 'closed'",
      "UPDATE visits SET state = 'closed' WHERE state = 'Open'",
    );
    await round("DELETE FROM visits WHERE region <> 'a '");
  });
}

describe.each(["postgres", "mariadb", "mysql", "sqlite"] as const)("%s", (kind) => {
  test.skipIf(!isAvailable(kind))("is copied in ranges that part equal first columns", async () => {
    await using bed = await TestBed.make({ source: kind });
    const source = await bed.sql("source");
    await fill(source, kind);
    const { url } = bed.database("source");
    const options = { name: "source", url, logger: bed.logger };
    const adapter = databaseAdapterFor(url);
    const catalog = await adapter.openCatalog(options);
    const schema = adapter.defaultSchema;
    const [found] = await catalog.describe([{ schema, name: VISITS.name }]);
    await catalog.close();
    if (found === undefined) throw new Error("not described");
    const opened = await adapter.openSource(options);
    const log = await opened.openChangeLog();
    if (log === null) throw new Error("no log");
    try {
      const columns = found.columns.map(({ name }) => name);
      await log.capture([{ schema: found, columns, filters: [], takesNewColumns: true }]);
      const seen = new Set<string>();
      let rows = 0;
      for (let after: ChunkRequest["after"] = null, done = false; !done; ) {
        const request = { table: found.name, after, maxRows: 7, maxBytes: 1 << 20 };
        const { chunk } = await takeChunk(log.batches, request);
        for (const row of chunk.rows) seen.add(JSON.stringify(row));
        rows += chunk.rows.length;
        expect(chunk.rows.length).toBeLessThanOrEqual(7);
        ({ cursor: after, done } = chunk);
      }
      const standing = (await contents(source, VISITS)).length;
      expect({ rows, different: seen.size }).toEqual({ rows: standing, different: standing });
    } finally {
      await log.close();
      await opened.close();
    }
  });
});

async function fill(source: SqlClient, kind: DatabaseKind): Promise<void> {
  for (const statement of ddl(kind)[source.dialect]) await source.run(statement);
  await transaction(source, async () => {
    let n = 0;
    for (const region of REGIONS)
      for (const at of TIMES)
        for (const amount of AMOUNTS)
          for (const tag of TAGS)
            for (const raw of RAWS) {
              const row: TestRow = { region, at, amount, tag, raw, valid: n % 2 === 0 };
              const state = STATES[n % STATES.length] ?? "open";
              await insertRow(source, VISITS, { ...row, state, note: `row ${n++}` });
              if (n % 5 === 0) {
                await insertRow(source, VISITS, { ...row, valid: n % 2 === 0, state, note: null });
              }
            }
  });
}
