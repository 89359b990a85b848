// A role that lacks rights is told all of them, with the statements that give them, before anything is
// made at either end (G8).
import { describe, expect, test } from "vitest";
import type { PipelineDefinition } from "../../src/core/definition.ts";
import { toTidemarkError } from "../../src/core/errors.ts";
import { silentLogger } from "../../src/core/log.ts";
import { Databases, using } from "../../src/pipeline/connect.ts";
import { makePlan } from "../../src/pipeline/plan.ts";
import { available } from "../servers/index.ts";
import { CUSTOMERS } from "../support/shop-tables.ts";
import type { SqlClient } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow } from "../support/test-tables.ts";

type End = "source" | "target";

/** Of a role that may connect and, where a table is not seen otherwise, read. */
async function makePoor(admin: SqlClient, kind: string, role: string): Promise<void> {
  if (kind === "postgres") {
    await admin.run(`CREATE ROLE ${role} LOGIN PASSWORD 'tidemark'`);
    return;
  }
  await admin.run(`CREATE USER ${role} IDENTIFIED BY 'tidemark'`);
  const [{ name = "" } = {}] = await admin.rows("SELECT DATABASE() AS name");
  await admin.run(`GRANT SELECT ON \`${name?.replaceAll("_", "\\_")}\`.* TO ${role}`);
}

async function dropRole(admin: SqlClient, kind: string, role: string): Promise<void> {
  if (kind === "postgres") await admin.run(`DROP OWNED BY ${role} CASCADE`);
  await admin.run(kind === "postgres" ? `DROP ROLE ${role}` : `DROP USER ${role}`);
}

function urlOf({ databases }: PipelineDefinition, name: string): string {
  const found = databases.find((each) => each.name === name);
  return found !== undefined && "url" in found ? found.url : "";
}

function as(definition: PipelineDefinition, end: End, role: string): PipelineDefinition {
  const url = new URL(urlOf(definition, end));
  url.username = role;
  url.password = "tidemark";
  const databases = definition.databases.map((each) =>
    each.name === end ? { name: end, url: url.href } : each,
  );
  return { ...definition, databases };
}

/** What stands of ours. */
async function madeAt(definition: PipelineDefinition): Promise<readonly string[]> {
  const databases = new Databases(definition, silentLogger);
  const made = ["source", "target"].map((name) =>
    using(databases.openCatalog(name), (catalog) => catalog.planUninstall()),
  );
  return (await Promise.all(made)).flat();
}

const SOURCE_RIGHTS = ["CREATE", "SELECT", "TRIGGER"];
const TARGET_RIGHTS = ["CREATE", "INSERT", "UPDATE", "DELETE"];

describe.each(["postgres", "mariadb", "mysql"] as const)("a role of %s", (kind) => {
  test.skipIf(!available(kind))(
    "that lacks rights at an end is no matter of who works for the other",
    async () => {
      await using bed = await TestBed.make({ source: "sqlite", target: kind });
      await createTables(await bed.sql("source"), "sqlite", [CUSTOMERS]);
      const role = `apart_${process.pid}_${kind}`;
      const admin = await bed.sql("target");
      await makePoor(admin, kind, role);
      try {
        const rich = bed.define([{ from: "source", to: "target", tables: ["customers"] }]);
        const poor = as(rich, "target", role);
        const relay = await bed.start(poor, { role: "relay" });
        await expect(bed.start(poor, { role: "applier" })).rejects.toMatchObject({
          code: "TM-GRANT-MISSING",
        });
        const applier = await bed.start(rich, { role: "applier" });
        await applier.waitFor({ timeoutMs: PATIENCE_MS });
        await bed.stop(applier);
        await bed.stop(relay);
      } finally {
        await dropRole(admin, kind, role);
      }
    },
  );

  for (const end of ["source", "target"] as const) {
    test.skipIf(!available(kind))(
      `that lacks rights at the ${end} is told all before anything is made`,
      async () => {
        const other = end === "source" ? "target" : "source";
        await using bed = await TestBed.make({ [end]: kind, [other]: "sqlite" });
        await createTables(await bed.sql("source"), end === "source" ? kind : "sqlite", [
          CUSTOMERS,
        ]);
        await insertRow(await bed.sql("source"), CUSTOMERS, { id: 1, name: "a", credit: 0 });
        // Makes the file.
        await bed.sql("target");
        const rich = bed.define([{ from: "source", to: "target", tables: ["customers"] }]);
        const role = `poor_${process.pid}_${kind}_${end}`;
        const admin = await bed.sql(end);
        await makePoor(admin, kind, role);
        try {
          const poor = as(rich, end, role);
          const error = toTidemarkError(await bed.start(poor).catch((thrown: unknown) => thrown));
          expect(error).toMatchObject({ code: "TM-GRANT-MISSING" });
          expect(error.message).toContain(`${end}: `);
          const wanted = end === "source" ? SOURCE_RIGHTS : TARGET_RIGHTS;
          // Of PostgreSQL, tables that Tidemark makes are its own.
          for (const right of kind === "postgres" && end === "target" ? ["CREATE"] : wanted)
            expect(error.fix).toMatch(new RegExp(`GRANT .*${right}`));
          expect(await madeAt(rich)).toEqual([]);
          const planned = await makePlan(poor, silentLogger);
          expect(planned.lacks.map(({ database }) => database)).toEqual([end]);

          const fixes = (error.details.lacks as { fix: string }[]).map(({ fix }) => fix);
          for (const fix of fixes.filter((each) => each.startsWith("GRANT"))) await admin.run(fix);
          // In place of the server's setting, which is other tests' too.
          if (fixes.some((fix) => fix.startsWith("SET")))
            await admin.run(`GRANT SUPER ON *.* TO ${role}`);
          expect((await makePlan(poor, silentLogger)).lacks).toEqual([]);
          const pipeline = await bed.start(poor);
          await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
          await bed.expectSame(CUSTOMERS);
          await bed.stop(pipeline);
        } finally {
          await dropRole(admin, kind, role);
        }
      },
    );
  }
});
