import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { configJsonSchema } from "./schema.ts";

test("the published JSON Schema is current (else: npm run schema)", async () => {
  const file = new URL("../../docs/reference/tidemark.schema.json", import.meta.url);
  expect(JSON.parse(await readFile(file, "utf8"))).toEqual(configJsonSchema());
});
