// The initial copy while something breaks: it ends, whatever was lost of it on the way (B5, G5).
import { describe, expect, test } from "vitest";
import type { Delivery, RowObject } from "../../src/core/definition.ts";
import { natsBed } from "../queues/nats-bed.ts";
import { available, natsUrl } from "../servers/index.ts";
import { CUSTOMERS } from "../support/shop-tables.ts";
import { transaction } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow } from "../support/test-tables.ts";

/** Several chunks: more than the relay sends ahead of what is applied. */
const ROWS = 90_000;

/** A target that holds each delivery until it is let go, so that a test chooses the moment. */
class HeldTarget {
  readonly rows = new Map<string, RowObject>();
  #open = false;
  #arrived = Promise.withResolvers<void>();
  #released = Promise.withResolvers<void>();

  readonly deliver = async ({ changes }: Delivery): Promise<void> => {
    this.#arrived.resolve();
    if (!this.#open) await this.#released.promise;
    for (const { key, row } of changes) {
      if (row === null) this.rows.delete(key?.id ?? "");
      else this.rows.set(key?.id ?? "", row);
    }
  };

  /** Resolves when a delivery stands at the gate. */
  async arrival(): Promise<void> {
    await this.#arrived.promise;
  }

  /** Lets through what waits, and holds the next. */
  pass(): void {
    const released = this.#released;
    this.#arrived = Promise.withResolvers<void>();
    this.#released = Promise.withResolvers<void>();
    released.resolve();
  }

  open(): void {
    this.#open = true;
    this.pass();
  }
}

describe.skipIf(!available("nats"))("the queue is wiped during the copy", () => {
  test.each([
    [1, "changes"],
    [2, "silence"],
    [4, "changes"],
    [5, "silence"],
  ])("after %i deliveries, followed by %s", async (deliveries, then) => {
    const queue = natsBed(natsUrl());
    await using bed = await TestBed.make({ source: "sqlite" }, { queueUrl: queue.url });
    const source = await bed.sql("source");
    await createTables(source, "sqlite", [CUSTOMERS]);
    await transaction(source, async () => {
      for (let id = 1; id <= ROWS; id++) {
        await insertRow(source, CUSTOMERS, { id, name: `n${id}`, credit: id });
      }
    });
    const target = new HeldTarget();
    const pipeline = await bed.start(
      bed.define([{ from: "source", to: "held", tables: ["customers"] }], { held: target.deliver }),
    );
    for (let turn = 1; turn < deliveries; turn++) {
      await target.arrival();
      target.pass();
    }
    await target.arrival();
    await queue.loseStreams();
    // Without changes no batch comes that would show the loss.
    if (then === "changes") {
      await source.run("UPDATE customers SET name = 'changed' WHERE id IN (1, 89999)");
    }
    target.open();
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    expect(target.rows.size).toBe(ROWS);
    for (const id of ["1", "89999"]) {
      expect(target.rows.get(id)?.name).toBe(then === "changes" ? "changed" : `n${id}`);
    }
    await queue.dispose();
  });
});
