import { expect, it } from "vitest";
import { type ColumnType, describeType } from "../core/column-type.ts";
import { toTidemarkError } from "../core/errors.ts";
import type { TargetTable } from "../core/target.ts";
import type { Row, Value } from "../core/value.ts";
import type { Bench, Dialect } from "./database-bed.ts";
import { takeChunk } from "./replica.ts";
import { apply, column, first, INTEGER, itemRows, items, openSession } from "./target-site.ts";
import { VALUE_SAMPLES } from "./values.ts";

/**
 * What the target wrote is read back through the source of the same adapter, so both codecs are
 * under test: a value survives there and back or its type is refused at plan (G6).
 */
export function registerValues(bench: () => Bench): void {
  for (const { type, nativeType, texts } of VALUE_SAMPLES) {
    it(`gives ${describeType(type)} back as it was, or refuses it at plan`, async () => {
      const value = { ...column("v", type), nativeType };
      const samples: TargetTable = {
        name: bench().name("samples"),
        columns: [column("id", INTEGER, false), value],
        key: ["id"],
      };
      const target = await bench().target();
      const plan = await target.plan([samples]);
      if (plan.mappings.some(({ fidelity }) => fidelity === "refused")) return;
      await target.prepare(plan);
      const session = await openSession(bench(), target, plan.tables);
      const rows: Row[] = [null, ...texts].map((text, i) => [String(i), text]);
      const expected = rows.map(([id, text]) => [id, sameAs(bench().dialect, type, text ?? null)]);
      for (const fresh of [true, false]) {
        await apply(session, (t) => t.put(first(plan.tables), rows, { fresh }));
        const back = await readBack(bench());
        expect(back.map(([id, text]) => [id, comparable(type, text ?? null)])).toEqual(expected);
      }
    });
  }

  it("finds rows again by keys of every type, or refuses them at plan", async () => {
    const tables = VALUE_SAMPLES.map(({ type, nativeType }, i) => ({
      name: bench().name(`keyed_${i}`),
      columns: [column("id", INTEGER, false), { ...column("v", type, false), nativeType }],
      key: ["id", "v"],
    }));
    const textsOf = new Map(tables.map(({ name }, i) => [name.name, VALUE_SAMPLES[i]?.texts]));
    const target = await bench().target();
    const refused = (await target.plan(tables)).mappings
      .filter(({ fidelity }) => fidelity === "refused")
      .map(({ table }) => table.name);
    const kept = tables.filter(({ name }) => !refused.includes(name.name));
    const plan = await target.plan(kept);
    await target.prepare(plan);
    const session = await openSession(bench(), target, plan.tables);
    const sql = await bench().sql();
    for (const bound of plan.tables) {
      const texts = textsOf.get(bound.name.name) ?? [];
      const rows: Row[] = texts.map((text, i) => [String(i), text]);
      const count = async () => (await sql.rows(`SELECT id FROM ${bound.name.name}`)).length;
      for (const fresh of [true, false]) {
        await apply(session, (t) => t.put(bound, rows, { fresh }));
        expect([bound.name.name, await count()]).toEqual([bound.name.name, rows.length]);
      }
      await apply(session, (t) => t.remove(bound, rows));
      expect([bound.name.name, await count()]).toEqual([bound.name.name, 0]);
    }
  });

  it("never cuts, rounds or guesses", async () => {
    const { integer } = bench().dialect;
    const sql = await bench().sql();
    await sql.run(
      `CREATE TABLE items (id ${integer} NOT NULL PRIMARY KEY, name ${bench().dialect.shortText}, qty ${integer})`,
    );
    const target = await bench().target();
    const plan = await target.plan([items(bench())]);
    if (plan.mappings.some(({ fidelity }) => fidelity === "refused")) return;
    await target.prepare(plan);
    const session = await openSession(bench(), target, plan.tables);
    const long = "longer than the column";
    const outcome = await apply(session, (t) => t.put(first(plan.tables), [["1", long, "1"]])).then(
      () => "stored",
      (error) => toTidemarkError(error).code,
    );
    const rows = await itemRows(sql);
    if (outcome === "stored") expect(rows).toEqual([["1", long, "1"]]);
    else {
      expect(outcome).toBe("TM-VALUE-REFUSED");
      expect(rows).toEqual([]);
    }
  });
}

/** What the database may print instead, since it has no such type of its own. */
function sameAs(dialect: Dialect, type: ColumnType, text: Value): Value {
  const printed = typeof text === "string" ? (dialect.readsBack?.(type, text) ?? text) : text;
  return comparable(type, printed);
}

/** A double has several shortest texts (1e+308, 1e308): its value is what must survive. */
function comparable(type: ColumnType, text: Value): Value {
  return type.kind === "float" && typeof text === "string" ? String(Number(text)) : text;
}

async function readBack(bench: Bench): Promise<readonly Row[]> {
  const log = await bench.log();
  await log.capture([await bench.captureTable("samples")]);
  const request = {
    table: bench.name("samples"),
    after: null,
    maxRows: 1_000,
    maxBytes: 1 << 24,
  };
  const { chunk } = await takeChunk(log.batches, request);
  await log.close();
  return chunk.rows;
}
