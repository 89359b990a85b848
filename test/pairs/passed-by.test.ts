// A target that has come to be unfit, or away, keeps its own sync alone from starting; of that nothing is lost (G1, G8).
import { describe, expect, test } from "vitest";
import type { SyncStatus } from "../../src/core/documents.ts";
import { silentLogger } from "../../src/core/log.ts";
import { diagnose } from "../../src/pipeline/diagnose.ts";
import type { Pipeline } from "../../src/pipeline/pipeline.ts";
import { openQueue } from "../../src/pipeline/queue.ts";
import { planResync } from "../../src/pipeline/resync.ts";
import { readStatus } from "../../src/pipeline/status.ts";
import { refuseAtWork } from "../../src/pipeline/uninstall.ts";
import { available, type DatabaseKind } from "../servers/index.ts";
import { CUSTOMERS, ORDERS } from "../support/shop-tables.ts";
import { transaction } from "../support/sql-client.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { PATIENCE_MS, type QueueKind, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow } from "../support/test-tables.ts";

interface Shape {
  readonly kinds: readonly [DatabaseKind, DatabaseKind, DatabaseKind];
  readonly queue: QueueKind;
}

const SHAPES: readonly Shape[] = [
  { kinds: ["sqlite", "sqlite", "sqlite"], queue: "embedded" },
  { kinds: ["postgres", "mariadb", "postgres-newest"], queue: "nats" },
];
const TABLES = [CUSTOMERS, ORDERS];
const NAMES = TABLES.map(({ name }) => name);

for (const shape of SHAPES) {
  const { kinds, queue } = shape;
  const isMissing = [...kinds, ...(queue === "nats" ? (["nats"] as const) : [])].some(
    (name) => !available(name),
  );
  describe.skipIf(isMissing)(`${kinds.join(", ")} over ${queue}`, () => registerShape(shape));
}

async function fill(bed: TestBed, from: number): Promise<void> {
  const sql = await bed.sql("a");
  await transaction(sql, async () => {
    for (let id = from; id < from + 10; id++) {
      await insertRow(sql, CUSTOMERS, { id, name: `n${id}`, credit: id });
      await insertRow(sql, ORDERS, { id, customer_id: id, total: "1.5", status: "new" });
    }
  });
}

async function statusOf(pipeline: Pipeline, name: string): Promise<SyncStatus> {
  const { syncs } = await pipeline.status();
  const found = syncs.find((sync) => sync.name === name);
  if (found === undefined) throw new Error(`no sync ${name}`);
  return found;
}

/** Looks until it fits: there is no event for what is told by a status. */
async function statusWith(
  pipeline: Pipeline,
  name: string,
  fits: (status: SyncStatus) => boolean,
): Promise<SyncStatus> {
  return expect
    .poll(() => statusOf(pipeline, name), { timeout: PATIENCE_MS, interval: 50 })
    .toSatisfy(fits)
    .then(() => statusOf(pipeline, name));
}

const DROP = "ALTER TABLE customers DROP COLUMN credit";
const MEND = "ALTER TABLE customers ADD COLUMN credit bigint";

function registerShape({ kinds: [a, b, c], queue }: Shape): void {
  const make = async () => {
    const bed = await TestBed.make({ a, b, c }, { queue });
    await createTables(await bed.sql("a"), a, TABLES);
    await fill(bed, 0);
    const both = bed.define([
      { from: "a", to: "b", tables: NAMES },
      { from: "a", to: "c", tables: NAMES },
    ]);
    return { bed, both };
  };
  const runOnce = async (bed: TestBed, definition: ReturnType<TestBed["define"]>) => {
    const pipeline = await bed.start(definition);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(pipeline);
  };
  const unfit = { code: "TM-COLUMN-UNFIT", fix: expect.stringContaining("except") as string };

  test("an unfit target stops its own sync alone, which is told; mended, it gets all that it missed", async () => {
    const { bed, both } = await make();
    await using _ = bed;
    await runOnce(bed, both);
    await (await bed.sql("b")).run(DROP);
    await fill(bed, 100);

    const pipeline = await bed.start(both);
    await pipeline.waitFor({ sync: "a->c", timeoutMs: PATIENCE_MS });
    await bed.expectSame(CUSTOMERS, { from: "a", to: "c" });
    expect(await statusOf(pipeline, "a->b")).toMatchObject({ state: "stopped", error: unfit });
    const failure = await pipeline.waitFor({ timeoutMs: PATIENCE_MS }).catch((error) => error);
    expect(failure).toMatchObject({
      code: "TM-SYNC-STOPPED",
      message: expect.stringContaining("TM-COLUMN-UNFIT"),
    });
    // Of a table that is not copied anew: the queue and the log must have kept it.
    await (await bed.sql("a")).run("UPDATE orders SET status = 'sent' WHERE id < 105");
    await pipeline.waitFor({ sync: "a->c", timeoutMs: PATIENCE_MS });
    await bed.expectSame(ORDERS, { from: "a", to: "c" });
    await bed.stop(pipeline);
    await expect(pipeline.finished).rejects.toMatchObject({ code: "TM-COLUMN-UNFIT" });

    await (await bed.sql("b")).run(MEND);
    await runOnce(bed, both);
    for (const table of TABLES) await bed.expectSame(table, { from: "a", to: "b" });
  });

  test("doctor and resync tell of a target that has lost a column, or a table, what mends it", async () => {
    const { bed, both } = await make();
    await using _ = bed;
    const found = async (check: string) => {
      const all = await diagnose(both, silentLogger);
      return all.flatMap(({ findings }) => findings).filter((each) => each.check === check);
    };
    expect(await found("tables-gone")).toEqual([]);
    await runOnce(bed, both);
    await (await bed.sql("b")).run(DROP);
    expect(await found("column-unfit")).toHaveLength(1);
    const asked = { tables: ["*customers"], sync: "a->b", logger: silentLogger };
    const refused = await planResync(both, asked).catch((error: unknown) => error);
    expect(refused).toMatchObject({
      code: "TM-COLUMN-UNFIT",
      message: expect.stringMatching(/^a->b: .*customers\.credit: no column/),
    });
    for (const { name } of TABLES.toReversed())
      await (await bed.sql("b")).run(`DROP TABLE ${name}`);
    const gone = await found("tables-gone");
    expect(gone.map(({ message }) => message).join()).toMatch(/a->b: .*customers.*orders/);
  });

  test("uninstall is refused while a run is at work, and not when it has ended", async () => {
    const { bed, both } = await make();
    await using _ = bed;
    const pipeline = await bed.start(both);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    const refused = await refuseAtWork(both, silentLogger).catch((error: unknown) => error);
    expect(refused).toMatchObject({
      code: "TM-USAGE",
      message: expect.stringMatching(/at work with a/),
    });
    await bed.stop(pipeline);
    await refuseAtWork(both, silentLogger);
  });

  test("a relay apart starts beside a target that has come to be unfit, and keeps what it has yet to get", async () => {
    const { bed, both } = await make();
    await using _ = bed;
    await runOnce(bed, both);
    await (await bed.sql("b")).run(DROP);
    const relay = await bed.start(both, { role: "relay" });
    expect(bed.logger.text()).toMatch(/a->b.*does not fit|does not fit.*a->b/s);
    const applier = await bed.start(both, { role: "applier" });
    await fill(bed, 100);
    await applier.waitFor({ sync: "a->c", timeoutMs: PATIENCE_MS });
    expect(await statusOf(relay, "a->b")).toMatchObject({ state: "stopped", error: unfit });
    await bed.stop(applier);
    await bed.stop(relay);
    await (await bed.sql("b")).run(MEND);
    await runOnce(bed, both);
    for (const table of TABLES) await bed.expectSame(table, { from: "a", to: "b" });
  });

  test("an applier apart notes at its start what became of its target meanwhile: mended, it is copied anew", async () => {
    const { bed, both } = await make();
    await using _ = bed;
    await runOnce(bed, both);
    const relay = await bed.start(both, { role: "relay" });
    await (await bed.sql("b")).run(DROP);
    const applier = await bed.start(both, { role: "applier" });
    await statusWith(applier, "a->b", ({ state }) => state === "stopped");
    await bed.stop(applier);
    await (await bed.sql("b")).run(MEND);
    const again = await bed.start(both, { role: "applier" });
    await again.waitFor({ timeoutMs: PATIENCE_MS });
    for (const table of TABLES) await bed.expectSame(table, { from: "a", to: "b" });
    await bed.stop(again);
    await bed.stop(relay);
  });

  test("refused as a whole: one that has never worked, and where none is left to work on", async () => {
    const { bed, both } = await make();
    await using _ = bed;
    const narrow = { ...CUSTOMERS, columns: { ...CUSTOMERS.columns, name: "date" as const } };
    await createTables(await bed.sql("b"), b, [narrow]);
    await runOnce(bed, { ...both, syncs: both.syncs.filter(({ to }) => to === "c") });
    for (const role of ["all", "relay"] as const) {
      const first = await bed.start(both, { role }).catch((error: unknown) => error);
      expect(first).toMatchObject({ code: "TM-COLUMN-UNFIT" });
    }
    await (await bed.sql("b")).run("DROP TABLE customers");
    await runOnce(bed, both);
    for (const to of ["b", "c"]) await (await bed.sql(to)).run(DROP);
    const none = await bed.start(both).catch((error: unknown) => error);
    expect(none).toMatchObject({ code: "TM-COLUMN-UNFIT" });
    const queue = await openQueue(both.queue, silentLogger);
    try {
      const { sources } = await readStatus(both, queue);
      expect(sources).toMatchObject([{ name: "a", state: "stopped", error: unfit }]);
    } finally {
      await queue.close();
    }
  });

  test("a chain goes on behind a link whose target has come to be unfit", async () => {
    const { bed } = await make();
    await using _ = bed;
    const chain = bed.define([
      { from: "a", to: "b", tables: NAMES },
      { from: "b", to: "c", tables: ["orders"] },
    ]);
    await runOnce(bed, chain);
    await (await bed.sql("b")).run(DROP);
    const pipeline = await bed.start(chain);
    await (await bed.sql("b")).run("UPDATE orders SET status = 'by hand' WHERE id = 1");
    await pipeline.waitFor({ sync: "b->c", timeoutMs: PATIENCE_MS });
    await bed.expectSame(ORDERS, { from: "b", to: "c" });
    expect(await statusOf(pipeline, "a->b")).toMatchObject({ state: "stopped", error: unfit });
  });

  test.skipIf(b === "sqlite")("a target that is away at a start is waited for", async () => {
    const { bed, both } = await make();
    await using _ = bed;
    await using proxy = await TcpProxy.start(bed.database("b").url);
    const definition = {
      ...both,
      databases: both.databases.map((each) =>
        each.name === "b" && "url" in each ? { ...each, url: proxy.through(each.url) } : each,
      ),
    };
    await runOnce(bed, definition);
    await fill(bed, 100);
    proxy.repoint("tcp://127.0.0.1:1");
    const refused = await bed.start(definition, { mustOpenAll: true }).catch((error) => error);
    expect(refused).toMatchObject({ retryable: true });
    const pipeline = await bed.start(definition);
    await pipeline.waitFor({ sync: "a->c", timeoutMs: PATIENCE_MS });
    const told = await statusWith(pipeline, "a->b", ({ error }) => error !== null);
    expect(told).toMatchObject({ state: "running" });
    proxy.repoint(bed.database("b").url);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    for (const table of TABLES) await bed.expectSame(table, { from: "a", to: "b" });
    expect(await statusWith(pipeline, "a->b", ({ error }) => error === null)).toMatchObject({
      state: "running",
    });
  });
}
