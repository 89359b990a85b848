// Tables that are emptied at the target and copied anew, on demand: what stood there may be anything (G1, G8).
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Delivery, PipelineDefinition, RowChange } from "../../src/core/definition.ts";
import { keys, type SourceStatus } from "../../src/core/documents.ts";
import { isTidemarkError } from "../../src/core/errors.ts";
import { HEARD_WITHIN_MS } from "../../src/core/pace.ts";
import type { Pipeline } from "../../src/pipeline/pipeline.ts";
import { openQueue } from "../../src/pipeline/queue.ts";
import { planResync } from "../../src/pipeline/resync.ts";
import type { DatabaseKind } from "../servers/index.ts";
import { available, FOUR_PAIRS, type TestPair, title } from "../support/pairs.ts";
import { asPlainRole } from "../support/plain-role.ts";
import { resync } from "../support/resync.ts";
import type { SqlClient } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { contents, createTables, insertRow, type TestTable } from "../support/test-tables.ts";

const PARENTS: TestTable = {
  name: "parents",
  columns: { id: "integer", note: "varchar" },
  key: ["id"],
};
const CHILDREN: TestTable = {
  name: "children",
  columns: { id: "integer", parent: "integer" },
  key: ["id"],
  references: { parent: "parents" },
};
const OTHERS: TestTable = { ...PARENTS, name: "others" };
const BAG: TestTable = { ...PARENTS, name: "bag", key: [] };
const ALL = [PARENTS, CHILDREN, OTHERS, BAG];

describe.each(FOUR_PAIRS.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  const it = test.skipIf(!available(pair));

  it("mends a target that was edited, while all else goes on", async () => {
    await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    const [source, target] = [await prepared(bed, pair.source), await bed.sql("target")];
    const definition = define(bed);
    const pipeline = await bed.start(definition);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await insertRow(target, OTHERS, { id: 900, note: "not of the source" });
    await target.run("DELETE FROM others WHERE id = 2");
    await target.run("UPDATE parents SET note = 'edited' WHERE id = 1");
    await target.run("DELETE FROM children WHERE id = 11");
    await insertRow(target, BAG, { id: 1, note: "once more" });
    let id = 1_000;
    const write = async () => {
      for (const table of [PARENTS, OTHERS]) await insertRow(source, table, { id, note: "late" });
      await insertRow(source, CHILDREN, { id, parent: id });
      await source.run(`UPDATE others SET note = 'n${id++}' WHERE id = 1`);
    };
    const writing = (async () => {
      for (let n = 0; n < 30; n++) await write();
    })();
    await resync(bed, definition, ["others", "bag"]);
    await resync(bed, definition, ["parents", "children"]);
    await writing;
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    for (const table of ALL) await bed.expectSame(table);
    await write();
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    for (const table of ALL) await bed.expectSame(table);
  });

  it("begins anew at a target that has lost what was kept of its tables", async () => {
    await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    const [source, target] = [await prepared(bed, pair.source), await bed.sql("target")];
    const definition = define(bed);
    const first = await bed.start(definition);
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(first);
    for (const name of ["parked", "progress_tables", "progress"]) {
      await target.run(`DROP TABLE tidemark${target.dialect === "postgres" ? "." : "_"}${name}`);
    }
    await source.run("DELETE FROM others WHERE id = 2");
    await resync(bed, definition, ["*"]);
    const pipeline = await bed.start(definition);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    for (const table of ALL) await bed.expectSame(table);
  });

  it("mends capture that was broken, for one target and for all", async () => {
    await using bed = await TestBed.make(
      { source: pair.source, target: pair.target, second: pair.target },
      pair,
    );
    const source = await prepared(bed, pair.source);
    const definition = define(bed, ["target", "second"]);
    const first = await bed.start(definition);
    await insertRow(source, OTHERS, { id: 5, note: "seen" });
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    await insertRow(source, OTHERS, { id: 6, note: "seen, not applied" });
    await bed.stop(first);
    await source.run(await dropOurTrigger(source));
    await source.run("DELETE FROM others WHERE id = 6");
    await insertRow(source, OTHERS, { id: 7, note: "unseen" });
    await source.run("UPDATE others SET note = 'unseen' WHERE id = 1");
    const breaks = () =>
      expect(bed.start(definition)).rejects.toMatchObject({ code: "TM-CAPTURE-BROKEN" });
    await breaks();
    // The second target would never hear of what went by.
    await resync(bed, definition, ["others"], "source->target");
    await breaks();
    await resync(bed, definition, ["oth*"]);
    const pipeline = await bed.start(definition);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await insertRow(source, OTHERS, { id: 8, note: "seen again" });
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    for (const to of ["target", "second"]) {
      for (const table of ALL) await bed.expectSame(table, { to });
    }
  });
});

const UNSEEN: readonly TestPair[] = [
  { source: "mariadb", target: "postgres", queue: "embedded" },
  { source: "mysql", target: "mariadb", queue: "embedded" },
];

describe.each(UNSEEN.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  test.skipIf(!available(pair))("mends a TRUNCATE that no trigger saw", async () => {
    await using bed = await TestBed.make({ source: pair.source, target: pair.target });
    const source = await prepared(bed, pair.source);
    const definition = define(bed);
    const first = await bed.start(definition);
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    await source.run("TRUNCATE TABLE others");
    await insertRow(source, OTHERS, { id: 3, note: "after" });
    await expect(first.finished).rejects.toSatisfy((error) =>
      isTidemarkError(error, "TM-TRUNCATE-UNSEEN"),
    );
    await bed.stop(first);
    await resync(bed, definition, ["others"]);
    const pipeline = await bed.start(definition);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    for (const table of ALL) await bed.expectSame(table);
    expect(await contents(source, OTHERS)).toHaveLength(1);
  });
});

test.skipIf(!available({ source: "sqlite", target: "postgres", queue: "embedded" }))(
  "empties children before parents, and nothing that a foreign key would take along, where it may not relax them",
  async () => {
    await using bed = await TestBed.make({ source: "sqlite", target: "postgres" });
    await prepared(bed, "sqlite");
    const target = await bed.sql("target");
    await asPlainRole(bed, define(bed), async (limited) => {
      const first = await bed.start(limited);
      await first.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.stop(first);

      const key = "ADD CONSTRAINT up FOREIGN KEY (parent) REFERENCES parents (id)";
      await target.run(`ALTER TABLE children ${key}`);
      await target.run("UPDATE children SET parent = 2 WHERE id = 11");
      await resync(bed, limited, ["parents", "children"]);
      for (const table of [PARENTS, CHILDREN]) expect(await contents(target, table)).toEqual([]);
      const second = await bed.start(limited);
      await second.waitFor({ timeoutMs: PATIENCE_MS });
      for (const table of ALL) await bed.expectSame(table);
      await bed.stop(second);

      await target.run("ALTER TABLE children DROP CONSTRAINT up");
      await target.run(`ALTER TABLE children ${key} ON DELETE CASCADE`);
      await expect(resync(bed, limited, ["parents"])).rejects.toMatchObject({
        code: "TM-APPLY-CONSTRAINT",
        fix: expect.stringContaining("session_replication_role"),
      });
      for (const table of ALL) await bed.expectSame(table);
    });
  },
);

describe("SQLite: while no run is at work, a table's triggers", () => {
  /** With a folder for locks of its own, as another user has. */
  async function unseen(work: () => Promise<void>): Promise<void> {
    const folder = process.env.TMPDIR;
    const other = mkdtempSync(join(tmpdir(), "tidemark-other-"));
    process.env.TMPDIR = other;
    try {
      await work();
    } finally {
      if (folder === undefined) delete process.env.TMPDIR;
      else process.env.TMPDIR = folder;
      rmSync(other, { recursive: true, force: true });
    }
  }

  const triggers = async (source: SqlClient) =>
    (await source.rows("SELECT name FROM sqlite_schema WHERE type = 'trigger'"))
      .map(({ name }) => String(name))
      .filter((name) => name.startsWith("tidemark_parents_"));

  test("go until it is copied anew, so that a column can be dropped; what is written meanwhile is copied", async () => {
    await using bed = await TestBed.make({ source: "sqlite", target: "sqlite" });
    const source = await prepared(bed, "sqlite");
    const definition = define(bed);
    const first = await bed.start(definition);
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    await expect(source.run("ALTER TABLE parents DROP COLUMN note")).rejects.toThrow(/trigger/);
    // At work, the relay would take them for broken.
    await resync(bed, definition, ["parents", "children"]);
    expect(await triggers(source)).not.toEqual([]);
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    // Nor where its lease is not to be seen, as that of another user's.
    await unseen(() => resync(bed, definition, ["parents", "children"]));
    expect(await triggers(source)).not.toEqual([]);
    await bed.stop(first);
    await insertRow(source, PARENTS, { id: 7, note: "logged, and never cut" });
    await resync(bed, definition, ["parents", "children"]);
    await source.run("DELETE FROM parents WHERE id = 7");
    await source.run("DELETE FROM children WHERE parent = 1");
    await source.run("DELETE FROM parents WHERE id = 1");
    await insertRow(source, PARENTS, { id: 8, note: "unlogged" });
    for (const end of ["source", "target"] as const)
      await (await bed.sql(end)).run("ALTER TABLE parents DROP COLUMN note");
    const pipeline = await bed.start(definition);
    await source.run("INSERT INTO parents VALUES (9)");
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame({ ...PARENTS, columns: { id: "integer" } });
    await bed.expectSame(CHILDREN);
  });

  test("stay where a sync of another config has the log kept for it", async () => {
    await using bed = await TestBed.make({ source: "sqlite", target: "sqlite" });
    const source = await prepared(bed, "sqlite");
    const definition = define(bed);
    const first = await bed.start(definition);
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(first);
    // With a queue elsewhere, its relay is not to be seen.
    await (await planResync(definition, { tables: ["parents"], logger: bed.logger })).run(
      null,
      PATIENCE_MS,
    );
    expect(await triggers(source)).not.toEqual([]);
    const records = `${bed.database("source").url.replace("sqlite:", "")}-tidemark`;
    await source.run(`ATTACH '${records}' AS records`);
    await source.run("INSERT INTO tidemark_subscribers (sync, confirmed) VALUES ('elsewhere', 0)");
    await source.run("DETACH records");
    await resync(bed, definition, ["parents", "children"]);
    expect(await triggers(source)).not.toEqual([]);
  });
});

test.skipIf(!available({ source: "postgres", target: "sqlite", queue: "embedded" }))(
  "nobody is listened for where no trigger is in the way",
  async () => {
    await using bed = await TestBed.make({ source: "postgres", target: "sqlite" });
    await prepared(bed, "postgres");
    const definition = define(bed);
    const pipeline = await bed.start(definition);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(pipeline);
    const queue = await openQueue(definition.queue, bed.logger);
    const told = (await queue.documents.get(keys.relay("source"))) as SourceStatus;
    // As one says that was killed.
    await queue.documents.put(keys.relay("source"), { ...told, state: "running" });
    await queue.close();
    const from = performance.now();
    await resync(bed, definition, ["parents", "children"]);
    expect(performance.now() - from).toBeLessThan(HEARD_WITHIN_MS);
  },
);

test("tables and syncs that are not there are told by name", async () => {
  await using bed = await TestBed.make({ source: "sqlite", target: "sqlite" });
  await prepared(bed, "sqlite");
  const definition = define(bed);
  const plan = (tables: readonly string[], sync?: string) =>
    planResync(definition, { tables, sync, logger: bed.logger });
  await expect(plan(["othres"])).rejects.toMatchObject({
    code: "TM-USAGE",
    message: expect.stringContaining('"othres"'),
  });
  await expect(plan(["others"], "source->elsewhere")).rejects.toMatchObject({ code: "TM-USAGE" });
});

test("the applier at work refuses what it does not have, and empties nothing", async () => {
  await using bed = await TestBed.make({ source: "sqlite", target: "sqlite" });
  await prepared(bed, "sqlite");
  const pipeline = await bed.start(
    bed.define([{ from: "source", to: "target", tables: ["others"] }]),
  );
  await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
  await createTables(await bed.sql("target"), "sqlite", [BAG]);
  const more = bed.define([{ from: "source", to: "target", tables: ["others", "bag"] }]);
  await expect(resync(bed, more, ["others", "bag"])).rejects.toMatchObject({
    code: "TM-USAGE",
    message: expect.stringMatching(/does not have bag/),
  });
  expect(await contents(await bed.sql("target"), OTHERS)).toHaveLength(3);
});

test("a function that is called by an applier at work is handed the table anew", async () => {
  await using bed = await TestBed.make({ source: "sqlite" });
  await prepared(bed, "sqlite");
  const rows = new Map<string, RowChange>();
  const keep = ({ changes }: Delivery) => {
    for (const change of changes) {
      if (change.op === "clear") rows.clear();
      else rows.set(JSON.stringify(change.key), change);
    }
  };
  const syncs = [{ from: "source", to: "kept", tables: ["others"] }];
  const definition = bed.define(syncs, { kept: keep });
  const pipeline = await bed.start(definition);
  await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
  expect(rows.size).toBe(3);
  rows.clear();
  await resync(bed, definition, ["others"]);
  await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
  expect(rows.size).toBe(3);
});

test("so is one that is long at work at that moment", async () => {
  await using bed = await TestBed.make({ source: "sqlite" });
  const source = await prepared(bed, "sqlite");
  const called: string[] = [];
  const begun = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  const keep = async ({ changes }: Delivery) => {
    called.push(...changes.map(({ op }) => op));
    if (!changes.some(({ op }) => op === "remove")) return;
    begun.resolve();
    await held.promise;
  };
  const syncs = [{ from: "source", to: "kept", tables: ["others"] }];
  const definition = bed.define(syncs, { kept: keep });
  const pipeline = await bed.start(definition);
  await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
  await source.run("DELETE FROM others WHERE id = 1");
  await begun.promise;
  const resyncing = resync(bed, definition, ["others"]);
  await Promise.race([resyncing, ordered(pipeline, "source->kept")]);
  held.resolve();
  await resyncing;
  await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
  expect(called).toEqual(["clear", "put", "put", "put", "remove", "clear", "put", "put"]);
});

/** Resolves when somebody asks the applier of the sync for something. */
async function ordered({ queue }: Pipeline, sync: string): Promise<void> {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  for await (const { value } of queue.documents.watch(keys.orders(sync), signal))
    if (value !== null) return;
}

async function prepared(bed: TestBed, kind: DatabaseKind): Promise<SqlClient> {
  const source = await bed.sql("source");
  // Of a file in another mode a table without a key is refused.
  if (source.dialect === "sqlite") await source.rows("PRAGMA journal_mode = WAL");
  await createTables(source, kind, ALL);
  for (const id of [1, 2, 3]) {
    for (const table of [PARENTS, OTHERS, BAG]) await insertRow(source, table, { id, note: "n" });
    await insertRow(source, CHILDREN, { id: 10 + id, parent: id });
  }
  return source;
}

function define(bed: TestBed, targets: readonly string[] = ["target"]): PipelineDefinition {
  const tables = ALL.map(({ name }) => name);
  return bed.define(targets.map((to) => ({ from: "source", to, tables })));
}

async function dropOurTrigger(sql: SqlClient): Promise<string> {
  switch (sql.dialect) {
    case "postgres":
      return "DROP TRIGGER tidemark_insert ON others";
    case "sqlite":
      return "DROP TRIGGER tidemark_others_insert";
    case "mariadb": {
      const [row] = await sql.rows(
        `SELECT TRIGGER_NAME AS name FROM information_schema.TRIGGERS
         WHERE TRIGGER_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE = 'others' AND EVENT_MANIPULATION = 'INSERT'`,
      );
      return `DROP TRIGGER ${row?.name}`;
    }
  }
}
