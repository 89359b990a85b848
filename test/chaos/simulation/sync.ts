import type { Random } from "../../support/random.ts";
import type { Drops } from "./drops.ts";
import type { TargetSite } from "./target-server.ts";

export interface SimulatedSync {
  readonly name: string;
  readonly target: TargetSite;
  /** What people have dropped of the rows set aside there. */
  readonly drops: Drops;
  /** Its applier is first started so late. */
  readonly joinsAtMs: number;
  /** For so long nobody starts its applier. */
  readonly absence: Absence | null;
}

export interface Absence {
  readonly fromMs: number;
  readonly untilMs: number;
}

/** Begins while faults fall, and goes on for long after. */
export function absenceOf(random: Random, stormMs: number): Absence {
  const fromMs = 1_500 + random.unit() * (stormMs - 1_500);
  return { fromMs, untilMs: stormMs + 32_000 + random.unit() * 12_000 };
}
