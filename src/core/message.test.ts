import { readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Change } from "./change.ts";
import { type Envelope, encodeLines, encodePieces, type Piece, PieceReader } from "./message.ts";
import type { QueueMessage } from "./queue.ts";
import { formatField } from "./row-lines.ts";
import type { LinesRoom } from "./source.ts";

const envelope: Envelope = {
  source: "shop",
  header: {
    timeline: "t1",
    batch: 7,
    hash: "h7",
    prevHash: "h6",
    cutAt: "2026-01-01T00:00:00.000Z",
    committedAt: "2026-01-01T00:00:00.000Z",
  },
  chunk: 0,
  copy: null,
};

const value = fc.oneof(
  fc.string({ unit: "binary" }).filter((text) => text.isWellFormed()),
  fc.constant(null),
  fc.constant(0 as const),
  fc.tuple(fc.constantFrom("integer", "text", "blob", "real"), fc.string()),
) as fc.Arbitrary<Change["row"] extends readonly (infer V)[] | null ? V : never>;

const change: fc.Arbitrary<Change> = fc.record({
  layout: fc.nat(),
  op: fc.constantFrom("insert", "update", "delete", "truncate"),
  keyBefore: fc.option(fc.array(value)),
  row: fc.option(fc.array(value)),
  rowBefore: fc.option(fc.array(value)),
  filters: fc.array(fc.option(fc.boolean())),
  transaction: fc.option(fc.string()),
  origin: fc.option(fc.string()),
  hops: fc.array(fc.string()),
});

async function encode(changes: readonly Change[], maxMessageBytes: number, batch = 7) {
  const messages: QueueMessage[] = [];
  async function* pages() {
    yield changes;
  }
  const header = { ...envelope.header, batch };
  for await (const piece of encodePieces({ ...envelope, header }, pages(), maxMessageBytes)) {
    messages.push(...piece);
  }
  return messages;
}

/** As a source streams them: in blocks of up to `most` lines. */
async function encodeRows(
  lines: readonly string[],
  most: number,
  maxMessageBytes: number,
  { filtered = false, binary = false } = {},
) {
  async function* blocks({ headroom }: LinesRoom) {
    for (let at = 0; at < lines.length; at += most) {
      const some = lines.slice(at, at + most);
      yield { bytes: Buffer.from(" ".repeat(headroom) + some.join("")), rows: some.length };
    }
  }
  const content = { kind: "lines", filtered, binary, blocks } as const;
  const messages: QueueMessage[] = [];
  for await (const piece of encodeLines(envelope, 1, content, maxMessageBytes)) {
    messages.push(...piece);
  }
  return messages;
}

function decode(messages: readonly QueueMessage[]): Piece[] {
  const reader = new PieceReader();
  return messages.flatMap((message) => reader.push(message) ?? []);
}

describe("messages", () => {
  it("gives back every change as it was, in order, whatever the message limit", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(change),
        fc.integer({ min: 50, max: 5_000 }),
        async (changes, limit) => {
          const pieces = decode(await encode(changes, limit));
          expect(pieces.flatMap((piece) => piece.changes)).toEqual(changes);
        },
      ),
    );
  });

  it("cuts what is large into numbered pieces, of which only the last is marked last", async () => {
    const row = ["x".repeat(100_000)];
    const base = { keyBefore: null, rowBefore: null, filters: [], transaction: "1" };
    const large: Change = { ...base, layout: 1, op: "insert", row, origin: null, hops: [] };
    const messages = await encode(
      Array.from({ length: 20 }, () => large),
      1_000_000,
    );
    const marks = messages.map(({ mark }) => mark);
    expect(marks.length).toBeGreaterThan(3);
    expect(marks.map(({ piece }) => piece)).toEqual(marks.map((_, index) => index));
    expect(marks.map(({ last }) => last)).toEqual(marks.map((_, i) => i === marks.length - 1));
  });

  it("never makes a message larger than the queue takes", async () => {
    const row = ["\u{1F30A}".repeat(2_000)];
    const base = { keyBefore: null, rowBefore: null, filters: [], transaction: null };
    const large: Change = { ...base, layout: 1, op: "insert", row, origin: null, hops: [] };
    const messages = await encode([large], 1_000);
    expect(Math.max(...messages.map(({ body }) => body.length))).toBeLessThanOrEqual(1_000);
    expect(decode(messages)[0]?.changes).toEqual([large]);
  });

  it("sends a batch without changes as one empty piece", async () => {
    const messages = await encode([], 1_000);
    expect(messages.map(({ mark }) => mark.last)).toEqual([true]);
    expect(decode(messages)[0]?.changes).toEqual([]);
  });

  it("keeps to the published schema", async () => {
    const schema = new URL("../../docs/reference/message.schema.json", import.meta.url);
    const ajv = new Ajv2020({ strict: true, strictTypes: false, validateFormats: false });
    const validate = ajv.compile(JSON.parse(readFileSync(schema, "utf8")));
    const natural = fc.array(change, { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(natural, async (changes) => {
        const messages = await encode(changes, 1_000_000);
        messages.push(...(await encodeRows(["1\n"], 100, 1_000_000)));
        messages.push(...(await encodeRows(["1\n"], 100, 1_000_000, { binary: true })));
        for (const { body } of messages) {
          const [head = ""] = Buffer.from(body).toString().split("\n");
          expect(validate(JSON.parse(head)), ajv.errorsText(validate.errors)).toBe(true);
        }
      }),
    );
  });

  it("carries lines untouched, whole in each piece", async () => {
    const rows = fc.array(fc.array(fc.option(fc.string({ unit: "grapheme" })), { minLength: 1 }), {
      minLength: 1,
    });
    const limits = fc.integer({ min: 50, max: 5_000 });
    await fc.assert(
      fc.asyncProperty(rows, fc.integer({ min: 1, max: 40 }), limits, async (some, most, limit) => {
        const lines = some.map((fields) => `${fields.map(formatField).join("\t")}\n`);
        const pieces = decode(await encodeRows(lines, most, limit));
        expect(pieces.flatMap(({ changes }) => changes.map(({ row }) => row))).toEqual(some);
        expect(pieces.reduce((sum, { count }) => sum + count, 0)).toBe(some.length);
      }),
    );
  });

  it("makes a piece of each block of lines", async () => {
    const line = `${"x".repeat(99)}\n`;
    const messages = await encodeRows(Array<string>(40_000).fill(line), 9_001, 1_000_000);
    const pieces = decode(messages);
    expect(pieces.length).toBe(5);
    expect(pieces.map(({ mark }) => mark.last)).toEqual(
      pieces.map((_, i) => i === pieces.length - 1),
    );
    expect(pieces.map(({ mark }) => mark.piece)).toEqual(pieces.map((_, i) => i));
    for (const { lines, count } of pieces) expect(lines?.bytes.length).toBe(count * line.length);
    expect(pieces.reduce((sum, { count }) => sum + count, 0)).toBe(40_000);
  });

  it("tells filters and emptiness of lines", async () => {
    const [filtered] = decode(await encodeRows(["tf\t1\t\\N\n"], 100, 1_000, { filtered: true }));
    expect(filtered?.changes).toMatchObject([
      { op: "insert", row: ["1", null], filters: [true, false] },
    ]);
    const [empty, ...none] = decode(await encodeRows([], 100, 1_000));
    expect([empty?.count, empty?.changes, empty?.mark.last, none]).toEqual([0, [], true, []]);
  });

  it("carries rows in binary untouched, for their table alone", async () => {
    const rows = ["\0\x01\n", "\xff\t\\"];
    const pieces = decode(await encodeRows(rows, 1, 40, { binary: true }));
    expect(pieces.map(({ lines }) => lines)).toMatchObject(
      rows.map((row) => ({ layout: 1, rows: 1, binary: true, bytes: Buffer.from(row) })),
    );
    expect(() => pieces[0]?.changes).toThrow(/binary/);
  });

  it("does not take rows in binary for lines of an earlier version", async () => {
    const [message] = await encodeRows(["1\n"], 100, 10_000, { binary: true });
    const body = Buffer.from(message?.body ?? []);
    expect(JSON.parse(body.toString().split("\n")[0] ?? "")).toMatchObject({ v: 2 });
    const wrong = Buffer.from(body.toString().replace('"v":2', '"v":1'));
    const { crc32 } = await import("node:zlib");
    const mark = { ...(message as QueueMessage).mark, checksum: crc32(wrong) };
    expect(() => decode([{ mark, body: wrong }])).toThrow(/format 1/);
  });

  it("says of a later version what goes on with it, and what without", async () => {
    const [message] = await encode([], 10_000);
    const body = Buffer.from(
      Buffer.from(message?.body ?? [])
        .toString()
        .replace('"v":1', '"v":9'),
    );
    const { crc32 } = await import("node:zlib");
    const mark = { ...(message as QueueMessage).mark, checksum: crc32(body) };
    expect(() => decode([{ mark, body }])).toThrow(
      expect.objectContaining({
        code: "TM-MESSAGE-VERSION",
        fix: expect.stringMatching(/version .* the relay runs; .* an empty queue/),
      }),
    );
  });

  it("finds a flipped bit", async () => {
    const [message] = await encode([], 1_000);
    if (message === undefined) throw new TypeError("no message");
    const body = Uint8Array.from(message.body);
    body[3] = (body[3] ?? 0) ^ 1;
    expect(() => decode([{ ...message, body }])).toThrow(/checksum/);
  });

  it("finds a fragment that is missing", async () => {
    const messages = await encode([], 20);
    expect(() => decode(messages.filter((_, index) => index !== 1))).toThrow(/fragment/);
  });

  it("makes no piece of the fragments of two", async () => {
    const [one, other] = [await encode([], 20), await encode([], 20, 8)];
    expect(one.length).toBe(other.length);
    expect(() => decode([...one.slice(0, -1), ...other.slice(-1)])).toThrow(/checksum/);
  });

  it("refuses a version it does not know", async () => {
    const [message] = await encode([], 10_000);
    if (message === undefined) throw new TypeError("no message");
    const { crc32 } = await import("node:zlib");
    const body = Buffer.from(Buffer.from(message.body).toString().replace('"v":1', '"v":9'));
    const mark = { ...message.mark, checksum: crc32(body) };
    expect(() => decode([{ mark, body }])).toThrow(/format 9/);
  });
});
