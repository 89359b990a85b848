// A source that is away at a start keeps its own syncs alone from starting; nothing of it is captured less (G1, G8).
import { renameSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { PipelineDefinition } from "../../src/core/definition.ts";
import { keys } from "../../src/core/documents.ts";
import { silentLogger } from "../../src/core/log.ts";
import type { Pipeline } from "../../src/pipeline/pipeline.ts";
import { openQueue } from "../../src/pipeline/queue.ts";
import { available, type DatabaseKind } from "../servers/index.ts";
import { CUSTOMERS, ORDERS } from "../support/shop-tables.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { PATIENCE_MS, type QueueKind, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow } from "../support/test-tables.ts";

interface Shape {
  /** Of the source that stays, of the one that goes, and of the targets of both. */
  readonly kinds: readonly [DatabaseKind, DatabaseKind, DatabaseKind, DatabaseKind];
  readonly queue: QueueKind;
}

const SHAPES: readonly Shape[] = [
  { kinds: ["sqlite", "sqlite", "sqlite", "sqlite"], queue: "embedded" },
  { kinds: ["postgres", "mysql", "postgres-newest", "mariadb"], queue: "nats" },
  { kinds: ["mariadb", "postgres", "sqlite", "postgres-newest"], queue: "nats" },
];

for (const shape of SHAPES) {
  const { kinds, queue } = shape;
  const isMissing = [...kinds, ...(queue === "nats" ? (["nats"] as const) : [])].some(
    (name) => !available(name),
  );
  describe.skipIf(isMissing)(`${kinds.join(", ")} over ${queue}`, () => registerShape(shape));
}

/** What leads to a database, and can be taken away. */
interface Way extends AsyncDisposable {
  readonly url: string;
  readonly cut: () => void;
  readonly mend: () => void;
}

async function wayTo(url: string): Promise<Way> {
  if (url.startsWith("sqlite:")) {
    const file = url.slice("sqlite:".length);
    const move = (from: string, to: string) => () => renameSync(from, to);
    const [cut, mend] = [move(file, `${file}.away`), move(`${file}.away`, file)];
    return { url, cut, mend, [Symbol.asyncDispose]: async () => {} };
  }
  const proxy = await TcpProxy.start(url);
  return {
    url: proxy.through(url),
    cut: () => {
      proxy.repoint("tcp://127.0.0.1:1");
      proxy.cut();
    },
    mend: () => proxy.repoint(url),
    [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
  };
}

function registerShape({ kinds: [app, shop, near, far], queue }: Shape): void {
  const make = async () => {
    const bed = await TestBed.make({ app, shop, near, far }, { queue });
    await createTables(await bed.sql("app"), app, [CUSTOMERS]);
    await createTables(await bed.sql("shop"), shop, [CUSTOMERS, ORDERS]);
    for (const source of ["app", "shop"]) await fill(bed, source, 0);
    const way = await wayTo(bed.database("shop").url);
    const through = (definition: PipelineDefinition): PipelineDefinition => ({
      ...definition,
      databases: definition.databases.map((each) =>
        each.name === "shop" ? { name: "shop", url: way.url } : each,
      ),
    });
    const definition = through(
      bed.define([
        { from: "app", to: "near", tables: ["customers"] },
        { from: "shop", to: "far", tables: ["customers"] },
        { from: "shop", to: "near", tables: ["orders"] },
      ]),
    );
    const cut = async () => {
      await bed.dropSql("shop");
      way.cut();
    };
    const dispose = async () => {
      await bed[Symbol.asyncDispose]();
      await way[Symbol.asyncDispose]();
    };
    return { bed, definition, through, cut, mend: way.mend, [Symbol.asyncDispose]: dispose };
  };
  const runOnce = async (bed: TestBed, definition: PipelineDefinition) => {
    const pipeline = await bed.start(definition);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(pipeline);
  };
  const statusesOf = async (pipeline: Pipeline) => {
    const { sources, syncs } = await pipeline.status();
    return new Map([...sources, ...syncs].map((each) => [each.name, each]));
  };
  const awayError = { code: "TM-CONNECT-FAILED" };
  const expectAll = async (bed: TestBed) => {
    await bed.expectSame(CUSTOMERS, { from: "app", to: "near" });
    await bed.expectSame(CUSTOMERS, { from: "shop", to: "far" });
    await bed.expectSame(ORDERS, { from: "shop", to: "near" });
  };

  test("the others start and go on, which is told; once there, it gets all that it missed", async () => {
    await using made = await make();
    const { bed, definition, cut, mend } = made;
    await runOnce(bed, definition);
    await fill(bed, "app", 100);
    await fill(bed, "shop", 100);
    await cut();

    const pipeline = await bed.start(definition);
    await pipeline.waitFor({ sync: "app->near", timeoutMs: PATIENCE_MS });
    await bed.expectSame(CUSTOMERS, { from: "app", to: "near" });
    const told = await statusesOf(pipeline);
    for (const name of ["shop", "shop->far", "shop->near"])
      expect(told.get(name)).toMatchObject({ state: "running", error: awayError });
    const short = await pipeline.waitFor({ timeoutMs: 1_000 }).catch((error: unknown) => error);
    expect(short).toMatchObject({
      code: "TM-WAIT-TIMEOUT",
      message: expect.stringContaining("TM-CONNECT-FAILED"),
    });

    mend();
    await fill(bed, "shop", 200);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await expectAll(bed);
    await expect
      .poll(() => statusesOf(pipeline), { timeout: PATIENCE_MS, interval: 50 })
      .toSatisfy((now: typeof told) => [...now.values()].every(({ error }) => error === null));
  });

  test("stopped while it waits, it ends at once, and the next start does without it again", async () => {
    await using made = await make();
    const { bed, definition, cut, mend } = made;
    await runOnce(bed, definition);
    await cut();
    for (let round = 0; round < 2; round++) {
      const pipeline = await bed.start(definition);
      await fill(bed, "app", 100 + 10 * round);
      await pipeline.waitFor({ sync: "app->near", timeoutMs: PATIENCE_MS });
      await bed.stop(pipeline);
      await pipeline.finished;
    }
    mend();
    await fill(bed, "shop", 100);
    await runOnce(bed, definition);
    await expectAll(bed);
  });

  test("halves of their own: the relay waits for the source, the appliers for the relay", async () => {
    await using made = await make();
    const { bed, definition, cut, mend } = made;
    await runOnce(bed, definition);
    await fill(bed, "shop", 100);
    await cut();
    const relay = await bed.start(definition, { role: "relay" });
    expect((await statusesOf(relay)).get("shop")).toMatchObject({ error: awayError });
    const near = { from: "app", to: "near" };
    const appliers = bed.start(definition, { role: "applier" });
    await fill(bed, "app", 100);
    await relay.waitFor({ sync: "app->near", timeoutMs: PATIENCE_MS });
    await bed.expectSame(CUSTOMERS, near);
    mend();
    await appliers;
    await relay.waitFor({ timeoutMs: PATIENCE_MS });
    await expectAll(bed);
  });

  test("appliers of their own do not wait for the relay of one source before they begin with another", async () => {
    await using made = await make();
    const { bed, definition } = made;
    await runOnce(bed, definition);
    const opened = await openQueue(definition.queue, silentLogger);
    await opened.documents.remove(keys.tables("shop"));
    await opened.close();
    const relay = await bed.start(definition, { role: "relay", databases: ["app"] });
    const halved = { role: "applier", tablesWithinMs: 300 } as const;
    const refused = await bed
      .start({ ...definition, syncs: definition.syncs.slice(1) }, halved)
      .catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: "TM-WAIT-TIMEOUT" });
    await bed.start(definition, halved);
    await fill(bed, "app", 100);
    await relay.waitFor({ sync: "app->near", timeoutMs: PATIENCE_MS });
    await bed.expectSame(CUSTOMERS, { from: "app", to: "near" });
    await fill(bed, "shop", 100);
    await bed.start(definition, { role: "relay", databases: ["shop"] });
    await relay.waitFor({ timeoutMs: PATIENCE_MS });
    await expectAll(bed);
  });

  test("refused: one that ends by itself, one that has never worked, and where no other source is left", async () => {
    await using made = await make();
    const { bed, definition, cut } = made;
    const [first, ...rest] = definition.syncs;
    await runOnce(bed, { ...definition, syncs: definition.syncs.slice(0, 2) });
    await cut();
    const refused = async (syncs: readonly unknown[], options: object) => {
      const asked = { ...definition, syncs: syncs as PipelineDefinition["syncs"] };
      const failure = await bed.start(asked, options).catch((error: unknown) => error);
      expect(failure).toMatchObject(awayError);
    };
    const worked = [first, rest[0]];
    await refused(worked, { mustOpenAll: true });
    for (const role of ["all", "relay"]) {
      // Its other one has worked: but what is captured is for both.
      await refused(definition.syncs, { role });
      await refused([rest[0]], { role });
    }
    await refused(worked, { role: "relay", databases: ["shop"] });
    const pipeline = await bed.start({
      ...definition,
      syncs: worked as PipelineDefinition["syncs"],
    });
    await pipeline.waitFor({ sync: "app->near", timeoutMs: PATIENCE_MS });
  });

  test("what has come to be wrong with it stops its own syncs alone, with nothing made at their targets", async () => {
    await using made = await make();
    const { bed, definition, cut, mend } = made;
    await runOnce(bed, definition);
    await (await bed.sql("shop")).run("DROP TABLE orders");
    await cut();
    const pipeline = await bed.start(definition);
    mend();
    const stopped = await pipeline
      .waitFor({ sync: "shop->far", timeoutMs: PATIENCE_MS })
      .catch((error: unknown) => error);
    expect(stopped).toMatchObject({
      code: "TM-SYNC-STOPPED",
      message: expect.stringContaining("TM-TABLE-MISSING"),
    });
    await fill(bed, "app", 100);
    await pipeline.waitFor({ sync: "app->near", timeoutMs: PATIENCE_MS });
    await bed.expectSame(CUSTOMERS, { from: "app", to: "near" });
    await bed.stop(pipeline);
    await expect(pipeline.finished).rejects.toMatchObject({ code: "TM-TABLE-MISSING" });
  });

  test("two syncs that have come to write one table are refused also where a source comes late", async () => {
    await using made = await make();
    const { bed, definition, cut, mend } = made;
    await runOnce(bed, definition);
    await cut();
    const [first, ...rest] = definition.syncs;
    const both = rest.map((sync) =>
      sync.to === "near" ? { ...sync, tables: [{ table: "*customers" }] } : sync,
    );
    const pipeline = await bed.start({ ...definition, syncs: [first, ...both] as typeof rest });
    mend();
    const stopped = await pipeline
      .waitFor({ sync: "shop->far", timeoutMs: PATIENCE_MS })
      .catch((error: unknown) => error);
    expect(stopped).toMatchObject({ message: expect.stringContaining("TM-CONFIG-OVERLAP") });
    await pipeline.waitFor({ sync: "app->near", timeoutMs: PATIENCE_MS });
    await bed.expectSame(CUSTOMERS, { from: "app", to: "near" });
  });

  test("a chain: the link behind goes on without its first source, and without its middle nothing is lost", async () => {
    await using made = await make();
    const { bed, through, cut, mend } = made;
    const behind = through(
      bed.define([
        { from: "shop", to: "near", tables: ["customers"] },
        { from: "near", to: "far", tables: ["customers"] },
      ]),
    );
    await runOnce(bed, behind);
    await fill(bed, "shop", 100);
    await cut();
    const pipeline = await bed.start(behind);
    await (await bed.sql("near")).run("UPDATE customers SET credit = 5 WHERE id = 1");
    await pipeline.waitFor({ sync: "near->far", timeoutMs: PATIENCE_MS });
    await bed.expectSame(CUSTOMERS, { from: "near", to: "far" });
    mend();
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(CUSTOMERS, { from: "near", to: "far" });
    await bed.stop(pipeline);
  });

  // A file that has gone as a target is made anew.
  test.skipIf(shop === "sqlite")(
    "a chain whose middle is away: both its links wait for it, beside one that goes on",
    async () => {
      await using made = await make();
      const { bed, through, cut, mend } = made;
      await createTables(await bed.sql("app"), app, [ORDERS]);
      const middle = through(
        bed.define([
          { from: "app", to: "shop", tables: [{ table: "customers", as: "clients" }] },
          { from: "shop", to: "far", tables: ["clients"] },
          { from: "app", to: "near", tables: ["orders"] },
        ]),
      );
      await runOnce(bed, middle);
      await cut();
      await fill(bed, "app", 100);
      const pipeline = await bed.start(middle);
      await pipeline.waitFor({ sync: "app->near", timeoutMs: PATIENCE_MS });
      mend();
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.expectSame(CUSTOMERS, { from: "app", to: "far", as: "clients" });
    },
  );

  // As above: a file that has gone.
  test.skipIf(shop === "sqlite")(
    "a relay alone of a chain whose first two are away waits for both",
    async () => {
      await using made = await make();
      const { bed, through, cut, mend } = made;
      await createTables(await bed.sql("near"), near, [CUSTOMERS]);
      await using first = await wayTo(bed.database("app").url);
      const chain = through(
        bed.define([
          { from: "app", to: "shop", tables: [{ table: "customers", as: "clients" }] },
          { from: "shop", to: "far", tables: ["clients"] },
          { from: "near", to: "far", tables: ["customers"] },
        ]),
      );
      const definition = {
        ...chain,
        databases: chain.databases.map((each) =>
          each.name === "app" ? { name: "app", url: first.url } : each,
        ),
      };
      await runOnce(bed, definition);
      await fill(bed, "app", 100);
      await bed.dropSql("app");
      first.cut();
      await cut();
      const relay = await bed.start(definition, { role: "relay" });
      const told = await statusesOf(relay);
      for (const name of ["app", "shop"])
        expect(told.get(name)).toMatchObject({ state: "running", error: awayError });
      mend();
      first.mend();
      await bed.start(definition, { role: "applier" });
      await relay.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.expectSame(CUSTOMERS, { from: "app", to: "far", as: "clients" });
    },
  );

  // As above: a file that has gone.
  test.skipIf(shop === "sqlite")(
    "a table of it that the link before has yet to make is waited for",
    async () => {
      await using made = await make();
      const { bed, through, cut, mend } = made;
      await createTables(await bed.sql("app"), app, [ORDERS]);
      const renamed = (table: string, as: string) => ({ table, as });
      const chain = (more: boolean) => {
        const tables = [renamed("customers", "clients"), renamed("orders", "sales")];
        const first = { from: "app", to: "shop", tables: more ? tables : tables.slice(0, 1) };
        const second = {
          from: "shop",
          to: "far",
          tables: more ? ["clients", "sales"] : ["clients"],
        };
        return through(
          bed.define([first, second, { from: "app", to: "near", tables: ["customers"] }]),
        );
      };
      await runOnce(bed, chain(false));
      await insertRow(await bed.sql("app"), ORDERS, {
        id: 1,
        customer_id: 1,
        total: "1.5",
        status: "new",
      });
      await cut();
      const relay = await bed.start(chain(true), { role: "relay" });
      mend();
      await expect
        .poll(async () => (await statusesOf(relay)).get("shop"), { timeout: PATIENCE_MS })
        .toMatchObject({ state: "running", error: { code: "TM-TABLE-MISSING" } });
      await bed.start(chain(true));
      await relay.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.expectSame(ORDERS, { from: "app", to: "far", as: "sales" });
    },
  );
}

describe.skipIf(!available("postgres"))("a source that does not answer", () => {
  const start = async () => {
    const bed = await TestBed.make({ app: "sqlite", shop: "postgres", far: "sqlite" });
    await createTables(await bed.sql("app"), "sqlite", [CUSTOMERS]);
    await createTables(await bed.sql("shop"), "postgres", [CUSTOMERS, ORDERS]);
    const { url } = bed.database("shop");
    const proxy = await TcpProxy.start(url);
    const base = bed.define([
      { from: "app", to: "far", tables: ["customers"] },
      { from: "shop", to: "far", tables: ["orders"] },
    ]);
    const databases = base.databases.map((each) =>
      each.name === "shop" ? { name: "shop", url: proxy.through(url) } : each,
    );
    const definition = { ...base, databases };
    const first = await bed.start(definition);
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(first);
    await fill(bed, "app", 0);
    proxy.repoint("tcp://127.0.0.1:1");
    const pipeline = await bed.open(definition);
    proxy.repoint(url);
    const tried = proxy.accepted;
    proxy.stall();
    await pipeline.start();
    const dispose = async () => {
      proxy.heal();
      await bed[Symbol.asyncDispose]();
      await proxy[Symbol.asyncDispose]();
    };
    return { bed, proxy, pipeline, tried, [Symbol.asyncDispose]: dispose };
  };

  test("is tried once: what the check has found out holds for the start", async () => {
    await using made = await start();
    const { bed, proxy, pipeline } = made;
    await pipeline.waitFor({ sync: "app->far", timeoutMs: PATIENCE_MS });
    // Nobody has waited since for what does not answer, and given it up.
    const { sources } = await pipeline.status();
    expect(sources[1]?.error?.message).toMatch(/terminated unexpectedly|ECONN/);
    proxy.heal();
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(ORDERS, { from: "shop", to: "far" });
  });

  test("is not waited for by who stops", async () => {
    await using made = await start();
    const { proxy, pipeline, tried } = made;
    await expect.poll(() => proxy.accepted, { timeout: PATIENCE_MS }).toBeGreaterThan(tried);
    const since = performance.now();
    await pipeline.stop({ withinMs: PATIENCE_MS });
    // Else the driver gives it up after 15 s.
    expect(performance.now() - since).toBeLessThan(7_500);
  });
});

describe.skipIf(!available("postgres"))("a role of PostgreSQL", () => {
  test("that may not log in at a start is waited for at its source", async () => {
    await using bed = await TestBed.make({ app: "sqlite", shop: "postgres", far: "sqlite" });
    await createTables(await bed.sql("app"), "sqlite", [CUSTOMERS]);
    await createTables(await bed.sql("shop"), "postgres", [CUSTOMERS, ORDERS]);
    const admin = await bed.sql("shop");
    const [{ name = "" } = {}] = await admin.rows("SELECT current_database() AS name");
    const role = `late_${name}`;
    const base = bed.define([
      { from: "app", to: "far", tables: [{ table: "customers", as: "users" }] },
      { from: "shop", to: "far", tables: ["customers", "orders"] },
    ]);
    const databases = base.databases.map((each) => {
      if (each.name !== "shop" || !("url" in each)) return each;
      const url = new URL(each.url);
      url.username = role;
      return { ...each, url: url.href };
    });
    const definition = { ...base, databases };
    await admin.run(`CREATE ROLE "${role}" LOGIN SUPERUSER PASSWORD 'tidemark'`);
    try {
      const first = await bed.start(definition);
      await first.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.stop(first);
      await admin.run(`ALTER ROLE "${role}" NOLOGIN`);
      const refused = await bed.start(definition, { mustOpenAll: true }).catch((error) => error);
      expect(refused).toMatchObject({ code: "TM-AUTH-FAILED" });
      const pipeline = await bed.start(definition, { slowRetryMs: 100 });
      await fill(bed, "app", 0);
      await fill(bed, "shop", 0);
      await pipeline.waitFor({ sync: "app->far", timeoutMs: PATIENCE_MS });
      await bed.expectSame(CUSTOMERS, { from: "app", to: "far", as: "users" });
      const { sources } = await pipeline.status();
      expect(sources[1]).toMatchObject({ state: "running", error: { code: "TM-AUTH-FAILED" } });
      await admin.run(`ALTER ROLE "${role}" LOGIN`);
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      for (const table of [CUSTOMERS, ORDERS])
        await bed.expectSame(table, { from: "shop", to: "far" });
      await bed.stop(pipeline);
    } finally {
      await admin.run(`DROP OWNED BY "${role}" CASCADE`);
      await admin.run(`DROP ROLE "${role}"`);
    }
  });
});

async function fill(bed: TestBed, source: string, from: number): Promise<void> {
  const sql = await bed.sql(source);
  for (let id = from; id < from + 5; id++) {
    await insertRow(sql, CUSTOMERS, { id, name: `n${id}`, credit: id });
    if (source === "shop")
      await insertRow(sql, ORDERS, { id, customer_id: id, total: "1.5", status: "new" });
  }
}
