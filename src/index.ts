/**
 * Tidemark as a library: open a pipeline in your process, wait for it, subscribe to changes.
 *
 * ```ts
 * const { definition } = await loadConfig();
 * const pipeline = await Pipeline.open(definition, { logger: silentLogger });
 * await pipeline.start();
 * await pipeline.waitFor({ timeoutMs: 30_000 });
 * ```
 */
export { defineConfig } from "./config/define-config.ts";
export { definePair, type Pair } from "./config/define-pair.ts";
export { type LoadedConfig, type LoadOptions, loadConfig } from "./config/load-config.ts";
export type { Config } from "./config/schema.ts";
export type { Operation } from "./core/change.ts";
export type { ColumnType } from "./core/column-type.ts";
export type {
  DeliverFunction,
  Delivery,
  PipelineDefinition,
  RowChange,
  RowFilter,
  RowObject,
  SyncDefinition,
  TableRule,
  Transform,
} from "./core/definition.ts";
export type { Notice, SourceStatus, SyncStatus } from "./core/documents.ts";
export { ERROR_CODES, type ErrorCode, isTidemarkError, TidemarkError } from "./core/errors.ts";
export { type Logger, silentLogger } from "./core/log.ts";
export type { Gap } from "./pipeline/follow.ts";
export { Pipeline } from "./pipeline/pipeline.ts";
export type { PipelineOptions, StopOptions } from "./pipeline/pipeline-options.ts";
export type { PipelineStatus } from "./pipeline/status.ts";
export { type Subscription, subscribe } from "./pipeline/subscribe.ts";
export type { TailEntry, TailOptions } from "./pipeline/tail.ts";
export type { WaitOptions } from "./pipeline/wait.ts";
