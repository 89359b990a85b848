import { describe, expect, it } from "vitest";
import { announce, messagesOf, register, type Topic, unregister, Wakeup } from "./wakeup.ts";

const DOCUMENTS: ReadonlySet<Topic> = new Set(["documents"]);
const SHOP = messagesOf("shop");

describe("a wake-up", () => {
  it("between looking and waiting is not lost", async () => {
    const wakeup = new Wakeup();
    for (const topics of [DOCUMENTS, null]) {
      const seen = wakeup.version("documents");
      wakeup.signal(topics);
      await wakeup.wait("documents", seen, new AbortController().signal);
      expect(wakeup.awaited).toBe(false);
    }
  });

  it("wakes all that wait, and an abort wakes its own", async () => {
    const wakeup = new Wakeup();
    const abort = new AbortController();
    const waits = [
      wakeup.wait("documents", wakeup.version("documents"), abort.signal),
      wakeup.wait("documents", wakeup.version("documents"), new AbortController().signal),
    ];
    abort.abort();
    await waits[0];
    expect(wakeup.awaited).toBe(true);
    wakeup.signal(DOCUMENTS);
    await waits[1];
    expect(wakeup.awaited).toBe(false);
    await wakeup.wait("documents", wakeup.version("documents"), abort.signal);
  });

  it("wakes only who waits for what was written, and all when nobody knows", async () => {
    const wakeup = new Wakeup();
    const { signal } = new AbortController();
    const woken: Topic[] = [];
    const wait = async (topic: Topic) => {
      await wakeup.wait(topic, wakeup.version(topic), signal);
      woken.push(topic);
    };
    const [messages, documents] = [wait(SHOP), wait("documents")];
    wakeup.signal(new Set([messagesOf("other")]));
    wakeup.signal(new Set([SHOP]));
    await messages;
    expect(woken).toEqual([SHOP]);
    wakeup.signal(null);
    await documents;
  });

  it("reaches every connection to the same file and no other", () => {
    const [one, two, other] = [new Wakeup(), new Wakeup(), new Wakeup()];
    register("/a", one);
    register("/a", two);
    register("/b", other);
    announce("/a", DOCUMENTS);
    unregister("/a", one);
    announce("/a", DOCUMENTS);
    expect([one, two, other].map((each) => each.version("documents"))).toEqual([1, 2, 0]);
    unregister("/a", two);
    unregister("/b", other);
    announce("/a", DOCUMENTS);
    expect(two.version("documents")).toBe(2);
  });
});
