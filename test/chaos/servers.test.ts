// Seeded schedules of faults on real servers (docs/reference/checker.md). `npm run chaos -- --servers` plays more
// of them, for as long as asked.
import { join } from "node:path";
import { expect, test } from "vitest";
import type { DatabaseKind } from "../servers/index.ts";
import { committedCode, percentiles, writeRecord } from "./record.ts";
import { Fleet } from "./servers/fleet.ts";
import {
  allowedFaults,
  canRun,
  type FaultKind,
  missingServers,
  planWorld,
  type Wishes,
} from "./servers/plan.ts";
import {
  describe as describeTotals,
  loadTotals,
  storeTotals,
  sumOf,
  type Totals,
} from "./servers/tally.ts";
import { playWorld } from "./servers/world.ts";

const {
  TIDEMARK_CHAOS_SEED = String(Math.floor(Math.random() * 1e9)),
  TIDEMARK_CHAOS_MINUTES = "",
  TIDEMARK_CHAOS_PAIR = "",
  TIDEMARK_CHAOS_QUEUE = "",
  TIDEMARK_CHAOS_RECORD = "",
  TIDEMARK_CHAOS_CONTINUE = "",
} = process.env;
const FIRST = Number(TIDEMARK_CHAOS_SEED);
/** A run that is not asked for by its minutes: as CI has it. */
const IS_SHORT = TIDEMARK_CHAOS_MINUTES === "";
const MINUTES = Number(TIDEMARK_CHAOS_MINUTES);
const SHORT_WORLDS = 2;
const IS_RECORDED = TIDEMARK_CHAOS_RECORD !== "";
/** After so many a kind of fault that has not happened is missed. */
const ENOUGH_FAULTS = 100;
const NEVER_LONGER_MS = 300_000;

/** Not worth servers of their own in CI, where each kind of fault is tested on each server elsewhere. */
const SHORT_PAIRS = [
  { source: "postgres", target: "sqlite" },
  { source: "sqlite", target: "postgres" },
  { source: "sqlite", target: "mariadb" },
] as const;

test(
  "seeded faults on real servers: nothing lost, invented, doubled, torn or out of order",
  async () => {
    // Not after an hour that nobody can keep.
    const commit = IS_RECORDED ? committedCode() : "";
    const wishes = wished();
    const file = join(import.meta.dirname, `../../.test-results/chaos-servers-${FIRST}.json`);
    const totals = loadTotals(TIDEMARK_CHAOS_CONTINUE === "" ? "" : file, commit, FIRST);
    const before = { minutes: totals.minutes, at: performance.now() };
    const elapsed = () => (performance.now() - before.at) / 60_000;
    await using fleet = new Fleet();
    const worlds = IS_SHORT ? SHORT_WORLDS : Number.POSITIVE_INFINITY;
    for (let world = 0; world < worlds && (IS_SHORT || elapsed() < MINUTES); world++) {
      const seed = FIRST + totals.seeds;
      const plan = planWorld(seed, wishes(seed));
      const startedAt = performance.now();
      const violations = await playWorld(plan, fleet, totals);
      totals.minutes = before.minutes + elapsed();
      totals.violations.push(...violations.map((violation) => `seed ${seed}: ${violation}`));
      tell(plan, violations, performance.now() - startedAt);
      storeTotals(file, totals);
    }
    const missed = missedOf(totals, IS_SHORT ? [] : allowedFaults(wishes(FIRST)));
    console.log(describeTotals(totals));
    if (missed.length > 0) console.log(`never happened: ${missed.join(", ")}`);
    // Also of a run that failed.
    if (IS_RECORDED) console.log(`kept: ${keep(totals, missed)}`);
    expect(totals.violations.map((violation) => violation.slice(0, 300))).toEqual([]);
    expect(totals.states["wait ended"]).toBeGreaterThan(0);
    if (sumOf(totals.faults) >= ENOUGH_FAULTS) expect(missed).toEqual([]);
  },
  (IS_SHORT ? 0 : MINUTES * 60_000) + NEVER_LONGER_MS,
);

function wished(): (seed: number) => Wishes {
  const queue = TIDEMARK_CHAOS_QUEUE === "" ? null : (TIDEMARK_CHAOS_QUEUE as "embedded" | "nats");
  const [source, target] = TIDEMARK_CHAOS_PAIR.split("-") as DatabaseKind[];
  const pair = source && target ? { source, target } : null;
  if (!IS_SHORT) return () => ({ pair, queue, faults: [3, 8] });
  const pairs = SHORT_PAIRS.filter((each) => canRun(each.source) && canRun(each.target));
  return (seed) => ({
    pair: pair ?? pairs[seed % pairs.length] ?? null,
    queue,
    faults: [3, 3],
  });
}

function keep(totals: Totals, missed: readonly string[]): string {
  const { firstSeed, seeds, transactions, rows, kills, faults, pairs } = totals;
  return writeRecord({
    ...{ level: "servers", firstSeed, seeds, transactions, rows, kills, faults, pairs },
    minutes: Math.round(totals.minutes * 10) / 10,
    violations: totals.violations.length,
    recoveryMs: percentiles(totals.recoveriesMs),
    skipped: [
      ...missingServers().map((server) => `${server}: cannot be started here`),
      ...missed.map((what) => `${what}: did not happen in this run`),
    ],
  });
}

type Plan = ReturnType<typeof planWorld>;

function tell({ seed, pair, crew, turns }: Plan, violations: readonly string[], ms: number): void {
  const { source, target, queue } = pair;
  const what = turns.map(({ fault }) => fault).join(", ");
  const end = violations.length === 0 ? "" : ` ✗ ${violations.length} violations`;
  console.log(
    `seed ${seed}: ${source} to ${target} over ${queue}, ${crew}: ${what}: ${Math.round(ms / 1000)} s${end}`,
  );
  for (const violation of violations) console.log(`  ✗ ${violation}`);
}

function missedOf(totals: Totals, allowed: readonly FaultKind[]): readonly string[] {
  const missed: string[] = allowed.filter((fault) => totals.faults[fault] === undefined);
  if (totals.states["stream sent again"] === undefined) missed.push("a redelivery");
  return missed;
}
