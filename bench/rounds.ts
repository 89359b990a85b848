// Every comparison is run as A B A: a machine that grows slower or faster meanwhile shifts both
// sides alike, and the two A tell how far two equal things were apart.
import type { Figures, Round } from "./results.ts";

export async function runRounds(
  count: number,
  baseline: () => Promise<Figures>,
  tidemark: () => Promise<Figures>,
  say: (text: string) => void,
): Promise<Round[]> {
  const rounds: Round[] = [];
  for (let number = 1; number <= count; number++) {
    const round = { before: await baseline(), tidemark: await tidemark(), after: await baseline() };
    say(`round ${number}: ${text(round.before)} | ${text(round.tidemark)} | ${text(round.after)}`);
    rounds.push(round);
  }
  return rounds;
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
