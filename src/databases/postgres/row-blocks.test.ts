// Rows of a COPY in binary, whole in each block, however its bytes come (G6).
import fc from "fast-check";
import { expect, it } from "vitest";
import type { LinesBlock } from "../../core/source.ts";
import { HEADER, rowBlocks, TRAILER } from "./row-blocks.ts";

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

async function blocksOf(bytes: Buffer, cut: number, room: { headroom: number; size: number }) {
  async function* chunks() {
    for (let at = 0; at < bytes.length; at += cut) yield bytes.subarray(at, at + cut);
  }
  const blocks: LinesBlock[] = [];
  for await (const block of rowBlocks(chunks(), room)) {
    blocks.push({ ...block, bytes: Buffer.from(block.bytes) });
    // Whoever was given a block may give its memory back.
    block.bytes.fill(0);
    (block.bytes.buffer as ArrayBuffer).transfer(0);
  }
  return blocks;
}

const copyOf = (rows: readonly Buffer[]) => Buffer.concat([HEADER, ...rows, TRAILER]);

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
      const blocks = await blocksOf(copyOf(rows), cut, room);
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
  const blocks = await blocksOf(copyOf(rows), 64, { headroom: 2, size: 100 });
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
    await expect(blocksOf(bytes, 7, room)).rejects.toMatchObject({ code: "TM-INTERNAL" });
  }
});
