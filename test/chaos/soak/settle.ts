// Makes a random schema stand: what a database or the plan refuses is taken out of it.
import type { PipelineDefinition } from "../../../src/core/definition.ts";
import { isTidemarkError } from "../../../src/core/errors.ts";
import { silentLogger } from "../../../src/core/log.ts";
import type { ColumnMapping } from "../../../src/core/target.ts";
import { makePlan, type PipelinePlan } from "../../../src/pipeline/plan.ts";
import type { TestBed } from "../../support/test-bed.ts";
import { triggerSql } from "./application-triggers.ts";
import { createSql, type SoakTable, weaken } from "./random-schema.ts";

export interface Settled {
  readonly tables: readonly SoakTable[];
  readonly mappings: readonly ColumnMapping[];
}

/** Creates the schema, without what the databases or the plan refuse of it. */
export async function settle(
  bed: TestBed,
  schema: readonly SoakTable[],
  sides: readonly string[],
): Promise<Settled> {
  let tables = schema;
  for (;;) {
    const refused = (await createAll(bed, tables, sides)) ?? (await askPlan(bed, tables));
    if ("mappings" in refused) return { tables, mappings: refused.mappings };
    tables = tables.map((table) => {
      if (table.name !== refused.table) return table;
      const weaker = weaken(table, refused.column) ?? weaken(table, null);
      if (weaker === null) throw refused.cause;
      return weaker;
    });
    for (const side of sides) {
      const sql = await bed.sql(side);
      for (const { name } of [...tables].reverse()) await sql.run(`DROP TABLE IF EXISTS ${name}`);
    }
  }
}

interface Refused {
  readonly table: string;
  readonly column: string | null;
  readonly cause: unknown;
}

async function createAll(
  bed: TestBed,
  tables: readonly SoakTable[],
  sides: readonly string[],
): Promise<Refused | null> {
  for (const side of sides) {
    const sql = await bed.sql(side);
    const create = (table: SoakTable) => [createSql(sql.dialect, table)];
    const trigger = (table: SoakTable) => triggerSql(sql.dialect, table);
    for (const make of side === "source" ? [create, trigger] : [create]) {
      for (const table of tables) {
        try {
          for (const statement of make(table)) await sql.run(statement);
        } catch (cause) {
          return { table: table.name, column: null, cause };
        }
      }
    }
  }
  return null;
}

const REFUSALS = ["TM-TABLE-UNSUPPORTED", "TM-TYPE-UNSUPPORTED", "TM-TABLE-NO-KEY"] as const;

async function askPlan(
  bed: TestBed,
  tables: readonly SoakTable[],
): Promise<Refused | Pick<PipelinePlan, "mappings">> {
  let plan: PipelinePlan;
  try {
    plan = await makePlan(define(bed, tables), silentLogger);
  } catch (cause) {
    if (!isTidemarkError(cause, ...REFUSALS)) throw cause;
    const { table, column } = cause.details;
    const name = String(table).split(".").at(-1) as string;
    return { table: name, column: typeof column === "string" ? column : null, cause };
  }
  const refused = plan.mappings.find(
    // Some values would stop the sync in a key, and nowhere else.
    ({ fidelity, note }) => fidelity === "refused" || note?.startsWith("in the key: "),
  );
  if (refused === undefined) return plan;
  const { table, column } = refused;
  return { table: table.name, column, cause: new Error(JSON.stringify(refused)) };
}

export function define(bed: TestBed, tables: readonly SoakTable[]): PipelineDefinition {
  return bed.define([{ from: "source", to: "target", tables: tables.map(({ name }) => name) }]);
}
