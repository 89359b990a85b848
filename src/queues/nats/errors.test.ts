import { expect, test } from "vitest";
import { isStoreFailed, toQueueError } from "./errors.ts";

/** As a server answers; these words are those of 2.10 to 2.12. */
const refusal = (description: string) =>
  Object.assign(new Error(description), { name: "JetStreamApiError", code: 10077 });

test("a full disk is no stream that has lost its files", () => {
  const full = refusal("write /data/jetstream/msgs/6.blk: no space left on device");
  expect(isStoreFailed(full)).toBe(false);
  expect(toQueueError(full, 'source "shop"')).toMatchObject({
    code: "TM-QUEUE-FULL",
    fix: expect.stringContaining("disk"),
  });
  const lost = refusal("open /data/jetstream/msgs/7.blk: no such file or directory");
  expect(isStoreFailed(lost)).toBe(true);
});
