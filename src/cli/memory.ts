import { PerformanceObserver } from "node:perf_hooks";
import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";

const ENOUGH_BYTES = 32 * 1024 * 1024;

/**
 * Stops V8's young generation from growing past 32 MB. Left alone it grows to 134 MB in a process that passes
 * rows on, and keeps that for good. What it gains by size is fewer copies of the rows that are on their way: of a
 * million rows the applier's processor time is a tenth less than with 16 MB, and with 64 MB another tenth, for
 * 20 and 50 MB more (`npm run bench -- --only million`, when each of its rows was still an object: decision 0031).
 *
 * Its largest size can be set only where Node is started, which is the user's; but V8 reads the
 * factor by which it grows each time it does.
 */
export function boundYoungGeneration(): void {
  const observer = new PerformanceObserver(() => {
    if (youngBytes() < ENOUGH_BYTES) return;
    setFlagsFromString("--semi-space-growth-factor=1");
    observer.disconnect();
  });
  observer.observe({ entryTypes: ["gc"] });
}

function youngBytes(): number {
  const space = getHeapSpaceStatistics().find(({ space_name }) => space_name === "new_space");
  return space?.space_size ?? 0;
}

/**
 * Lets the memory in use grow to two and a half times of what a collection has left before the next one.
 * Rows that pass through are large buffers beside a small heap: V8 counts them as if they were objects, and
 * went through the whole heap for every few megabytes of a copy, a fifth of all the work there was.
 */
export function collectLessOften(): void {
  setFlagsFromString("--heap-growing-percent=150");
}
