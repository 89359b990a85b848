import { createRequire } from "node:module";
import fc from "fast-check";
import { expect, test } from "vitest";
import { parseConfig } from "./config-file.ts";

const require = createRequire(import.meta.url);

function isYamlLoaded(): boolean {
  return Object.keys(require.cache).some((path) => /[\\/]node_modules[\\/]yaml[\\/]/.test(path));
}

// First, while nothing has asked for it.
test("YAML's parser is loaded for JSON only to tell a line", () => {
  const file = parseConfig("tidemark.json", '{\n "databases": {},\n "syncs": [{ "from": 1 }]\n}');
  expect(file.value).toEqual({ databases: {}, syncs: [{ from: 1 }] });
  expect(isYamlLoaded()).toBe(false);
  expect(file.where(["syncs", 0, "from"])).toBe("tidemark.json:3");
  expect(file.where([], { key: "databases" })).toBe("tidemark.json:2");
  expect(isYamlLoaded()).toBe(true);
});

test("JSON is read as it is where it is taken for YAML", () => {
  const { parse } = require("yaml") as typeof import("yaml");
  const value = fc.jsonValue({ maxDepth: 5, stringUnit: "binary" });
  fc.assert(
    fc.property(value, fc.constantFrom(undefined, 1, 2), (given, indent) => {
      const text = JSON.stringify(given, null, indent);
      const read = parseConfig("tidemark.json", text).value;
      expect(read).toEqual(JSON.parse(text));
      expect(read).toEqual(parse(text));
    }),
  );
});

test("a key that JSON names twice is refused, by its line", () => {
  const twice = '{\n "queue": "a:\\"b\\":",\n "queue": "c"\n}';
  expect(() => parseConfig("tidemark.json", twice)).toThrow(/^tidemark.json:3:2: Map keys must be/);
  // Quotes and colons inside of texts are no keys.
  const once = String.raw`{ "a\"b": "\"c\": 1", "d": ["e:", ":", "\\"] , "f" : {} }`;
  expect(parseConfig("tidemark.json", once).value).toEqual(JSON.parse(once));
});
