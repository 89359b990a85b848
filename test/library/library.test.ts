// What a program sees that uses Tidemark as a library: through the package's own entry.
import { describe, expect, expectTypeOf, test } from "vitest";
import { type Notice, type Subscription, subscribe } from "../../src/index.ts";
import { type DatabaseKind, available as isAvailable } from "../servers/index.ts";
import { available, type TestPair, title } from "../support/pairs.ts";
import { CUSTOMERS, ORDERS } from "../support/shop-tables.ts";
import { type SqlClient, transaction } from "../support/sql-client.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { PATIENCE_MS, type Rules, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow } from "../support/test-tables.ts";

type Customer = { id: string; name: string; credit: string | null };

const PAIRS: readonly TestPair[] = [
  { source: "sqlite", target: "sqlite", queue: "embedded" },
  { source: "postgres", target: "sqlite", queue: "nats" },
  { source: "mariadb", target: "sqlite", queue: "embedded" },
];

for (const pair of PAIRS) {
  describe.skipIf(!available(pair))(title(pair), () => registerLibraryTests(pair));
}

function registerLibraryTests(pair: TestPair): void {
  async function started(tables: readonly string[] = ["customers"]) {
    const bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    const source = await bed.sql("source");
    await createTables(source, pair.source, [CUSTOMERS, ORDERS]);
    const definition = bed.define([{ from: "source", to: "target", tables }]);
    const pipeline = await bed.start(definition);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    return { bed, source, definition, pipeline };
  }

  test("subscribe: every change in order, with its key, its row and its place", async () => {
    const { bed, source, definition, pipeline } = await started();
    await using _ = bed;
    // What nobody has applied stays in the queue.
    await bed.stop(pipeline);
    await bed.start(definition, { role: "relay" });
    await play(source);
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const seen: Subscription<Customer>[] = [];
    for await (const change of subscribe<Customer>(definition, { fromStart: true, signal })) {
      expectTypeOf(change.row).toEqualTypeOf<Customer | null>();
      seen.push(change);
      // The last that `play` does.
      if (change.op === "insert" && change.key?.id === "3") break;
    }
    expect(signal.aborted).toBe(false);
    const told = effects(seen);
    expect(told).toEqual([
      "put 1 Ada 1",
      "put 2 Grace null",
      "put 1 Ada L. 2",
      "gone 2",
      "put 9 Grace null",
      "gone 1",
      "put 3 Hedy 3",
    ]);
    const table = pair.source === "postgres" ? "public.customers" : "customers";
    for (const { source: name, table: from, batch, committedAt } of seen) {
      expect({ name, from }).toEqual({ name: "source", from: table });
      expect(batch).toBeGreaterThan(0);
      expect(committedAt).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    }
    const batches = seen.map(({ batch }) => batch);
    expect(batches).toEqual([...batches].sort((a, b) => a - b));
  });

  test("subscribe: live, one table only, until the signal; the applier does not wait for it", async () => {
    const { bed, source, definition, pipeline } = await started(["customers", "orders"]);
    await using _ = bed;
    const table = pair.source === "postgres" ? "public.orders" : "orders";
    const abort = new AbortController();
    const entries = subscribe(definition, { table, fromStart: true, signal: abort.signal });
    const first = entries.next();
    await insertRow(source, CUSTOMERS, { id: 1, name: "Ada", credit: 1 });
    await insertRow(source, ORDERS, { id: 7, customer_id: 1, total: "2.5", status: "new" });
    const { value } = await first;
    expect(value).toMatchObject({ table, op: "insert", key: { id: "7" }, row: { status: "new" } });
    // Nobody takes the next one, and the target is in step all the same.
    await source.run("UPDATE orders SET status = 'paid'");
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(ORDERS);
    expect((await entries.next()).value).toMatchObject({ op: "update", row: { status: "paid" } });
    const end = entries.next();
    abort.abort();
    expect(await end).toEqual({ done: true, value: undefined });
  });

  test("notices and status tell what the pipeline does, until it stops", async () => {
    const { bed, source, definition, pipeline } = await started();
    await using _ = bed;
    const abort = new AbortController();
    const notices: Notice[] = [];
    const listening = (async () => {
      for await (const notice of pipeline.notices(abort.signal)) notices.push(notice);
    })();
    await play(source);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    const kind = pair.queue === "nats" ? "nats" : "sqlite";
    await expect
      .poll(() => pipeline.status(), { timeout: PATIENCE_MS })
      .toMatchObject({
        queue: { kind },
        sources: [{ name: "source", state: "running", error: null }],
        syncs: [
          {
            name: "source->target",
            from: "source",
            to: "target",
            state: "running",
            behindBatches: 0,
            lagMs: 0,
            error: null,
            tables: [{ state: "live" }],
          },
        ],
      });
    // The status is told once a second, a notice at once: they meet.
    const applied = async () => {
      const { sources, syncs } = await pipeline.status();
      return [sources[0]?.batch, syncs[0]?.position.batch];
    };
    const told = () => notices.at(-1)?.position.batch ?? -1;
    await expect.poll(told, { timeout: PATIENCE_MS }).toBeGreaterThan(0);
    await expect.poll(applied, { timeout: PATIENCE_MS }).toEqual([told(), told()]);
    expect(notices.at(-1)).toMatchObject({ sync: "source->target", source: "source" });
    abort.abort();
    await listening;

    await bed.stop(pipeline);
    await expect(pipeline.finished).resolves.toBeUndefined();
    await pipeline.stop();
    // Another process that only asks sees that nobody works.
    const asking = await bed.open(definition);
    expect(await asking.status()).toMatchObject({
      sources: [{ state: "stopped", error: null }],
      syncs: [{ state: "stopped", error: null }],
    });
  });
}

describe("a definition that a program has put together is checked as a config is", () => {
  type Case = [title: string, syncs: readonly Rules[], code: string];
  const tables = ["customers"];
  test.each<Case>([
    ["from a database to itself", [{ from: "one", to: "one", tables }], "TM-CONFIG-LOOP"],
    ["from a function", [{ from: "called", to: "one", tables }], "TM-CONFIG-INVALID"],
    [
      "in a circle",
      [
        { from: "one", to: "two", tables },
        { from: "two", to: "one", tables },
      ],
      "TM-CONFIG-LOOP",
    ],
  ])("%s", async (_title, syncs, code) => {
    await using bed = await TestBed.make({ one: "sqlite", two: "sqlite" });
    await createTables(await bed.sql("one"), "sqlite", [CUSTOMERS]);
    await createTables(await bed.sql("two"), "sqlite", [CUSTOMERS]);
    const definition = bed.define(syncs, { called: () => {} });
    await expect(bed.open(definition)).rejects.toMatchObject({ code });
  });
});

describe("start and stop, whenever they are called", () => {
  for (const pair of PAIRS) {
    test.skipIf(!available(pair))(title(pair), async () => {
      const bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
      await using _ = bed;
      const source = await bed.sql("source");
      await createTables(source, pair.source, [CUSTOMERS]);
      const definition = bed.define([{ from: "source", to: "target", tables: ["customers"] }]);

      // Before and while its tables are looked at, and by two at once.
      const cut = await bed.open(definition);
      const starting = cut.start();
      await Promise.all([cut.stop(), cut.stop()]);
      await Promise.all([starting, cut.finished]);
      expect(bed.logger.text()).not.toContain("stopped for good");

      const pipeline = await bed.open(definition);
      await Promise.all([pipeline.start(), pipeline.start()]);
      expect(bed.logger.text()).not.toContain("standing by");
      await insertRow(source, CUSTOMERS, { id: 1, name: "Ada", credit: 1 });
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.expectSame(CUSTOMERS);

      const asking = await bed.open(definition, { role: "applier" });
      await asking.waitFor({ timeoutMs: PATIENCE_MS });
      await Promise.all([pipeline.stop(), pipeline.stop()]);
      const waiting = asking.waitFor();
      waiting.catch(() => {});
      await asking.stop();
      const afterStop = [pipeline.start(), pipeline.status(), pipeline.waitFor(), waiting];
      for (const each of afterStop) {
        const error = await each.catch((error: unknown) => error);
        expect(error).toMatchObject({
          code: "TM-USAGE",
          message: expect.stringContaining("stopped"),
        });
      }
    });
  }
});

describe("stop, while a database does not answer", () => {
  const ends = ["source", "target"] as const;
  const kinds: readonly DatabaseKind[] = ["postgres", "mariadb"];
  const cases = ends.flatMap((end) => kinds.map((kind) => ({ end, kind })));
  test.for(cases)(
    "the $end, $kind: it ends in time, and nothing is lost",
    async (each, { skip }) => {
      const { end, kind } = each;
      skip(!isAvailable(kind));
      const bed = await TestBed.make({ source: "sqlite", target: "sqlite", [end]: kind });
      await using _ = bed;
      const source = await bed.sql("source");
      await createTables(source, bed.database("source").kind, [CUSTOMERS]);
      const definition = bed.define([{ from: "source", to: "target", tables: ["customers"] }]);
      await using proxy = await TcpProxy.start(bed.database(end).url);
      const databases = definition.databases.map((database) =>
        "url" in database && database.name === end
          ? { ...database, url: proxy.through(database.url) }
          : database,
      );
      const stalled = await bed.start({ ...definition, databases });
      await stalled.waitFor({ timeoutMs: PATIENCE_MS });
      proxy.stall();
      await insertRow(source, CUSTOMERS, { id: 1, name: "Ada", credit: 1 });
      const waited = stalled.waitFor({ timeoutMs: 200 });
      await expect(waited).rejects.toMatchObject({ code: "TM-WAIT-TIMEOUT" });
      await stalled.stop({ withinMs: 100 });
      proxy.heal();
      proxy.cut();
      const pipeline = await bed.start(definition);
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.expectSame(CUSTOMERS);
    },
  );
});

async function play(source: SqlClient): Promise<void> {
  await insertRow(source, CUSTOMERS, { id: 1, name: "Ada", credit: 1 });
  await insertRow(source, CUSTOMERS, { id: 2, name: "Grace", credit: null });
  await source.run("UPDATE customers SET name = 'Ada L.', credit = 2 WHERE id = 1");
  await transaction(source, async () => {
    await source.run("UPDATE customers SET id = 9 WHERE id = 2");
    await source.run("DELETE FROM customers WHERE id = 1");
  });
  await insertRow(source, CUSTOMERS, { id: 3, name: "Hedy", credit: 3 });
}

/** A key change may come as one update or as a delete and an insert: the same effects. */
function effects(changes: readonly Subscription<Customer>[]): string[] {
  return changes.flatMap(({ op, key, row }) => {
    if (row === null) return [`gone ${key?.id}`];
    const put = `put ${row.id} ${row.name} ${row.credit}`;
    return op === "update" && key?.id !== row.id ? [`gone ${key?.id}`, put] : [put];
  });
}
