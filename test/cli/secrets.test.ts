// A password that stands where none belongs: in no message, fix, detail or stack (G8).
import { writeFile } from "node:fs/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Workplace } from "./tidemark.ts";

const URL = "postgres://u:s3cret@h/db";

let place: Workplace;
beforeEach(async () => {
  place = await Workplace.make();
});
afterEach(() => place[Symbol.asyncDispose]());

async function mustHide(args: readonly string[], env: Record<string, string> = {}) {
  for (const more of [[], ["--json"], ["--log-level", "debug"]]) {
    const { stdout, stderr, exitCode } = await place.start([...args, ...more], env);
    expect(exitCode).toBe(2);
    expect(stdout + stderr).toMatch(/TM-[A-Z-]+/);
    expect(stdout + stderr).toMatch(/:\/+u:\*\*\*@h/);
    expect(stdout + stderr).not.toContain("s3cret");
  }
}

test.each([
  [["run", `--form=${URL}`]],
  [["run", URL]],
  [["run", "--role", URL]],
  [["run", "--config", URL]],
  [[URL]],
  [["parked", URL]],
  [["run", "--from", `env:${URL}`, "--to", "sqlite:b.db", "--table", "*"]],
  [["wait", "--timeout", URL]],
])("not on a mistyped command line: %j", (args) => mustHide(args));

test.each([
  ["a source", 'from: "${SHOP}"', "to: shop"],
  ["a target", "from: shop", `to: ${URL}`],
  ["a key", "from: shop", `"${URL}": shop`],
])("not of a config with a URL for the name of %s", async (_title, from, to) => {
  const text = `databases: { shop: 'sqlite:a.db' }\nsyncs:\n  - { ${from}, ${to}, tables: [t] }\n`;
  await writeFile(place.path("tidemark.yaml"), text);
  await mustHide(["run"], { SHOP: URL });
});

test("not of a database to choose", async () => {
  const text =
    "databases: { a: 'sqlite:a.db', b: 'sqlite:b.db' }\nsyncs: [{ from: a, to: b, tables: [t] }]\n";
  await writeFile(place.path("tidemark.yaml"), text);
  await mustHide(["run", "--database", URL]);
  await mustHide(["wait", "--sync", URL]);
});
