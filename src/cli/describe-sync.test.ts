// What the line of a sync under `run` says (G8).
import { expect, test } from "vitest";
import { UNKNOWN_SOURCE, UNKNOWN_SYNC } from "../core/documents.ts";
import { describeCopies, describeSync } from "./describe-sync.ts";

const WORKING = { state: "running", lagMs: 8 } as const;
const SYNC = { ...UNKNOWN_SYNC, ...WORKING, name: "a->b", from: "a", to: "b" } as const;
const SOURCE = { ...UNKNOWN_SOURCE, name: "a", state: "running" } as const;

test("tells the lag while the source answers", () => {
  const other = { ...SOURCE, name: "c", error: { code: "TM-DISK-FULL", message: "", fix: null } };
  expect(describeSync(SYNC, [SOURCE, other], 0)).toBe(
    "a->b  running  batch 0  0 changes (0/s)  lag 8 ms",
  );
});

test("tells what ails the source, and no lag, while it does not", () => {
  const error = { code: "TM-CONNECTION-LOST", message: "", fix: null };
  expect(describeSync(SYNC, [{ ...SOURCE, error }], 0)).toBe(
    "a->b  running  batch 0  0 changes (0/s)  a retrying: TM-CONNECTION-LOST",
  );
});

test("tells of a copy in one line, whatever the table's name holds", () => {
  const table = { table: "a\nb", state: "copying", rowsCopied: 1, estimatedRows: null } as const;
  const lines = describeCopies({ ...SYNC, tableCount: 1, tables: [table] }, 0);
  expect(lines).toEqual(["copied 0 of 1 table (0 rows/s)", "a\\nb: 1 row"]);
});
