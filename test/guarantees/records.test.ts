// A record that is not whole, or says what nobody asked, is no record of a run.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { parseRecord, percentiles, type RunRecord, readRecords } from "../chaos/record.ts";

const RECORD: RunRecord = {
  level: "simulation",
  commit: "0123456789abcdef0123456789abcdef01234567",
  date: "2026-11-26",
  ...{ firstSeed: 1, seeds: 2, minutes: 0.5, transactions: 3, rows: 4, kills: 5 },
  faults: { deadlock: 6 },
  violations: 0,
  recoveryMs: { p50: 1, p99: 2, max: 3, count: 2 },
  skipped: [],
  machine: "2 cores, 24 GiB",
};

test("a record is read as it was written", () => {
  expect(parseRecord(JSON.stringify(RECORD), "r.json")).toEqual(RECORD);
  for (const level of ["servers", "power"]) {
    const real = { ...RECORD, level, pairs: { "postgres-sqlite over embedded": 2 } };
    expect(parseRecord(JSON.stringify(real), "r.json")).toEqual(real);
  }
});

test.each<[string, object, RegExp]>([
  ["a field more", { colour: "red" }, /r\.json is no record:.*"colour"/s],
  ["a field less", { kills: undefined }, /r\.json is no record:.*kills/s],
  ["a short commit", { commit: "0123456" }, /40 hex digits/],
  ["pairs in the simulation", { pairs: {} }, /"pairs" belongs to real servers/],
  ["real servers without pairs", { level: "servers" }, /"pairs" belongs to real servers/],
])("%s is an error that names it", (_, change, message) => {
  const text = JSON.stringify({ ...RECORD, ...change });
  expect(() => parseRecord(text, "r.json")).toThrow(message);
});

test("records are read in the order of their seeds, whatever their files are named", () => {
  const folder = mkdtempSync(join(tmpdir(), "records-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const files = { "a.json": 1000, "b.json": 999, "c.json": 1 };
  for (const [name, firstSeed] of Object.entries(files)) {
    writeFileSync(join(folder, name), JSON.stringify({ ...RECORD, firstSeed }));
  }
  expect(readRecords(folder).map(({ firstSeed }) => firstSeed)).toEqual([1, 999, 1000]);
});

test("percentiles of no time and of some", () => {
  expect(percentiles([])).toEqual({ p50: 0, p99: 0, max: 0, count: 0 });
  expect(percentiles([3, 1, 2.4])).toEqual({ p50: 2, p99: 2, max: 3, count: 3 });
});
