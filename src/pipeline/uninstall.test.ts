import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, expect, it } from "vitest";
import type { PipelineDefinition } from "../core/definition.ts";
import { silentLogger } from "../core/log.ts";
import { planUninstall } from "./uninstall.ts";

const folder = mkdtempSync(join(tmpdir(), "tidemark-uninstall-"));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

it("names the command for the other databases where one is gone", async () => {
  const kept = join(folder, "kept.db");
  new DatabaseSync(kept).close();
  const definition: PipelineDefinition = {
    retention: { maxLogBytes: 1_000_000, keptMs: 0 },
    databases: [
      { name: "the shop", url: `sqlite:${kept}` },
      { name: "gone", url: `sqlite:${join(folder, "gone.db")}` },
    ],
    queue: { url: "sqlite:./queue", maxStreamBytes: 1_000_000 },
    syncs: [{ name: "shop->gone", from: "the shop", to: "gone", tables: [] }],
  };
  await expect(planUninstall(definition, silentLogger)).rejects.toMatchObject({
    code: "TM-CONNECT-FAILED",
    fix: expect.stringMatching(/ Or leave it out: tidemark uninstall --database 'the shop'$/),
  });
});
