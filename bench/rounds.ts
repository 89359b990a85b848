// Every comparison is run as A B A: a machine that grows slower or faster meanwhile shifts both
// sides alike, and the two A tell how far two equal things were apart. With more than one rival, the
// others stand between the two A as Tidemark does; with none, Tidemark itself is run twice.
import type { FigureOptions, Figures, Results, Round } from "./results.ts";

export interface Side {
  readonly name: string;
  measure(): Promise<Figures>;
}

/** What came of all rounds. */
export interface Laps {
  readonly rivals: ReadonlyMap<string, readonly Round[]>;
  /** All runs of Tidemark. */
  readonly tidemark: readonly Figures[];
  /** Rivals that failed on the way; the rounds up to then count. */
  readonly failed: ReadonlyMap<string, Error>;
}

export async function runLaps(
  count: number,
  tidemark: Side,
  rivals: readonly Side[],
  say: (text: string) => void,
): Promise<Laps> {
  const rounds = new Map<string, Round[]>(rivals.map(({ name }) => [name, []]));
  const runs: Figures[] = [];
  const failed = new Map<string, Error>();
  const run = async (side: Side, number: number) => {
    const figures = await side.measure();
    say(`round ${number}, ${side.name}: ${text(figures)}`);
    return figures;
  };
  const attempt = async (side: Side, number: number): Promise<Figures | undefined> => {
    try {
      return await run(side, number);
    } catch (error) {
      failed.set(side.name, error as Error);
      say(`${side.name} failed: ${(error as Error).message}`);
      return undefined;
    }
  };
  for (let number = 1; number <= count; number++) {
    const [first, ...others] = rivals.filter(({ name }) => !failed.has(name));
    const before = first && (await attempt(first, number));
    const measured = await run(tidemark, number);
    const between = new Map<string, Figures>();
    for (const other of others) {
      const figures = await attempt(other, number);
      if (figures !== undefined) between.set(other.name, figures);
    }
    const after = first && before && (await attempt(first, number));
    const again = after ?? (await run(tidemark, number));
    runs.push(measured, ...(after ? [] : [again]));
    const equals = [after ? (before as Figures) : measured, again] as const;
    if (after) rounds.get(first.name)?.push({ baseline: equals, tidemark: measured, equals });
    for (const [name, figures] of between) {
      rounds.get(name)?.push({ baseline: [figures], tidemark: measured, equals });
    }
  }
  return { rivals: rounds, tidemark: runs, failed };
}

/** Two sides, none of which may fail. */
export async function runRounds(
  count: number,
  baseline: () => Promise<Figures>,
  tidemark: () => Promise<Figures>,
  say: (text: string) => void,
): Promise<readonly Round[]> {
  const laps = await runLaps(
    count,
    { name: "Tidemark", measure: tidemark },
    [{ name: "baseline", measure: baseline }],
    say,
  );
  for (const error of laps.failed.values()) throw error;
  return laps.rivals.get("baseline") ?? [];
}

/** One figure of all rivals; of Tidemark alone where there is none. */
export function report(
  results: Results,
  scenario: string,
  { rivals, tidemark }: Laps,
  options: FigureOptions & { readonly label?: string },
): void {
  const { goal = null, figure, label = figure } = options;
  for (const [name, rounds] of rivals) {
    // The goals are set against what the database brings.
    const wanted = name === "native" || name === "mariadb" ? goal : null;
    if (rounds.length > 0) results.compare(scenario, name, rounds, { ...options, goal: wanted });
  }
  if (rivals.size > 0) return;
  const samples = tidemark.map((figures) => figures[figure] ?? Number.NaN);
  results.single(scenario, samples, { ...options, figure: label, goal: null });
}

function text(figures: Figures): string {
  return Object.entries(figures)
    .map(([name, value]) => `${name} ${value >= 100 ? Math.round(value) : value.toFixed(2)}`)
    .join(", ");
}

/** Milliseconds. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}
