// Who may tell how far a sync is, when another applier has taken over or the queue has lost what stood (G4).
import { beforeEach, expect, it } from "vitest";
import { MemoryQueue } from "../../test/support/memory-queue.ts";
import { keys, type Notice } from "../core/documents.ts";
import { TidemarkError } from "../core/errors.ts";
import { silentLogger } from "../core/log.ts";
import { NoticeWriter } from "./notice-writer.ts";

const KEY = keys.progress("s");
let { documents } = new MemoryQueue();

beforeEach(() => {
  documents = new MemoryQueue().documents;
});

function noticeOf(batch: number): Notice {
  return {
    ...{ sync: "s", source: "a", timeline: "t", position: { batch, chunk: 0 } },
    ...{ at: new Date(0).toISOString(), lagMs: 0, tablesPending: 0, fingerprint: "" },
  };
}

function open(onWritten = () => {}, isLeased = true): Promise<NoticeWriter> {
  return NoticeWriter.open({ sync: "s", documents, isLeased, logger: silentLogger, onWritten });
}

const standing = async () => (await documents.get(KEY)) as Notice | null;
const failed = (writer: NoticeWriter) =>
  expect(() => writer.throwIfFailed()).toThrow(
    expect.objectContaining({ code: "TM-QUEUE-CONFLICT" }),
  );

it("goes on trying to tell, and lets a newer notice take the place of one that was not told", async () => {
  let written = 0;
  const writer = await open(() => {
    written++;
  });
  documents.failing = { prefix: KEY, times: 2 };
  writer.put(noticeOf(1));
  writer.put(noticeOf(2));
  await writer.settled();
  expect(await standing()).toEqual(noticeOf(2));
  expect(written).toBe(1);
});

it("may tell that less is applied than stands there: a target brought back from a backup", async () => {
  await documents.put(KEY, noticeOf(200));
  const writer = await open();
  writer.put(noticeOf(100));
  await writer.settled();
  expect(await standing()).toEqual(noticeOf(100));
});

it("leaves what another applier has told, and tells no more", async () => {
  const stale = await open();
  stale.put(noticeOf(1));
  await stale.settled();
  documents.failing = { prefix: KEY, times: 1 };
  stale.put(noticeOf(2));
  await expect.poll(() => documents.failing?.times).toBe(0);
  const other = await open();
  other.put(noticeOf(3));
  await other.settled();
  await expect(stale.settled()).rejects.toMatchObject({ code: "TM-QUEUE-CONFLICT" });
  stale.put(noticeOf(4));
  stale.renew();
  await stale.close();
  failed(stale);
  expect(await standing()).toEqual(noticeOf(3));
});

it("writes nothing over what came after it looked", async () => {
  await documents.put(KEY, noticeOf(1));
  const stale = await open();
  await documents.put(KEY, noticeOf(3));
  stale.put(noticeOf(2));
  await expect(stale.settled()).rejects.toMatchObject({ code: "TM-QUEUE-CONFLICT" });
  expect(await standing()).toEqual(noticeOf(3));
});

it("knows what it wrote although the answer was lost", async () => {
  const writer = await open();
  const replace = documents.replace.bind(documents);
  let lost = 2;
  documents.replace = async (...parts) => {
    const revision = await replace(...parts);
    if (lost-- > 0) throw new TidemarkError("TM-CONNECTION-LOST", "The answer is lost.");
    return revision;
  };
  writer.put(noticeOf(1));
  await expect.poll(standing).toEqual(noticeOf(1));
  writer.put(noticeOf(2));
  await writer.settled();
  writer.put(noticeOf(3));
  await writer.settled();
  expect(await standing()).toEqual(noticeOf(3));
});

it("asks for a new beginning when the queue has lost what it wrote", async () => {
  const writer = await open();
  writer.put(noticeOf(1));
  await writer.settled();
  documents.wipe();
  writer.renew();
  await expect(writer.settled()).rejects.toMatchObject({ code: "TM-QUEUE-CONFLICT" });
  failed(writer);
  const next = await open();
  next.put(noticeOf(1));
  await next.settled();
  expect(await standing()).toEqual(noticeOf(1));
});

it("tells beside another applier where no lease keeps them apart", async () => {
  const [one, other] = [await open(() => {}, false), await open(() => {}, false)];
  for (const batch of [1, 2]) {
    for (const writer of [one, other]) {
      writer.put(noticeOf(batch));
      await writer.settled();
    }
  }
  expect(await standing()).toEqual(noticeOf(2));
});

it("takes away what an earlier target has told", async () => {
  await documents.put(KEY, noticeOf(9));
  const writer = await open();
  await writer.clear();
  expect(await standing()).toBeNull();
  writer.put(noticeOf(1));
  await writer.settled();
  expect(await standing()).toEqual(noticeOf(1));
});
