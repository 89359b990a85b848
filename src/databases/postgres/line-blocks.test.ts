// Lines of a COPY, whole in each block, however its bytes come (G6).
import fc from "fast-check";
import { expect, it } from "vitest";
import type { LinesBlock } from "../../core/source.ts";
import { lineBlocks } from "./line-blocks.ts";

async function blocksOf(bytes: Buffer, cut: number, room: { headroom: number; size: number }) {
  async function* chunks() {
    for (let at = 0; at < bytes.length; at += cut) yield bytes.subarray(at, at + cut);
  }
  const blocks: LinesBlock[] = [];
  for await (const block of lineBlocks(chunks(), room)) {
    blocks.push({ ...block, bytes: Buffer.from(block.bytes) });
    // Whoever was given a block may give its memory back.
    block.bytes.fill(0);
    (block.bytes.buffer as ArrayBuffer).transfer(0);
  }
  return blocks;
}

it("keeps every line whole, in blocks no larger than asked but for one line", async () => {
  const line = fc.string({ maxLength: 60 }).map((text) => `${text.replaceAll("\n", " ")}\n`);
  const numbers = fc.record({
    size: fc.integer({ min: 1, max: 150 }),
    headroom: fc.integer({ min: 0, max: 9 }),
    cut: fc.integer({ min: 1, max: 100 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(line), numbers, async (lines, { cut, ...room }) => {
      const blocks = await blocksOf(Buffer.from(lines.join("")), cut, room);
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
  const blocks = await blocksOf(Buffer.from(lines.join("")), 64, { headroom: 2, size: 100 });
  expect(blocks.map(({ rows }) => rows)).toEqual([1, 1, 2]);
});
