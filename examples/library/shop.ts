import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { definePair } from "tidemark";

/** A source with two rows and a definition that syncs it: what the other examples start from. */
export function makeShop() {
  const folder = mkdtempSync(join(tmpdir(), "tidemark-example-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const source = new DatabaseSync(join(folder, "shop.db"));
  source.exec(`
    CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT NOT NULL, total TEXT NOT NULL);
    INSERT INTO orders VALUES (1, 'Ada', '10.50'), (2, 'Grace', '7.25');
  `);
  const definition = definePair(
    { from: "sqlite:shop.db", to: "sqlite:copy.db", tables: ["*"], queue: "sqlite:queue.db" },
    folder,
    process.env,
  );
  return { folder, source, definition };
}
