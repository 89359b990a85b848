// What a crash of the target may take, and what not (G2, G4).
import { describe, expect, it } from "vitest";
import type { ApplierSession, BoundTable, Progress, Target } from "../../src/core/target.ts";
import { postgres } from "../../src/databases/postgres/index.ts";
import { canStart, freshDatabase, startPostgres } from "../servers/index.ts";
import { connect, optionsOf } from "./support.ts";

/** So the server's own writer does not flush meanwhile what nobody asked to be flushed. */
const settings = { wal_writer_delay: "10s", wal_writer_flush_after: 0 };

describe.skipIf(!canStart("postgres"))("a target killed with -9", () => {
  it("holds what was flushed, and of the rest rows and progress alike", async () => {
    await using server = await startPostgres({ settings });
    await using database = await freshDatabase("postgres", { server: server.url });
    const first = await postgres.openTarget(optionsOf(database.url));
    const { session, table } = await openApplier(first);
    for (const batch of [1, 2]) await apply(session, table, batch);
    await session.flush();
    await apply(session, table, 3);
    const seen = await connect(database.url);
    expect(await idsIn(seen)).toEqual([1, 2, 3]);
    await server.kill();
    await server.start();
    const again = await postgres.openTarget(optionsOf(database.url));
    const reopened = await openApplier(again);
    const { position } = await reopened.session.load();
    expect([2, 3]).toContain(position.batch);
    const reader = await connect(database.url);
    expect(await idsIn(reader)).toEqual([1, 2, 3].slice(0, position.batch));
    await expect(session.flush()).rejects.toMatchObject({ code: "TM-CONNECTION-LOST" });
    await reader.end();
    for (const each of [session, first, reopened.session, again]) await each.close();
  });
});

async function openApplier(
  target: Target,
): Promise<{ readonly session: ApplierSession; readonly table: BoundTable }> {
  const type = { kind: "integer", bits: 32 } as const;
  const id = { name: "id", type, nativeType: "integer", sourceKind: "postgres", nullable: false };
  const name = { schema: null, name: "t" };
  const plan = await target.plan([{ name, columns: [id], key: ["id"] }]);
  await target.prepare(plan);
  const session = (await target.openApplier("a->b", plan.tables)) as ApplierSession;
  return { session, table: plan.tables[0] as BoundTable };
}

async function apply(session: ApplierSession, table: BoundTable, batch: number): Promise<void> {
  const before = await session.load();
  const transaction = await session.begin(before);
  await transaction.attempt(() => transaction.put(table, [[String(batch)]]));
  const position = { batch, chunk: 0 };
  const next: Progress = { timeline: "t", position, hash: `h${batch}`, tables: [] };
  await transaction.commit(next);
}

async function idsIn(client: Awaited<ReturnType<typeof connect>>): Promise<number[]> {
  const { rows } = await client.query<{ id: number }>("SELECT id FROM t ORDER BY id");
  return rows.map(({ id }) => id);
}
