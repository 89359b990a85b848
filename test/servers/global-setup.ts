// Before the first test file that needs servers, and after the last.
import { leaveSet, SERVER_NAMES, SERVERS, startSet, whyMissing } from "./set.ts";

export async function setup(): Promise<void> {
  const missing = SERVER_NAMES.filter((name) => SERVERS[name].required && whyMissing(name));
  if (process.env.CI && missing.length > 0) {
    const reasons = missing.map((name) => `  ${name}: ${whyMissing(name)}`);
    throw new Error(`In CI no server may be missing:\n${reasons.join("\n")}`);
  }
  // A run of tests that start all that they need.
  if (process.env.TIDEMARK_TEST_SHARED === "none") return;
  await startSet("while-running");
}

export const teardown = leaveSet;
