// A relay on its own writes to no target: one that is away keeps it from serving none of the others (G1, G8).
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { available, type TestPair, title } from "../support/pairs.ts";
import { CUSTOMERS } from "../support/shop-tables.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow } from "../support/test-tables.ts";

const PAIRS: readonly TestPair[] = [
  { source: "sqlite", target: "sqlite", queue: "embedded" },
  { source: "postgres", target: "sqlite", queue: "nats" },
];
/** Port 1: nobody listens. */
const AWAY = [
  { kind: "PostgreSQL", url: "postgres://nobody@127.0.0.1:1/away" },
  { kind: "MySQL", url: "mysql://nobody@127.0.0.1:1/away" },
  { kind: "SQLite", url: "sqlite:/nowhere/at/all.db" },
];

for (const pair of PAIRS) {
  describe.skipIf(!available(pair))(title(pair), () => {
    test.each(AWAY)(
      "a relay apart serves the others while a target is away ($kind)",
      async ({ url }) => {
        await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
        const source = await bed.sql("source");
        await createTables(source, pair.source, [CUSTOMERS]);
        await insertRow(source, CUSTOMERS, { id: 1, name: "first", credit: 0 });
        const tables = ["customers"];
        const near = { from: "source", to: "target", tables };
        const base = bed.define([near, { from: "source", to: "away", tables }]);
        const definition = { ...base, databases: [...base.databases, { name: "away", url }] };

        const relay = await bed.start(definition, { role: "relay" });
        expect(bed.logger.text()).toMatch(
          /source->away.*cannot be reached from here|cannot be reached from here.*source->away/s,
        );
        await bed.start(definition, { role: "applier", databases: ["target"] });
        await relay.waitFor({ sync: "source->target", timeoutMs: PATIENCE_MS });
        await bed.expectSame(CUSTOMERS);

        // Who writes to it is still refused at once.
        for (const role of ["all", "applier"] as const) {
          const failure = await bed.start(definition, { role }).catch((error: unknown) => error);
          expect(failure).toMatchObject({ code: "TM-CONNECT-FAILED" });
        }
      },
    );

    test("a relay apart tells which link of a chain it cannot serve", async () => {
      await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
      await createTables(await bed.sql("source"), pair.source, [CUSTOMERS]);
      const base = bed.define([
        { from: "source", to: "mid", tables: ["customers"] },
        { from: "mid", to: "target", tables: ["customers"] },
      ]);
      const start = (url: string) => {
        const databases = [...base.databases, { name: "mid", url }];
        return bed.start({ ...base, databases }, { role: "relay" });
      };
      for (const { url } of AWAY) {
        const failure = await start(url).catch((error: unknown) => error);
        expect(failure).toMatchObject({ code: "TM-CONNECT-FAILED" });
      }
      await start(`sqlite:${join(bed.folder, "mid.db")}`);
      expect(bed.logger.text()).toMatch(/yet to be created.*mid->target|mid->target.*yet to be/s);
    });

    test("each half of one source works while another source is away, and its relay with it", async () => {
      await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
      const source = await bed.sql("source");
      await createTables(source, pair.source, [CUSTOMERS]);
      await insertRow(source, CUSTOMERS, { id: 1, name: "first", credit: 0 });
      const near = { from: "source", to: "target", tables: ["customers"] };
      const base = bed.define([near, { from: "away", to: "other", tables: ["orders"] }]);
      const more = [
        { name: "away", url: "postgres://nobody@127.0.0.1:1/away" },
        { name: "other", url: `sqlite:${join(bed.folder, "other.db")}` },
      ];
      const definition = { ...base, databases: [...base.databases, ...more] };

      const relay = await bed.start(definition, { role: "relay", databases: ["source"] });
      await bed.start(definition, { role: "applier", databases: ["target"] });
      await relay.waitFor({ sync: "source->target", timeoutMs: PATIENCE_MS });
      await bed.expectSame(CUSTOMERS);

      const failure = await bed.start(definition, { role: "relay" }).catch((error) => error);
      expect(failure).toMatchObject({ code: "TM-CONNECT-FAILED" });
    });
  });
}
