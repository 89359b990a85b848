// What only the embedded queue promises (G5, G7).
import { execFile } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import { crc32 } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { freeMemory } from "../../src/core/free-memory.ts";
import { START } from "../../src/core/position.ts";
import type { Queue, QueueMessage } from "../../src/core/queue.ts";
import { isReachable, serverAccount, serverFolder } from "../servers/account.ts";
import { type SqliteBed, sqliteBed } from "./sqlite-bed.ts";

let bed: SqliteBed;
let queue: Queue;

beforeEach(async () => {
  bed = sqliteBed();
  queue = await bed.open();
});

afterEach(async () => {
  await queue.close();
  await bed.dispose();
});

describe("the file", () => {
  /** Root may write whatever it likes. */
  const account = serverAccount();
  it.skipIf(!isReachable(import.meta.dirname, account))(
    "is not opened for reading only, which would leave a -shm that nobody can write",
    async () => {
      const folder = serverFolder("queue", account);
      const path = join(folder, "queue.db");
      const adapter = new URL("../../src/queues/sqlite/index.ts", import.meta.url).href;
      const script = `
        const { chmodSync } = await import("node:fs");
        const { sqliteQueue } = await import(${JSON.stringify(adapter)});
        const open = () => sqliteQueue.open({ url: ${JSON.stringify(`sqlite:${path}`)}, logger: { debug() {} } });
        await (await open()).close();
        chmodSync(${JSON.stringify(path)}, 0o444);
        console.log(await open().then(() => "opened", ({ code }) => code));`;
      const { stdout } = await promisify(execFile)(
        process.execPath,
        ["--experimental-strip-types", "--input-type=module", "-e", script],
        { ...account, cwd: folder },
      );
      expect(stdout.trim()).toBe("TM-READ-ONLY");
      expect(existsSync(`${path}-shm`)).toBe(false);
      rmSync(folder, { recursive: true });
    },
  );

  it("can be read by nobody else", async () => {
    const stream = await queue.openStream("shop");
    await stream.append(await stream.tail(), [message(1)]);
    expect(statSync(join(bed.folder, "q")).mode & 0o777).toBe(0o700);
    for (const end of ["", "-wal", "-shm"]) {
      expect(statSync(`${bed.path}${end}`).mode & 0o777, end).toBe(0o600);
    }
  });

  it.skipIf(!existsSync(OPEN_FILES))(
    "is synced before an append resolves, after readers have it",
    async () => {
      const stream = await queue.openStream("shop");
      const tail = await stream.append(await stream.tail(), [message(1)]);
      await queue.documents.put("a", 1);
      // With its file closed behind its back no sync can succeed any more.
      closeSync(newestOpenOf(`${bed.path}-wal`));
      const lost = { code: "TM-CONNECTION-LOST", message: expect.stringContaining("synced") };
      await expect(stream.append(tail, [message(2)])).rejects.toMatchObject(lost);
      await expect(queue.documents.put("a", 2)).rejects.toMatchObject(lost);
      const read: number[] = [];
      for await (const { mark } of stream.read(START, AbortSignal.timeout(10_000))) {
        read.push(mark.batch);
        if (mark.batch === 2) break;
      }
      expect(read).toEqual([1, 2]);
      expect(await queue.documents.get("a")).toBe(2);
      // Whoever closes the queue is told of it, by the same file.
      await expect(queue.close()).rejects.toMatchObject({ code: "EBADF" });
      queue = await bed.open();
    },
  );

  it("is written at each commit", async () => {
    // Seen from outside: the WAL holds what was appended before append resolves.
    const stream = await queue.openStream("shop");
    const before = statSync(`${bed.path}-wal`).size;
    await stream.append(await stream.tail(), [message(1, 300_000)]);
    expect(statSync(`${bed.path}-wal`).size).toBeGreaterThanOrEqual(before + 300_000);
  });

  it("stays bounded while messages come and are trimmed", async () => {
    const stream = await queue.openStream("shop");
    let tail = await stream.tail();
    for (let batch = 1; batch <= 600; batch += 10) {
      const messages = Array.from({ length: 10 }, (_, index) => message(batch + index, 150_000));
      tail = await stream.append(tail, messages);
      await stream.trim(batch - 10);
    }
    // 90 MB went through; about 3 MB stood at any time.
    expect(statSync(bed.path).size).toBeLessThan(24 * 1024 * 1024);
    expect(statSync(`${bed.path}-wal`).size).toBeLessThan(24 * 1024 * 1024);
  });

  it("gives space back after a burst", async () => {
    const stream = await queue.openStream("shop");
    let tail = await stream.tail();
    for (let batch = 1; batch <= 160; batch++)
      tail = await stream.append(tail, [message(batch, 1024 * 1024)]);
    const full = statSync(bed.path).size;
    expect(full).toBeGreaterThan(100 * 1024 * 1024);
    await stream.trim(160);
    await queue.close();
    expect(statSync(bed.path).size).toBeLessThan(80 * 1024 * 1024);
  });

  it("is refused when it is something else", async () => {
    await queue.close();
    const [other, text] = [join(bed.folder, "other.db"), join(bed.folder, "text.db")];
    makeOther(other);
    makeText(text);
    const open = (path: string) => bed.openAt(`sqlite:${path}`);
    await expect(open(other)).rejects.toMatchObject({ code: "TM-QUEUE-UNSAFE" });
    await expect(open(text)).rejects.toMatchObject({ code: "TM-QUEUE-UNSAFE" });
    mkdirSync(join(bed.folder, "folder.db"));
    await expect(open(join(bed.folder, "folder.db"))).rejects.toMatchObject({
      code: "TM-CONNECT-FAILED",
    });
    writeFileSync(join(bed.folder, "file"), "");
    await expect(open(join(bed.folder, "file", "queue.db"))).rejects.toMatchObject({
      code: "TM-CONNECT-FAILED",
    });
  });
});

describe("a file that takes the queue's place while it is open", () => {
  it.each<[string, (path: string) => void]>([
    ["a database of something else", makeOther],
    ["damaged", makeText],
  ])("is refused when it is %s", async (_, make) => {
    await queue.documents.put("a", 1);
    for (const end of ["", "-wal", "-shm"]) rmSync(`${bed.path}${end}`);
    make(bed.path);
    const unsafe = { code: "TM-QUEUE-UNSAFE" };
    await expect(queue.documents.put("a", 2)).rejects.toMatchObject(unsafe);
    await expect(queue.documents.get("a")).rejects.toMatchObject(unsafe);
  });
});

describe("the bodies of a copy", () => {
  const LARGE = 300_000;
  const folder = () => `${bed.path}-bodies`;
  const files = () => (existsSync(folder()) ? readdirSync(folder()) : []);

  it("stand beside the file while they are needed, and come back as they were", async () => {
    const stream = await queue.openStream("shop");
    const sent = [
      message(1, LARGE),
      chunk(1, 1, LARGE),
      chunk(1, 2, 100),
      chunk(1, 3, LARGE),
      message(2),
    ];
    await stream.append(await stream.tail(), sent);
    expect(files()).toHaveLength(2);
    expect(statSync(folder()).mode & 0o777).toBe(0o700);
    for (const name of files()) expect(statSync(join(folder(), name)).mode & 0o777).toBe(0o600);
    expect(await stream.stats()).toMatchObject({ messages: 5, bytes: stored(sent) });
    // Another process has nothing but the files.
    const other = await bed.open();
    const read = await take(other, sent.length);
    await other.close();
    expect(read.map(({ mark, body }) => ({ mark, body: Buffer.from(body) }))).toEqual(sent);
    await stream.trim(1, 2);
    expect(files()).toHaveLength(1);
    await stream.reset();
    expect(files()).toEqual([]);
    expect(await stream.stats()).toEqual({ messages: 0, bytes: 0 });
  });

  it("of one chunk share a file, which goes with the last of them", async () => {
    const stream = await queue.openStream("shop");
    const other = await queue.openStream("other");
    // More than is deleted at a time.
    const pieces = [0, 1, 2, 3].map((piece) => chunk(1, 1, 900_000, piece));
    let tail = await stream.tail();
    for (const piece of pieces) {
      tail = await stream.append(tail, [piece]);
      await other.append(await other.tail(), [{ ...chunk(2, 9, LARGE), mark: piece.mark }]);
    }
    await stream.append(tail, [chunk(1, 2, LARGE)]);
    expect(files()).toHaveLength(3);
    const read = await take(queue, 5);
    expect(read.map(({ mark, body }) => crc32(body) === mark.checksum)).not.toContain(false);
    await stream.trim(1, 1);
    expect(files()).toHaveLength(2);
    expect((await take(queue, 1)).map(({ mark }) => mark.chunk)).toEqual([2]);
    await other.reset();
    expect(files()).toHaveLength(1);
  });

  it("give back their memory when they are stored, and when whoever read them says so", async () => {
    const stream = await queue.openStream("shop");
    const { mark, body } = chunk(1, 1, LARGE);
    const bytes = Uint8Array.from(body);
    const sent = { mark, body: bytes, release: () => freeMemory(bytes) };
    const tail = await stream.tail();
    await expect(stream.append({ ...tail, sequence: 9 }, [sent])).rejects.toThrow();
    expect(bytes.length).toBe(LARGE);
    await stream.append(tail, [sent]);
    expect(bytes.length).toBe(0);
    const [one, other] = [(await take(queue, 1))[0], (await take(queue, 1))[0]];
    one?.release?.();
    expect([one?.body.length, other?.body.length]).toEqual([0, LARGE]);
  });

  it("are never taken for whole when they are not", async () => {
    const stream = await queue.openStream("shop");
    await stream.append(await stream.tail(), [chunk(1, 1, LARGE), chunk(1, 2, LARGE)]);
    const [first = "", second = ""] = files();
    truncateSync(join(folder(), first), LARGE / 2);
    rmSync(join(folder(), second));
    for (const { mark, body } of await take(queue, 2)) {
      expect(crc32(body)).not.toBe(mark.checksum);
    }
    await stream.trim(1);
    expect(files()).toEqual([]);
  });

  it("leave nothing behind that no message names", async () => {
    const stream = await queue.openStream("shop");
    await stream.append(await stream.tail(), [chunk(1, 1, LARGE)]);
    const kept = files();
    const hourAgo = Date.now() / 1000 - 3600;
    for (const name of ["of a killed process", ...kept]) {
      const file = join(folder(), name);
      if (!kept.includes(name)) writeFileSync(file, "");
      utimesSync(file, hourAgo, hourAgo);
    }
    writeFileSync(join(folder(), "just being written"), "");
    await (await bed.open()).close();
    expect(files().sort()).toEqual(["just being written", ...kept].sort());
  });

  it("are read from a file that an earlier program has made", async () => {
    const stream = await queue.openStream("shop");
    await stream.append(await stream.tail(), [message(1)]);
    await queue.close();
    const database = new DatabaseSync(bed.path);
    database.exec("PRAGMA user_version = 1");
    database.close();
    queue = await bed.open();
    const again = await queue.openStream("shop");
    await again.append(await again.tail(), [chunk(1, 1, LARGE)]);
    expect((await take(queue, 2)).map(({ body }) => body.length)).toEqual([10, LARGE]);
  });
});

describe("the event loop", () => {
  it("is not held up by a lock of another process, nor by a long append", async () => {
    const stream = await queue.openStream("shop");
    const tail = await stream.append(await stream.tail(), [message(1)]);
    const other = new DatabaseSync(bed.path);
    other.exec("BEGIN IMMEDIATE");
    const appended = stream.append(tail, [message(2)]);
    const started = performance.now();
    await pause(60);
    // The other one holds its lock for as long as we look: who waited for it would never get here.
    expect(performance.now() - started).toBeLessThan(5_000);
    expect((await stream.tail()).sequence).toBe(tail.sequence);
    other.exec("COMMIT");
    other.close();
    expect((await appended).mark?.batch).toBe(2);
  });

  it("takes writes of one moment into one transaction", async () => {
    const streams = await Promise.all(
      Array.from({ length: 50 }, (_, index) => queue.openStream(`source ${index}`)),
    );
    const tails = await Promise.all(streams.map((stream) => stream.tail()));
    const version = () => {
      const row = watcher.prepare("PRAGMA data_version").get();
      return Number(row?.data_version);
    };
    const watcher = new DatabaseSync(bed.path);
    let commits = 0;
    let last = version();
    const counting = setInterval(() => {
      const now = version();
      if (now !== last) commits++;
      last = now;
    }, 0);
    const outcomes = await Promise.allSettled([
      ...streams.map((stream, index) => stream.append(tails[index] as never, [message(1)])),
      // One that is refused must not take the others with it.
      streams[0]?.append({ sequence: 7, mark: null }, [message(1)]),
    ]);
    clearInterval(counting);
    if (version() !== last) commits++;
    watcher.close();
    expect(outcomes.filter((each) => each.status === "rejected").length).toBe(1);
    expect(outcomes.at(-1)).toMatchObject({ reason: { code: "TM-QUEUE-CONFLICT" } });
    expect(commits).toBeLessThanOrEqual(2);
    for (const stream of streams) expect((await stream.stats()).messages).toBe(1);
  });
});

function makeOther(path: string): void {
  const database = new DatabaseSync(path);
  database.exec("CREATE TABLE customers (id INTEGER)");
  database.close();
}

function makeText(path: string): void {
  writeFileSync(path, "not a database at all, but long enough to be looked at ".repeat(20));
}

function message(batch: number, size = 10): QueueMessage {
  const body = Buffer.alloc(size, batch % 256);
  const whole = { piece: 0, fragment: 0, fragments: 1, last: true };
  return { mark: { timeline: "t1", batch, chunk: 0, ...whole, checksum: crc32(body) }, body };
}

function chunk(batch: number, number: number, size: number, piece = 0): QueueMessage {
  const { mark } = message(batch);
  const body = Buffer.alloc(size, number + piece);
  return { mark: { ...mark, chunk: number, piece, checksum: crc32(body) }, body };
}

/** What the bound of a stream counts. */
function stored(messages: readonly QueueMessage[]): number {
  return messages.reduce((sum, { body }) => sum + body.length + 256, 0);
}

async function take(from: Queue, count: number): Promise<QueueMessage[]> {
  const read: QueueMessage[] = [];
  const stream = await from.openStream("shop");
  for await (const next of stream.read(START, AbortSignal.timeout(10_000))) {
    if (read.push(next) === count) break;
  }
  return read;
}

/** Linux tells which files a process has open. */
const OPEN_FILES = "/proc/self/fd";

/** SQLite opens the WAL first; the queue opens it to sync it. */
function newestOpenOf(path: string): number {
  const numbers = readdirSync(OPEN_FILES).map(Number);
  const open = numbers.filter((number) => {
    try {
      return readlinkSync(`${OPEN_FILES}/${number}`) === path;
    } catch {
      return false; // the listing's own, closed by now
    }
  });
  return Math.max(...open);
}
