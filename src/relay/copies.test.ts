import { describe, expect, it } from "vitest";
import type { CopyRequest } from "../core/documents.ts";
import type { Chunk } from "../core/source.ts";
import { Copies, HELD_CHUNK } from "./copies.ts";

const names = new Map(["a", "b"].map((name) => [name, { schema: null, name }]));

function wants(...copies: (Partial<CopyRequest> & { table: string })[]) {
  const full = copies.map((copy) => ({ copy: "c1", attempt: 0, after: null, ...copy }));
  return { resend: null, copies: full, position: { batch: 0, chunk: 0 } };
}

function chunk(cursor: string, done = false): Chunk {
  const content = { kind: "rows", rows: [], filters: [] } as const;
  return { layout: 1, content, cursor, done, estimatedRows: null };
}

/** Sends what is to be sent until the copies hold back; gives "table after" of each. */
function drain(copies: Copies, most = 20, doneAt = Number.POSITIVE_INFINITY): string[] {
  const sent: string[] = [];
  for (let [next] = copies.next(); next && sent.length < most; [next] = copies.next()) {
    sent.push(`${next.request.table.name} ${next.request.after}`);
    next.job.sent(chunk(`k${sent.length}`, sent.length >= doneAt));
  }
  return sent;
}

describe("copies", () => {
  it("reads a table on from the cursor, and no further ahead than four chunks", () => {
    const copies = new Copies(names, HELD_CHUNK);
    copies.update("s", wants({ table: "a", after: "k0" }));
    expect(drain(copies)).toEqual(["a k0", "a k1", "a k2", "a k3"]);
    copies.update("s", wants({ table: "a", after: "k2" }));
    expect(drain(copies)).toHaveLength(2);
  });

  it("goes to the next table when one is read to its end", () => {
    const copies = new Copies(names, HELD_CHUNK);
    copies.update("s", wants({ table: "a" }, { table: "b" }));
    expect(drain(copies, 3, 1)).toEqual(["a null", "b null"]);
  });

  it("asks for the tables behind at once, each from where it stands, and no more than fifty", () => {
    const many = Array.from({ length: 60 }, (_, i) => `t${i}`);
    const copies = new Copies(
      new Map(many.map((name) => [name, { schema: null, name }])),
      HELD_CHUNK,
    );
    const [first = "", ...others] = many;
    copies.update("s", wants({ table: first, after: "k0" }, ...others.map((table) => ({ table }))));
    const asked = copies.next().map(({ request }) => `${request.table.name} ${request.after}`);
    expect(asked).toEqual(["t0 k0", ...others.slice(0, 49).map((name) => `${name} null`)]);
  });

  it("asks for no table behind one of which enough is under way", () => {
    const copies = new Copies(names, HELD_CHUNK);
    copies.update("s", wants({ table: "a" }, { table: "b" }));
    drain(copies);
    expect(copies.next()).toEqual([]);
  });

  it("serves syncs beside each other", () => {
    const copies = new Copies(names, HELD_CHUNK);
    copies.update("s", wants({ table: "a" }));
    copies.update("t", wants({ table: "a" }));
    expect(drain(copies)).toHaveLength(8);
  });

  it("goes back to the cursor when asked for another attempt", () => {
    const copies = new Copies(names, HELD_CHUNK);
    copies.update("s", wants({ table: "a" }));
    drain(copies);
    copies.update("s", wants({ table: "a", after: "k1", attempt: 1 }));
    expect(copies.next()[0]?.request.after).toBe("k1");
  });

  it("counts on nothing sent after a loss", () => {
    const copies = new Copies(names, HELD_CHUNK);
    copies.update("s", wants({ table: "a" }));
    drain(copies, 20, 2);
    copies.restart();
    expect(copies.next()[0]?.request.after).toBe(null);
  });

  it("drops what is no longer asked for", () => {
    const copies = new Copies(names, HELD_CHUNK);
    copies.update("s", wants({ table: "a" }));
    copies.update("s", null);
    expect(copies.next()).toEqual([]);
  });
});
