import { expect, it } from "vitest";
import { MemoryQueue } from "../../test/support/memory-queue.ts";
import type { Layout } from "../core/change.ts";
import { keys } from "../core/documents.ts";
import { LayoutMappings } from "./layouts.ts";

const TABLES = 60;

async function opened() {
  const { documents } = new MemoryQueue();
  const layoutOf = (id: number): Layout => ({
    id,
    table: { schema: null, name: `t${id}` },
    columns: [
      { name: "id", type: { kind: "text" }, nativeType: "text", nullable: false, generated: false },
    ],
    key: [0],
    filters: [],
  });
  for (let id = 0; id < TABLES; id++) {
    await documents.put(keys.layout("a", "tl", id), layoutOf(id));
    await documents.put(keys.layout("a", "tl2", id), layoutOf(id));
  }
  let asked = 0;
  const counted = {
    get(key: string) {
      asked++;
      return documents.get(key);
    },
    list(prefix: string) {
      asked++;
      return documents.list(prefix);
    },
  };
  const mappings = new LayoutMappings(
    Object.assign(Object.create(documents), counted),
    "a",
    "tl",
    [],
  );
  return { documents, mappings, layoutOf, asked: () => asked };
}

it("asks a queue for many layouts at once", async () => {
  const { mappings, asked } = await opened();
  for (let id = 0; id < TABLES; id++) expect(await mappings.lookUp(id)).toBe(null);
  expect(asked()).toBeLessThan(12);
  expect(mappings.known(TABLES - 1)).toBe(null);
});

it("finds one that came after all were asked for, and says of one that never did that it is missing", async () => {
  const { documents, mappings, layoutOf } = await opened();
  for (let id = 0; id < TABLES; id++) await mappings.lookUp(id);
  await expect(mappings.lookUp(TABLES)).rejects.toMatchObject({ code: "TM-APPLY-GAP" });
  await documents.put(keys.layout("a", "tl", TABLES), layoutOf(TABLES));
  expect(await mappings.lookUp(TABLES)).toBe(null);
});
