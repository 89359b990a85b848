// Which piece is the next, and what is passed by or refused (G2, G3, G5).
import { describe, expect, it } from "vitest";
import type { Piece } from "../core/message.ts";
import type { Progress } from "../core/target.ts";
import { Inbox } from "./inbox.ts";

const progress: Progress = {
  timeline: "t1",
  position: { batch: 4, chunk: 1 },
  hash: "h4",
  tables: [],
};

interface PieceOptions {
  readonly chunk?: number;
  readonly piece?: number;
  readonly last?: boolean;
  readonly timeline?: string;
  readonly prevHash?: string;
  readonly hash?: string;
}

function piece(batch: number, options: PieceOptions = {}): Piece {
  const { chunk = 0, timeline = "t1", last = true, prevHash = `h${batch - 1}` } = options;
  const { piece: number = 0, hash = `h${batch}` } = options;
  return {
    mark: { timeline, batch, chunk, piece: number, fragment: 0, fragments: 1, last, checksum: 0 },
    bytes: 0,
    source: "shop",
    header: { timeline, batch, hash, prevHash, cutAt: "", committedAt: "" },
    copy: null,
    count: 0,
    changes: [],
    lines: null,
  };
}

function inbox(): Inbox {
  return new Inbox("a->b", progress);
}

function failure(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return null;
}

describe("inbox", () => {
  it("takes the next batch and moves on", () => {
    const box = inbox();
    expect(box.accept(piece(5))).toBe(true);
    expect(box.position).toEqual({ batch: 5, chunk: 0 });
    expect(box.hash).toBe("h5");
  });

  it("passes by what was taken before", () => {
    const box = inbox();
    const earlier = [piece(3), piece(4), piece(4, { chunk: 1 })];
    expect(earlier.map((one) => box.accept(one))).toEqual([false, false, false]);
  });

  it("takes chunks after their batch, numbers left out or not", () => {
    const box = inbox();
    expect(box.accept(piece(4, { chunk: 3 }))).toBe(true);
    expect(box.hash).toBe("h4");
    expect(box.accept(piece(5))).toBe(true);
  });

  it("refuses a hole", () => {
    expect(() => inbox().accept(piece(6))).toThrow(/waits for batch 5/);
  });

  it("refuses a chunk of a batch it has not taken", () => {
    expect(() => inbox().accept(piece(5, { chunk: 1 }))).toThrow(/waits for batch 5/);
  });

  it("refuses a batch that begins in its middle", () => {
    expect(() => inbox().accept(piece(5, { piece: 1 }))).toThrow(/waits for batch 5/);
  });

  it("is at no boundary within a batch, and is within a chunk", () => {
    const box = inbox();
    box.accept(piece(4, { chunk: 2, last: false }));
    expect(box.atBoundary).toBe(true);
    box.accept(piece(5, { last: false }));
    expect(box.atBoundary).toBe(false);
    box.accept(piece(5, { piece: 1 }));
    expect(box.atBoundary).toBe(true);
  });

  it("rolls back when a batch half taken is sent again", () => {
    const box = inbox();
    box.accept(piece(5, { last: false }));
    expect(failure(() => box.accept(piece(5, { last: false })))).toMatchObject({
      message: expect.stringContaining("again from its start"),
      details: { beganAnew: 5 },
    });
  });

  it("takes a chunk that begins anew for no false start of a batch", () => {
    const box = inbox();
    box.accept(piece(4, { chunk: 2, last: false }));
    expect(failure(() => box.accept(piece(4, { chunk: 2, last: false })))).toMatchObject({
      details: { beganAnew: null },
    });
  });

  it("refuses a missing piece", () => {
    const box = inbox();
    box.accept(piece(5, { last: false }));
    expect(() => box.accept(piece(5, { piece: 2 }))).toThrow(/lacks piece 1/);
  });

  it("refuses to go on after a batch that was cut off", () => {
    const box = inbox();
    box.accept(piece(5, { last: false }));
    expect(() => box.accept(piece(6))).toThrow(/waits for batch 5/);
  });

  it("lets a chunk be given up half way", () => {
    const box = inbox();
    box.accept(piece(4, { chunk: 2, last: false }));
    expect(box.accept(piece(5))).toBe(true);
  });

  it("stops at another timeline", () => {
    expect(() => inbox().accept(piece(5, { timeline: "t2" }))).toThrow(/timeline/);
  });

  it("stops at a fork of the history", () => {
    const same = [0, 1, 2].map((chunk) => piece(4, { chunk, hash: "other" }));
    for (const other of [piece(5, { prevHash: "other" }), ...same]) {
      expect(failure(() => inbox().accept(other))).toMatchObject({ code: "TM-SOURCE-REWOUND" });
    }
  });
});
