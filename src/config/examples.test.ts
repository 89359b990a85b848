import { readFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { loadConfig, loadConfigText } from "./load-config.ts";

const FOLDER = fileURLToPath(new URL("../../examples/config/", import.meta.url));
const environment = {
  SHOP_PASSWORD: "a",
  REPORTS_PASSWORD: "b",
  CENTRE_PASSWORD: "c",
  HUB_PASSWORD: "d",
  ARCHIVE_PASSWORD: "e",
};

/** Configs of the pages, whole ones: each names its databases. */
const PAGES = ["README.md", "docs/reference/config.md"].flatMap((page) => {
  const text = readFileSync(new URL(`../../${page}`, import.meta.url), "utf8");
  const blocks = [...text.matchAll(/^```yaml\n(databases:.*?)^```$/gms)];
  return blocks.map(([, config = ""]) => [page, config] as const);
});

test("both pages show a whole config", () => expect(PAGES).toHaveLength(2));

test.each(PAGES)("the config of %s loads", (_page, config) => {
  const { syncs } = loadConfigText("tidemark.yaml", config, environment);
  expect(syncs.map(({ name }) => name)).toEqual(["shop->reports", "shop->edge"]);
});

test.each(await readdir(FOLDER))("examples/config/%s loads", async (file) => {
  const { definition } = await loadConfig({ folder: FOLDER, file, environment });
  expect(definition.syncs.length).toBeGreaterThan(0);
});
