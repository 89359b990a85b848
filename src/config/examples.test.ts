import { readdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { loadConfig } from "./load-config.ts";

const FOLDER = fileURLToPath(new URL("../../examples/config/", import.meta.url));
const environment = {
  SHOP_PASSWORD: "a",
  REPORTS_PASSWORD: "b",
  CENTRE_PASSWORD: "c",
  HUB_PASSWORD: "d",
  ARCHIVE_PASSWORD: "e",
};

test.each(await readdir(FOLDER))("examples/config/%s loads", async (file) => {
  const { definition } = await loadConfig({ folder: FOLDER, file, environment });
  expect(definition.syncs.length).toBeGreaterThan(0);
});
