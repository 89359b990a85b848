import { expect, test } from "vitest";
import { formatField, parseLine, parseLongLine } from "./row-lines.ts";

test.each([
  [""],
  ["\\N"],
  ["1\t2\t\\N\t\\Na\t"],
  ["a\\\\b\\tc\\n\\r\\b\\f\\v\té\\\\N\t\\\\N\t\\N"],
  [["\u{1f600}\\é\t\n", null, "N", "\\N", ""].map(formatField).join("\t")],
])("a long line has the fields of any other: %j", (line) => {
  expect(parseLongLine(Buffer.from(line))).toEqual(parseLine(line));
});
