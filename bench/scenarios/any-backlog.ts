// A backlog between databases of any kind.
import { piledUp } from "../any-load.ts";
import { report } from "../rounds.ts";
import type { Context } from "../scenario.ts";
import { anyArms, measureAnyArms } from "./any-arms.ts";

export async function anyBacklog(context: Context): Promise<void> {
  const scenario = `backlog ${context.bed.options.pair}`;
  const arms = await anyArms(context);
  const laps = await measureAnyArms(context, scenario, arms, (arm) =>
    piledUp(arm, context.size(12_000, 400)),
  );
  report(context.results, scenario, laps, { figure: "rate", unit: "changes/s", better: "higher" });
}
