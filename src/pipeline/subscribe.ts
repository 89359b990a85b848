import { z } from "zod";
import {
  aFunction,
  aLogger,
  aSignal,
  aText,
  checkOptions,
  trueOrFalse,
} from "../config/options.ts";
import { validateDefinition } from "../config/validate.ts";
import type { PipelineDefinition, RowObject } from "../core/definition.ts";
import { type Logger, silentLogger } from "../core/log.ts";
import { awaitQueue } from "./queue.ts";
import { sourcesToRead, type TailEntry, type TailOptions, tail } from "./tail.ts";

/** Columns that the caller knows; an interface, too, which has no index signature. */
export type Columns<R> = { [K in keyof R]: string | null | undefined };

const subscribeOptions = z.strictObject({
  source: aText.optional(),
  table: aText.optional(),
  signal: aSignal.optional(),
  fromStart: trueOrFalse.optional(),
  onGap: aFunction.optional(),
  logger: aLogger.optional(),
});

/** A change whose rows are of a type that the caller knows: columns to canonical text. */
export interface Subscription<R extends Columns<R>> extends Omit<TailEntry, "key" | "row"> {
  readonly key: Partial<R> | null;
  readonly row: R | null;
}

/**
 * Changes of a pipeline's sources as an async iterable, in order and each once, read from the queue beside the appliers:
 * nothing is held back for a subscriber, and one that was away sees what the queue still holds
 * (`fromStart`). `R` describes the rows: `subscribe<{ id: string; total: string }>(…)`.
 *
 * Nothing is opened, and nothing counts as seen, before the first `next()` (a `for await` calls it at once). Ends with
 * `options.signal`; whoever leaves the loop ends it too. Throws as {@link awaitQueue}; TM-CONFIG-INVALID; TM-USAGE for a source that no sync
 * reads; TM-TAIL-GAP where batches went by unread (see `onGap`).
 */
export async function* subscribe<R extends Columns<R> = RowObject>(
  definition: PipelineDefinition,
  options: TailOptions & { readonly logger?: Logger } = {},
): AsyncGenerator<Subscription<R>> {
  validateDefinition(definition);
  checkOptions("subscribe", options, subscribeOptions);
  sourcesToRead(definition, options.source);
  let isNew = false;
  const queue = await awaitQueue(definition.queue, options.logger ?? silentLogger, {
    signal: options.signal,
    onWait: () => {
      isNew = true;
    },
  });
  if (queue === null) return;
  try {
    const fromStart = isNew || options.fromStart === true;
    for await (const entry of tail(definition, queue, { ...options, fromStart }))
      yield entry as unknown as Subscription<R>;
  } finally {
    await queue.close();
  }
}
