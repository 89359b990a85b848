import { expect, it } from "vitest";
import { MemoryQueue } from "../../test/support/memory-queue.ts";
import { MemorySource } from "../../test/support/memory-source.ts";
import { silentLogger } from "../core/log.ts";
import type { QueueMessage } from "../core/queue.ts";
import type { Chunk } from "../core/source.ts";
import { Appender } from "./appender.ts";
import { Publisher } from "./publisher.ts";

const HEADER = {
  ...{ timeline: "tl", batch: 4, hash: "h", prevHash: "g" },
  ...{ cutAt: "2026-01-01T00:00:00Z", committedAt: "2026-01-01T00:00:00Z" },
};

function chunkOf(rows: number, characters = 1): Chunk {
  const held = Array.from({ length: rows }, (_, i) => [String(i), "x".repeat(characters)]);
  const content = { kind: "rows", rows: held, filters: held.map(() => []) } as const;
  return { layout: 1, content, cursor: "k", done: true, estimatedRows: null };
}

async function publisher() {
  const queue = new MemoryQueue();
  const stream = await queue.openStream("a");
  const appended: QueueMessage[][] = [];
  const append = stream.append.bind(stream);
  stream.append = (after, messages) => {
    appended.push([...messages]);
    return append(after, messages);
  };
  const { signal } = new AbortController();
  const room = { make: async () => false, found: () => {} };
  const logger = silentLogger;
  const appender = new Appender({
    ...{ stream, room, logger, signal },
    ...{ maxStreamBytes: 1e9, isBoundSoft: true },
  });
  const log = await new MemorySource().openChangeLog();
  const parts = { source: "a", queue, stream, appender, log, logger, signal };
  return { appended, publisher: new Publisher({ ...parts, onFailure: () => {} }) };
}

const copied = (chunk: Chunk, table: string) => {
  const copy = { sync: "s", copy: "c", attempt: 0, table, after: null, cursor: chunk.cursor };
  return { chunk, copy: { ...copy, done: chunk.done, estimatedRows: null } };
};

it("hands small chunks to the queue together, in their order, and a large one by itself", async () => {
  const { appended, publisher: published } = await publisher();
  const small = Array.from({ length: 50 }, (_, i) => copied(chunkOf(i % 3, 1_000), `t${i}`));
  const chunks = [...small, copied(chunkOf(1_000, 1_000), "large"), copied(chunkOf(1), "last")];
  await published.publishChunks(HEADER, chunks, { batch: 4, chunk: 7 });
  await published.settle();
  const marks = appended.flat().map(({ mark }) => mark);
  const numbers = [...new Set(marks.map(({ chunk }) => chunk))];
  expect(numbers).toEqual(Array.from({ length: 52 }, (_, i) => 8 + i));
  const [first = [], ...others] = appended;
  expect(new Set(first.map(({ mark }) => mark.chunk)).size).toBe(50);
  expect(others.length).toBeGreaterThan(2);
  for (const messages of others)
    expect(new Set(messages.map(({ mark }) => mark.chunk)).size).toBe(1);
  expect(marks.at(-1)).toMatchObject({ chunk: 59, piece: 0, last: true });
});

it("hands no more to the queue at once than a piece of a batch may hold", async () => {
  const { appended, publisher: published } = await publisher();
  const chunks = Array.from({ length: 20 }, (_, i) => copied(chunkOf(50, 1_000), `t${i}`));
  await published.publishChunks(HEADER, chunks, { batch: 0, chunk: 0 });
  await published.settle();
  const sizes = appended.map((messages) =>
    messages.reduce((sum, { body }) => sum + body.length, 0),
  );
  expect(Math.max(...sizes)).toBeLessThanOrEqual(256 * 1024);
  expect(appended.length).toBeLessThan(8);
});
