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
    ...{ sync: "s", source: "a", timeline: "t", position: { batch, chunk: 0 }, hash: "" },
    ...{ at: new Date(0).toISOString(), lagMs: 0, tablesPending: 0, fingerprint: "" },
  };
}

/** An applier as far as it tells. */
class Teller {
  readonly writer: NoticeWriter;
  readonly seen: { lost: boolean; written: number; outdated: number };

  static async open(): Promise<Teller> {
    const seen = { lost: false, written: 0, outdated: 0 };
    const writer = await NoticeWriter.open({
      ...{ sync: "s", documents, logger: silentLogger },
      proveLease: async () => {
        if (seen.lost) throw new TidemarkError("TM-CONNECTION-LOST", "The lease is lost.");
      },
      onWritten: () => {
        seen.written++;
      },
      onOutdated: () => {
        seen.outdated++;
      },
    });
    return new Teller(writer, seen);
  }

  private constructor(writer: NoticeWriter, seen: Teller["seen"]) {
    this.writer = writer;
    this.seen = seen;
  }

  async tell(batch: number): Promise<void> {
    this.writer.put(noticeOf(batch));
    await this.writer.settled();
  }
}

const standing = async () => (await documents.get(KEY)) as Notice | null;

it("goes on trying to tell, and lets a newer notice take the place of one that was not told", async () => {
  const { writer, seen } = await Teller.open();
  documents.failing = { prefix: KEY, times: 2 };
  writer.put(noticeOf(1));
  writer.put(noticeOf(2));
  await writer.settled();
  expect(await standing()).toEqual(noticeOf(2));
  expect(seen.written).toBe(1);
});

it("may tell that less is applied than stands there: a target brought back from a backup", async () => {
  await documents.put(KEY, noticeOf(200));
  const teller = await Teller.open();
  await teller.tell(100);
  expect(await standing()).toEqual(noticeOf(100));
});

it("leaves what another applier has told, and tells no more without the lease", async () => {
  const stale = await Teller.open();
  await stale.tell(1);
  documents.failing = { prefix: KEY, times: 1 };
  stale.writer.put(noticeOf(2));
  await expect.poll(() => documents.failing?.times).toBe(0);
  stale.seen.lost = true;
  const other = await Teller.open();
  await other.tell(3);
  await expect(stale.writer.settled()).rejects.toMatchObject({ code: "TM-CONNECTION-LOST" });
  stale.writer.put(noticeOf(4));
  stale.writer.renew();
  await expect(stale.writer.regain()).rejects.toMatchObject({ code: "TM-CONNECTION-LOST" });
  await stale.writer.close();
  expect(await standing()).toEqual(noticeOf(3));
  expect(stale.seen).toMatchObject({ written: 1, outdated: 1 });
});

it("writes nothing over what came after it looked, before it has made sure of the lease", async () => {
  await documents.put(KEY, noticeOf(1));
  const { writer, seen } = await Teller.open();
  await documents.put(KEY, noticeOf(3));
  writer.put(noticeOf(2));
  await expect.poll(() => seen.outdated).toBe(1);
  writer.renew();
  await new Promise((resolve) => setImmediate(resolve));
  expect(await standing()).toEqual(noticeOf(3));
  await writer.regain();
  await writer.settled();
  expect(await standing()).toEqual(noticeOf(2));
});

it("knows what it wrote although the answer was lost", async () => {
  const teller = await Teller.open();
  const replace = documents.replace.bind(documents);
  let lost = 2;
  documents.replace = async (...parts) => {
    const revision = await replace(...parts);
    if (lost-- > 0) throw new TidemarkError("TM-CONNECTION-LOST", "The answer is lost.");
    return revision;
  };
  teller.writer.put(noticeOf(1));
  await expect.poll(standing).toEqual(noticeOf(1));
  await teller.tell(2);
  await teller.tell(3);
  expect(await standing()).toEqual(noticeOf(3));
  expect(teller.seen.outdated).toBe(0);
});

it("knows what it wrote although it lands only after it looked", async () => {
  const teller = await Teller.open();
  await teller.tell(1);
  const replace = documents.replace.bind(documents);
  const late: (() => Promise<number>)[] = [];
  documents.replace = async (...parts) => {
    late.push(() => replace(...parts));
    documents.replace = async (...again) => {
      documents.replace = replace;
      await Promise.all(late.map((land) => land()));
      return replace(...again);
    };
    throw new TidemarkError("TM-CONNECTION-LOST", "It is under way for long.");
  };
  teller.writer.put(noticeOf(2));
  await expect.poll(() => late.length).toBe(1);
  await teller.tell(3);
  expect(await standing()).toEqual(noticeOf(3));
  expect(teller.seen.outdated).toBe(0);
});

it("tells again what the queue has lost, once it has made sure of the lease", async () => {
  const { writer, seen } = await Teller.open();
  writer.put(noticeOf(1));
  await writer.settled();
  documents.wipe();
  writer.renew();
  await expect.poll(() => seen.outdated).toBe(1);
  expect(await standing()).toBeNull();
  await writer.regain();
  await writer.settled();
  expect(await standing()).toEqual(noticeOf(1));
});

it("tells the last at its end, though the queue was emptied meanwhile", async () => {
  const teller = await Teller.open();
  await teller.tell(1);
  documents.wipe();
  teller.writer.put(noticeOf(2));
  await teller.writer.close();
  expect(await standing()).toEqual(noticeOf(2));
});

it("waits with telling anew while the queue does not answer", async () => {
  const { writer, seen } = await Teller.open();
  documents.wipe();
  await documents.put(KEY, noticeOf(9));
  writer.put(noticeOf(2));
  await expect.poll(() => seen.outdated).toBe(1);
  const read = documents.read.bind(documents);
  documents.read = async () => {
    throw new TidemarkError("TM-CONNECTION-LOST", "The queue is away.");
  };
  await writer.regain();
  documents.read = read;
  expect(await standing()).toEqual(noticeOf(9));
  await writer.regain();
  await writer.settled();
  expect(await standing()).toEqual(noticeOf(2));
});

it("takes away what an earlier target has told, and nothing that was told since", async () => {
  await documents.put(KEY, noticeOf(9));
  const teller = await Teller.open();
  const stale = await Teller.open();
  await teller.writer.clear();
  expect(await standing()).toBeNull();
  await teller.tell(1);
  await expect(stale.writer.clear()).rejects.toMatchObject({ code: "TM-QUEUE-CONFLICT" });
  expect(await standing()).toEqual(noticeOf(1));
});
