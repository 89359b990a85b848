import type { SyncStatus } from "../core/documents.ts";
import type { PipelineStatus } from "../pipeline/status.ts";
import { describeCopies, describeSync, shownState } from "./describe-sync.ts";
import type { Output } from "./output.ts";
import { Rates } from "./rate.ts";
import type { RunView } from "./run-view.ts";

const LINES_EVERY_MS = 5_000;

/** A line a sync every few seconds, and only when it says something new. */
export class LinesView implements RunView {
  readonly #output: Output;
  readonly #rates = new Rates();
  readonly #printed = new Map<string, string>();
  /** What stands now, printed or not. */
  #lines: ReadonlyMap<string, string> = new Map();
  #printedAt = Number.NEGATIVE_INFINITY;
  #states = "";

  constructor(output: Output) {
    this.#output = output;
  }

  update(status: PipelineStatus): void {
    const now = performance.now();
    const known = status.syncs.filter(({ state }) => state !== "unknown");
    this.#lines = new Map(known.map((sync) => [sync.name, this.#describe(sync, status, now)]));
    // A change of state is told at once, the rest at leisure.
    const states = [...status.sources, ...known]
      .map((each) => `${each.name} ${shownState(each)}`)
      .join("\n");
    if (now - this.#printedAt < LINES_EVERY_MS && states === this.#states) return;
    this.#printedAt = now;
    this.#states = states;
    this.#print();
  }

  note(text: string): void {
    this.#print();
    this.#output.line(text);
  }

  close(): void {
    this.#print();
  }

  #print(): void {
    for (const [name, line] of this.#lines) {
      if (this.#printed.get(name) === line) continue;
      this.#printed.set(name, line);
      this.#output.line(line);
    }
  }

  #describe(sync: SyncStatus, { sources }: PipelineStatus, now: number): string {
    const perSecond = this.#rates.update(`${sync.name} changes`, sync.changesApplied, now);
    return [
      describeSync(sync, sources, perSecond),
      ...describeCopies(sync, this.#rates.update(`${sync.name} rows`, sync.rowsCopied, now)),
    ].join("  ");
  }
}
