// What was measured: comparisons with others, and figures that stand alone.
import { mean, type Spread, spread } from "./statistics.ts";

export type Better = "higher" | "lower";

/** Figures of one run by name: `{ p50: 1.2, p99: 6.1 }`. */
export type Figures = Readonly<Record<string, number>>;

/** One round of one comparison. */
export interface Round {
  /** One run or two of what Tidemark is compared with. */
  readonly baseline: readonly Figures[];
  readonly tidemark: Figures;
  /** Two runs of one and the same thing at both ends of the round: how far apart equals are. */
  readonly equals: readonly [Figures, Figures];
}

/** Where on an axis a figure stands: 300 of "transactions a second". */
export interface Point {
  readonly axis: string;
  readonly value: number;
}

export interface Comparison {
  readonly scenario: string;
  readonly figure: string;
  readonly unit: string;
  readonly better: Better;
  readonly at: Point | null;
  /** What Tidemark is compared with: `native`, `no capture`. */
  readonly baselineName: string;
  /** The ratio Tidemark / baseline that is wanted. */
  readonly goal: number | null;
  readonly baseline: Spread;
  readonly tidemark: Spread;
  readonly ratio: Spread;
  /** A/A: what the ratio of two equal things looked like meanwhile. */
  readonly noise: Spread;
  readonly met: boolean | null;
  readonly rounds: readonly {
    readonly baseline: readonly number[];
    readonly tidemark: number;
    readonly equals: readonly [number, number];
  }[];
}

export interface Single {
  readonly scenario: string;
  readonly figure: string;
  readonly unit: string;
  readonly better: Better;
  readonly at: Point | null;
  readonly goal: number | null;
  readonly value: Spread;
  readonly met: boolean | null;
  readonly samples: readonly number[];
}

export interface FigureOptions {
  readonly figure: string;
  readonly unit: string;
  readonly better: Better;
  readonly goal?: number | null;
  readonly at?: Point;
}

export class Results {
  readonly comparisons: Comparison[] = [];
  readonly singles: Single[] = [];
  /** Data at a target that were not those of its source. */
  readonly wrong: string[] = [];
  /** What could not be measured here, and why. */
  readonly missing: string[] = [];
  /** Of what Tidemark was compared with. */
  readonly versions: Record<string, string> = {};

  compare(
    scenario: string,
    baselineName: string,
    rounds: readonly Round[],
    options: FigureOptions & { readonly label?: string },
  ): void {
    const { figure, unit, better, goal = null, at = null, label = figure } = options;
    const value = (figures: Figures) => figures[figure] ?? Number.NaN;
    const values = rounds.map(({ baseline, tidemark, equals }) => ({
      baseline: baseline.map(value),
      tidemark: value(tidemark),
      equals: [value(equals[0]), value(equals[1])] as const,
    }));
    const ratio = spread(values.map(({ baseline, tidemark }) => tidemark / mean(baseline)));
    this.comparisons.push({
      ...{ scenario, figure: label, unit, better, at, baselineName, goal },
      baseline: spread(values.flatMap(({ baseline }) => baseline)),
      tidemark: spread(values.map(({ tidemark }) => tidemark)),
      ratio,
      noise: spread(values.map(({ equals: [first, second] }) => second / first)),
      met: isMet(ratio.median, goal, better),
      rounds: values,
    });
  }

  single(scenario: string, samples: readonly number[], options: FigureOptions): void {
    const { figure, unit, better, goal = null, at = null } = options;
    const value = spread(samples);
    // A bound of memory holds for the worst run, not for the middle one.
    const worst = better === "lower" ? value.max : value.min;
    const met = isMet(worst, goal, better);
    this.singles.push({ scenario, figure, unit, better, at, goal, value, met, samples });
  }
}

function isMet(value: number, goal: number | null, better: Better): boolean | null {
  if (goal === null) return null;
  return better === "higher" ? value >= goal : value <= goal;
}
