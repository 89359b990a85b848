// A PostgreSQL role that is no superuser, and so may not put foreign keys off.
import type { PipelineDefinition } from "../../src/core/definition.ts";
import type { TestBed } from "./test-bed.ts";

/** Gives `work` the definition with the target opened by such a role, which is taken away in the end. */
export async function asPlainRole(
  bed: TestBed,
  definition: PipelineDefinition,
  work: (limited: PipelineDefinition) => Promise<void>,
): Promise<void> {
  const target = await bed.sql("target");
  const [{ name = "" } = {}] = await target.rows("SELECT current_database() AS name");
  const role = `plain_${name}`;
  await target.run(`CREATE ROLE "${role}" LOGIN PASSWORD 'tidemark'`);
  try {
    await target.run(`GRANT CREATE ON DATABASE "${name}" TO "${role}"`);
    await target.run(`GRANT CREATE, USAGE ON SCHEMA public TO "${role}"`);
    const url = new URL(bed.database("target").url);
    [url.username, url.password] = [role, "tidemark"];
    const databases = definition.databases.map((each) =>
      each.name === "target" ? { name: each.name, url: url.href } : each,
    );
    await work({ ...definition, databases });
  } finally {
    await target.run(`DROP OWNED BY "${role}" CASCADE`);
    await target.run(`DROP ROLE "${role}"`);
  }
}
