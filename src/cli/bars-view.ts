import { MultiBar, Presets, type SingleBar } from "cli-progress";
import pc from "picocolors";
import type { SyncStatus, TableStatus } from "../core/documents.ts";
import type { PipelineStatus } from "../pipeline/status.ts";
import { copyLine } from "./copy-line.ts";
import { describeSync } from "./describe-sync.ts";
import { formatCounted, oneLine } from "./format.ts";
import type { Log } from "./log.ts";
import { Rates } from "./rate.ts";
import type { RunView } from "./run-view.ts";

const SPINNER = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

// cli-progress has lines cut at the edge of the terminal, and clears the first line alone of what it writes over.
const CLEAR_BELOW = "\u001b[J";
const WRAP = "\u001b[?7h";
const CUT = "\u001b[?7l";

/** On a terminal: a bar for each table while it is copied, and one live line for each sync. */
export class BarsView implements RunView {
  readonly #bars = new MultiBar(
    { stream: process.stdout, hideCursor: true, forceRedraw: true, fps: 4, clearOnComplete: true },
    Presets.shades_classic,
  );
  readonly #copies = new Map<string, SingleBar>();
  readonly #copied = new Set<string>();
  readonly #lines = new Map<string, SingleBar>();
  /** What each of these says. */
  readonly #shown = new Map<string, string>();
  readonly #rates = new Rates();
  readonly #restoreLog: () => void;
  #ticks = 0;

  constructor(log: Log) {
    // A log that goes elsewhere stays what it is.
    this.#restoreLog = process.stderr.isTTY ? log.through((line) => this.#stay(line)) : () => {};
  }

  update(status: PipelineStatus): void {
    this.#ticks++;
    for (const sync of status.syncs) {
      for (const table of sync.tables) this.#showCopy(sync, table);
      this.#showLine(sync, status);
    }
    this.#bars.update();
  }

  note(text: string): void {
    this.#stay(`${text}\n`);
    this.#bars.update();
  }

  close(): void {
    this.#bars.update();
    this.#bars.stop();
    this.#restoreLog();
    // cli-progress would cut what it leaves there, with what colours it counted.
    for (const line of this.#shown.values()) process.stdout.write(`${line}\n`);
  }

  #showCopy(sync: SyncStatus, table: TableStatus): void {
    const key = `${sync.name} ${table.table}`;
    if (table.state === "live") {
      this.#endCopy(key, sync, table);
      return;
    }
    if (table.state !== "copying") return;
    const perSecond = this.#rates.update(key, table.rowsCopied, performance.now());
    const { rowsCopied: rows, estimatedRows } = table;
    const copy = { sync: sync.name, table: table.table, rows, estimatedRows, perSecond };
    this.#show(this.#copies, key, copyLine(copy, process.stdout.columns));
  }

  #endCopy(key: string, sync: SyncStatus, table: TableStatus): void {
    const bar = this.#copies.get(key);
    if (this.#copied.has(key)) return;
    this.#copied.add(key);
    // A table that was live before we came has nothing to tell.
    if (bar === undefined && table.rowsCopied === 0) return;
    if (bar !== undefined) this.#bars.remove(bar);
    this.#copies.delete(key);
    this.#shown.delete(key);
    const rows = formatCounted(table.rowsCopied, "row");
    this.#stay(`${pc.green("✓")} ${sync.name}  ${oneLine(table.table)} copied: ${rows}\n`);
  }

  #showLine(sync: SyncStatus, { sources }: PipelineStatus): void {
    const key = `${sync.name} changes`;
    const perSecond = this.#rates.update(key, sync.changesApplied, performance.now());
    const mark = sync.state === "stopped" ? pc.red("✗") : pc.cyan(SPINNER[this.#ticks % 10] ?? "");
    this.#show(this.#lines, sync.name, `${mark} ${describeSync(sync, sources, perSecond)}`);
  }

  #show(lines: Map<string, SingleBar>, key: string, line: string): void {
    const bar = lines.get(key);
    if (bar === undefined) lines.set(key, this.#bars.create(1, 0, { line }, { format: "{line}" }));
    else bar.update(0, { line });
    this.#shown.set(key, line);
  }

  /** A line that stays, above those that are redrawn: whole, however narrow the terminal, and with nothing left behind it. */
  #stay(line: string): void {
    this.#bars.log(`${CLEAR_BELOW}${WRAP}${line}${CUT}`);
  }
}
