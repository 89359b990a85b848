// G4: what waitFor and the notices say is true, and they say it of what was committed before.
import { describe, expect, test } from "vitest";
import type { PipelineDefinition } from "../../src/core/definition.ts";
import type { Notice } from "../../src/core/documents.ts";
import { isTidemarkError } from "../../src/core/errors.ts";
import { askFence } from "../../src/core/fence.ts";
import { comparePositions } from "../../src/core/position.ts";
import { available, type TestPair, title } from "../support/pairs.ts";
import { CUSTOMERS, ORDERS } from "../support/shop-tables.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow } from "../support/test-tables.ts";

const PAIRS: readonly TestPair[] = [
  { source: "sqlite", target: "sqlite", queue: "embedded" },
  { source: "postgres", target: "mariadb", queue: "embedded" },
  { source: "mariadb", target: "postgres", queue: "nats" },
];

const WIDE = 300;

for (const pair of PAIRS) {
  describe.skipIf(!available(pair))(title(pair), () => registerCompletionTests(pair));
}

function registerCompletionTests(pair: TestPair): void {
  async function prepared() {
    const bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    const source = await bed.sql("source");
    await createTables(source, pair.source, [CUSTOMERS]);
    await insertRow(source, CUSTOMERS, { id: 0, name: "first", credit: 0 });
    const definition = bed.define([{ from: "source", to: "target", tables: ["customers"] }]);
    return { bed, source, target: await bed.sql("target"), definition };
  }

  test("waitFor returns when what was committed before can be read, every time", async () => {
    const { bed, source, target, definition } = await prepared();
    await using _ = bed;
    const pipeline = await bed.start(definition);
    for (let id = 1; id <= 40; id++) {
      await insertRow(source, CUSTOMERS, { id, name: `n${id}`, credit: id });
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      const rows = await target.rows("SELECT MAX(id) AS newest FROM customers");
      expect(rows).toEqual([{ newest: String(id) }]);
    }
  });

  test("several wait at once while others write", async () => {
    const { bed, source, target, definition } = await prepared();
    await using _ = bed;
    const pipeline = await bed.start(definition);
    const waits: Promise<void>[] = [];
    for (let id = 1; id <= WIDE; id++) {
      await insertRow(source, CUSTOMERS, { id, name: `n${id}`, credit: id });
      if (id % 10 !== 0) continue;
      const wait = async () => {
        await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
        const [row] = await target.rows("SELECT COUNT(*) AS found FROM customers");
        expect(Number(row?.found)).toBeGreaterThan(id);
      };
      waits.push(wait());
    }
    await Promise.all(waits);
  });

  test("waitFor does not return while the target cannot commit: it times out, and says how far it is", async () => {
    const { bed, source, target, definition } = await prepared();
    await using _ = bed;
    const pipeline = await bed.start(definition);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await target.begin();
    await target.run("UPDATE customers SET credit = credit WHERE id = 0");
    await source.run("UPDATE customers SET credit = 99 WHERE id = 0");
    const failure = await pipeline.waitFor({ timeoutMs: 1_000 }).catch((error: unknown) => error);
    expect(isTidemarkError(failure, "TM-WAIT-TIMEOUT")).toBe(true);
    expect(String(failure)).toContain("source->target");
    await target.rollback();
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(CUSTOMERS);
  });

  test("waitFor does not take what was told of the tables before for what is told of those now", async () => {
    const { bed, source, target, definition } = await prepared();
    await using _ = bed;
    const before = await bed.start(definition);
    await before.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(before);

    for (const sql of [source, target])
      await sql.run("ALTER TABLE customers ADD COLUMN note VARCHAR(10) DEFAULT 'none'");
    await source.run("UPDATE customers SET note = 'some' WHERE id = 0");
    await target.run("UPDATE customers SET note = 'other' WHERE id = 0");
    await expectsNoWaitWithoutApplier(bed, definition);
    expect(await target.rows("SELECT note FROM customers")).toEqual([{ note: "some" }]);

    await createTables(source, pair.source, [ORDERS]);
    await insertRow(source, ORDERS, { id: 1, customer_id: 0, total: "1.5", status: "new" });
    const syncs = [{ from: "source", to: "target", tables: ["customers", "orders"] }];
    await expectsNoWaitWithoutApplier(bed, bed.define(syncs));
    await bed.expectSame(ORDERS);
  });

  /** The relay answers, and the notice of before stands: only the applier can tell of the tables as they are now. */
  async function expectsNoWaitWithoutApplier(bed: TestBed, definition: PipelineDefinition) {
    const relay = await bed.start(definition, { role: "relay" });
    const failure = await relay.waitFor({ timeoutMs: 1_000 }).catch((error: unknown) => error);
    expect(isTidemarkError(failure, "TM-WAIT-TIMEOUT")).toBe(true);
    expect(String(failure)).toContain("nothing yet of its tables as they are now");
    const applier = await bed.start(definition, { role: "applier" });
    await relay.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(applier);
    await bed.stop(relay);
  }

  test("waitFor ends with its signal, and refuses a sync that does not exist", async () => {
    const { bed, definition } = await prepared();
    await using _ = bed;
    const pipeline = await bed.open(definition);
    const signal = AbortSignal.timeout(200);
    await expect(pipeline.waitFor({ signal })).rejects.toMatchObject({ name: "TimeoutError" });
    await expect(pipeline.waitFor({ sync: "x->y" })).rejects.toMatchObject({ code: "TM-USAGE" });
    await expect(pipeline.waitFor({ timeoutMs: 200 })).rejects.toMatchObject({
      code: "TM-WAIT-TIMEOUT",
    });
  });

  test("a sync that stops for good rejects its waiters; mended and started again, it goes on", async () => {
    const { bed, source, target, definition } = await prepared();
    await using _ = bed;
    const strict = { ...CUSTOMERS, unique: [["name"]] };
    await createTables(target, pair.target, [strict]);
    const first = await bed.start(definition);
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    await insertRow(source, CUSTOMERS, { id: 1, name: "first", credit: 1 });
    await expect(first.waitFor({ timeoutMs: PATIENCE_MS })).rejects.toMatchObject({
      code: "TM-SYNC-STOPPED",
      message: expect.stringContaining("TM-APPLY-CONSTRAINT"),
    });
    await expect(first.finished).rejects.toMatchObject({ code: "TM-APPLY-CONSTRAINT" });
    const { syncs } = await first.status();
    expect(syncs).toMatchObject([{ state: "stopped", error: { code: "TM-APPLY-CONSTRAINT" } }]);
    await bed.stop(first);
    expect(await target.rows("SELECT id FROM customers")).toEqual([{ id: "0" }]);

    await target.run("UPDATE customers SET name = 'given up' WHERE id = 0");
    await source.run("UPDATE customers SET name = 'second' WHERE id = 0");
    const second = await bed.start(definition);
    await second.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(CUSTOMERS);
  });

  test("notices never go back, and what they tell can be read", async () => {
    const { bed, source, target, definition } = await prepared();
    await using _ = bed;
    const pipeline = await bed.start(definition);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    const abort = new AbortController();
    const notices: Notice[] = [];
    const seen: { readonly batch: number; readonly newest: number }[] = [];
    const listening = (async () => {
      for await (const notice of pipeline.notices(abort.signal)) {
        notices.push(notice);
        const [row] = await target.rows("SELECT MAX(id) AS newest FROM customers");
        seen.push({ batch: notice.position.batch, newest: Number(row?.newest) });
      }
    })();
    // Each row with a batch that is sure to hold it.
    const held: { readonly batch: number; readonly id: number }[] = [];
    // Several batches may be one commit, and one notice: at least so many, however slow the target is.
    for (let id = 1; id <= 60 || notices.length <= 5; id++) {
      await insertRow(source, CUSTOMERS, { id, name: `n${id}`, credit: id });
      if (id % 3 !== 0) continue;
      const fence = await askFence(pipeline.queue.documents, "source", { signal: abort.signal });
      held.push({ batch: fence?.batch ?? 0, id });
      if (id >= 60) await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    }
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    abort.abort();
    await listening;
    for (const { batch, newest } of seen) {
      const told = held.filter((entry) => entry.batch <= batch).map(({ id }) => id);
      expect(newest).toBeGreaterThanOrEqual(Math.max(0, ...told));
    }
    for (const [index, notice] of notices.entries()) {
      const before = notices[index - 1];
      if (before === undefined) continue;
      expect(comparePositions(before.position, notice.position)).toBeLessThanOrEqual(0);
      expect(notice).toMatchObject({ sync: "source->target", source: "source", tablesPending: 0 });
      expect(notice.lagMs).toBeGreaterThanOrEqual(0);
    }
  });
}
