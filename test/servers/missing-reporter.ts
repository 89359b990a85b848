// The last words of a run: what was not run, by name, and which servers it would have needed.
import type { Reporter, TestModule } from "vitest/node";
import { SERVER_NAMES, whyMissing } from "./set.ts";

export class MissingReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const skipped = modules.flatMap((each) => [...each.children.allTests("skipped")]);
    if (skipped.length === 0) return;
    console.log(`\nNot run (${skipped.length}):`);
    for (const test of skipped) {
      const { note } = test.result() as { readonly note?: string };
      console.log(`  ${test.module.relativeModuleId} > ${test.fullName}${note ? `: ${note}` : ""}`);
    }
    const reasons = SERVER_NAMES.map((name) => [name, whyMissing(name)] as const);
    for (const [name, reason] of reasons)
      if (reason) console.log(`  ${name} is missing: ${reason}`);
  }
}
