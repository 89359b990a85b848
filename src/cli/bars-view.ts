import { MultiBar, Presets, type SingleBar } from "cli-progress";
import pc from "picocolors";
import type { SyncStatus, TableStatus } from "../core/documents.ts";
import type { PipelineStatus } from "../pipeline/status.ts";
import { describeSync } from "./describe-sync.ts";
import { formatCount, formatCounted, formatDuration } from "./format.ts";
import type { Log } from "./log.ts";
import { Rates } from "./rate.ts";
import type { RunView } from "./run-view.ts";

const SPINNER = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/** On a terminal: a bar for each table while it is copied, and one live line for each sync. */
export class BarsView implements RunView {
  readonly #bars = new MultiBar(
    { hideCursor: true, clearOnComplete: false, forceRedraw: true, fps: 4, emptyOnZero: true },
    Presets.shades_classic,
  );
  readonly #copies = new Map<string, SingleBar>();
  readonly #copied = new Set<string>();
  readonly #lines = new Map<string, SingleBar>();
  readonly #rates = new Rates();
  readonly #restoreLog: () => void;
  #ticks = 0;

  constructor(log: Log) {
    this.#restoreLog = log.through((line) => this.#bars.log(line));
  }

  update(status: PipelineStatus): void {
    this.#ticks++;
    for (const sync of status.syncs) {
      for (const table of sync.tables) this.#showCopy(sync, table);
      this.#showLine(sync);
    }
    this.#bars.update();
  }

  note(text: string): void {
    this.#bars.log(`${text}\n`);
    this.#bars.update();
  }

  close(): void {
    this.#bars.update();
    this.#bars.stop();
    this.#restoreLog();
  }

  #showCopy(sync: SyncStatus, table: TableStatus): void {
    const key = `${sync.name} ${table.table}`;
    if (table.state === "live") {
      this.#endCopy(key, sync, table);
      return;
    }
    if (table.state !== "copying") return;
    const perSecond = this.#rates.update(key, table.rowsCopied, performance.now());
    const known = table.estimatedRows !== null;
    // The estimate is the database's own and may be too low; a bar never runs over.
    const total = Math.max(table.estimatedRows ?? 0, table.rowsCopied, 1);
    const value = known ? table.rowsCopied : 0;
    const msLeft = ((total - table.rowsCopied) / perSecond) * 1000;
    const figures = {
      done: known ? `${Math.floor((100 * value) / total)}%`.padStart(4) : "    ",
      label: `${sync.name}  ${table.table}`,
      rows: known
        ? `${formatCount(table.rowsCopied)} of ~${formatCounted(total, "row")}`
        : formatCounted(table.rowsCopied, "row"),
      perSecond: `${formatCount(perSecond)} rows/s`,
      left: known && perSecond > 0 ? `${formatDuration(msLeft)} left` : "",
    };
    let bar = this.#copies.get(key);
    if (bar === undefined) {
      const format = "{bar} {done}  {label}  {rows}  {perSecond}  {left}";
      bar = this.#bars.create(total, value, figures, { format, barsize: 24 });
      this.#copies.set(key, bar);
    }
    bar.setTotal(total);
    bar.update(value, figures);
  }

  #endCopy(key: string, sync: SyncStatus, table: TableStatus): void {
    const bar = this.#copies.get(key);
    if (this.#copied.has(key)) return;
    this.#copied.add(key);
    // A table that was live before we came has nothing to tell.
    if (bar === undefined && table.rowsCopied === 0) return;
    if (bar !== undefined) this.#bars.remove(bar);
    this.#copies.delete(key);
    const rows = formatCounted(table.rowsCopied, "row");
    this.#bars.log(`${pc.green("✓")} ${sync.name}  ${table.table} copied: ${rows}\n`);
  }

  #showLine(sync: SyncStatus): void {
    const key = `${sync.name} changes`;
    const perSecond = this.#rates.update(key, sync.changesApplied, performance.now());
    const mark = sync.state === "stopped" ? pc.red("✗") : pc.cyan(SPINNER[this.#ticks % 10] ?? "");
    const line = { line: `${mark} ${describeSync(sync, perSecond)}` };
    const shown = this.#lines.get(sync.name);
    if (shown === undefined) {
      this.#lines.set(sync.name, this.#bars.create(1, 0, line, { format: "{line}" }));
    } else {
      shown.update(0, line);
    }
  }
}
