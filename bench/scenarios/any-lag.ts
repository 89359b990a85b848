// Lag between databases of any kind.
import { steady } from "../any-load.ts";
import { report } from "../rounds.ts";
import type { Context } from "../scenario.ts";
import { anyArms, measureAnyArms } from "./any-arms.ts";

export async function anyLag(context: Context): Promise<void> {
  const { pair, rates } = context.bed.options;
  const arms = await anyArms(context);
  const scenario = `lag ${pair}`;
  for (const rate of rates) {
    context.say(`${rate} transactions a second`);
    const laps = await measureAnyArms(context, scenario, arms, (arm) =>
      steady(arm.pair, { rate, seconds: context.size(8, 3) }),
    );
    const at = { axis: "transactions a second", value: rate };
    for (const figure of ["p50", "p99"]) {
      const label = `${figure} at ${rate}/s`;
      report(context.results, scenario, laps, { figure, label, unit: "ms", better: "lower", at });
    }
    report(context.results, scenario, laps, {
      ...{ figure: "reached", label: `load at ${rate}/s`, unit: "tx/s", better: "higher", at },
    });
  }
}
