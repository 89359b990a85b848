// Random transactions by several writers at once; a reader of the target looks all the time; at the
// end both sides are the same row by row (G1, G2, G3).
import { describe, expect, test } from "vitest";
import {
  ACCOUNTS,
  BANK,
  BANK_NAMES,
  fillBank,
  LEDGER,
  runWriter,
  WALLETS,
} from "../support/bank.ts";
import { BankReader } from "../support/bank-reader.ts";
import { available, type TestPair } from "../support/pairs.ts";
import { Random, testSeed } from "../support/random.ts";
import { openSql } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables } from "../support/test-tables.ts";

interface Case extends TestPair {
  /** The target has the foreign key, too. */
  readonly constrained: boolean;
}

const CASES: readonly Case[] = [
  { source: "postgres", target: "postgres", queue: "embedded", constrained: true },
  { source: "postgres", target: "mariadb", queue: "nats", constrained: false },
  { source: "mariadb", target: "postgres", queue: "embedded", constrained: true },
  { source: "mariadb", target: "sqlite", queue: "embedded", constrained: true },
  { source: "sqlite", target: "sqlite", queue: "embedded", constrained: false },
  { source: "sqlite", target: "postgres", queue: "nats", constrained: false },
  { source: "postgres-newest", target: "sqlite", queue: "embedded", constrained: false },
  { source: "mariadb", target: "mariadb", queue: "embedded", constrained: true },
  { source: "mysql", target: "mysql", queue: "embedded", constrained: true },
];

const WRITERS = 5;
const EARLY_TRANSACTIONS = 40;
const TRANSACTIONS = 120;

describe.each(CASES)("$source to $target over $queue", (pair) => {
  test.skipIf(!available(pair))(
    "both sides end equal, and no state in between was torn",
    async () => {
      const random = new Random(testSeed());
      await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
      const source = await bed.sql("source");
      if (source.dialect === "sqlite") await source.rows("PRAGMA journal_mode = WAL");
      await createTables(source, pair.source, BANK);
      if (pair.constrained) await createTables(await bed.sql("target"), pair.target, BANK);
      await fillBank(source);

      let writers = 0;
      const writer = (transactions: number, signal?: AbortSignal) =>
        runWriter({
          connect: () => openSql(bed.database("source")),
          random: random.fork(),
          writer: writers++,
          transactions,
          longMs: pair.source === "sqlite" ? 40 : 200,
          pauseMs: 10,
          ...(signal && { signal }),
        });
      const write = async (transactions: number) => {
        const committed = Array.from({ length: WRITERS }, () => writer(transactions));
        const sum = (await Promise.all(committed)).reduce((total, count) => total + count, 0);
        expect(sum).toBeGreaterThan((WRITERS * transactions) / 2);
      };
      // The pipeline starts in the middle of it: copy and changes overlap.
      const early = write(EARLY_TRANSACTIONS);
      const pipeline = await bed.start(
        bed.define([{ from: "source", to: "target", tables: BANK_NAMES }]),
      );
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      const reader = new BankReader(() => openSql(bed.database("target")));
      const seen = new AbortController();
      try {
        await early;
        // One goes on until the reader has seen enough, however slow it is.
        const last = writer(Number.POSITIVE_INFINITY, seen.signal);
        try {
          await write(TRANSACTIONS);
          await reader.sawItMove();
        } finally {
          seen.abort();
          await last;
        }
        await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      } finally {
        await reader.stop();
      }
      expect(reader.violations).toEqual([]);
      for (const table of [ACCOUNTS, WALLETS, LEDGER]) await bed.expectSame(table);
    },
    240_000,
  );
});
