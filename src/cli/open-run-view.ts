import { BarsView } from "./bars-view.ts";
import type { Invocation } from "./command-module.ts";
import { LinesView } from "./lines-view.ts";
import type { RunView } from "./run-view.ts";

/** Bars and one live line on a terminal, plain lines every few seconds elsewhere, JSON lines for programs. */
export function openRunView(invocation: Invocation): RunView {
  const { output } = invocation;
  if (output.live) return new BarsView(invocation.log);
  if (!output.json) return new LinesView(output);
  return {
    update: (status) => output.event("status", { status }),
    note: () => {},
    close: () => {},
  };
}
