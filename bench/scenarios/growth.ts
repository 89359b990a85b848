// What grows with what: lag and backlog between two PostgreSQL databases, with one thing larger from
// point to point and everything else as it is. Tidemark alone: each point against the first one.

import { piledUp, steady } from "../any-load.ts";
import { AnyPair } from "../any-pair.ts";
import { Tidemark } from "../arms/tidemark.ts";
import { createRows, fillRows, ROWS } from "../loads/rows.ts";
import type { Context, Scenario } from "../scenario.ts";

const RATE = 300;

/** One point: what differs from a small table of its own with one target. */
interface Shape {
  readonly rows?: number;
  readonly tables?: number;
  readonly width?: number;
  readonly targets?: number;
}

const AXES: readonly { axis: string; values: readonly number[]; shape(value: number): Shape }[] = [
  { axis: "rows in the table", values: [1_000, 100_000, 1_000_000], shape: (rows) => ({ rows }) },
  { axis: "tables", values: [1, 10, 100], shape: (tables) => ({ tables }) },
  { axis: "characters of a row", values: [50, 1_000, 10_000], shape: (width) => ({ width }) },
  { axis: "targets", values: [1, 2, 4], shape: (targets) => ({ targets }) },
];

export const growth: Scenario = {
  name: "growth",
  what: `lag at ${RATE} transactions a second and backlog with more rows, tables, width, targets`,

  async run(context: Context): Promise<void> {
    for (const { axis, values, shape } of AXES) {
      for (const value of context.bed.options.quick ? values.slice(0, 2) : values) {
        context.say(`${axis}: ${value}`);
        await measurePoint(context, { axis, value }, shape(value));
      }
    }
  },
};

async function measurePoint(
  context: Context,
  at: { readonly axis: string; readonly value: number },
  shape: Shape,
): Promise<void> {
  const { bed, results, rounds, say, size } = context;
  const { rows = 1_000, tables = 1, width = 50, targets = 1 } = shape;
  const name = `growth_${at.axis.replaceAll(" ", "_")}_${at.value}`;
  const pair = await AnyPair.create(bed, name, ["postgres", "postgres"], { targets });
  await fillRows(pair.source.sql, 1, size(rows, 1_000));
  const others = Array.from({ length: tables - 1 }, (_, i) => `other_${i + 1}`);
  for (const table of others) await createRows(pair.source.sql, table);
  const tidemark = await Tidemark.create(bed, pair, [ROWS, ...others]);
  await tidemark.start();
  const samples: Record<string, number[]> = { p50: [], p99: [], rate: [] };
  try {
    for (let round = 1; round <= rounds(3); round++) {
      const load = { rate: RATE, seconds: size(6, 2), width, others };
      const lag = await steady(pair, load);
      const backlog = await piledUp(tidemark, size(4_000, 200), width);
      for (const [figure, value] of Object.entries({ ...lag, ...backlog })) {
        samples[figure]?.push(value);
      }
      say(`round ${round}: p50 ${lag.p50?.toFixed(1)}, rate ${Math.round(backlog.rate ?? 0)}`);
    }
  } finally {
    await tidemark.stop();
  }
  const wrong = await pair.differences([ROWS, ...others]);
  results.wrong.push(...wrong.map((what) => `growth, ${at.axis} ${at.value}: ${what}`));
  const text = `${at.axis} ${at.value}`;
  for (const figure of ["p50", "p99"] as const) {
    const options = { figure: `${figure}, ${text}`, unit: "ms", better: "lower", at } as const;
    results.single("growth", samples[figure] ?? [], options);
  }
  results.single("growth", samples.rate ?? [], {
    ...{ figure: `backlog, ${text}`, unit: "changes/s", better: "higher", at },
  });
  await pair.close();
}
