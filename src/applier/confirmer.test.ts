// What is told of commits, and when (G4).
import { expect, it, vi } from "vitest";
import { type MemoryDocuments, MemoryQueue } from "../../test/support/memory-queue.ts";
import { keys, type Notice } from "../core/documents.ts";
import { silentLogger } from "../core/log.ts";
import type { ApplierSession } from "../core/target.ts";
import { Confirmer } from "./confirmer.ts";
import { NoticeWriter } from "./notice-writer.ts";

function noticeOf(batch: number, tablesPending = 0): Notice {
  const [position, at] = [{ batch, chunk: 0 }, new Date(0).toISOString()];
  return {
    sync: "s",
    source: "a",
    timeline: "t",
    position,
    hash: `h${batch}`,
    at,
    lagMs: 0,
    tablesPending,
    fingerprint: "",
  };
}

function openNotices(documents: MemoryDocuments): Promise<NoticeWriter> {
  return NoticeWriter.open({
    ...{ sync: "s", documents, logger: silentLogger },
    ...{ proveLease: async () => {}, onWritten: () => {}, onOutdated: () => {} },
  });
}

it("takes no notice back when an earlier flush ends later", async () => {
  const { documents } = new MemoryQueue();
  const flushes: (() => void)[] = [];
  const flush = () => new Promise<void>((resolve) => flushes.push(resolve));
  const session = { flush } as unknown as ApplierSession;
  const notices = await openNotices(documents);
  const confirmer = new Confirmer(session, notices);
  confirmer.committed(noticeOf(1));
  confirmer.committed(noticeOf(2));
  confirmer.flush();
  flushes[1]?.();
  await expect
    .poll(() => documents.get(keys.progress("s")))
    .toMatchObject({ position: { batch: 2 } });
  flushes[0]?.();
  await confirmer.close();
  await notices.close();
  expect(await documents.get(keys.progress("s"))).toMatchObject({ position: { batch: 2 } });
});

it("asks a target seldom while it copies, and soon again when the copy is done", async () => {
  const { documents } = new MemoryQueue();
  const session = { flush: async () => {} } as unknown as ApplierSession;
  const notices = await openNotices(documents);
  const confirmer = new Confirmer(session, notices);
  vi.useFakeTimers({ toFake: ["performance"] });
  try {
    confirmer.committed(noticeOf(1, 1));
    confirmer.committed(noticeOf(2, 1));
    expect(confirmer.dueInMs).toBe(250);
    confirmer.committed(noticeOf(3));
    expect(confirmer.dueInMs).toBe(25);
  } finally {
    vi.useRealTimers();
  }
  await confirmer.close();
  await notices.close();
  expect(await documents.get(keys.progress("s"))).toMatchObject({ position: { batch: 3 } });
});
