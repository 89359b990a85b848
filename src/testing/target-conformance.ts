import { describe } from "vitest";
import { type DatabaseBed, useBench } from "./database-bed.ts";
import { registerPlan } from "./target-plan-suite.ts";
import { registerProgress } from "./target-progress-suite.ts";
import { registerForeignKeys } from "./target-references-suite.ts";
import { registerRows } from "./target-rows-suite.ts";
import { registerValues } from "./target-values-suite.ts";

/** The target contract (src/core/target.ts), run against one adapter. */
export function registerTargetSuite(name: string, createBed: () => Promise<DatabaseBed>): void {
  describe(`target contract: ${name}`, () => {
    const bench = useBench(createBed);
    describe("plan", () => registerPlan(() => bench.now));
    describe("rows", () => registerRows(() => bench.now));
    describe("foreign keys", () => registerForeignKeys(() => bench.now));
    describe("progress", () => registerProgress(() => bench.now));
    describe("values", () => registerValues(() => bench.now));
  });
}
