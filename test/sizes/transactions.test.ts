// One transaction of very many rows, then very many transactions of one row: all arrive, and neither
// process needs more memory for it (G3, G7).
import { describe, expect, test } from "vitest";
import { LARGE, measured, report, sized } from "../support/large.ts";
import { available, type TestPair, title } from "../support/pairs.ts";
import type { SqlClient } from "../support/sql-client.ts";
import { TestBed } from "../support/test-bed.ts";
import { TwoProcesses } from "../support/two-processes.ts";

const ROWS = sized(200_000, 5_000_000);
const TRANSACTIONS = sized(5_000, 100_000);
const PATIENCE_MS = 280_000;
/** See docs/reference/limits.md for what was measured; V8 takes more where the machine has more. */
const MAX_MEGABYTES = 384;

const PAIRS: readonly TestPair[] = [
  { source: "sqlite", target: "sqlite", queue: "embedded" },
  { source: "postgres", target: "postgres", queue: "nats" },
  // Slower, and no other path through the program: the sum of the two is enough in each run.
  ...(LARGE ? [{ source: "mariadb", target: "mariadb", queue: "embedded" } as const] : []),
];

describe.each(PAIRS.map((pair) => [title(pair), pair] as const))("%s", (name, pair) => {
  test.skipIf(!available(pair))(
    `${ROWS} rows at once, and ${TRANSACTIONS} one by one`,
    async () => {
      await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
      const [source, target] = [await bed.sql("source"), await bed.sql("target")];
      await source.run("CREATE TABLE big (id bigint NOT NULL PRIMARY KEY, note varchar(100))");
      const definition = bed.define([{ from: "source", to: "target", tables: ["big"] }]);
      await using pipeline = await TwoProcesses.start(bed.folder, definition);
      await pipeline.waitFor(PATIENCE_MS);
      const expectSame = async () => {
        expect(await target.rows(SUMS)).toEqual(await source.rows(SUMS));
        expect(await target.rows(STRAYS)).toEqual([]);
        for (const role of ["relay", "applier"] as const) {
          const peak = pipeline.peakMegabytes(role);
          report(`${name}: ${role}: ${peak} MB`);
          expect(peak).toBeLessThan(MAX_MEGABYTES);
        }
      };
      await measured(`${name}: ${ROWS} rows written`, () => source.run(manyRows(source)));
      await measured(`${name}: and applied`, () => pipeline.waitFor(PATIENCE_MS));
      await expectSame();
      await measured(`${name}: ${TRANSACTIONS} transactions written`, () =>
        manyTransactions(source),
      );
      await measured(`${name}: and applied`, () => pipeline.waitFor(PATIENCE_MS));
      await expectSame();
    },
    PATIENCE_MS,
  );
});

const SUMS = "SELECT count(*) AS n, sum(id) AS ids FROM big";
const [AT_ONCE, ALONE] = ["a row of some length, number ", "one, number "];
/** Rows whose note is another one's. */
const STRAYS = `SELECT id FROM big
  WHERE note <> concat(CASE WHEN id > 0 THEN '${AT_ONCE}' ELSE '${ALONE}' END, id) OR note IS NULL LIMIT 3`;

function manyRows({ dialect }: SqlClient): string {
  const insert = "INSERT INTO big (id, note)";
  if (dialect === "postgres") {
    return `${insert} SELECT i, '${AT_ONCE}' || i FROM generate_series(1, ${ROWS}) i`;
  }
  if (dialect === "mariadb") {
    return `${insert} SELECT seq, CONCAT('${AT_ONCE}', seq) FROM seq_1_to_${ROWS}`;
  }
  return `${insert} WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < ${ROWS})
    SELECT i, '${AT_ONCE}' || i FROM s`;
}

async function manyTransactions(sql: SqlClient): Promise<void> {
  if (sql.dialect === "postgres") {
    await sql.run(`DO $$ BEGIN FOR i IN 1..${TRANSACTIONS} LOOP
      INSERT INTO big VALUES (-i, '${ALONE}-' || i); COMMIT; END LOOP; END $$`);
    return;
  }
  for (let i = 1; i <= TRANSACTIONS; i++)
    await sql.run(`INSERT INTO big VALUES (-${i}, '${ALONE}-${i}')`);
}
