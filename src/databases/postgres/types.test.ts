import { expect, it } from "vitest";
import { columnTypeOf } from "./types.ts";

const CHAR = { name: "char", class: "b", modifier: -1, bare: '"char"' };

it.each([
  [true, 140_023, null],
  [true, 150_000, { kind: "text", maxLength: 4 }],
  [false, 130_000, { kind: "native", database: "postgres", name: '"char"' }],
])(
  'carries no "char" that the server does not print (built in: %s, version %d)',
  (builtIn, server, type) => {
    expect(columnTypeOf({ ...CHAR, builtIn, server, labels: [] })).toEqual(type);
  },
);
