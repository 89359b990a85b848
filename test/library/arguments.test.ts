// What a program in plain JavaScript may get wrong, with no compiler to look: a misspelt `where` or `except` would bring
// rows and columns to a target that must not be there, and a misspelt role would do nothing (G8).
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterAll, describe, expect, test } from "vitest";
import {
  defineConfig,
  definePair,
  loadConfig,
  Pipeline,
  silentLogger,
  subscribe,
} from "../../src/index.ts";

// biome-ignore lint/suspicious/noExplicitAny: what no compiler has looked at.
type Anything = any;

const logger = silentLogger;
const folder = mkdtempSync(join(tmpdir(), "tidemark-arguments-"));
const source = new DatabaseSync(join(folder, "shop.db"));
source.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)");
const PAIR = { from: "sqlite:shop.db", to: "sqlite:copy.db", tables: ["t"] };
const definition = definePair(PAIR, folder, {});
afterAll(() => {
  source.close();
  rmSync(folder, { recursive: true });
});
const ruled = (rule: object): Anything => ({
  ...definition,
  syncs: definition.syncs.map((sync) => ({ ...sync, tables: [{ table: "t", ...rule }] })),
});
const refusal = (code: string, message: string, fix?: string) =>
  expect.objectContaining({
    code,
    message: expect.stringContaining(message),
    ...(fix === undefined ? {} : { fix: expect.stringContaining(fix) }),
  });

const CONFIG = defineConfig({
  databases: { a: "sqlite:a.db", b: "sqlite:b.db" },
  syncs: [{ from: "a", to: "b", tables: ["t"] }],
});

describe("a definition", () => {
  test.each<[Anything, string, string?]>([
    [ruled({ wher: "id > 1" }), "syncs[0].tables[0].wher is not a key", '"where"'],
    [ruled({ exclude: ["v"] }), "syncs[0].tables[0].exclude is not a key", '"except"'],
    [ruled({ truncate: "aply" }), "truncate must be apply, ignore or stop"],
    [ruled({ filter: "id > 1" }), "filter must be a function"],
    [{ ...definition, databases: [{ name: "source", deliver: "x" }] }, "databases[0].deliver"],
    [{ ...definition, retention: undefined }, "retention is missing"],
    [
      { definition, file: "tidemark.yaml" },
      "not the definition",
      "`definition` of what loadConfig",
    ],
    [CONFIG, "not the definition", "a config is not one yet"],
    [undefined, "not the definition"],
  ])("refused: %#", async (wrong, message, fix) => {
    const refused = refusal("TM-CONFIG-INVALID", message, fix);
    await expect(Pipeline.open(wrong, { logger })).rejects.toThrow(refused);
    await expect(subscribe(wrong).next()).rejects.toThrow(refused);
  });
});

test("a definition may say that nothing is left out", async () => {
  await using pipeline = await Pipeline.open(ruled({ except: [] }), { logger });
  await pipeline.stop();
});

describe("options", () => {
  test.each<[Anything, string, string?]>([
    [undefined, "takes its options"],
    [{}, "`logger` must be a logger"],
    [{ logger: { info() {} } }, "`logger` must be a logger"],
    [{ logger, role: "aplier" }, "`role` must be all, relay or applier"],
    [{ logger, databases: "target" }, "`databases` must be a list of names"],
    [{ logger, databases: ["tarrget", "source"] }, 'named "tarrget"', '"target"'],
    [{ logger, databse: ["target"] }, 'no option "databse"', '"databases"'],
  ])("of Pipeline.open, refused: %#", async (wrong, message, fix) => {
    await expect(Pipeline.open(definition, wrong)).rejects.toThrow(
      refusal("TM-USAGE", message, fix),
    );
  });

  test.each<[() => unknown, string]>([
    [() => definePair({ ...PAIR, tables: "t" } as Anything), "`tables` must be a list of names"],
    [() => definePair({ ...PAIR, table: "t" } as Anything), 'no option "table"'],
    [() => definePair(undefined as Anything), "takes its options"],
    [() => loadConfig("tidemark.yaml" as Anything), "takes its options"],
    [() => loadConfig({ fiel: "tidemark.yaml" } as Anything), 'no option "fiel"'],
    [() => subscribe(definition, { signal: {} } as Anything).next(), "`signal` must be"],
    [() => subscribe(definition, { tabel: "t" } as Anything).next(), 'no option "tabel"'],
  ])("of a function, refused: %#", async (call, message) => {
    await expect((async () => call())()).rejects.toThrow(refusal("TM-USAGE", message));
  });

  test.each<[(pipeline: Pipeline) => unknown, string]>([
    [(pipeline) => pipeline.waitFor({ timeoutMs: "30s" } as Anything), "`timeoutMs` must be"],
    [(pipeline) => pipeline.waitFor({ timeout: 30 } as Anything), 'no option "timeout"'],
    [(pipeline) => pipeline.waitFor(30_000 as Anything), "takes its options"],
    [(pipeline) => pipeline.notices(new AbortController() as Anything), "`signal` must be"],
    [(pipeline) => pipeline.stop({ withinMs: "1s" } as Anything), "`withinMs` must be"],
  ])("of a pipeline, refused: %#", async (call, message) => {
    await using pipeline = await Pipeline.open(definition, { logger });
    await pipeline.stop({ withinMs: Number.POSITIVE_INFINITY });
    await expect((async () => call(pipeline))()).rejects.toThrow(refusal("TM-USAGE", message));
  });
});
