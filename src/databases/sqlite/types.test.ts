import { describe, expect, it } from "vitest";
import { BrokenText, decodeText, unescapeText } from "./cells.ts";
import { affinityOf, columnTypeOf, encodeCell, printDouble, printPlain } from "./types.ts";

describe("a declared type", () => {
  it("has the affinity that SQLite gives it", () => {
    const expected = {
      INTEGER: "integer",
      "UNSIGNED BIG INT": "integer",
      "FLOATING POINT": "integer",
      "CHARACTER VARYING(20)": "text",
      CLOB: "text",
      "": "none",
      BLOB: "none",
      "DOUBLE PRECISION": "real",
      STRING: "numeric",
      ANY: "numeric",
      DATETIME: "numeric",
    };
    for (const [declared, affinity] of Object.entries(expected)) {
      expect([declared, affinityOf(declared)]).toEqual([declared, affinity]);
    }
    expect(affinityOf("ANY", true)).toBe("none");
  });

  it("means what it says, and may hold anything where it says nothing", () => {
    expect(columnTypeOf("VARCHAR(10)")).toEqual({ kind: "text" });
    expect(columnTypeOf("decimal(10, 2)")).toEqual({ kind: "decimal" });
    expect(columnTypeOf("timestamp with time zone")).toEqual({ kind: "timestamp" });
    expect(columnTypeOf("STRING")).toEqual({
      kind: "native",
      database: "sqlite",
      name: "STRING",
      mixed: true,
    });
    expect(columnTypeOf("")).toEqual({
      kind: "native",
      database: "sqlite",
      name: "any",
      mixed: true,
    });
  });
});

describe("a number", () => {
  it("is printed with the fewest digits that read back, sign of zero kept", () => {
    for (const value of [0.1, 1e21, 5e-324, 1.7976931348623157e308, -1.5, 1 / 3, -0, Infinity]) {
      expect(Object.is(Number(printDouble(value)), value)).toBe(true);
    }
    expect(printDouble(-0)).toBe("-0");
  });

  it("is printed without an exponent where decimals are asked for", () => {
    expect(printPlain(1e21)).toBe("1000000000000000000000");
    expect(printPlain(-1.25e25)).toBe("-12500000000000000000000000");
    expect(printPlain(1.5e-7)).toBe("0.00000015");
    expect(printPlain(-1e-7)).toBe("-0.0000001");
    expect(printPlain(1.5)).toBe("1.5");
    for (const value of [1e300, 5e-324, 1.7976931348623157e308, 1.1e-300]) {
      expect(printPlain(value)).toMatch(/^\d+(\.\d+)?$/);
      expect(Number(printPlain(value))).toBe(value);
    }
  });
});

describe("a value", () => {
  it("of another class or form than its column's travels with its class", () => {
    expect(encodeCell("5", "integer")).toEqual(["text", "5"]);
    expect(encodeCell(5n, "text")).toEqual(["integer", "5"]);
    expect(encodeCell(-0, "native")).toEqual(["real", "-0"]);
    expect(encodeCell(Uint8Array.of(1, 255), "text")).toEqual(["blob", "01ff"]);
    expect(encodeCell("24:00:00", "time")).toEqual(["text", "24:00:00"]);
    expect(encodeCell("2024-1-1", "date")).toEqual(["text", "2024-1-1"]);
    expect(encodeCell("2100-02-29", "date")).toEqual(["text", "2100-02-29"]);
    expect(encodeCell("2024-01-01 10:00", "timestamp")).toEqual(["text", "2024-01-01 10:00"]);
    expect(encodeCell("{", "json")).toEqual(["text", "{"]);
    expect(encodeCell(null, "integer")).toBeNull();
  });
});

describe("text that is not UTF-8", () => {
  it("comes back byte for byte", () => {
    const samples = [
      "61ff62",
      "80",
      "c3",
      "e282",
      "f0908080ff",
      "eda080",
      "c080",
      "f8888080",
      "ffc3a4fe",
    ];
    for (const hex of samples) {
      const text = decodeText(Buffer.from(hex, "hex"), "UTF-8");
      if (!(text instanceof BrokenText)) throw new ReferenceError(`${hex} was taken for text`);
      expect(Buffer.from(unescapeText(text.escaped) ?? []).toString("hex")).toBe(hex);
      expect(JSON.parse(JSON.stringify(text.escaped))).toBe(text.escaped);
    }
  });

  it("is told from every text that is", () => {
    for (const text of ["", "a\0b", "ß漢\u{1f30a}", "\ufffd", "\ufeffbom"]) {
      expect(decodeText(Buffer.from(text), "UTF-8")).toBe(text);
      expect(unescapeText(text)).toBeNull();
    }
    expect(decodeText(Buffer.from("ß", "utf16le"), "UTF-16le")).toBe("ß");
  });
});
