// What spares a program its ceremony.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, expect, expectTypeOf, test } from "vitest";
import {
  definePair,
  Pipeline,
  type Subscription,
  silentLogger,
  subscribe,
} from "../../src/index.ts";
import { PATIENCE_MS } from "../support/test-bed.ts";

const logger = silentLogger;
const folder = mkdtempSync(join(tmpdir(), "tidemark-ceremony-"));
const source = new DatabaseSync(join(folder, "shop.db"));
source.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)");
const PAIR = { from: "sqlite:shop.db", to: "sqlite:copy.db", tables: ["t"] };
const definition = definePair(PAIR, folder, {});
afterAll(() => {
  source.close();
  rmSync(folder, { recursive: true });
});

test("`await using` stops a pipeline; notices without a signal end with it", async () => {
  let notices: AsyncGenerator;
  {
    await using pipeline = await Pipeline.open(definition, { logger });
    await pipeline.start();
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    notices = pipeline.notices();
    expect(await notices.next()).toMatchObject({ done: false });
  }
  expect(await notices.next()).toMatchObject({ done: true });
});

test("subscribe takes an interface for its rows, and no options", () => {
  interface Row {
    id: string;
    v: string | null;
  }
  const changes = subscribe<Row>(definition);
  expectTypeOf(changes).toEqualTypeOf<AsyncGenerator<Subscription<Row>>>();
});
