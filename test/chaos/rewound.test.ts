// A source that is restored to the past, or replaced by a copy, is another history. Going on as if
// nothing had happened would leave the target wrong for good, so the pipeline stops and names it (G8).
import { copyFileSync, cpSync, existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { PipelineDefinition } from "../../src/core/definition.ts";
import { toTidemarkError } from "../../src/core/errors.ts";
import { diagnose } from "../../src/pipeline/diagnose.ts";
import type { Pipeline } from "../../src/pipeline/pipeline.ts";
import { uninstall } from "../../src/pipeline/uninstall.ts";
import { natsBed } from "../queues/nats-bed.ts";
import { available, natsUrl } from "../servers/index.ts";
import { backupOf } from "../support/backup.ts";
import { resync } from "../support/resync.ts";
import { CUSTOMERS } from "../support/shop-tables.ts";
import { dialectOf, type SqlClient, withSql } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow } from "../support/test-tables.ts";

describe.each(["sqlite", "postgres", "mariadb", "mysql"] as const)("%s", (kind) => {
  const backup = backupOf(kind);
  test.skipIf(!available(kind) || backup === null).each(["fewer", "more"] as const)(
    "restored to the past, and gone on with %s batches than were published",
    async (batches) => {
      await using bed = await TestBed.make({ source: kind, target: "sqlite" });
      const source = bed.database("source");
      await withSql(source, async (sql) => {
        await createTables(sql, kind, [CUSTOMERS]);
        await insertRow(sql, CUSTOMERS, { id: 1, name: "first", credit: 0 });
      });
      const definition = bed.define([{ from: "source", to: "target", tables: ["customers"] }]);
      const insert = async (from: number, to: number, name: string) => {
        const pipeline = await bed.start(definition);
        await withSql(source, async (sql) => {
          for (let id = from; id <= to; id++) {
            await insertRow(sql, CUSTOMERS, { id, name: `${name} ${id}`, credit: id });
            await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
          }
        });
        await bed.stop(pipeline);
      };
      await insert(2, 4, "before");
      await backup?.take(bed);
      await insert(5, 10, "forgotten");
      await backup?.restore(bed);
      await withSql(source, async (sql) => {
        const last = batches === "fewer" ? 6 : 60;
        for (let id = 5; id <= last; id++) {
          await insertRow(sql, CUSTOMERS, { id, name: `after ${id}`, credit: 0 });
        }
      });
      const target = await bed.sql("target");
      const before = await target.rows("SELECT * FROM customers ORDER BY id");

      const outcome = () =>
        bed.start(definition).then(
          async (pipeline) => {
            await expect(pipeline.waitFor({ timeoutMs: PATIENCE_MS })).rejects.toMatchObject({
              code: "TM-SYNC-STOPPED",
            });
            return await pipeline.finished.catch((error: unknown) => error);
          },
          (error: unknown) => error,
        );
      if (dialectOf(kind) === "mariadb") {
        // The server has made the tables anew. Whoever takes that for a rebuild is told all the same.
        expect(await outcome()).toMatchObject({
          code: "TM-TRUNCATE-UNSEEN",
          fix: expect.stringContaining("TM-SOURCE-REWOUND"),
        });
        await withSql(source, (sql) => sql.run("UPDATE tidemark_layouts SET table_id = NULL"));
      }
      expect(await outcome()).toMatchObject({
        code: expect.stringMatching(/TM-(SOURCE-REWOUND|SOURCE-CLONED|TIMELINE-CHANGED)/),
        fix: expect.stringMatching(/./),
      });
      expect(await target.rows("SELECT * FROM customers ORDER BY id")).toEqual(before);
    },
  );
});

// The queue knows nothing of the batches that the source has no more: only the targets do.
describe.each([
  ["an embedded queue that is new", "sqlite", "lost"],
  ["an embedded queue put back with it", "sqlite", "restored"],
  ["another NATS", "nats", "lost"],
] as const)("restored to the past, with %s", (_, queue, became) => {
  const testThere = test.skipIf(queue === "nats" && !available("nats"));

  testThere.each([[["all"]], [["relay", "applier"]]] as const)(
    "is named before anything is passed by, by %j",
    async (roles) => {
      await using bed = await TestBed.make({ source: "sqlite", target: "sqlite" });
      const { definition, dispose } = await restored(bed, ["source"], { queue, became });
      const [source, target] = [await bed.sql("source"), await bed.sql("target")];
      await insertRow(source, CUSTOMERS, { id: 20, name: "after", credit: 0 });
      const logged = await source.rows(NEWEST_LOGGED);
      const before = await target.rows("SELECT * FROM customers ORDER BY id");
      const codes = await codesOf(bed, definition, roles);
      expect(codes).toEqual(roles.map(() => "TM-SOURCE-REWOUND"));
      expect(await target.rows("SELECT * FROM customers ORDER BY id")).toEqual(before);
      expect(await source.rows(NEWEST_LOGGED)).toEqual(logged);

      // As its page says.
      const databases = definition.databases.filter(({ name }) => name === "source");
      await uninstall({ ...definition, databases }, bed.logger);
      await resync(bed, definition, ["*"]);
      expect(await codesOf(bed, definition, roles)).toEqual(roles.map(() => null));
      await bed.expectSame(CUSTOMERS);
      await dispose();
    },
  );

  testThere("is no matter to a target that was put back with it", async () => {
    await using bed = await TestBed.make({ source: "sqlite", target: "sqlite" });
    const { definition, dispose } = await restored(bed, ["source", "target"], { queue, became });
    await insertRow(await bed.sql("source"), CUSTOMERS, { id: 20, name: "after", credit: 0 });
    const pipeline = await bed.start(definition);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(CUSTOMERS);
    await bed.stop(pipeline);
    await dispose();
  });
});

// What it held is not known, and made anew it would look as if that had been nothing.
describe.each([
  ["postgres", "tidemark.change_log_0"],
  ["mariadb", "tidemark_change_log"],
  ["mysql", "tidemark_change_log"],
  ["sqlite", "tidemark_change_log"],
  ["sqlite", "tidemark_layouts"],
] as const)("%s, of whose change log %s is dropped", (kind, dropped) => {
  test.skipIf(!available(kind))("is named at every start until it begins anew", async () => {
    await using bed = await TestBed.make({ source: kind, target: "sqlite" });
    // SQLite does not always see in one session what another has done to its triggers.
    const atSource = (work: (sql: SqlClient) => Promise<unknown>) =>
      withSql(bed.database("source"), work);
    const drop = (table: string) => atSource((sql) => sql.run(`DROP TABLE ${table}`));
    const insert = (id: number) =>
      atSource((sql) => insertRow(sql, CUSTOMERS, { id, name: "n", credit: 0 }));
    await atSource((sql) => createTables(sql, kind, [CUSTOMERS]));
    await insert(1);
    const definition = bed.define([{ from: "source", to: "target", tables: ["customers"] }]);
    expect(await codesOf(bed, definition, ["all"])).toEqual([null]);
    await insert(2);
    await drop(dropped);
    for (let start = 1; start <= 2; start++) {
      expect(await codesOf(bed, definition, ["all"])).toEqual(["TM-SOURCE-REWOUND"]);
    }
    const lost = expect.objectContaining({ check: "log-lost", severity: "error" });
    expect(await findingsOn(bed, definition)).toContainEqual(lost);
    if (kind !== "postgres") {
      // Its triggers go with its schema.
      for (const name of OUR_TABLES) await drop(`IF EXISTS tidemark_${name}`);
      expect(await findingsOn(bed, definition)).toContainEqual(lost);
    }
    await uninstall(definition, bed.logger);
    await (await bed.sql("target")).run("DELETE FROM customers");
    await insert(3);
    expect(await codesOf(bed, definition, ["all"])).toEqual([null]);
    await bed.expectSame(CUSTOMERS);
  });
});

const OUR_TABLES = ["change_log", "batches", "layouts", "subscribers", "source"];

async function findingsOn(bed: TestBed, definition: PipelineDefinition) {
  return (await diagnose(definition, bed.logger)).flatMap(({ findings }) => findings);
}

// The stream is empty, and nothing is written that would tell.
describe.each(["another database", "a copy of it"] as const)("replaced by %s", (what) => {
  const KINDS = { source: "sqlite", other: "sqlite", target: "sqlite" } as const;

  async function applied(bed: TestBed): Promise<PipelineDefinition> {
    const source = bed.database("source");
    await withSql(source, async (sql) => {
      await createTables(sql, "sqlite", [CUSTOMERS]);
      await insertRow(sql, CUSTOMERS, { id: 1, name: "first", credit: 0 });
    });
    return bed.define([{ from: "source", to: "target", tables: ["customers"] }]);
  }

  async function replaced(bed: TestBed, definition: PipelineDefinition) {
    const [{ url }, other] = [bed.database("source"), bed.database("other")];
    if (what === "a copy of it") {
      copyFileSync(url.replace("sqlite:", ""), other.url.replace("sqlite:", ""));
    } else await withSql(other, (sql) => createTables(sql, "sqlite", [CUSTOMERS]));
    const databases = definition.databases.map((each) =>
      each.name === "source" ? { ...each, url: other.url } : each,
    );
    return { ...definition, databases };
  }

  const stopped = { code: "TM-SYNC-STOPPED", details: { code: "TM-TIMELINE-CHANGED" } };

  test("is named at the next start", async () => {
    await using bed = await TestBed.make(KINDS);
    const definition = await applied(bed);
    const before = await bed.start(definition);
    await before.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(before);
    const other = await replaced(bed, definition);
    expect(await codesOf(bed, other, ["all"])).toEqual(["TM-TIMELINE-CHANGED"]);

    // As its page says.
    await withSql(bed.database("other"), (sql) =>
      insertRow(sql, CUSTOMERS, { id: 2, name: "of the other", credit: 0 }),
    );
    await resync(bed, other, ["*"]);
    expect(await codesOf(bed, other, ["all"])).toEqual([null]);
    await bed.expectSame(CUSTOMERS, { from: "other" });
  });

  test("is named by an applier that goes on meanwhile", async () => {
    await using bed = await TestBed.make(KINDS);
    const definition = await applied(bed);
    const [relay, applier] = await Promise.all([
      bed.start(definition, { role: "relay" }),
      bed.start(definition, { role: "applier" }),
    ]);
    await applier.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(relay);
    await bed.start(await replaced(bed, definition), { role: "relay" });
    await expect(applier.waitFor({ timeoutMs: PATIENCE_MS })).rejects.toMatchObject(stopped);
  });
});

const NEWEST_LOGGED = "SELECT max(id) FROM tidemark_change_log";

/** Puts these databases back to before the last three batches; the queue goes back with them, or is another one. */
async function restored(
  bed: TestBed,
  databases: readonly string[],
  { queue, became }: { readonly queue: "sqlite" | "nats"; readonly became: "lost" | "restored" },
): Promise<{ readonly definition: PipelineDefinition; dispose(): Promise<void> }> {
  const source = bed.database("source");
  await withSql(source, (sql) => createTables(sql, "sqlite", [CUSTOMERS]));
  const queues = ["first", "second"].map((name) =>
    queue === "nats"
      ? natsBed(natsUrl())
      : { url: `sqlite:${join(bed.folder, name, "queue.db")}`, dispose: async () => {} },
  );
  const [first, second] = queues.map(({ url }) => {
    const definition = bed.define([{ from: "source", to: "target", tables: ["customers"] }]);
    return { ...definition, queue: { ...definition.queue, url } };
  }) as [PipelineDefinition, PipelineDefinition];
  const insert = async (from: number, to: number) => {
    const pipeline = await bed.start(first);
    for (let id = from; id <= to; id++) {
      await withSql(source, (sql) => insertRow(sql, CUSTOMERS, { id, name: `${id}`, credit: 0 }));
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    }
    await bed.stop(pipeline);
  };
  await insert(1, 3);
  const paths = databases
    .map((name) => bed.database(name).url.replace("sqlite:", ""))
    .flatMap((path) => [path, `${path}-tidemark`])
    .filter((path) => existsSync(path));
  for (const path of paths) copyFileSync(path, `${path}.backup`);
  if (became === "restored")
    cpSync(join(bed.folder, "first"), join(bed.folder, "second"), { recursive: true });
  await insert(4, 6);
  for (const path of paths) {
    for (const suffix of ["-wal", "-shm"]) rmSync(path + suffix, { force: true });
    copyFileSync(`${path}.backup`, path);
  }
  const dispose = async () => {
    for (const each of queues) await each.dispose();
  };
  return { definition: second, dispose };
}

type Role = "all" | "relay" | "applier";

/** Why processes with these roles stop, or are told that another one has; null when all is in step. They end together. */
async function codesOf(
  bed: TestBed,
  definition: PipelineDefinition,
  roles: readonly Role[],
): Promise<readonly unknown[]> {
  const started: Pipeline[] = [];
  const codes = await Promise.all(
    roles.map(async (role) => {
      try {
        const pipeline = await bed.start(definition, { role });
        started.push(pipeline);
        await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
        return null;
      } catch (error) {
        const { code, details } = toTidemarkError(error);
        return code === "TM-SYNC-STOPPED" ? details.code : code;
      }
    }),
  );
  await Promise.all(started.map((pipeline) => bed.stop(pipeline)));
  return codes;
}
