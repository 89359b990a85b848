// SQLite stores as text what is none. It stays itself in every file that can hold it, whatever the
// encodings of the two, and is refused where no file could (G6).
import { expect, test } from "vitest";
import { cross, printOutcome, readSource } from "./crossing.ts";
import type { TypeEntry } from "./types.ts";

const FILES = ["UTF-8", "UTF-16le", "UTF-16be"] as const;
type Encoding = (typeof FILES)[number];

/** Half a pair of UTF-16 at the end, as the bytes of each encoding. */
const HALF: Readonly<Record<Encoding, string>> = {
  "UTF-8": "CAST(X'61eda080' AS TEXT)",
  "UTF-16le": "CAST(X'610000d8' AS TEXT)",
  "UTF-16be": "CAST(X'0061d800' AS TEXT)",
};

function column(encoding: Encoding, value: string): TypeEntry {
  return { group: "", declared: "TEXT", before: encodedAs(encoding), values: [value] };
}

/** The first table fixes it. */
function encodedAs(encoding: Encoding): readonly string[] {
  return [`PRAGMA encoding = '${encoding}'`, "CREATE TABLE first (x)"];
}

async function arrive(from: Encoding, to: Encoding, value: string): Promise<string> {
  const source = await readSource("sqlite", [column(from, value)]);
  try {
    const [arrival] = await cross(source, "sqlite", { bare: true, before: encodedAs(to) });
    return [arrival?.values[0], arrival?.back?.[0]].map(printOutcome).join(" ");
  } finally {
    await source.endpoint[Symbol.asyncDispose]();
  }
}

for (const from of FILES) {
  for (const to of FILES) {
    test(`half a pair, from ${from} to ${to} and back`, async () => {
      const half = JSON.stringify(["text", "a\udced\udca0\udc80"]);
      expect(await arrive(from, to, HALF[from])).toBe(`${half} ${half}`);
    });
  }
}

test("bytes of no encoding, from UTF-8", async () => {
  const bytes = "CAST(X'61ff62' AS TEXT)";
  const same = JSON.stringify(["text", "a\udcffb"]);
  expect(await arrive("UTF-8", "UTF-8", bytes)).toBe(`${same} ${same}`);
  expect(await arrive("UTF-8", "UTF-16le", bytes)).toBe("TM-VALUE-REFUSED TM-VALUE-REFUSED");
});
