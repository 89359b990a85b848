import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { keys } from "../../core/documents.ts";
import { decodeMark, encodeMark } from "./marks.ts";
import { decodeKey, encodeKey, streamName, streamSubject } from "./names.ts";

/** Any text, halves of surrogate pairs included. */
const text = fc
  .array(fc.oneof(fc.nat(0x7f), fc.nat(0xffff)), { minLength: 1, maxLength: 80 })
  .map((units) => String.fromCharCode(...units));

describe("names on a NATS server", () => {
  it("hold only what the server allows, whatever the source is called", () => {
    fc.assert(
      fc.property(text, (source) => {
        expect(streamName("tidemark", source)).toMatch(/^[A-Za-z0-9_-]{1,80}$/);
        expect(streamSubject("tidemark", source)).toMatch(/^tidemark\.stream\.[A-Za-z0-9_-]+$/);
      }),
    );
  });

  it("differ for sources that differ only in case or in odd characters", () => {
    const names = ["shop", "Shop", "sh.op", "sh op", "sh/op", "shop "].map((source) =>
      streamName("tidemark", source).toLowerCase(),
    );
    expect(new Set(names).size).toBe(names.length);
  });

  it("carry keys there and back", () => {
    fc.assert(
      fc.property(text, (key) => {
        expect(encodeKey(key)).toMatch(/^[-/=\w]+$/);
        expect(decodeKey(encodeKey(key))).toBe(key);
      }),
    );
    expect(encodeKey("progress/shop-reports_1")).toBe("progress/shop-reports_1");
    // As docs/reference/message.md tells those who read notices with a client of their own.
    expect(encodeKey(keys.progress("shop->reports"))).toBe("progress/shop-=00253Ereports");
    expect(decodeKey(encodeKey("\ud800lone"))).toBe("\ud800lone");
  });
});

describe("a mark in a header", () => {
  it("is one line of ASCII and comes back as it was", () => {
    fc.assert(
      fc.property(text, fc.nat(), fc.boolean(), (timeline, n, last) => {
        const mark = { timeline, batch: n, chunk: 1, piece: 2, fragment: 0, fragments: 3, last };
        const text = encodeMark({ ...mark, checksum: 4_294_967_295 });
        expect(text).toMatch(/^[\x20-\x7e]+$/);
        expect(decodeMark(text)).toEqual({ ...mark, checksum: 4_294_967_295 });
      }),
    );
    expect(decodeMark("")).toBeNull();
  });
});
