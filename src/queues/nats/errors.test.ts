import { expect, test } from "vitest";
import { isStoreFailed, toQueueError } from "./errors.ts";

/** As a server answers; these words are those of 2.10 to 2.12. */
const refusal = (description: string) =>
  Object.assign(new Error(description), { name: "JetStreamApiError", code: 10077 });

test("what a full disk, or the system, keeps from writing has not lost its files", () => {
  const full = refusal("write /data/jetstream/msgs/6.blk: no space left on device");
  expect(isStoreFailed(full)).toBe(false);
  expect(toQueueError(full, 'source "shop"')).toMatchObject({
    code: "TM-QUEUE-FULL",
    fix: expect.stringContaining("disk"),
  });
  for (const why of ["too many open files", "permission denied", "read-only file system"]) {
    const hindered = refusal(`open /data/jetstream/msgs/7.blk: ${why}`);
    expect(isStoreFailed(hindered)).toBe(false);
    expect(toQueueError(hindered, 'source "shop"').fix).toContain(why);
  }
  const lost = refusal("open /data/jetstream/msgs/7.blk: no such file or directory");
  expect(isStoreFailed(lost)).toBe(true);
});
