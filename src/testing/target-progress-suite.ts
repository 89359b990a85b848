import { expect, it } from "vitest";
import type { ApplierSession, BoundTable, Progress } from "../core/target.ts";
import { type Bench, refuses } from "./database-bed.ts";
import {
  after,
  apply,
  first,
  itemRows,
  items,
  openSession,
  openSite,
  reopen,
  SYNC,
} from "./target-site.ts";

/** Progress, stored with the rows (G2). */
export function registerProgress(bench: () => Bench): void {
  it("tells nothing of copies where nothing of ours stands, and leaves it so", async () => {
    const target = await bench().target();
    const before = await target.plan([]);
    expect(await target.copiesOf(SYNC)).toEqual([]);
    expect(await target.plan([])).toEqual(before);
  });

  it("begins at nothing", async () => {
    const { session } = await openSite(bench(), [items(bench())]);
    expect(await session.load()).toEqual({
      timeline: "",
      position: { batch: 0, chunk: 0 },
      hash: "",
      tables: [],
    });
  });

  it("stores progress and rows together, and finds both again", async () => {
    const { sql, target, session, table, tables } = await openSite(bench(), [items(bench())]);
    const next: Progress = {
      timeline: "zeit ß",
      position: { batch: 7, chunk: 3 },
      hash: "abc",
      tables: [
        { table: "a.x", state: "copying", cursor: '{"k":"\u{1f30a}"}', copy: "one", hasRows: true },
        { table: "b", state: "pending", cursor: null, copy: "two", hasRows: false },
      ],
    };
    expect(await target.copiesOf(SYNC)).toEqual([]);
    const transaction = await session.begin(await session.load());
    await transaction.put(table, [["1", "a", "1"]]);
    await transaction.commit(next);
    expect(await session.load()).toEqual(next);
    expect(await target.copiesOf(SYNC)).toEqual(next.tables);
    expect(await target.copiesOf("another")).toEqual([]);
    await session.close();
    const again = await openSession(bench(), target, tables);
    expect(await again.load()).toEqual(next);
    const { tables: _, ...place } = next;
    expect(await again.loadPlace()).toMatchObject(place);
    expect(await itemRows(sql)).toEqual([["1", "a", "1"]]);
    const later: Progress = {
      ...after(next),
      tables: [
        { table: "a.x", state: "live", cursor: null, copy: "one", hasRows: false },
        ...next.tables.slice(1),
      ],
    };
    const second = await again.begin(next);
    await second.commit(later);
    expect(await again.load()).toEqual(later);
  });

  it("tells tables that hold no row, and how many a transaction would leave", async () => {
    const names = ["a", "b", "c"];
    const wanted = names.map((name) => items(bench(), name));
    const { session, tables } = await openSite(bench(), wanted);
    const [a, b, c] = names.map((name) =>
      first(tables.filter((table) => table.name.name === name)),
    ) as [BoundTable, BoundTable, BoundTable];
    expect(await session.emptyOf([])).toEqual([]);
    expect(new Set(await session.emptyOf([a, b, c]))).toEqual(new Set([a, b, c]));
    const rows = [1, 2, 3].map((id) => [String(id), "x", "1"]);
    await apply(session, (t) => t.put(b, rows));
    expect(new Set(await session.emptyOf([a, b, c]))).toEqual(new Set([a, c]));
    const missing = { ...b, name: { ...b.name, name: "missing" } };
    const impossible = { ...b, name: { ...b.name, name: "😀" } };
    expect(await (await bench().target()).filled([a, b, missing, impossible])).toEqual([b]);
    expect(await (await bench().target()).filled([])).toEqual([]);
    const transaction = await session.begin(await session.load());
    await transaction.attempt(() => transaction.remove(b, [["1"]]));
    expect(await session.countRows(b, 10)).toBe(2);
    expect(await session.countRows(b, 1)).toBe(1);
    await transaction.attempt(() => transaction.remove(b, [["2"], ["3"]]));
    expect(await session.countRows(b, 10)).toBe(0);
    await transaction.rollback();
    expect(await session.emptyOf([b])).toEqual([]);
  });

  it("takes each step once: what was committed cannot be begun again", async () => {
    const site = await openSite(bench(), [items(bench())]);
    const { sql, table } = site;
    let { session } = site;
    const start = await session.load();
    const next = await apply(session, (t) => t.put(table, [["1", "once", "1"]]));
    for (const other of [
      start,
      { ...next, timeline: "another" },
      { ...next, hash: "another" },
      { ...next, position: { batch: 1, chunk: 1 } },
    ]) {
      // An adapter may send begin together with what follows: then the commit is refused.
      const stale = async () => {
        const transaction = await session.begin(other);
        await transaction.put(table, [["1", "twice", "1"]]);
        await transaction.commit(after(other));
      };
      await refuses(stale(), "TM-APPLY-FENCED");
      session = await reopen(bench(), site, session);
    }
    expect(await itemRows(sql)).toEqual([["1", "once", "1"]]);
    expect(await session.load()).toEqual(next);
    await apply(session, (t) => t.put(table, [["2", "next", "2"]]));
    expect((await session.load()).position.batch).toBe(2);
    expect(await itemRows(sql)).toHaveLength(2);
  });

  it("has one session of a sync at a time, and the next one goes on", async () => {
    const { target, session, tables } = await openSite(bench(), [items(bench())]);
    const other = await bench().target();
    expect(await other.openApplier(SYNC, tables)).toBeNull();
    expect(await target.openApplier(SYNC, tables)).toBeNull();
    const progress = await apply(session, async () => {});
    await session.close();
    const next = await openSession(bench(), other, tables);
    expect(await next.load()).toEqual(progress);
  });

  it("keeps the progress of each sync apart", async () => {
    const { target, session, table } = await openSite(bench(), [items(bench())]);
    const plan = await target.plan([items(bench(), "others")]);
    await target.prepare(plan);
    const other = await openSession(bench(), target, plan.tables, "elsewhere->there");
    await apply(session, (t) => t.put(table, [["1", "a", "1"]]));
    expect((await other.load()).position.batch).toBe(0);
    await apply(other, (t) => t.put(first(plan.tables), [["1", "b", "1"]]));
    await apply(other, async () => {});
    expect((await session.load()).position.batch).toBe(1);
    expect((await other.load()).position.batch).toBe(2);
  });

  it("tells what other syncs have copied, and lets them forget it, copy by copy", async () => {
    const { target, session, tables } = await openSite(bench(), [items(bench())]);
    const other = await openSession(bench(), target, tables, "else\u00dfwhere->there");
    const entry = { state: "live", cursor: null, hasRows: true } as const;
    const [a, b] = [
      { ...entry, table: "a.x", copy: "one:f:a.x" },
      { ...entry, table: "b", copy: "two:f:b", state: "copying" } as const,
    ];
    const store = async (to: ApplierSession, stored: Progress["tables"]) => {
      const now = await to.load();
      await (await to.begin(now)).commit({ ...after(now), tables: stored });
    };
    expect(await session.others()).toEqual([]);
    await store(session, [a]);
    await store(other, [a, b]);
    expect(await session.others()).toEqual(
      [a, b].map(({ table, state, copy }) => ({
        sync: "else\u00dfwhere->there",
        table,
        state,
        copy,
      })),
    );
    const [one, two] = await session.others();
    if (one === undefined || two === undefined) throw new ReferenceError("none of them");
    await session.forget([one, { ...two, copy: "copied anew" }]);
    expect((await other.load()).tables).toEqual([b]);
    expect((await session.load()).tables).toEqual([a]);
    expect((await other.load()).position.batch).toBe(1);
    await store(session, [a, b]);
    await store(other, [a]);
    expect(await session.isAtWork("else\u00dfwhere->there")).toBe(true);
    await other.close();
    expect(await session.isAtWork("else\u00dfwhere->there")).toBe(false);
    const again = await openSession(bench(), target, tables, "else\u00dfwhere->there");
    expect((await again.load()).tables).toEqual([a]);
  });

  it("leaves nothing of a transaction that is rolled back or whose session ends", async () => {
    const { sql, target, session, table, tables } = await openSite(bench(), [items(bench())]);
    const start = await session.load();
    const transaction = await session.begin(start);
    await transaction.put(table, [["1", "never", "1"]]);
    await transaction.rollback();
    const second = await session.begin(start);
    await second.put(table, [["2", "never", "2"]]);
    await session.close();
    expect(await itemRows(sql)).toEqual([]);
    const again = await openSession(bench(), target, tables);
    expect(await again.load()).toEqual(start);
    await apply(again, (t) => t.put(table, [["3", "kept", "3"]]));
    expect(await itemRows(sql)).toEqual([["3", "kept", "3"]]);
  });

  it("shows readers whole transactions only", async () => {
    const { sql, session, table } = await openSite(bench(), [items(bench())]);
    const start = await session.load();
    const transaction = await session.begin(start);
    await transaction.put(table, [["1", "half", "1"]]);
    expect(await itemRows(sql)).toEqual([]);
    await transaction.put(table, [["2", "half", "2"]]);
    await transaction.commit(after(start));
    expect(await itemRows(sql)).toHaveLength(2);
  });
}
