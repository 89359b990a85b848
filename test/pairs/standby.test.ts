// Two pipelines of the same definition at once: one works, the other waits its turn (G2).
import { describe, expect, test } from "vitest";
import { available, type TestPair, title } from "../support/pairs.ts";
import { CUSTOMERS } from "../support/shop-tables.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow } from "../support/test-tables.ts";

const PAIRS: readonly TestPair[] = [
  { source: "sqlite", target: "sqlite", queue: "embedded" },
  { source: "postgres", target: "mariadb", queue: "nats" },
  { source: "mariadb", target: "postgres", queue: "embedded" },
];

for (const pair of PAIRS) {
  describe.skipIf(!available(pair))(title(pair), () => {
    test("the standby takes over when the first stops, and nothing is applied twice", async () => {
      await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
      const source = await bed.sql("source");
      await createTables(source, pair.source, [CUSTOMERS]);
      await insertRow(source, CUSTOMERS, { id: 1, name: "first", credit: 0 });
      const definition = bed.define([{ from: "source", to: "target", tables: ["customers"] }]);
      const first = await bed.start(definition);
      const second = await bed.start(definition);
      await first.waitFor({ timeoutMs: PATIENCE_MS });
      for (let id = 2; id <= 10; id++) {
        await insertRow(source, CUSTOMERS, { id, name: `n${id}`, credit: id });
      }
      await second.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.expectSame(CUSTOMERS);

      await bed.stop(first);
      await source.run("UPDATE customers SET credit = credit + 1");
      await second.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.expectSame(CUSTOMERS);
      // Told a moment after it is so.
      await expect
        .poll(() => second.status(), { timeout: PATIENCE_MS })
        .toMatchObject({
          sources: [{ state: "running", error: null }],
          syncs: [{ state: "running", error: null, behindBatches: 0 }],
        });
    });

    test("a second run of another config warns of its syncs, which the relay at work does not have", async () => {
      const kinds = { source: pair.source, target: pair.target, other: "sqlite" } as const;
      await using bed = await TestBed.make(kinds, pair);
      await createTables(await bed.sql("source"), pair.source, [CUSTOMERS]);
      const [from, tables] = ["source", ["customers"]];
      const known = { from, to: "target", tables };
      const first = await bed.start(bed.define([known]));
      await first.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.start(bed.define([known]));
      await bed.start(bed.define([known, { from, to: "other", tables }]));
      const warnings = () => bed.logger.text().match(/^.*started with another config.*$/gm) ?? [];
      await expect.poll(warnings, { timeout: PATIENCE_MS }).toHaveLength(1);
      expect(warnings()[0]).toContain('comes for "source->other", or');
    });

    test("relay and applier in two processes' roles, the applier without a way to the source", async () => {
      await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
      const source = await bed.sql("source");
      await createTables(source, pair.source, [CUSTOMERS]);
      await insertRow(source, CUSTOMERS, { id: 1, name: "first", credit: 0 });
      const definition = bed.define([{ from: "source", to: "target", tables: ["customers"] }]);
      const elsewhere = {
        ...definition,
        databases: definition.databases.map((entry) =>
          entry.name === "source"
            ? { name: "source", url: unreachable(bed.database("source").url) }
            : entry,
        ),
      };
      // The applier comes first, and waits for the relay to tell it the tables.
      const applier = await bed.open(elsewhere, { role: "applier" });
      const started = applier.start();
      await bed.start(definition, { role: "relay" });
      await started;
      await applier.waitFor({ timeoutMs: PATIENCE_MS });
      await source.run("UPDATE customers SET name = 'changed'");
      await applier.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.expectSame(CUSTOMERS);
    });

    test("a column that the applier's config has before the relay's: it stops, and goes on when both have it", async () => {
      await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
      const source = await bed.sql("source");
      await createTables(source, pair.source, [CUSTOMERS]);
      await createTables(await bed.sql("target"), pair.target, [CUSTOMERS]);
      await insertRow(source, CUSTOMERS, { id: 1, name: "first", credit: 5 });
      const define = (...columns: string[]) =>
        bed.define([
          { from: "source", to: "target", tables: [{ table: CUSTOMERS.name, columns }] },
        ]);
      const [before, after] = [define("id", "name"), define("id", "name", "credit")];
      const relay = await bed.start(before, { role: "relay" });
      const applier = await bed.start(before, { role: "applier" });
      await applier.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.stop(applier);
      // What it is sent is what the relay's config says.
      const early = await bed.start(after, { role: "applier" });
      await expect(early.finished).rejects.toMatchObject({ code: "TM-SCHEMA-DRIFT" });
      await bed.stop(early);
      await bed.stop(relay);
      await bed.start(after, { role: "relay" });
      const late = await bed.start(after, { role: "applier" });
      await late.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.expectSame(CUSTOMERS);
    });
  });
}

function unreachable(url: string): string {
  if (url.startsWith("sqlite:")) return "sqlite:/nowhere/source.db";
  const parsed = new URL(url);
  parsed.port = "1";
  return parsed.href;
}
