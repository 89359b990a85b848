// What is read of a COPY, byte for byte, however it comes (G6).
import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { LinesBlock } from "../../core/source.ts";
import { CopyOut } from "./copy-out.ts";

/** A message of the protocol. */
function message(letter: string, body: Buffer): Buffer {
  const head = Buffer.from(`${letter}0000`);
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

const READY = message("Z", Buffer.from("I"));

/** The socket, and behind it the driver, which knows the end when it sees it. */
class Wire extends EventEmitter {
  readonly driven: Buffer[] = [];
  paused = false;
  #query: CopyOut | null = null;

  constructor() {
    super();
    this.on("data", (bytes: Buffer) => {
      this.driven.push(Buffer.from(bytes));
      if (this.seen.subarray(-READY.length).equals(READY)) this.#query?.handleReadyForQuery();
    });
  }

  /** All that the driver was given. */
  get seen(): Buffer {
    return Buffer.concat(this.driven);
  }

  start(query: CopyOut): void {
    this.#query = query;
    query.submit({ stream: this as unknown as Socket, query: () => {} });
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }
}

describe("reading a COPY", () => {
  it("gives every row in blocks of whole ones, and the driver all else, however the bytes are cut", async () => {
    const row = fc.string({ maxLength: 60 }).map((text) => Buffer.from(`${text}\n`));
    const notice = fc.string({ maxLength: 20 }).map((text) => message("N", Buffer.from(text)));
    const events = fc.array(
      fc.oneof(
        { weight: 5, arbitrary: row },
        notice.map((m) => ({ m })),
      ),
    );
    const numbers = fc.record({
      size: fc.integer({ min: 1, max: 100 }),
      headroom: fc.integer({ min: 0, max: 9 }),
      cut: fc.integer({ min: 1, max: 50 }),
    });
    await fc.assert(
      fc.asyncProperty(events, numbers, async (all, { size, headroom, cut }) => {
        const rows = all.filter((each) => Buffer.isBuffer(each));
        const others = all.flatMap((each) => (Buffer.isBuffer(each) ? [] : [each.m]));
        const begin = message("H", Buffer.from("\0\0\0"));
        const end = [message("c", Buffer.alloc(0)), message("C", Buffer.from("COPY\0")), READY];
        const bytes = Buffer.concat([
          begin,
          ...all.map((each) => (Buffer.isBuffer(each) ? message("d", each) : each.m)),
          ...end,
        ]);
        const wire = new Wire();
        const query = new CopyOut("COPY", { headroom, size });
        wire.start(query);
        const blocks: LinesBlock[] = [];
        const reading = (async () => {
          for (let b = await query.next(); b !== null; b = await query.next()) blocks.push(b);
        })();
        for (let at = 0; at < bytes.length; at += cut) {
          wire.emit("data", bytes.subarray(at, at + cut));
        }
        await reading;
        const lines = blocks.map((block) => block.bytes.subarray(headroom));
        expect(Buffer.concat(lines)).toEqual(Buffer.concat(rows));
        expect(blocks.reduce((sum, block) => sum + block.rows, 0)).toBe(rows.length);
        for (const [i, block] of blocks.entries()) {
          if (block.rows > 1) expect(lines[i]?.length).toBeLessThanOrEqual(size);
          expect(lines[i]?.at(-1)).toBe(0x0a);
        }
        expect(wire.seen).toEqual(Buffer.concat([begin, ...others, ...end]));
        expect(wire.listeners("data").length).toBe(1);
        expect(wire.paused).toBe(false);
      }),
    );
  });

  it("leaves the socket unread while nobody takes what is there", async () => {
    const wire = new Wire();
    const query = new CopyOut("COPY", { headroom: 0, size: 4 });
    wire.start(query);
    const row = message("d", Buffer.from("ab\n"));
    wire.emit("data", Buffer.concat([row, row]));
    expect(wire.paused).toBe(true);
    expect((await query.next())?.bytes.toString()).toBe("ab\n");
    expect(wire.paused).toBe(false);
  });

  it("tells an error behind the rows that came before it", async () => {
    const wire = new Wire();
    const query = new CopyOut("COPY", { headroom: 0, size: 4 });
    wire.start(query);
    const row = message("d", Buffer.from("ab\n"));
    wire.emit("data", Buffer.concat([row, row]));
    query.handleError(new RangeError("no"));
    expect((await query.next())?.rows).toBe(1);
    await expect(query.next()).rejects.toThrow("no");
    expect(wire.listeners("data").length).toBe(1);
  });
});
