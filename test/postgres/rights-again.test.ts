// A role that loses its rights and gets them back while the pipeline runs: nothing need be restarted (G8).
import { describe, expect, test } from "vitest";
import type { PipelineDefinition } from "../../src/core/definition.ts";
import type { Pipeline } from "../../src/pipeline/pipeline.ts";
import { available } from "../servers/index.ts";
import { CUSTOMERS } from "../support/shop-tables.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow } from "../support/test-tables.ts";

async function errorOf(pipeline: Pipeline): Promise<string | null> {
  const { sources, syncs } = await pipeline.status();
  const [source] = sources;
  const [sync] = syncs;
  const told = [source, sync].find((each) => each?.error != null);
  return told === undefined ? null : `${told.state} ${told.error?.code}`;
}

describe.skipIf(!available("postgres"))("a role of PostgreSQL", () => {
  for (const end of ["source", "target"] as const) {
    test.each([
      ["may log in again", "TM-AUTH-FAILED"],
      ["has its right again", "TM-GRANT-MISSING"],
    ])(`that %s works on by itself, at the ${end}`, async (what, code) => {
      await using bed = await TestBed.make({ source: "postgres", target: "postgres" });
      const admin = await bed.sql(end);
      await createTables(await bed.sql("source"), "postgres", [CUSTOMERS]);
      await createTables(await bed.sql("target"), "postgres", [CUSTOMERS]);
      const [{ name = "" } = {}] = await admin.rows("SELECT current_database() AS name");
      const role = `again_${name}`;
      const base = bed.define([{ from: "source", to: "target", tables: ["customers"] }]);
      const definition: PipelineDefinition = {
        ...base,
        databases: base.databases.map((each) => {
          if (each.name !== end || !("url" in each)) return each;
          const url = new URL(each.url);
          url.username = role;
          return { ...each, url: url.href };
        }),
      };
      await admin.run(`CREATE ROLE "${role}" LOGIN PASSWORD 'tidemark'`);
      try {
        await admin.run(`GRANT CREATE ON DATABASE "${name}" TO "${role}"`);
        await admin.run(`GRANT ALL ON SCHEMA public TO "${role}"`);
        await admin.run(`GRANT ALL ON customers TO "${role}"`);
        const pipeline = await bed.start(definition, { slowRetryMs: 100 });
        await pipeline.waitFor({ timeoutMs: PATIENCE_MS });

        const cut = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '${role}'`;
        const isLogin = code === "TM-AUTH-FAILED";
        // Triggers write the log with the rights of the role: those they keep.
        const [take, give] = isLogin
          ? [`ALTER ROLE "${role}" NOLOGIN`, `ALTER ROLE "${role}" LOGIN`]
          : [
              `REVOKE SELECT ON ALL TABLES IN SCHEMA tidemark FROM "${role}"`,
              `GRANT SELECT ON ALL TABLES IN SCHEMA tidemark TO "${role}"`,
            ];
        await admin.run(take);
        await admin.rows(cut);
        await insertRow(await bed.sql("source"), CUSTOMERS, { id: 7, name: what, credit: 0 });
        await expect
          .poll(() => errorOf(pipeline), { timeout: PATIENCE_MS, interval: 50 })
          .toBe(`running ${code}`);
        await admin.run(give);
        await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
        await bed.expectSame(CUSTOMERS);
        await bed.stop(pipeline);
      } finally {
        await admin.run(`DROP OWNED BY "${role}" CASCADE`);
        await admin.run(`DROP ROLE "${role}"`);
      }
    });
  }
});
