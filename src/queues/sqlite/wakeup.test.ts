import { describe, expect, it } from "vitest";
import { announce, register, unregister, Wakeup } from "./wakeup.ts";

describe("a wake-up", () => {
  it("between looking and waiting is not lost", async () => {
    const wakeup = new Wakeup();
    const seen = wakeup.version;
    wakeup.signal();
    await wakeup.wait(seen, new AbortController().signal);
    expect(wakeup.awaited).toBe(false);
  });

  it("wakes all that wait, and an abort wakes its own", async () => {
    const wakeup = new Wakeup();
    const abort = new AbortController();
    const waits = [
      wakeup.wait(wakeup.version, abort.signal),
      wakeup.wait(wakeup.version, new AbortController().signal),
    ];
    abort.abort();
    await waits[0];
    expect(wakeup.awaited).toBe(true);
    wakeup.signal();
    await waits[1];
    expect(wakeup.awaited).toBe(false);
    await wakeup.wait(wakeup.version, abort.signal);
  });

  it("reaches every connection to the same file and no other", () => {
    const [one, two, other] = [new Wakeup(), new Wakeup(), new Wakeup()];
    register("/a", one);
    register("/a", two);
    register("/b", other);
    announce("/a");
    unregister("/a", one);
    announce("/a");
    expect([one.version, two.version, other.version]).toEqual([1, 2, 0]);
    unregister("/a", two);
    unregister("/b", other);
    announce("/a");
    expect(two.version).toBe(2);
  });
});
