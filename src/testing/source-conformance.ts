import { describe } from "vitest";
import { type DatabaseBed, useBench } from "./database-bed.ts";
import { registerBatches } from "./source-batches-suite.ts";
import { registerCapture } from "./source-capture-suite.ts";
import { registerCatalog } from "./source-catalog-suite.ts";
import { registerChunks } from "./source-chunks-suite.ts";
import { registerLog } from "./source-log-suite.ts";
import { registerWriters } from "./source-writers-suite.ts";

/** The source contract (src/core/source.ts), run against one adapter. */
export function registerSourceSuite(name: string, createBed: () => Promise<DatabaseBed>): void {
  describe(`source contract: ${name}`, () => {
    const bench = useBench(createBed);
    describe("capture", () => registerCapture(() => bench.now));
    describe("batches", () => registerBatches(() => bench.now));
    describe("concurrent writers", () => registerWriters(() => bench.now));
    describe("chunks", () => registerChunks(() => bench.now));
    describe("log", () => registerLog(() => bench.now));
    describe("catalog", () => registerCatalog(() => bench.now));
  });
}
