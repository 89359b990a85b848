// An address that is led to another server while connections with the one before last, and that one lives on (G2, G4): a
// proxy, a virtual IP or a name after a failover. What is written and read by it is the other server's.
import { describe, expect, test } from "vitest";
import { mysql } from "../../src/databases/mysql/index.ts";
import { postgres } from "../../src/databases/postgres/index.ts";
import {
  available,
  canStart,
  type Server,
  serverUrl,
  startMariadb,
  startPostgres,
} from "../servers/index.ts";
import { CUSTOMERS } from "../support/shop-tables.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { CollectingLogger, PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { contents, createTables, insertRow } from "../support/test-tables.ts";

const KINDS = [
  { kind: "postgres", start: startPostgres },
  { kind: "mariadb", start: startMariadb },
] as const;

for (const { kind, start } of KINDS) {
  describe.skipIf(!canStart(kind))(`the address of ${kind}`, () => {
    /** In step with one server, before which a proxy stands; another one has a copy of its data. */
    async function inStep(end: "source" | "target") {
      const stack = new AsyncDisposableStack();
      const first = stack.use(await start());
      const proxy = stack.use(await TcpProxy.start(first.url));
      const kinds = { source: "sqlite", target: "sqlite", [end]: kind } as const;
      const servers = { [end]: proxy.through(first.url) };
      const bed = stack.use(await TestBed.make(kinds, { servers }));
      const source = await bed.sql("source");
      await createTables(source, kinds.source, [CUSTOMERS]);
      await insertRow(source, CUSTOMERS, { id: 1, name: "first", credit: 0 });
      const defined = bed.define([{ from: "source", to: "target", tables: ["customers"] }]);
      const definition = { ...defined, retention: { ...defined.retention, keptMs: 60_000 } };
      const before = await bed.start(definition);
      await before.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.stop(before);
      await bed.dropSql(end);
      await first.stop();
      const other: Server = stack.use(await start({ copyOf: first.folder }));
      await first.start();
      const pipeline = await bed.start(definition, { lookEveryMs: 1_500 });
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      const move = async () => {
        await bed.dropSql(end);
        proxy.repoint(other.url);
      };
      const given = async (id: number) =>
        insertRow(await bed.sql("source"), CUSTOMERS, { id, name: `n${id}`, credit: 0 });
      return { stack, bed, pipeline, move, given };
    }

    test("as source: what the other server is given is applied, or it is told that it cannot be", async () => {
      const { stack, bed, pipeline, move, given } = await inStep("source");
      await using _ = stack;
      await move();
      await given(2);
      if (kind === "mariadb") {
        // Its log names the server that it was begun on.
        await expect(pipeline.finished).rejects.toMatchObject({ code: "TM-SOURCE-CLONED" });
        return;
      }
      const target = await bed.sql("target");
      await expect
        .poll(async () => (await contents(target, CUSTOMERS)).length, { timeout: PATIENCE_MS })
        .toBe(2);
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.expectSame(CUSTOMERS);
    });

    test.runIf(kind === "postgres")(
      "as source: it lacks what the one before has sent",
      async () => {
        const { stack, pipeline, move, given } = await inStep("source");
        await using _ = stack;
        await given(2);
        await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
        await move();
        await expect(pipeline.finished).rejects.toMatchObject({ code: "TM-SOURCE-REWOUND" });
      },
    );

    test("as target: it is written where the address leads, and gets what the one before was still given", async () => {
      const { stack, bed, pipeline, move, given } = await inStep("target");
      await using _ = stack;
      await move();
      await given(2);
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      await expect
        .poll(() => bed.logger.text(), { timeout: PATIENCE_MS })
        .toContain("leads to another server");
      await given(3);
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.expectSame(CUSTOMERS);
    });
  });
}

describe("a relay's sessions", () => {
  const moves = [
    { adapter: postgres, first: "postgres", other: "postgres-newest" },
    { adapter: mysql, first: "mariadb", other: "mysql" },
  ] as const;
  for (const { adapter, first, other } of moves) {
    test.skipIf(!available(first) || !available(other))(
      `are with one server: ${adapter.kind}`,
      async () => {
        await using proxy = await TcpProxy.start(serverUrl(first));
        const url = proxy.through(serverUrl(first));
        const source = await adapter.openSource({
          name: "shop",
          url,
          logger: new CollectingLogger(),
        });
        proxy.repoint(serverUrl(other));
        await expect(source.openChangeLog()).rejects.toMatchObject({ code: "TM-CONNECTION-LOST" });
        await source.close();
      },
    );
  }
});
