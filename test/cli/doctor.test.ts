// What doctor tells where some targets of several cannot be written (G8).
import { writeFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { Workplace } from "./tidemark.ts";

const CONFIG = `
databases: {shop: "sqlite:./shop.db", a: "sqlite:./a.db", b: "sqlite:./b.db", c: "sqlite:./c.db"}
queue: sqlite:./queue.db
syncs:
  - {from: shop, to: [a, b, c], tables: [t]}
`;
// The source's table has no key, so that what refers to a row would see it go.
const REFERS = "CREATE TABLE u (id INTEGER REFERENCES t (id) ON DELETE CASCADE)";

interface Told {
  readonly database: string;
  readonly findings: readonly { readonly severity: string; readonly check: string }[];
}

test("doctor tells what ails a target as that one's, and looks at the others", async () => {
  await using place = await Workplace.make();
  await writeFile(place.path("tidemark.yaml"), CONFIG);
  place.sql("shop.db", "PRAGMA journal_mode = WAL");
  place.sql("shop.db", "CREATE TABLE t (id INTEGER)");
  place.sql("a.db", `CREATE TABLE t (id INTEGER UNIQUE); ${REFERS}`);
  place.sql("b.db", "CREATE VIEW t AS SELECT 1 AS id");
  place.sql("c.db", `CREATE TABLE t (id INTEGER UNIQUE); ${REFERS}`);
  const { envelope, exitCode } = await place.json(["doctor"]);
  expect(exitCode).toBe(1);
  const { databases } = envelope.result as { databases: readonly Told[] };
  const errors = databases.flatMap(({ database, findings }) =>
    findings
      .filter(({ severity }) => severity === "error")
      .map(({ check }) => `${database} ${check}`),
  );
  expect(errors).toEqual(["a tm-table-no-key", "c tm-table-no-key", "b column-unfit"]);
  const text = JSON.stringify(databases);
  expect(text).toContain("t.id: cannot be written");
  expect(text).not.toContain("fit nothing");
});
