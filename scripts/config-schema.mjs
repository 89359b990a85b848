// Writes the JSON Schema of the config for editors: npm run schema
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT, runUnderProjectNode } from "./lib/project-node.mjs";

await runUnderProjectNode(import.meta.url);
const { configJsonSchema } = await import("../src/config/schema.ts");
const file = join(ROOT, "docs/reference/tidemark.schema.json");
writeFileSync(file, `${JSON.stringify(configJsonSchema(), null, 2)}\n`);
