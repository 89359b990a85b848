import type { Invocation } from "./command-module.ts";
import { LinesView } from "./lines-view.ts";
import type { RunView } from "./run-view.ts";

/** Bars and one live line on a terminal, plain lines every few seconds elsewhere, JSON lines for programs. */
export async function openRunView(invocation: Invocation): Promise<RunView> {
  const { output } = invocation;
  if (output.live) {
    const { BarsView } = await import("./bars-view.ts");
    return new BarsView(invocation.log);
  }
  if (!output.json) return new LinesView(output);
  return {
    update: (status) => output.event("status", { status }),
    note: () => {},
    close: () => {},
  };
}
