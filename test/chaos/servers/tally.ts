// What a run has done and found, added up over its worlds. Kept as JSON, so that a run can be continued.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { percentiles } from "../record.ts";

export interface Totals {
  readonly commit: string;
  readonly firstSeed: number;
  seeds: number;
  minutes: number;
  transactions: number;
  rows: number;
  kills: number;
  readonly faults: Record<string, number>;
  readonly failpoints: Record<string, number>;
  readonly states: Record<string, number>;
  readonly violations: string[];
  readonly recoveriesMs: number[];
  /** The longest after each kind of fault. */
  readonly slowestMs: Record<string, number>;
  readonly pairs: Record<string, number>;
  peakMegabytes: number;
}

function noTotals(commit: string, firstSeed: number): Totals {
  return {
    commit,
    firstSeed,
    ...{ seeds: 0, minutes: 0, transactions: 0, rows: 0, kills: 0 },
    ...{
      faults: {},
      failpoints: {},
      states: {},
      violations: [],
      recoveriesMs: [],
      slowestMs: {},
      pairs: {},
    },
    peakMegabytes: 0,
  };
}

export function count(counts: Record<string, number>, what: string, times = 1): void {
  counts[what] = (counts[what] ?? 0) + times;
}

/** The totals of this run so far, where it was begun with the same commit; else new ones. */
export function loadTotals(file: string, commit: string, firstSeed: number): Totals {
  if (!existsSync(file)) return noTotals(commit, firstSeed);
  const kept = JSON.parse(readFileSync(file, "utf8")) as Totals;
  return kept.commit === commit ? kept : noTotals(commit, firstSeed);
}

export function storeTotals(file: string, totals: Totals): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, JSON.stringify(totals));
}

export function sumOf(counts: Record<string, number>): number {
  return Object.values(counts).reduce((sum, each) => sum + each, 0);
}

/** For people. */
export function describe(totals: Totals): string {
  const { seeds, minutes, transactions, rows, kills, recoveriesMs, violations } = totals;
  const { p50, p99, max } = percentiles(recoveriesMs);
  const seconds = (ms: number) => (ms / 1000).toFixed(1);
  const list = (counts: Record<string, number>) =>
    Object.entries(counts)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([what, times]) => `  ${times} × ${what}`);
  return [
    `${seeds} worlds from seed ${totals.firstSeed} on, ${minutes.toFixed(1)} minutes: ${violations.length} violations`,
    `${sumOf(totals.faults)} faults, ${kills} of them kills:`,
    ...list(totals.faults),
    "died at failpoints:",
    ...list(totals.failpoints),
    "reached:",
    ...list(totals.states),
    "pairs:",
    ...list(totals.pairs),
    `${transactions} transactions, ${rows} rows; at most ${totals.peakMegabytes} MB in a process`,
    `in step again, ${recoveriesMs.length} times: p50 ${seconds(p50)} s, p99 ${seconds(p99)} s, at most ${seconds(max)} s`,
    "at most:",
    ...Object.entries(totals.slowestMs)
      .sort(([, a], [, b]) => b - a)
      .map(([when, ms]) => `  ${seconds(ms)} s ${when}`),
    ...violations.map((violation) => `✗ ${violation.slice(0, 300)}`),
  ].join("\n");
}
