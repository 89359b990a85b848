// What was measured: comparisons by rounds of A B A, and figures that stand alone.
import { type Spread, spread } from "./statistics.ts";

export type Better = "higher" | "lower";

/** Figures of one run by name: `{ p50: 1.2, p99: 6.1 }`. */
export type Figures = Readonly<Record<string, number>>;

/** One round: the baseline, Tidemark, the baseline again; the two baselines tell the noise. */
export interface Round {
  readonly before: Figures;
  readonly tidemark: Figures;
  readonly after: Figures;
}

export interface Comparison {
  readonly scenario: string;
  readonly figure: string;
  readonly unit: string;
  readonly better: Better;
  /** What Tidemark is compared with: `native`, `no capture`. */
  readonly baselineName: string;
  /** The ratio Tidemark / baseline that is wanted. */
  readonly goal: number | null;
  readonly baseline: Spread;
  readonly tidemark: Spread;
  readonly ratio: Spread;
  /** Second baseline / first baseline: what the ratio of two equal things looked like meanwhile. */
  readonly noise: Spread;
  readonly met: boolean | null;
  readonly rounds: readonly {
    readonly before: number;
    readonly tidemark: number;
    readonly after: number;
  }[];
}

export interface Single {
  readonly scenario: string;
  readonly figure: string;
  readonly unit: string;
  readonly better: Better;
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
}

export class Results {
  readonly comparisons: Comparison[] = [];
  readonly singles: Single[] = [];
  /** Data at a target that were not those of its source. */
  readonly wrong: string[] = [];
  /** What could not be measured here, and why. */
  readonly missing: string[] = [];

  compare(
    scenario: string,
    baselineName: string,
    rounds: readonly Round[],
    options: FigureOptions & { readonly label?: string },
  ): void {
    const { figure, unit, better, goal = null, label = figure } = options;
    const values = rounds.map(({ before, tidemark, after }) => ({
      before: before[figure] ?? Number.NaN,
      tidemark: tidemark[figure] ?? Number.NaN,
      after: after[figure] ?? Number.NaN,
    }));
    const ratio = spread(values.map((each) => each.tidemark / ((each.before + each.after) / 2)));
    this.comparisons.push({
      scenario,
      figure: label,
      unit,
      better,
      baselineName,
      goal,
      baseline: spread(values.flatMap(({ before, after }) => [before, after])),
      tidemark: spread(values.map(({ tidemark }) => tidemark)),
      ratio,
      noise: spread(values.map(({ before, after }) => after / before)),
      met: isMet(ratio.median, goal, better),
      rounds: values,
    });
  }

  single(scenario: string, samples: readonly number[], options: FigureOptions): void {
    const { figure, unit, better, goal = null } = options;
    const value = spread(samples);
    // A bound of memory holds for the worst run, not for the middle one.
    const worst = better === "lower" ? value.max : value.min;
    const met = isMet(worst, goal, better);
    this.singles.push({ scenario, figure, unit, better, goal, value, met, samples });
  }
}

function isMet(value: number, goal: number | null, better: Better): boolean | null {
  if (goal === null) return null;
  return better === "higher" ? value >= goal : value <= goal;
}
