import { expect, test } from "vitest";
import { newKeyColumn } from "./new-key.ts";

test.each([
  [[], "id"],
  [["note"], "id"],
  [["Id", "note"], "id2"],
  [["id2", "ID"], "id3"],
])("a new key beside %j is %s", (columns, name) => {
  expect(newKeyColumn(columns.map((column) => ({ name: column })))).toBe(name);
});
