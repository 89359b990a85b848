// Tests of sizes run small in every run, and large when TIDEMARK_TEST_LARGE=1 says so; then they print
// what they have measured.
export const LARGE = process.env.TIDEMARK_TEST_LARGE === "1";

export function sized<T>(small: T, large: T): T {
  return LARGE ? large : small;
}

/** Runs `work`; tells how long it took, in a large run. */
export async function measured<T>(what: string, work: () => Promise<T>): Promise<T> {
  const startedAt = performance.now();
  const result = await work();
  report(`${what}: ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
  return result;
}

export function report(line: string): void {
  if (LARGE) console.log(line);
}
