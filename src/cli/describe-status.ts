import pc from "picocolors";
import type { SourceStatus, StatusError, SyncStatus } from "../core/documents.ts";
import type { PipelineStatus } from "../pipeline/status.ts";
import {
  formatAge,
  formatBytes,
  formatCount,
  formatCounted,
  formatDuration,
  formatTable,
} from "./format.ts";

const SOURCE_HEAD = ["SOURCE", "STATE", "BATCH", "LAST BATCH", "CHANGE LOG", "QUEUE"];
const SYNC_HEAD = ["SYNC", "STATE", "BATCH", "BEHIND", "LAG", "APPLIED", "CHANGES", "TABLES"];

/** Two tables, sources and syncs, and below them every error with its fix. */
export function describeStatus(status: PipelineStatus): string {
  const now = Date.parse(status.at);
  const sources = status.sources.map((source) => sourceRow(source, now));
  const syncs = status.syncs.map((sync) => syncRow(sync, now));
  const errors = [...status.sources, ...status.syncs].flatMap(({ name, error }) =>
    error === null ? [] : [describeError(name, error)],
  );
  const parked = status.syncs.filter((sync) => sync.parked > 0).map(describeParked);
  const newcomers = status.sources.filter(({ newcomers = [] }) => newcomers.length > 0);
  return [formatTable([SOURCE_HEAD, ...sources]), "", formatTable([SYNC_HEAD, ...syncs])]
    .concat(
      [...newcomers.map(describeNewcomers), ...parked, ...errors].flatMap((error) => ["", error]),
    )
    .join("\n");
}

function sourceRow(source: SourceStatus, now: number): string[] {
  return [
    source.name,
    source.state,
    formatCount(source.batch),
    formatAge(source.lastBatchAt, now),
    `${formatCounted(source.logRows, "row")}, ${formatBytes(source.logBytes)}`,
    `${formatCounted(source.queueMessages, "message")}, ${formatBytes(source.queueBytes)}`,
  ];
}

function syncRow(sync: SyncStatus, now: number): string[] {
  return [
    sync.name,
    sync.state,
    formatCount(sync.position.batch),
    sync.behindBatches === 0 ? "-" : formatCounted(sync.behindBatches, "batch"),
    sync.lagMs === null ? "-" : formatDuration(sync.lagMs),
    formatAge(sync.appliedAt, now),
    formatCount(sync.changesApplied),
    describeTables(sync),
  ];
}

function describeTables({ tableCount, tablesLive: live }: SyncStatus): string {
  if (tableCount === 0) return "-";
  return live === tableCount ? `${live} live` : `${live} of ${tableCount} copied`;
}

function describeNewcomers({ name, newcomers }: SourceStatus): string {
  const tables = newcomers.join(", ");
  return `${name}: ${pc.yellow("not synced yet")}, since they came after the start: ${tables}\n${pc.bold("fix:")} start tidemark run again`;
}

function describeParked({ name, parked }: SyncStatus): string {
  const rows = `${formatCounted(parked, "row")} ${parked === 1 ? "is" : "are"}`;
  return `${name}: ${pc.yellow(`${rows} parked`)}\n${pc.bold("fix:")} tidemark parked list`;
}

function describeError(name: string, error: StatusError): string {
  const fix = error.fix === null ? "" : `\n${pc.bold("fix:")} ${error.fix}`;
  return `${name}: ${pc.red(pc.bold(error.code))}  ${error.message}${fix}`;
}
