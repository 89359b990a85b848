// What cannot work is refused by code, before anything is changed in any database (G8).
import { describe, expect, test } from "vitest";
import type { PipelineDefinition } from "../../src/core/definition.ts";
import { available, type TestPair, title } from "../support/pairs.ts";
import { CUSTOMERS, ORDERS } from "../support/shop-tables.ts";
import { TestBed } from "../support/test-bed.ts";
import { createTables, inventory } from "../support/test-tables.ts";

const PAIRS: readonly TestPair[] = [
  { source: "sqlite", target: "sqlite", queue: "embedded" },
  { source: "postgres", target: "mariadb", queue: "embedded" },
  { source: "mariadb", target: "postgres", queue: "embedded" },
];

type Mistake = (bed: TestBed) => PipelineDefinition | Promise<PipelineDefinition>;

const toTarget = (bed: TestBed, tables: Parameters<TestBed["define"]>[0][number]["tables"]) =>
  bed.define([{ from: "source", to: "target", tables }]);

const MISTAKES: readonly (readonly [title: string, code: string, make: Mistake])[] = [
  ["a missing table", "TM-TABLE-MISSING", (bed) => toTarget(bed, ["custmers"])],
  ["a pattern that matches nothing", "TM-TABLE-MISSING", (bed) => toTarget(bed, ["nothing_*"])],
  [
    "a condition on a table without a key",
    "TM-TABLE-NO-KEY",
    (bed) => toTarget(bed, ["customers", { table: "notes", where: "line > 1" }]),
  ],
  ["a view", "TM-TABLE-UNSUPPORTED", (bed) => toTarget(bed, ["customers", "rich"])],
  [
    "a missing column",
    "TM-COLUMN-MISSING",
    (bed) => toTarget(bed, [{ table: "customers", except: ["nmae"] }]),
  ],
  [
    "a column that no table of a glob has",
    "TM-COLUMN-MISSING",
    (bed) => toTarget(bed, [{ table: "*s", except: ["nmae"] }]),
  ],
  [
    "a column in other letters beside a glob",
    "TM-COLUMN-MISSING",
    (bed) => toTarget(bed, [{ table: "*s", except: ["Name"] }]),
  ],
  [
    "columns without the key",
    "TM-CONFIG-INVALID",
    (bed) => toTarget(bed, [{ table: "customers", columns: ["name"] }]),
  ],
  [
    "a target column that cannot hold the source's",
    "TM-COLUMN-UNFIT",
    async (bed) => {
      const { kind } = bed.database("target");
      const narrow = { ...CUSTOMERS, columns: { ...CUSTOMERS.columns, name: "date" as const } };
      await createTables(await bed.sql("target"), kind, [narrow]);
      return toTarget(bed, ["customers"]);
    },
  ],
  [
    "a target table that lacks a column",
    "TM-COLUMN-UNFIT",
    async (bed) => {
      const { kind } = bed.database("target");
      const { credit: _, ...columns } = CUSTOMERS.columns;
      await createTables(await bed.sql("target"), kind, [{ ...CUSTOMERS, columns }]);
      return toTarget(bed, ["customers"]);
    },
  ],
  [
    "two syncs that write one table",
    "TM-CONFIG-OVERLAP",
    (bed) =>
      bed.define([
        {
          from: "source",
          to: "target",
          tables: ["customers", { table: "orders", as: "customers" }],
        },
      ]),
  ],
  [
    "a database that does not answer",
    "TM-CONNECT-FAILED",
    (bed) => withUrl(toTarget(bed, ["customers"]), "target", unreachable),
  ],
  [
    "a scheme that nobody knows",
    "TM-URL-INVALID",
    (bed) => withUrl(toTarget(bed, ["customers"]), "target", () => "oracle://db/x"),
  ],
];

for (const pair of PAIRS) {
  describe.skipIf(!available(pair))(title(pair), () => {
    test.each(MISTAKES)("%s: %s", async (_title, code, make) => {
      await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
      const source = await bed.sql("source");
      await createTables(source, pair.source, [CUSTOMERS, ORDERS]);
      await source.run("CREATE TABLE notes (line integer)");
      await source.run("CREATE VIEW rich AS SELECT * FROM customers WHERE credit > 1000");
      const definition = await make(bed);
      const target = await bed.sql("target");
      const before = [await inventory(source), await inventory(target)];
      await expect(bed.open(definition)).rejects.toMatchObject({
        code,
        fix: expect.stringMatching(/./),
      });
      expect([await inventory(source), await inventory(target)]).toEqual(before);
    });
  });
}

describe.skipIf(!available({ source: "postgres", target: "mariadb", queue: "embedded" }))(
  "logins",
  () => {
    test.each(["postgres", "mariadb"] as const)(
      "a wrong password for %s is not shown",
      async (kind) => {
        await using bed = await TestBed.make({ source: kind, target: "sqlite" });
        await createTables(await bed.sql("source"), kind, [CUSTOMERS]);
        const definition = withUrl(toTarget(bed, ["customers"]), "source", (url) => {
          const wrong = new URL(url);
          wrong.password = "canary-secret";
          return wrong.href;
        });
        const failure = await bed.open(definition).catch((error: unknown) => error);
        expect(failure).toMatchObject({ code: "TM-AUTH-FAILED" });
        expect(`${failure}${JSON.stringify(failure)}${bed.logger.text()}`).not.toContain("canary");
      },
    );
  },
);

function withUrl(
  definition: PipelineDefinition,
  name: string,
  change: (url: string) => string,
): PipelineDefinition {
  const databases = definition.databases.map((entry) =>
    entry.name === name && "url" in entry ? { name, url: change(entry.url) } : entry,
  );
  return { ...definition, databases };
}

function unreachable(url: string): string {
  if (url.startsWith("sqlite:")) return "sqlite:/nowhere/at-all/target.db";
  const parsed = new URL(url);
  parsed.port = "1";
  return parsed.href;
}
