// What whoever reads beside the appliers is told, when the queue does not hold any more what was not read (G5).
import { afterEach, expect, it } from "vitest";
import { MemoryWorld, SYNC } from "../../test/support/memory-world.ts";
import { sleep } from "../core/async.ts";
import { type Position, START } from "../core/position.ts";
import { isSameMark, type Mark, type QueueMessage, type QueueStream } from "../core/queue.ts";
import { follow, type Gap } from "./follow.ts";

const PATIENCE_MS = 60;
let world: MemoryWorld;
let ended: AbortController;

afterEach(() => {
  ended.abort();
  return world.stop();
});

/** A reader who is at work on each change for as long as it is told to. */
async function reader(from?: QueueStream, after: Mark | null = null) {
  const stream = from ?? (await world.queue.openStream("a"));
  const [seen, gaps]: [string[], Gap[]] = [[], []];
  let atWork = Promise.resolve();
  const options = {
    ...{ source: "a", after, signal: ended.signal, patienceMs: PATIENCE_MS },
    onGap: (gap: Gap) => gaps.push(gap),
  };
  void (async () => {
    for await (const { change } of follow(stream, options)) {
      seen.push(String(change.row?.[0]));
      await atWork;
    }
  })();
  return {
    ...{ stream, seen, gaps },
    keepBusy(): () => void {
      const { promise, resolve } = Promise.withResolvers<void>();
      atWork = promise;
      return resolve;
    },
  };
}

async function applied(row: string): Promise<void> {
  world.source.insert(row);
  await world.synced();
}

it("tells of batches that were trimmed while the reader was away, also when none follows", async () => {
  world = new MemoryWorld();
  ended = new AbortController();
  world.startRelay();
  world.startApplier();
  const { seen, gaps, stream, keepBusy } = await reader();
  const letGo = keepBusy();
  await applied("first");
  await world.until(() => seen.length === 1);
  // More than is read ahead.
  for (let i = 0; i < 12; i++) await applied(`row ${i}`);
  const { mark } = await stream.tail();
  await stream.trim(mark?.batch ?? 0);
  letGo();
  await world.until(() => gaps.length === 1);
  expect(gaps[0]?.to).toBe(mark?.batch);
  expect(gaps[0]?.from).toBe((mark?.batch ?? 0) - 12 + seen.length);
  await applied("last");
  await world.until(() => seen.includes("last"));
  expect(gaps).toHaveLength(1);
});

/** A world whose stream ends with the batch of "first", and that end. */
async function worldWithAnEnd() {
  world = new MemoryWorld();
  ended = new AbortController();
  world.startRelay();
  world.startApplier();
  await applied("first");
  const stream = await world.queue.openStream("a");
  const { mark } = await stream.tail();
  return { stream, end: mark as Mark };
}

it("tells a reader that begins at the end of nothing that came and went before it was given anything", async () => {
  const { stream, end } = await worldWithAnEnd();
  for (let i = 0; i < 3; i++) await applied(`row ${i}`);
  await stream.trim((await stream.tail()).mark?.batch ?? 0);
  const { seen, gaps } = await reader(stream, end);
  await applied("next");
  await applied("last");
  await world.until(() => seen.includes("last"));
  expect(seen).toEqual(["next", "last"]);
  expect(gaps).toEqual([]);
});

it("tells it of what has gone since it found nothing behind the end", async () => {
  const { stream, end } = await worldWithAnEnd();
  let looked = 0;
  const unread = {
    tail: async () => {
      const found = await stream.tail();
      looked++;
      return found;
    },
    read: (_: Position, signal: AbortSignal) => give([], signal),
  } as unknown as QueueStream;
  const { seen, gaps } = await reader(unread, end);
  // The first has been answered to the reader when it asks again.
  await world.until(() => looked > 1);
  await applied("missed");
  await world.until(() => gaps.length === 1);
  expect(gaps[0]?.from).toBe(end.batch + 1);
  expect(seen).toEqual([]);
});

it("waits for what is sent again, and then tells of nothing", async () => {
  world = new MemoryWorld();
  // Somebody needs it all, or else what was sent first may be trimmed before the last is.
  world.source.confirmed.set(SYNC, 0);
  ended = new AbortController();
  world.startRelay();
  const stream = await world.queue.openStream("a");
  for (const row of ["first", "second", "third"]) {
    const before = (await stream.tail()).mark?.batch ?? 0;
    world.source.insert(row);
    await world.until(async () => ((await stream.tail()).mark?.batch ?? 0) > before);
  }
  const all = await sent(stream);
  const last = all.at(-1)?.mark.batch as number;
  // At first there is a hole in front of the last batch; then all is sent anew.
  const sendings = [all.filter(({ mark }) => mark.batch !== last - 1), all];
  const again = {
    tail: () => stream.tail(),
    read: (_: Position, signal: AbortSignal) => give(sendings.shift() ?? [], signal),
  } as unknown as QueueStream;
  const { seen, gaps } = await reader(again);
  await world.until(() => seen.includes("third"));
  expect(seen.slice(-3)).toEqual(["first", "second", "third"]);
  expect(gaps).toEqual([]);
});

/** What is in a stream now. */
async function sent(stream: QueueStream): Promise<QueueMessage[]> {
  const { mark: end } = await stream.tail();
  const messages: QueueMessage[] = [];
  for await (const message of stream.read(START, ended.signal)) {
    messages.push(message);
    if (end !== null && isSameMark(message.mark, end)) break;
  }
  return messages;
}

async function* give(messages: readonly QueueMessage[], signal: AbortSignal) {
  yield* messages;
  await sleep(60_000, signal);
}
