import { expect, it } from "vitest";
import { freeMemory } from "./free-memory.ts";

it("gives back what bytes have for themselves, and with it all that shares it", () => {
  const whole = Buffer.allocUnsafeSlow(1_000);
  const part = whole.subarray(10, 900);
  freeMemory(part);
  expect([whole.length, part.length]).toEqual([0, 0]);
});

it("leaves alone what stands in the pool that all buffers share", () => {
  const [one, other] = [Buffer.from("one"), Buffer.from("other")];
  freeMemory(one);
  expect([one.toString(), other.toString()]).toEqual(["one", "other"]);
});
