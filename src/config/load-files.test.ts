// A config as it is found in a folder, and programs that export one.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { loadConfig } from "./load-config.ts";

describe("files", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "tidemark-config-"));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  test("no config: says how to get one", async () => {
    await expect(loadConfig({ folder })).rejects.toMatchObject({
      code: "TM-CONFIG-NOT-FOUND",
      fix: expect.stringContaining("tidemark init"),
    });
    await expect(loadConfig({ folder, file: "x.yaml" })).rejects.toMatchObject({
      code: "TM-CONFIG-NOT-FOUND",
    });
  });

  test("several configs: asks which", async () => {
    await writeFile(join(folder, "tidemark.yaml"), "{}");
    await writeFile(join(folder, "tidemark.json"), "{}");
    await expect(loadConfig({ folder })).rejects.toMatchObject({
      code: "TM-CONFIG-INVALID",
      fix: expect.stringContaining("--config tidemark.yaml"),
    });
  });

  test("a program: functions as target, filter and transform", async () => {
    await writeFile(
      join(folder, "tidemark.config.ts"),
      `import { defineConfig } from "tidemark";
       const seen: string[] = [];
       export default defineConfig({
         databases: { shop: "sqlite:shop.db", cache: async ({ changes }) => void seen.push(String(changes.length)) },
         syncs: [{ from: "shop", to: "cache", tables: [
           { table: "orders", filter: (row) => row.status !== "draft", transform: (row) => ({ ...row, note: null }) },
         ] }],
       });`,
    );
    const { definition } = await loadConfig({ folder });
    expect(definition.databases[0]).toEqual({
      name: "shop",
      url: `sqlite:${join(folder, "shop.db")}`,
    });
    expect(definition.databases[1]).toMatchObject({ name: "cache", deliver: expect.any(Function) });
    const rule = definition.syncs[0]?.tables[0];
    expect(rule?.filter?.({ status: "draft" })).toBe(false);
    expect(rule?.transform?.({ id: "1" })).toEqual({ id: "1", note: null });
  });

  test("a function as source is refused, and a program that fails says so", async () => {
    const file = join(folder, "tidemark.config.mjs");
    const config =
      "{ databases: { f() {}, a: 'sqlite:a.db' }, syncs: [{ from: 'f', to: 'a', tables: ['t'] }] }";
    await writeFile(file, `export default ${config};`);
    await expect(loadConfig({ folder })).rejects.toMatchObject({
      code: "TM-CONFIG-INVALID",
      message: expect.stringContaining('reads from "f", which is a function'),
    });
    const failing = join(folder, "failing.mjs");
    await writeFile(failing, "throw new Error('no luck');");
    await expect(loadConfig({ file: failing })).rejects.toMatchObject({
      code: "TM-CONFIG-INVALID",
      message: expect.stringContaining("no luck"),
    });
  });

  test.each(["js", "mjs", "ts"])("a program that exports no config says so: .%s", async (end) => {
    const config = `{ databases: { a: "sqlite:a.db", b: "sqlite:b.db" }, syncs: [{ from: "a", to: "b", tables: ["t"] }] }`;
    // Node reads a module once.
    let files = 0;
    const load = async (text: string) => {
      const file = join(folder, `${++files}.${end}`);
      await writeFile(file, text);
      return loadConfig({ file });
    };
    for (const text of ["", `export const config = ${config};`, "const config = {};"]) {
      await expect(load(text)).rejects.toMatchObject({
        code: "TM-CONFIG-INVALID",
        message: `${files}.${end} exports no config.`,
        fix: expect.stringMatching(/export default \{ databases: .* syncs: /),
      });
    }
    await expect(
      load("export default () => { throw new Error('no luck'); }"),
    ).rejects.toMatchObject({
      code: "TM-CONFIG-INVALID",
      message: `${files}.${end} cannot be run: no luck`,
    });
    for (const text of [
      `module.exports = ${config}`,
      `export default async () => (${config})`,
      `export default Promise.resolve(${config})`,
      `const { databases, syncs } = ${config}; export { databases, syncs }`,
    ]) {
      expect((await load(text)).definition.syncs).toHaveLength(1);
    }
  });
});
