import type { SyncStatus } from "../core/documents.ts";
import type { PipelineStatus } from "../pipeline/status.ts";
import { describeCopies, describeSync } from "./describe-sync.ts";
import type { Output } from "./output.ts";
import { Rates } from "./rate.ts";
import type { RunView } from "./run-view.ts";

const LINES_EVERY_MS = 5_000;

/** A line a sync every few seconds, and only when it says something new. */
export class LinesView implements RunView {
  readonly #output: Output;
  readonly #rates = new Rates();
  readonly #lastLines = new Map<string, string>();
  #printedAt = Number.NEGATIVE_INFINITY;
  #states = "";

  constructor(output: Output) {
    this.#output = output;
  }

  update(status: PipelineStatus): void {
    const now = performance.now();
    const lines = status.syncs.map((sync) => ({ sync, line: this.#describe(sync, now) }));
    // A change of state is told at once, the rest at leisure.
    const states = status.syncs.map((sync) => `${sync.name} ${sync.state}`).join("\n");
    if (now - this.#printedAt < LINES_EVERY_MS && states === this.#states) return;
    this.#printedAt = now;
    this.#states = states;
    for (const { sync, line } of lines) {
      if (this.#lastLines.get(sync.name) === line) continue;
      this.#lastLines.set(sync.name, line);
      this.note(line);
    }
  }

  note(text: string): void {
    this.#output.line(text);
  }

  close(): void {}

  #describe(sync: SyncStatus, now: number): string {
    return [
      describeSync(sync, this.#rates.update(`${sync.name} changes`, sync.changesApplied, now)),
      ...describeCopies(sync, this.#rates.update(`${sync.name} rows`, sync.rowsCopied, now)),
    ].join("  ");
  }
}
