import { describe, expect, it } from "vitest";
import type { ColumnType } from "../../core/column-type.ts";
import { createdType, fitOf } from "./fit.ts";

const column = (type: ColumnType, nativeType = "?", sourceKind = "mysql") => ({
  name: "c",
  type,
  nativeType,
  sourceKind,
  nullable: true,
});
const standing = (type: ColumnType, nativeType = "??") => ({ type, nativeType });
const int = (bits: 8 | 16 | 24 | 32 | 64, unsigned = false): ColumnType => ({
  kind: "integer",
  bits,
  unsigned,
});

describe("fit", () => {
  it.each<[string, ColumnType, ColumnType, string]>([
    ["the same integer", int(32), int(32), "exact"],
    ["a wider integer", int(32), int(64), "by-rule"],
    ["a narrower integer", int(64), int(32), "refused"],
    ["unsigned 32 into 32", int(32, true), int(32), "refused"],
    [
      "unsigned 64 into numeric(20)",
      int(64, true),
      { kind: "decimal", precision: 20, scale: 0 },
      "by-rule",
    ],
    [
      "numeric into numeric(10,2)",
      { kind: "decimal" },
      { kind: "decimal", precision: 10, scale: 2 },
      "refused",
    ],
    [
      "fewer digits after the point",
      { kind: "decimal", precision: 10, scale: 4 },
      { kind: "decimal", precision: 12, scale: 2 },
      "refused",
    ],
    ["text into varchar(10)", { kind: "text" }, { kind: "text", maxLength: 10 }, "refused"],
    [
      "varchar(10) into varchar(20)",
      { kind: "text", maxLength: 10 },
      { kind: "text", maxLength: 20 },
      "by-rule",
    ],
    ["double into real", { kind: "float", bits: 64 }, { kind: "float", bits: 32 }, "refused"],
    [
      "timestamp(6) into timestamp(0)",
      { kind: "timestamp" },
      { kind: "timestamp", precision: 0 },
      "refused",
    ],
    ["anything into text", { kind: "interval" }, { kind: "text" }, "by-rule"],
    ["bytes into text", { kind: "bytes" }, { kind: "text" }, "refused"],
    [
      "an enum with a label that is missing",
      { kind: "enum", values: ["a", "b"] },
      { kind: "enum", values: ["a"] },
      "refused",
    ],
  ])("%s", (_, type, to, fidelity) => {
    expect(fitOf(column(type), standing(to)).fidelity).toBe(fidelity);
  });

  it("takes the same native type as it stands, whatever it is", () => {
    const type: ColumnType = { kind: "native", database: "postgres", name: "tsvector" };
    expect(fitOf(column(type, "tsvector", "postgres"), standing(type, "tsvector")).fidelity).toBe(
      "exact",
    );
  });

  it("tells how an enum gets the labels that it lacks", () => {
    const many: ColumnType = { kind: "enum", values: ["a", "b'c"] };
    const few: ColumnType = { kind: "enum", values: ["a"] };
    const note = expect.stringContaining("ALTER TYPE mood ADD VALUE IF NOT EXISTS 'b''c'");
    const own = fitOf(column(many, "mood", "postgres"), standing(few, "mood"));
    expect(own).toEqual({ fidelity: "by-rule", note });
    expect(fitOf(column(many), standing(few, "mood"))).toEqual({ fidelity: "refused", note });
  });

  it("creates text for a type that is not here", () => {
    const mood: ColumnType = { kind: "enum", values: ["sad"] };
    expect(createdType(column(mood, "public.mood", "postgres"), () => false)).toMatchObject({
      nativeType: "text",
      fidelity: "by-rule",
    });
    expect(createdType(column(int(64, true)), () => false).nativeType).toBe("numeric(20,0)");
  });
});
