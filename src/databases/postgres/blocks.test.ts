// Rows of a COPY, as lines and in binary, whole in each block, however its bytes come (G6).
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { LinesBlock, LinesRoom } from "../../core/source.ts";
import { lineBlocks } from "./line-blocks.ts";
import { HEADER, rowBlocks, TRAILER } from "./row-blocks.ts";

async function blocksOf(
  split: typeof lineBlocks | typeof rowBlocks,
  bytes: Buffer,
  cut: number,
  room: LinesRoom,
): Promise<LinesBlock[]> {
  async function* chunks() {
    for (let at = 0; at < bytes.length; at += cut) yield bytes.subarray(at, at + cut);
  }
  const blocks: LinesBlock[] = [];
  for await (const block of split(chunks(), room)) {
    blocks.push({ ...block, bytes: Buffer.from(block.bytes) });
    // Whoever was given a block may give its memory back.
    block.bytes.fill(0);
    (block.bytes.buffer as ArrayBuffer).transfer(0);
  }
  return blocks;
}

describe("lines", () => {
  it("keeps every line whole, in blocks no larger than asked but for one line", async () => {
    const line = fc.string({ maxLength: 60 }).map((text) => `${text.replaceAll("\n", " ")}\n`);
    const numbers = fc.record({
      size: fc.integer({ min: 1, max: 150 }),
      headroom: fc.integer({ min: 0, max: 9 }),
      cut: fc.integer({ min: 1, max: 100 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(line), numbers, async (lines, { cut, ...room }) => {
        const blocks = await blocksOf(lineBlocks, Buffer.from(lines.join("")), cut, room);
        const texts = blocks.map(({ bytes }) => bytes.subarray(room.headroom).toString());
        expect(texts.join("")).toBe(lines.join(""));
        for (const [i, { rows }] of blocks.entries()) {
          const text = texts[i] ?? "";
          expect([text.split("\n").length - 1, text.at(-1)]).toEqual([rows, "\n"]);
          if (rows > 1) expect(Buffer.byteLength(text)).toBeLessThanOrEqual(room.size);
        }
      }),
    );
  });

  it("grows with a line that is longer than a block, and fills the next ones again", async () => {
    const lines = ["a\n", `${"x".repeat(10_000)}\n`, "b\n", "c\n"];
    const blocks = await blocksOf(lineBlocks, Buffer.from(lines.join("")), 64, {
      headroom: 2,
      size: 100,
    });
    expect(blocks.map(({ rows }) => rows)).toEqual([1, 1, 2]);
  });
});

type Fields = readonly (Buffer | null)[];

/** As the manual of COPY says: the number of fields, then the length of each and its bytes. */
function rowOf(fields: Fields): Buffer {
  const count = Buffer.alloc(2);
  count.writeInt16BE(fields.length);
  const parts = fields.flatMap((field) => {
    const length = Buffer.alloc(4);
    length.writeInt32BE(field?.length ?? -1);
    return field === null ? [length] : [length, field];
  });
  return Buffer.concat([count, ...parts]);
}

const copyOf = (rows: readonly Buffer[]) => Buffer.concat([HEADER, ...rows, TRAILER]);

describe("rows in binary", () => {
  it("keeps every row whole, in blocks no larger than asked but for one row", async () => {
    const field = fc.option(fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)));
    const numbers = fc.record({
      size: fc.integer({ min: 1, max: 150 }),
      headroom: fc.integer({ min: 0, max: 9 }),
      cut: fc.integer({ min: 1, max: 200 }),
    });
    const tables = fc.array(fc.array(field, { maxLength: 4 }));
    await fc.assert(
      fc.asyncProperty(tables, numbers, async (table, { cut, ...room }) => {
        const rows = table.map(rowOf);
        const blocks = await blocksOf(rowBlocks, copyOf(rows), cut, room);
        const left = [...rows];
        for (const block of blocks) {
          const whole = Buffer.concat(left.splice(0, block.rows));
          expect(block.rows).toBeGreaterThan(0);
          expect(block.bytes.subarray(room.headroom)).toEqual(whole);
          if (block.rows > 1) expect(whole.length).toBeLessThanOrEqual(room.size);
        }
        expect(left).toEqual([]);
      }),
      { numRuns: 1_000 },
    );
  });

  it("grows with a row that is longer than a block, and fills the next ones again", async () => {
    const small = rowOf([Buffer.from("a")]);
    const rows = [small, rowOf([Buffer.alloc(10_000, "x")]), small, small];
    const blocks = await blocksOf(rowBlocks, copyOf(rows), 64, { headroom: 2, size: 100 });
    expect(blocks.map(({ rows: count }) => count)).toEqual([1, 1, 2]);
  });

  it("refuses what does not begin or end as it should", async () => {
    const row = rowOf([Buffer.from("a")]);
    const room = { headroom: 0, size: 100 };
    const wrong = [
      Buffer.alloc(0),
      HEADER.subarray(0, 10),
      HEADER,
      Buffer.concat([Buffer.from(HEADER).fill(1, 11, 12), row, TRAILER]),
      copyOf([row]).subarray(0, -1),
      copyOf([row, row.subarray(0, 4)]),
    ];
    for (const bytes of wrong) {
      await expect(blocksOf(rowBlocks, bytes, 7, room)).rejects.toMatchObject({
        code: "TM-INTERNAL",
      });
    }
  });
});
