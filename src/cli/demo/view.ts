import { createLogUpdate } from "log-update";
import pc from "picocolors";
import type { Notice } from "../../core/documents.ts";
import type { PipelineStatus } from "../../pipeline/status.ts";
import { formatCount, formatCounted, formatDuration, formatTable } from "../format.ts";
import type { Output } from "../output.ts";
import { Rates } from "../rate.ts";
import type { Counts, Shops } from "./shops.ts";

const NOTICES_SHOWN = 5;
const LINES_EVERY_MS = 2_000;

/** The live picture of the demo: redrawn on a terminal, a line every two seconds elsewhere. */
export class DemoView {
  readonly #output: Output;
  readonly #shops: Shops;
  readonly #hint: readonly string[];
  readonly #screen: ReturnType<typeof createLogUpdate> | null;
  readonly #rates = new Rates();
  readonly #notices: Notice[] = [];
  #printedAt = Number.NEGATIVE_INFINITY;

  constructor(output: Output, shops: Shops, hint: readonly string[]) {
    this.#output = output;
    this.#shops = shops;
    this.#hint = hint;
    this.#screen = output.live ? createLogUpdate(process.stdout) : null;
  }

  notice(notice: Notice): void {
    this.#output.event("notice", { notice });
    this.#notices.push(notice);
    if (this.#notices.length > NOTICES_SHOWN) this.#notices.shift();
  }

  update(status: PipelineStatus): void {
    const [sync] = status.syncs;
    if (sync === undefined || sync.state === "unknown") return;
    const now = performance.now();
    const perSecond = this.#rates.update("changes", sync.changesApplied, now);
    if (this.#screen === null && now - this.#printedAt < LINES_EVERY_MS) return;
    this.#printedAt = now;
    const source = this.#shops.countSource();
    const target = this.#shops.countTarget();
    // The newest notice's: a status taken between two batches would nearly always say 0.
    const lagMs = this.#notices.at(-1)?.lagMs;
    const lag = lagMs === undefined ? "-" : formatDuration(lagMs);
    this.#output.event("status", { changesPerSecond: perSecond, source, target, status });
    if (this.#screen === null) {
      const rows = `customers ${source.customers} / ${target.customers}  orders ${source.orders} / ${target.orders}`;
      this.#output.line(
        `${sync.state}  batch ${sync.position.batch}  ${formatCount(perSecond)} changes/s  lag ${lag}  rows at source / target: ${rows}`,
      );
      return;
    }
    this.#screen(
      [
        `${pc.bold("shop.db")} ${pc.cyan("→ change log → queue →")} ${pc.bold("copy.db")}   ${pc.dim(sync.state)}`,
        "",
        `${pc.bold(formatCount(perSecond))} changes/s   lag ${pc.bold(lag)}   batch ${formatCount(sync.position.batch)}   ${formatCounted(sync.changesApplied, "change")} applied`,
        "",
        rowsTable(source, target),
        "",
        pc.dim("Completion notices (this batch can be read in the target):"),
        ...this.#describeNotices(),
        "",
        ...this.#hint,
      ].join("\n"),
    );
  }

  /** A log line or a note, above the picture. */
  log(line: string): void {
    if (this.#screen === null) process.stderr.write(line);
    else this.#screen.persist(line.trimEnd());
  }

  close(): void {
    this.#screen?.done();
  }

  #describeNotices(): string[] {
    const lines = this.#notices.map(
      ({ at, position, lagMs }) =>
        `  ${at.slice(11, 23)}  batch ${position.batch}  ${formatDuration(lagMs)} after its commit`,
    );
    // A fixed height: the picture must not jump.
    return [...lines, ...Array.from({ length: NOTICES_SHOWN - lines.length }, () => "")];
  }
}

function rowsTable(source: Counts, target: Counts): string {
  const text = (count: number | null): string => (count === null ? "-" : formatCount(count));
  return formatTable([
    ["", "at the source", "at the target"],
    ["customers", text(source.customers), text(target.customers)],
    ["orders", text(source.orders), text(target.orders)],
    ["name of customer 1", source.firstName ?? "-", target.firstName ?? "-"],
  ]);
}
