// What the line of a sync under `run` says (G8).
import { expect, test } from "vitest";
import { UNKNOWN_SOURCE, UNKNOWN_SYNC } from "../core/documents.ts";
import { describeSync } from "./describe-sync.ts";

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
