import { z } from "zod";
import type { ApplierOptions } from "../applier/options.ts";
import type { RunBounds } from "../applier/run-bounds.ts";
import { aLogger, aSignal, milliseconds, names } from "../config/options.ts";
import type { Logger } from "../core/log.ts";
import type { ShareOptions } from "./share.ts";

export interface PipelineOptions extends ShareOptions {
  readonly logger: Logger;
  /**
   * Refuses the start where a source or target cannot be opened which has been at work before, and so would be waited for while the
   * other syncs go on: of a program that ends when all is synced.
   */
  readonly mustOpenAll?: boolean | undefined;
  /** For tests: see {@link ApplierOptions.runBounds}. */
  readonly runBounds?: RunBounds | undefined;
  /** For tests: how often it is asked which server answers. */
  readonly lookEveryMs?: number | undefined;
  /** For tests: how long after an error of rights it is tried again. */
  readonly slowRetryMs?: number | undefined;
  /** For tests: how long an applier on its own waits for the relay to tell the source's tables. */
  readonly tablesWithinMs?: number | undefined;
}

export interface StopOptions {
  /** So long at most databases may take for what they are at. */
  readonly withinMs?: number | undefined;
}

export const openOptions = z.strictObject({
  logger: aLogger,
  role: z.enum(["all", "relay", "applier"], "must be all, relay or applier").optional(),
  databases: names.optional(),
  lookEveryMs: milliseconds.optional(),
  mustOpenAll: z.boolean().optional(),
  slowRetryMs: milliseconds.optional(),
  tablesWithinMs: milliseconds.optional(),
  runBounds: z.looseObject({}).optional(),
});
export const waitOptions = z.strictObject({
  sync: z.union([z.string(), names], "must be the name of a sync, or a list of names").optional(),
  timeoutMs: milliseconds.optional(),
  signal: aSignal.optional(),
});
export const noticesOptions = z.strictObject({ signal: aSignal });
export const stopOptions = z.strictObject({ withinMs: milliseconds.optional() });
