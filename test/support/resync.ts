// What `tidemark resync` does, for a test.
import type { PipelineDefinition } from "../../src/core/definition.ts";
import { openQueue } from "../../src/pipeline/queue.ts";
import { planResync } from "../../src/pipeline/resync.ts";
import { PATIENCE_MS, type TestBed } from "./test-bed.ts";

export async function resync(
  bed: TestBed,
  definition: PipelineDefinition,
  tables: readonly string[],
  sync?: string,
): Promise<void> {
  const plan = await planResync(definition, { tables, sync, logger: bed.logger });
  const queue = await openQueue(definition.queue, bed.logger);
  try {
    await plan.run(queue, PATIENCE_MS);
  } finally {
    await queue.close();
  }
}
