import type { SourceStatus, SyncStatus } from "../core/documents.ts";
import { formatCount, formatCounted, formatDuration, oneLine } from "./format.ts";

/** One that works and meets an error time and again is not said to be running. */
export function shownState({ state, error }: SourceStatus | SyncStatus): string {
  if (error === null || (state !== "running" && state !== "copying")) return state;
  // A function that does not come back is not called again, but waited for.
  return error.code === "TM-TARGET-FUNCTION" ? "held up" : "retrying";
}

/**
 * `shop->reports  running  batch 43  1,204 changes (12/s)  lag 8 ms`. `sources`: the one that it reads among them; where that meets an
 * error, nobody knows how far behind the sync is.
 */
export function describeSync(
  sync: SyncStatus,
  sources: readonly SourceStatus[],
  changesPerSecond: number,
): string {
  const ailing = sources.find(({ name, error }) => name === sync.from && error !== null);
  const behind = sync.behindBatches > 0 ? ` (${formatCount(sync.behindBatches)} behind)` : "";
  const lag = sync.lagMs === null ? "" : `  lag ${formatDuration(sync.lagMs)}`;
  const source = ailing && `  ${ailing.name} ${shownState(ailing)}: ${ailing.error?.code}`;
  const head = `${sync.name}  ${shownState(sync)}  batch ${formatCount(sync.position.batch)}${behind}`;
  const parked = sync.parked > 0 ? `  ${formatCount(sync.parked)} parked` : "";
  return `${head}  ${formatCounted(sync.changesApplied, "change")} (${formatCount(changesPerSecond)}/s)${source ?? lag}${parked}`;
}

/** How far the initial copy is; nothing once every table is live. */
export function describeCopies(sync: SyncStatus, rowsPerSecond: number): string[] {
  const copying = sync.tables.filter((table) => table.state === "copying");
  if (sync.tablesLive === sync.tableCount) return [];
  const head = `copied ${sync.tablesLive} of ${formatCounted(sync.tableCount, "table")} (${formatCount(rowsPerSecond)} rows/s)`;
  const tables = copying.map(({ table, rowsCopied, estimatedRows }) => {
    if (estimatedRows === null) return `${oneLine(table)}: ${formatCounted(rowsCopied, "row")}`;
    return `${oneLine(table)}: ${formatCount(rowsCopied)} of ~${formatCounted(estimatedRows, "row")}`;
  });
  return [head, ...tables];
}
