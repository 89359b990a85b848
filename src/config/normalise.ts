import { dirname, resolve } from "node:path";
import type { z } from "zod";
import type {
  DatabaseDefinition,
  PipelineDefinition,
  QueueDefinition,
  SyncDefinition,
  TableRule,
} from "../core/definition.ts";
import { TidemarkError } from "../core/errors.ts";
import { joinSqliteUrl, splitSqliteUrl } from "../core/sqlite-url.ts";
import { nearest } from "../core/suggest.ts";
import type { ConfigFile } from "./config-file.ts";
import { formatPath, type Path } from "./path.ts";
import { isGlob } from "./patterns.ts";
import type { configSchema } from "./schema.ts";
import { parseDuration, parseSize } from "./units.ts";

type ValidConfig = z.output<typeof configSchema>;
type ValidSync = ValidConfig["syncs"][number];
type ValidTable = ValidSync["tables"][number];

export const DEFAULT_QUEUE_URL = "sqlite:./.tidemark/queue.db";
const DEFAULT_MAX_STREAM_BYTES = 1024 ** 3;
const DEFAULT_MAX_LOG_BYTES = 10 * 1024 ** 3;
/** A failover is found out within seconds: see decision 0035. */
const DEFAULT_KEPT_MS = 30_000;

/** From the shape people write to the one the engine reads: one definition per source-target pair, paths absolute. */
export function normalise(file: ConfigFile, config: ValidConfig): PipelineDefinition {
  const folder = dirname(file.path);
  const databases = Object.entries(config.databases).map(([name, value]): DatabaseDefinition => {
    if (typeof value === "function") return { name, deliver: value };
    return { name, url: absoluteUrl(typeof value === "string" ? value : value.url, folder) };
  });
  const names = databases.map((database) => database.name);
  return {
    databases,
    queue: queueOf(config.queue, folder),
    retention: {
      maxLogBytes: bytes(config.retention?.log) ?? DEFAULT_MAX_LOG_BYTES,
      keptMs: keptMs(config.retention?.applied),
    },
    syncs: config.syncs.flatMap((sync, index) => expand(file, sync, index, names)),
  };
}

/** A relative SQLite path means: relative to the config file, wherever the command is started. */
function absoluteUrl(url: string, folder: string): string {
  const parts = splitSqliteUrl(url);
  if (parts === null) return url;
  return joinSqliteUrl({ ...parts, file: resolve(folder, parts.file) });
}

function queueOf(queue: ValidConfig["queue"], folder: string): QueueDefinition {
  const given = typeof queue === "string" ? { url: queue } : (queue ?? {});
  const asked = bytes("maxSize" in given ? given.maxSize : undefined);
  return {
    url: absoluteUrl(given.url ?? DEFAULT_QUEUE_URL, folder),
    maxStreamBytes: asked ?? DEFAULT_MAX_STREAM_BYTES,
    isBoundSoft: asked === null,
  };
}

/** The schema has let only durations pass, and nothing, of which `parseDuration` makes none. */
function keptMs(asked: string | undefined): number {
  if (asked === undefined) return DEFAULT_KEPT_MS;
  return parseDuration(asked) ?? 0;
}

/** The schema has let only sizes pass. */
function bytes(size: string | number | undefined): number | null {
  return size === undefined ? null : parseSize(String(size));
}

function expand(
  file: ConfigFile,
  sync: ValidSync,
  index: number,
  databases: readonly string[],
): SyncDefinition[] {
  const targets = typeof sync.to === "string" ? [sync.to] : sync.to;
  const path: Path = ["syncs", index];
  mustExist(file, [...path, "from"], sync.from, databases);
  const { truncate, onError } = sync;
  const forAll = { ...(truncate && { truncate }), ...(onError && { onError }) };
  const tables = sync.tables.map((table, at) => {
    return { ...forAll, ...ruleOf(file, [...path, "tables", at], table) };
  });
  return targets.map((to) => {
    mustExist(file, [...path, "to"], to, databases);
    const name = nameOf(sync, to, targets.length);
    return { name, from: sync.from, to, tables, ...(sync.except && { except: sync.except }) };
  });
}

function nameOf(sync: ValidSync, to: string, targets: number): string {
  if (sync.name === undefined) return `${sync.from}->${to}`;
  return targets === 1 ? sync.name : `${sync.name}->${to}`;
}

function mustExist(file: ConfigFile, path: Path, name: string, databases: readonly string[]): void {
  if (databases.includes(name)) return;
  const guess = nearest(name, databases);
  throw new TidemarkError(
    "TM-CONFIG-INVALID",
    `${file.where(path)}: ${formatPath(path)} names the database "${name}", which is not under \`databases\`.`,
    {
      fix:
        guess === null
          ? `Known: ${databases.join(", ")}. Add "${name}" under \`databases\`, or correct the name.`
          : `Did you mean "${guess}"?`,
      details: { key: formatPath(path), database: name },
    },
  );
}

function ruleOf(file: ConfigFile, path: Path, table: ValidTable): TableRule {
  const rule = typeof table === "string" ? { table } : table;
  const refuse = (problem: string, fix: string): TidemarkError =>
    new TidemarkError("TM-CONFIG-INVALID", `${file.where(path)}: ${formatPath(path)} ${problem}`, {
      fix,
      details: { key: formatPath(path), table: rule.table },
    });
  if ("as" in rule && rule.as !== undefined && isGlob(rule.table)) {
    throw refuse(
      `gives many tables (${rule.table}) one name (as: ${rule.as}).`,
      "Name the table in full, or leave out `as`.",
    );
  }
  if ("columns" in rule && rule.columns !== undefined && rule.except !== undefined) {
    throw refuse(
      "has both `columns` and `except`.",
      "Keep one: `columns` names what is taken, `except` what is left out.",
    );
  }
  return withoutUndefined(rule);
}

/** zod gives absent keys as undefined in some branches; the definition knows only present or absent. */
function withoutUndefined(rule: Exclude<ValidTable, string>): TableRule {
  const entries = Object.entries(rule).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as unknown as TableRule;
}
