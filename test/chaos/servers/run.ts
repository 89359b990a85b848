// A run: one world after the other from a seed on, told as they go, and kept. `npm run chaos` asks for it by the
// environment; without that it is as CI has it.
import { join } from "node:path";
import type { DatabaseKind } from "../../servers/index.ts";
import { committedCode, percentiles, writeRecord } from "../record.ts";
import { Fleet } from "./fleet.ts";
import { allowedFaults, missingServers, planPower, planWorld, type Wishes } from "./plan.ts";
import {
  describe as describeTotals,
  loadTotals,
  storeTotals,
  sumOf,
  type Totals,
} from "./tally.ts";
import { playWorld } from "./world.ts";

const {
  TIDEMARK_CHAOS_SEED = String(Math.floor(Math.random() * 1e9)),
  TIDEMARK_CHAOS_MINUTES = "",
  TIDEMARK_CHAOS_COUNT = "",
  TIDEMARK_CHAOS_PAIR = "",
  TIDEMARK_CHAOS_QUEUE = "",
  TIDEMARK_CHAOS_RECORD = "",
  TIDEMARK_CHAOS_CONTINUE = "",
} = process.env;
const FIRST = Number(TIDEMARK_CHAOS_SEED);
/** Not asked for: as CI has it. */
export const IS_SHORT = TIDEMARK_CHAOS_MINUTES === "" && TIDEMARK_CHAOS_COUNT === "";
const MINUTES = Number(TIDEMARK_CHAOS_MINUTES || Number.POSITIVE_INFINITY);
const COUNT = Number(TIDEMARK_CHAOS_COUNT || Number.POSITIVE_INFINITY);
const IS_RECORDED = TIDEMARK_CHAOS_RECORD !== "";
/** After so many a kind of fault that has not happened is missed. */
const ENOUGH_FAULTS = 100;
const NEVER_LONGER_MS = 300_000;
/** Of a world, where their number is asked for. */
const WORLD_MS = 300_000;

/** What a test of a run may take. */
export const PATIENCE_MS =
  NEVER_LONGER_MS + (IS_SHORT ? 0 : Math.min(MINUTES * 60_000, Math.min(COUNT, 10_000) * WORLD_MS));

/** The pair and the queue that were asked for. */
export function asked(): Pick<Wishes, "pair" | "queue"> {
  const [source, target] = TIDEMARK_CHAOS_PAIR.split("-") as DatabaseKind[];
  return {
    pair: source && target ? { source, target } : null,
    queue: TIDEMARK_CHAOS_QUEUE === "" ? null : (TIDEMARK_CHAOS_QUEUE as "embedded" | "nats"),
  };
}

export interface Run {
  readonly level: Wishes["level"];
  /** By seed. */
  readonly wishes: (seed: number) => Wishes;
  /** How many worlds CI plays. */
  readonly shortWorlds: number;
}

/** Plays it to its end. Gives what it has done, and which kinds of fault are missed. */
export async function playRun({ level, wishes, shortWorlds }: Run): Promise<{
  readonly totals: Totals;
  readonly missed: readonly string[];
}> {
  // Not after an hour that nobody can keep.
  const commit = IS_RECORDED ? committedCode() : "";
  const file = join(import.meta.dirname, `../../../.test-results/chaos-${level}-${FIRST}.json`);
  const totals = loadTotals(TIDEMARK_CHAOS_CONTINUE === "" ? "" : file, commit, FIRST);
  const before = { minutes: totals.minutes, at: performance.now() };
  const elapsed = () => (performance.now() - before.at) / 60_000;
  await using fleet = new Fleet();
  const worlds = IS_SHORT ? shortWorlds : COUNT;
  for (let world = 0; world < worlds && (IS_SHORT || elapsed() < MINUTES); world++) {
    const seed = FIRST + totals.seeds;
    const plan = (level === "power" ? planPower : planWorld)(seed, wishes(seed));
    const startedAt = performance.now();
    const violations = await playWorld(plan, fleet, totals);
    totals.minutes = before.minutes + elapsed();
    totals.violations.push(...violations.map((violation) => `seed ${seed}: ${violation}`));
    tell(plan, violations, performance.now() - startedAt);
    storeTotals(file, totals);
    if (plan.plant !== null && violations.length > 0) break;
  }
  const missed = missedOf(totals, IS_SHORT ? [] : allowedFaults(wishes(FIRST)));
  console.log(describeTotals(totals));
  if (missed.length > 0) console.log(`never happened: ${missed.join(", ")}`);
  // Also of a run that failed.
  if (IS_RECORDED) console.log(`kept: ${keep(level, totals, missed)}`);
  return { totals, missed: sumOf(totals.faults) >= ENOUGH_FAULTS ? missed : [] };
}

function keep(level: Run["level"], totals: Totals, missed: readonly string[]): string {
  const { firstSeed, seeds, transactions, rows, kills, faults, pairs } = totals;
  return writeRecord({
    ...{ level, firstSeed, seeds, transactions, rows, kills, faults, pairs },
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

function tell(plan: Plan, violations: readonly string[], ms: number): void {
  const { source, target, queue } = plan.pair;
  const what = plan.turns.map(({ fault }) => fault).join(", ");
  const disks =
    plan.wiring === null ? "" : `, ${plan.wiring === "one" ? "one disk" : "a disk each"}`;
  const end = violations.length === 0 ? "" : ` ✗ ${violations.length} violations`;
  console.log(
    `seed ${plan.seed}: ${source} to ${target} over ${queue}, ${plan.crew}${disks}: ${what}: ${Math.round(ms / 1000)} s${end}`,
  );
  for (const violation of violations) console.log(`  ✗ ${violation}`);
}

function missedOf(totals: Totals, allowed: readonly string[]): readonly string[] {
  const missed: string[] = allowed.filter((fault) => totals.faults[fault] === undefined);
  if (totals.states["stream sent again"] === undefined) missed.push("a redelivery");
  return missed;
}
