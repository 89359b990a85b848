// What a reader beside the appliers is given, of a stream in which batches come again (G2, G3).
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Change } from "../core/change.ts";
import type { Piece } from "../core/message.ts";
import type { Mark } from "../core/queue.ts";
import { Unrepeated } from "./unrepeated.ts";

type Part = Pick<Piece, "mark" | "changes">;
const DAMAGED: Part = { mark: mark(0, 0, false), changes: [] };

const change = (text: string) => ({ row: [text] }) as unknown as Change;

function mark(batch: number, piece: number, last: boolean, timeline = "t"): Mark {
  return { timeline, batch, chunk: 0, piece, fragment: 0, fragments: 1, last, checksum: 0 };
}

/** A batch of so many changes, in pieces of this size. */
function sent(batch: number, count: number, size: number): Part[] {
  const changes = Array.from({ length: count }, (_, i) => change(`${batch}.${i}`));
  const pieces = Math.max(1, Math.ceil(count / size));
  return Array.from({ length: pieces }, (_, piece) => ({
    mark: mark(batch, piece, piece === pieces - 1),
    changes: changes.slice(piece * size, (piece + 1) * size),
  }));
}

function read(stream: readonly Part[], after: Mark | null = null) {
  const unrepeated = new Unrepeated(after);
  const given = stream.flatMap((part) => {
    if (part === DAMAGED) unrepeated.lose();
    return part === DAMAGED ? [] : unrepeated.take(part);
  });
  const texts = given.map(({ change: { row } }) => row?.[0]);
  return { texts, indexes: given.map(({ index }) => index) };
}

const size = fc.integer({ min: 1, max: 4 });
const batch = fc.record({
  count: fc.integer({ min: 0, max: 9 }),
  size,
  /** Sent before, and cut off after so many pieces. */
  falseStarts: fc.array(fc.tuple(size, fc.nat(3)), { maxLength: 3 }),
  /** The pieces given twice. */
  again: fc.array(fc.nat(9), { maxLength: 3 }),
  /** So many batches before it are sent once more, behind it. */
  resent: fc.nat(3),
});

describe("a stream read beside the appliers", () => {
  it("is given in order and once, however often its batches begin", () => {
    fc.assert(
      fc.property(fc.array(batch, { maxLength: 8 }), (batches) => {
        const stream: Part[] = [];
        for (const [i, { count, size, falseStarts, again, resent }] of batches.entries()) {
          for (const [pieceSize, pieces] of falseStarts) {
            stream.push(
              ...sent(i + 1, count, pieceSize)
                .slice(0, -1)
                .slice(0, pieces),
            );
          }
          for (const [n, part] of sent(i + 1, count, size).entries()) {
            stream.push(part, ...(again.includes(n) ? [part] : []));
          }
          for (let earlier = Math.max(0, i - resent); earlier < i; earlier++) {
            stream.push(...sent(earlier + 1, batches[earlier]?.count ?? 0, size));
          }
        }
        const wanted = batches.flatMap(({ count }, i) =>
          Array.from({ length: count }, (_, n) => `${i + 1}.${n}`),
        );
        const { texts, indexes } = read(stream);
        expect(texts).toEqual(wanted);
        expect(indexes.map(String)).toEqual(wanted.map((text) => text.split(".")[1]));
      }),
    );
  });

  it("is not given behind a batch that is missing, until that comes or is given up", () => {
    const unrepeated = new Unrepeated(null);
    const [first, second, third] = [sent(1, 1, 1), sent(2, 1, 1), sent(3, 1, 1)].flat();
    const take = (part: Part | undefined) => unrepeated.take(part as Part).length;
    expect(take(first)).toBe(1);
    expect(unrepeated.isAhead((third as Part).mark)).toBe(true);
    expect(take(third)).toBe(0);
    expect([second, third].map(take)).toEqual([1, 1]);
    expect(unrepeated.passTo(mark(7, 0, false))).toBe(4);
    expect(sent(7, 2, 1).map(take)).toEqual([1, 1]);
  });

  it("is not joined where a piece was damaged", () => {
    const stream = [
      ...sent(1, 1, 1),
      ...sent(2, 7, 2).slice(0, 1),
      DAMAGED,
      ...sent(2, 7, 3).slice(1),
      ...sent(2, 7, 3),
    ];
    const { texts } = read(stream);
    expect(texts.slice(1)).toEqual(Array.from({ length: 7 }, (_, i) => `2.${i}`));
  });

  it("begins behind the end it was told, in the middle of a batch or not", () => {
    const stream = [...sent(4, 4, 2), ...sent(5, 1, 1)];
    expect(read(stream, mark(4, 0, false)).texts).toEqual(["5.0"]);
    expect(read(stream.slice(1)).texts).toEqual(["5.0"]);
  });

  it("takes up another timeline from its start", () => {
    const other = (number: number) =>
      sent(number, 1, 1).map(({ mark: { batch, piece, last }, changes }) => ({
        mark: mark(batch, piece, last, "other"),
        changes,
      }));
    const before = [...sent(6, 1, 1), ...sent(7, 1, 1)];
    expect(read([...before, ...other(1), ...other(2)]).texts).toEqual(["6.0", "7.0", "1.0", "2.0"]);
    // Its first batches are missing.
    const unrepeated = new Unrepeated(mark(7, 0, true));
    const [third] = other(3);
    expect(unrepeated.isAhead((third as Part).mark)).toBe(true);
    expect(unrepeated.passTo((third as Part).mark)).toBe(1);
    expect(unrepeated.take(third as Part)).toHaveLength(1);
  });
});
