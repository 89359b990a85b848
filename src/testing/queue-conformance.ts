import { describe } from "vitest";
import { type QueueBed, useBench } from "./queue-bed.ts";
import { registerDocuments } from "./queue-documents-suite.ts";
import { registerReading } from "./queue-reading-suite.ts";
import { registerStream } from "./queue-stream-suite.ts";

/** The queue contract (src/core/queue.ts), run against one adapter. */
export function registerQueueSuite(name: string, createBed: () => Promise<QueueBed>): void {
  describe(`queue contract: ${name}`, () => {
    const bench = useBench(createBed);
    registerStream(bench);
    registerReading(bench);
    registerDocuments(bench);
  });
}
