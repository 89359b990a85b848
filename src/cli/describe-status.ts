import pc from "picocolors";
import type { SourceStatus, StatusError, SyncStatus } from "../core/documents.ts";
import { isOfOtherConfig, lacking } from "../core/other-config.ts";
import type { PipelineStatus } from "../pipeline/status.ts";
import { shownState } from "./describe-sync.ts";
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
  // Of a source that is away at a start, all its syncs tell the same.
  const failing = Map.groupBy([...status.sources, ...status.syncs], ({ error }) =>
    JSON.stringify(error),
  );
  const errors = [...failing.values()].flatMap((alike) => {
    const error = alike[0]?.error ?? null;
    return error === null ? [] : [describeError(alike.map(({ name }) => name).join(", "), error)];
  });
  const hasStopped = [...status.sources, ...status.syncs].some(
    ({ state, error }) => state === "stopped" && error !== null,
  );
  if (hasStopped) errors.push("What has stopped goes on once tidemark run is started again.");
  const silent = [...status.sources, ...status.syncs].filter(({ state }) => state === "unknown");
  if (silent.length > 0) errors.push(describeSilence(silent, now));
  const parked = status.syncs.filter((sync) => sync.parked > 0).map(describeParked);
  const absent = status.queue.exists
    ? []
    : ["There is no queue yet: the first tidemark run makes it."];
  const unserved = status.syncs.filter((sync) => isOfOtherConfig(sync, status.sources));
  const newcomers = status.sources.filter(({ newcomers = [] }) => newcomers.length > 0);
  const warnings = status.sources.flatMap(describeWarnings);
  return [formatTable([SOURCE_HEAD, ...sources]), "", formatTable([SYNC_HEAD, ...syncs])]
    .concat(
      [
        ...unserved.map(describeUnserved),
        ...newcomers.map(describeNewcomers),
        ...warnings,
        ...parked,
        ...absent,
        ...errors,
      ].flatMap((error) => ["", error]),
    )
    .join("\n");
}

function sourceRow(source: SourceStatus, now: number): string[] {
  return [
    source.name,
    shownState(source),
    formatCount(source.batch),
    formatAge(source.lastBatchAt, now),
    `${formatCounted(source.logRows, "row")}, ${formatBytes(source.logBytes)}`,
    `${formatCounted(source.queueMessages, "message")}, ${formatBytes(source.queueBytes)}`,
  ];
}

function syncRow(sync: SyncStatus, now: number): string[] {
  return [
    sync.name,
    shownState(sync),
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

function describeUnserved(sync: SyncStatus): string {
  return `${sync.name}: ${pc.yellow(lacking(sync))}\n${pc.bold("fix:")} put the syncs of both into one config, and start again with that what is at work`;
}

function describeNewcomers({ name, newcomers }: SourceStatus): string {
  const tables = newcomers.join(", ");
  return `${name}: ${pc.yellow("not synced yet")}, since they came after the start: ${tables}\n${pc.bold("fix:")} start tidemark run again`;
}

/** A relay of an earlier version tells none. */
function describeWarnings({ name, warnings = [] }: SourceStatus): string[] {
  return warnings.map((warning) => `${name}: ${pc.yellow("warning:")} ${warning}`);
}

function describeParked({ name, parked }: SyncStatus): string {
  const rows = `${formatCounted(parked, "row")} ${parked === 1 ? "is" : "are"}`;
  return `${name}: ${pc.yellow(`${rows} parked`)}\n${pc.bold("fix:")} tidemark parked list`;
}

function describeSilence(silent: readonly (SourceStatus | SyncStatus)[], now: number): string {
  const heard = silent.flatMap(({ heartbeatAt }) => heartbeatAt ?? []).sort();
  const since = heard.length === 0 ? "yet" : `for ${formatAge(heard.at(-1) ?? null, now)}`;
  const names = silent.map(({ name }) => name).join(", ");
  return `${names}: ${pc.yellow("not heard of")} ${since.replace(/ ago$/, "")}\n${pc.bold("fix:")} start tidemark run; if it works, see whether it reaches the queue`;
}

function describeError(name: string, error: StatusError): string {
  const fix = error.fix === null ? "" : `\n${pc.bold("fix:")} ${error.fix}`;
  return `${name}: ${pc.red(pc.bold(error.code))}  ${error.message}${fix}`;
}
