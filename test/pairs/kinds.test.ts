// Kinds of tables: what is synced, what is refused before the start, what is found out while it runs (G1, G8).
import { describe, expect, test } from "vitest";
import type { PipelineDefinition } from "../../src/core/definition.ts";
import { type ErrorCode, isTidemarkError } from "../../src/core/errors.ts";
import { diagnose } from "../../src/pipeline/diagnose.ts";
import type { Pipeline } from "../../src/pipeline/pipeline.ts";
import { makePlan } from "../../src/pipeline/plan.ts";
import type { DatabaseKind } from "../servers/index.ts";
import { available } from "../support/pairs.ts";
import { player, startPlayer } from "../support/player.ts";
import { resync } from "../support/resync.ts";
import { openSql, transaction } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { contents, inventory, type TestTable } from "../support/test-tables.ts";

const ITEMS: TestTable = {
  name: "items",
  columns: { id: "integer", v: "varchar" },
  key: ["id"],
};

const CREATE_ITEMS = "CREATE TABLE items (id int PRIMARY KEY, v varchar(200))";
const BASE = "CREATE TABLE base (id int PRIMARY KEY, v varchar(200))";
/** Of the tables that inherit from them. */
const MORE: TestTable = { ...ITEMS, name: "more", columns: { ...ITEMS.columns, w: "integer" } };

const pair = (source: DatabaseKind) => ({ source, target: "sqlite", queue: "embedded" }) as const;
const runs = (source: DatabaseKind) => available(pair(source));

async function bedWith(
  source: DatabaseKind,
  statements: readonly string[],
  target: DatabaseKind = "sqlite",
): Promise<TestBed> {
  const bed = await TestBed.make({ source, target });
  const sql = await bed.sql("source");
  for (const statement of statements) await sql.run(statement);
  return bed;
}

const define = (bed: TestBed, ...tables: string[]) =>
  bed.define([{ from: "source", to: "target", tables }]);

/** With row-level security on the table, and a role for which it holds; takes the role away in the end. */
async function asRoleThatMayNotSeeAll(
  bed: TestBed,
  name: "source" | "target",
  work: (
    names: { readonly role: string; readonly database: string | null },
    url: string,
  ) => Promise<void>,
): Promise<void> {
  const sql = await bed.sql(name);
  const [{ database = "" } = {}] = await sql.rows("SELECT current_database() AS database");
  const role = `hidden_${database}`;
  await sql.run(`CREATE ROLE "${role}" LOGIN PASSWORD 'tidemark'`);
  try {
    await sql.run("ALTER TABLE items ENABLE ROW LEVEL SECURITY");
    const url = new URL(bed.database(name).url);
    [url.username, url.password] = [role, "tidemark"];
    await work({ role, database }, url.href);
  } finally {
    await sql.run(`DROP OWNED BY "${role}" CASCADE`);
    await sql.run(`DROP ROLE "${role}"`);
  }
}

function withUrl(definition: PipelineDefinition, name: string, url: string): PipelineDefinition {
  const databases = definition.databases.map((each) => (each.name === name ? { name, url } : each));
  return { ...definition, databases };
}

async function stops(pipeline: Pipeline, code: ErrorCode, words: RegExp): Promise<void> {
  await expect(pipeline.finished).rejects.toSatisfy(tells(code, words));
}

function tells(code: ErrorCode, words: RegExp): (error: unknown) => boolean {
  return (error) => isTidemarkError(error, code) && words.test(`${error.message} ${error.fix}`);
}

describe.skipIf(!runs("postgres"))("PostgreSQL", () => {
  const PARTITIONED = [
    "CREATE TABLE items (id int, v varchar(200), PRIMARY KEY (id)) PARTITION BY RANGE (id)",
    "CREATE TABLE low PARTITION OF items FOR VALUES FROM (0) TO (100)",
    "CREATE TABLE high PARTITION OF items FOR VALUES FROM (100) TO (200) PARTITION BY LIST (id)",
    "CREATE TABLE higher PARTITION OF high FOR VALUES IN (100, 101, 102)",
    "INSERT INTO items VALUES (1, 'a'), (2, 'b'), (100, 'c')",
  ];

  test("partitions: rows move, are written straight, and partitions come and go", async () => {
    await using bed = await bedWith("postgres", PARTITIONED);
    const source = await bed.sql("source");
    const pipeline = await bed.start(define(bed, "items"));
    const play = await player(bed, pipeline, { tables: [ITEMS] });
    await play(
      "UPDATE items SET id = 101 WHERE id = 1",
      "INSERT INTO higher VALUES (102, 'straight')",
    );
    await play(
      "CREATE TABLE later PARTITION OF items FOR VALUES FROM (200) TO (300)",
      "INSERT INTO items VALUES (200, 'new')",
      "INSERT INTO later VALUES (201, 'straight')",
    );
    await play("UPDATE items SET v = v || '!'", "DELETE FROM higher WHERE id = 100");
    // As pg_partman makes them ahead of time.
    await play(
      "CREATE TABLE ahead (LIKE items INCLUDING ALL)",
      "ALTER TABLE items ATTACH PARTITION ahead FOR VALUES FROM (400) TO (500)",
    );
    await play("INSERT INTO items VALUES (400, 'when it is time')", "DELETE FROM low WHERE id = 2");
    await transaction(source, async () => {
      await source.run("CREATE TABLE filled (LIKE items INCLUDING ALL)");
      await source.run("INSERT INTO filled VALUES (300, 'unseen')");
      await source.run("ALTER TABLE items ATTACH PARTITION filled FOR VALUES FROM (300) TO (400)");
    });
    await stops(
      pipeline,
      "TM-CAPTURE-BROKEN",
      /public\.filled was attached.*UPDATE public\.filled SET "id" = "id"/,
    );
    await bed.stop(pipeline);

    // As the message says.
    await source.run('UPDATE filled SET "id" = "id"');
    await source.run(
      "UPDATE tidemark.layouts SET partitions = NULL WHERE table_oid = 'public.items'::regclass",
    );
    const second = await bed.start(define(bed, "items"));
    await second.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(ITEMS);
    await source.run("ALTER TABLE items DETACH PARTITION low");
    await stops(second, "TM-CAPTURE-BROKEN", /low was detached or dropped/);
    await bed.stop(second);

    // It comes back, with triggers that are others now.
    await source.run("UPDATE low SET v = v || '?'");
    await source.run("ALTER TABLE items ATTACH PARTITION low FOR VALUES FROM (0) TO (100)");
    await source.run('UPDATE low SET "id" = "id"');
    await source.run(
      "UPDATE tidemark.layouts SET partitions = NULL WHERE table_oid = 'public.items'::regclass",
    );
    const third = await bed.start(define(bed, "items"));
    await third.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(ITEMS);
  });

  test("a partition truncated by who does not see all its rows stops, and a resync mends it", async () => {
    await using bed = await bedWith("postgres", PARTITIONED);
    const source = await bed.sql("source");
    await using other = await openSql(bed.database("source"));
    const definition = define(bed, "items");
    const first = await bed.start(definition);
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    await source.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    await source.rows("SELECT FROM items");
    await other.run("INSERT INTO items VALUES (3, 'unseen')");
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    await source.run("TRUNCATE low");
    await source.run("COMMIT");
    const stopped = /truncated by a transaction in REPEATABLE READ.*tidemark resync public\.items/;
    await stops(first, "TM-CAPTURE-BROKEN", stopped);
    await bed.stop(first);
    // Nor does it pass it by when it is started again.
    await expect(bed.start(definition)).rejects.toMatchObject({ code: "TM-CAPTURE-BROKEN" });
    await resync(bed, definition, ["public.items"]);
    const second = await bed.start(definition);
    await source.run("INSERT INTO items VALUES (4, 'after')");
    await second.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(ITEMS);
  });

  test("a partition dropped is found out at the next start, too", async () => {
    await using bed = await bedWith("postgres", PARTITIONED);
    const first = await bed.start(define(bed, "items"));
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(first);
    await (await bed.sql("source")).run("DROP TABLE low");
    const second = await bed.start(define(bed, "items"));
    await stops(second, "TM-CAPTURE-BROKEN", /low was detached or dropped/);
  });

  describe.each(["sqlite", "postgres", "mariadb"] as const)("to %s", (target) => {
    const reaches = available({ ...pair("postgres"), target });

    test.skipIf(!reaches)("the rows of partitions arrive in one table", async () => {
      await using bed = await bedWith("postgres", PARTITIONED, target);
      const play = await startPlayer(bed, { tables: [ITEMS] });
      await play(
        "UPDATE items SET id = 101 WHERE id = 1",
        "INSERT INTO higher VALUES (102, 'straight')",
        "DELETE FROM low",
      );
      await play("INSERT INTO items VALUES (1, 'again')", "TRUNCATE high");
    });

    test.skipIf(!reaches)("tables that inherit are tables of their own", async () => {
      await using bed = await bedWith(
        "postgres",
        [
          "CREATE TABLE items (id int PRIMARY KEY, v varchar(200))",
          "CREATE TABLE more (w int, PRIMARY KEY (id)) INHERITS (items)",
          "INSERT INTO items VALUES (1, 'parent')",
          "INSERT INTO more VALUES (1, 'child', 1), (2, 'child', 2)",
        ],
        target,
      );
      const source = await bed.sql("source");
      const pipeline = await bed.start(define(bed, "public.*"));
      // A plain read of the parent gives the rows of both.
      const arrives = async (parents: number, children: number) => {
        await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
        const own = "SELECT id, v FROM ONLY items";
        expect(await contents(await bed.sql("target"), ITEMS)).toEqual(await source.rows(own));
        expect(await source.rows(own)).toHaveLength(parents);
        await bed.expectSame(MORE);
        expect(await contents(source, MORE)).toHaveLength(children);
      };
      await arrives(1, 2);
      await source.run("UPDATE items SET v = v || '!'");
      await source.run("DELETE FROM items WHERE id = 2");
      await arrives(1, 1);
      await source.run("TRUNCATE ONLY items");
      await arrives(0, 1);
      await source.run("INSERT INTO items VALUES (7, 'parent again')");
      await arrives(1, 1);
      await source.run("TRUNCATE items");
      await arrives(0, 0);
    });
  });

  test("what cannot be synced is refused by name, and no glob means it", async () => {
    await using bed = await bedWith("postgres", [
      "CREATE TABLE items (id int PRIMARY KEY, v varchar(200))",
      "CREATE VIEW a_view AS SELECT * FROM items",
      "CREATE MATERIALIZED VIEW a_matview AS SELECT * FROM items",
      "CREATE FOREIGN DATA WRAPPER nothing",
      "CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing",
      "CREATE FOREIGN TABLE a_foreign (id int) SERVER nowhere",
      "CREATE TEMPORARY TABLE a_temporary (id int PRIMARY KEY)",
      "CREATE SEQUENCE a_sequence",
    ]);
    for (const [name, words] of Object.entries({
      a_view: /is a view/,
      a_matview: /is a materialized view/,
      a_foreign: /is a foreign table/,
    })) {
      await expect(bed.open(define(bed, `public.${name}`))).rejects.toSatisfy(
        (error) => isTidemarkError(error, "TM-TABLE-UNSUPPORTED") && words.test(error.message),
      );
    }
    for (const [name, words] of Object.entries({
      a_temporary: /a temporary one has the name.*Make it an ordinary table/,
      a_sequence: /it is a sequence.*Sync the tables that take its numbers/,
    })) {
      await expect(bed.open(define(bed, `public.${name}`))).rejects.toSatisfy(
        (error) =>
          isTidemarkError(error, "TM-TABLE-MISSING") && words.test(`${error.message} ${error.fix}`),
      );
    }
    const pipeline = await bed.start(define(bed, "*"));
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    const tables = await inventory(await bed.sql("target"));
    expect(tables.filter((name) => /^table (?!tidemark|sqlite)/.test(name))).toEqual([
      "table items",
    ]);
  });

  test("an unlogged table, and rows hidden from us, are refused with what mends it", async () => {
    await using bed = await bedWith("postgres", [
      "CREATE UNLOGGED TABLE items (id int PRIMARY KEY, v varchar(200))",
    ]);
    const source = await bed.sql("source");
    await expect(bed.open(define(bed, "items"))).rejects.toSatisfy(
      (error) =>
        isTidemarkError(error, "TM-TABLE-UNSUPPORTED") && /SET LOGGED/.test(error.fix ?? ""),
    );
    await source.run("ALTER TABLE items SET LOGGED");
    await asRoleThatMayNotSeeAll(bed, "source", async ({ role, database }, url) => {
      await source.run(`GRANT CREATE ON DATABASE "${database}" TO "${role}"`);
      await source.run(`GRANT SELECT, TRIGGER ON items TO "${role}"`);
      await expect(bed.open(withUrl(define(bed, "items"), "source", url))).rejects.toSatisfy(
        (error) => isTidemarkError(error, "TM-GRANT-MISSING") && /BYPASSRLS/.test(error.fix ?? ""),
      );
    });
  });

  test("a partition that is a foreign table is found out, with what mends it", async () => {
    const keyless: TestTable = { ...ITEMS, key: [] };
    await using bed = await bedWith("postgres", [
      // One with a key can have no such partition.
      "CREATE TABLE items (id int, v varchar(200)) PARTITION BY RANGE (id)",
      "CREATE TABLE low PARTITION OF items FOR VALUES FROM (0) TO (100)",
      "CREATE TABLE high PARTITION OF items FOR VALUES FROM (100) TO (200) PARTITION BY RANGE (id)",
      "INSERT INTO items VALUES (1, 'a')",
      "CREATE FOREIGN DATA WRAPPER nothing",
      "CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing",
      "CREATE FOREIGN TABLE archive (id int, v varchar(200)) SERVER nowhere",
    ]);
    const source = await bed.sql("source");
    const first = await bed.start(define(bed, "public.items"));
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    await source.run("ALTER TABLE high ATTACH PARTITION archive FOR VALUES FROM (100) TO (200)");
    await source.run("INSERT INTO items VALUES (2, 'b')");
    const words =
      /public\.archive, a partition of public\.items.*ALTER TABLE public\.high DETACH PARTITION public\.archive;/;
    await stops(first, "TM-TABLE-UNSUPPORTED", words);
    await bed.stop(first);
    const reports = await diagnose(define(bed, "public.items"), bed.logger);
    expect(reports.flatMap(({ findings }) => findings).map(({ check }) => check)).toContain(
      "partition-foreign",
    );
    await stops(await bed.start(define(bed, "public.items")), "TM-TABLE-UNSUPPORTED", words);

    // As the message says.
    await source.run("ALTER TABLE public.high DETACH PARTITION public.archive");
    const third = await bed.start(define(bed, "public.items"));
    await third.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(keyless);
  });

  test.each<[string, string, readonly string[], readonly string[]]>([
    [
      "written, with a trigger of its own",
      "items",
      [
        CREATE_ITEMS,
        "CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER own AFTER INSERT ON items FOR EACH ROW EXECUTE FUNCTION own()",
      ],
      ["INSERT INTO items VALUES (1, 'unseen')"],
    ],
    [
      "deleted and written by one statement",
      "items",
      [CREATE_ITEMS, "INSERT INTO items VALUES (1, 'a')"],
      [
        `WITH came AS (INSERT INTO items VALUES (2, 'b') RETURNING id)
         DELETE FROM items USING came WHERE items.id = came.id - 1`,
      ],
    ],
    ["of a partition that is truncated", "low", PARTITIONED, ["TRUNCATE low"]],
  ])(
    "rows %s, and hidden from us by row-level security that came later, stop the sync",
    async (...of) => {
      const [, secured, statements, writes] = of;
      await using bed = await bedWith("postgres", statements);
      const source = await bed.sql("source");
      await asRoleThatMayNotSeeAll(bed, "source", async ({ role, database }, url) => {
        await source.run("ALTER TABLE items DISABLE ROW LEVEL SECURITY");
        await source.run(`GRANT CREATE ON DATABASE "${database}" TO "${role}"`);
        await source.run(`GRANT SELECT, TRIGGER ON ALL TABLES IN SCHEMA public TO "${role}"`);
        const definition = withUrl(define(bed, "items"), "source", url);
        const pipeline = await bed.start(definition);
        await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
        await source.run(`ALTER TABLE ${secured} ENABLE ROW LEVEL SECURITY`);
        for (const write of writes) await source.run(write);
        await stops(
          pipeline,
          "TM-CAPTURE-BROKEN",
          /Row-level security.*public\.items.*BYPASSRLS.*tidemark resync public\.items/,
        );
        await bed.stop(pipeline);

        await source.run(`ALTER ROLE "${role}" BYPASSRLS`);
        await resync(bed, definition, ["public.items"]);
        const second = await bed.start(definition);
        await second.waitFor({ timeoutMs: PATIENCE_MS });
        await bed.expectSame(ITEMS);
        await bed.stop(second);
      });
    },
  );

  test("schemas that exchange their names: no wait says that the other table's rows have arrived", async () => {
    await using bed = await bedWith("postgres", [
      ...["live", "staging"].flatMap((schema) => [
        `CREATE SCHEMA ${schema}`,
        CREATE_ITEMS.replace("items", `${schema}.items`),
        `INSERT INTO ${schema}.items VALUES (1, '${schema}')`,
      ]),
    ]);
    const source = await bed.sql("source");
    const pipeline = await bed.start(define(bed, "live.items"));
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await source.run(
      "BEGIN; ALTER SCHEMA live RENAME TO past; ALTER SCHEMA staging RENAME TO live; COMMIT",
    );
    await expect(pipeline.waitFor({ timeoutMs: PATIENCE_MS })).rejects.toSatisfy(
      tells("TM-SYNC-STOPPED", /live\.items was renamed to past\.items, and another/),
    );
  });

  test("schemas of the target that exchange their names: an empty table that takes the place is filled", async () => {
    await using bed = await bedWith("postgres", [CREATE_ITEMS], "postgres");
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    await source.run("INSERT INTO items VALUES (1, 'a'), (2, 'b')");
    for (const schema of ["live", "staging"]) {
      await target.run(`CREATE SCHEMA ${schema}`);
      await target.run(CREATE_ITEMS.replace("items", `${schema}.items`));
    }
    const tables = [{ table: "items", as: "live.items" }];
    const pipeline = await bed.start(bed.define([{ from: "source", to: "target", tables }]));
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await target.run(
      "BEGIN; ALTER SCHEMA live RENAME TO past; ALTER SCHEMA staging RENAME TO live; COMMIT",
    );
    await source.run("INSERT INTO items VALUES (3, 'c')");
    const rows = async () =>
      (await target.rows("SELECT id FROM live.items ORDER BY id")).map(({ id }) => id);
    await expect.poll(rows, { timeout: PATIENCE_MS }).toEqual(["1", "2", "3"]);
  });

  test("an unlogged table at the target is written, and copied anew when a crash has emptied it", async () => {
    await using bed = await bedWith("postgres", [CREATE_ITEMS], "postgres");
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    await source.run("INSERT INTO items VALUES (1, 'a'), (2, 'b')");
    await target.run(CREATE_ITEMS.replace("CREATE", "CREATE UNLOGGED"));
    const first = await bed.start(define(bed, "items"));
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(ITEMS);
    await bed.stop(first);
    // What the server's recovery does.
    await target.run("TRUNCATE items");
    const second = await bed.start(define(bed, "items"));
    await second.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(ITEMS);
  });

  test("one partition of the target that is unlogged is refused, with what mends it", async () => {
    const table = `${CREATE_ITEMS} PARTITION BY RANGE (id)`;
    await using bed = await bedWith("postgres", [CREATE_ITEMS], "postgres");
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    await source.run("INSERT INTO items VALUES (1, 'a'), (11, 'b')");
    await target.run(table);
    await target.run("CREATE TABLE high PARTITION OF items FOR VALUES FROM (10) TO (20)");
    await target.run("CREATE UNLOGGED TABLE low PARTITION OF items FOR VALUES FROM (0) TO (10)");
    await expect(bed.start(define(bed, "items"))).rejects.toSatisfy(
      tells("TM-COLUMN-UNFIT", /partition public\.low is unlogged.*"low" SET LOGGED/),
    );
    await target.run("ALTER TABLE high SET UNLOGGED");
    const first = await bed.start(define(bed, "items"));
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(first);
    // All are emptied together: that is seen.
    await target.run("TRUNCATE items");
    const second = await bed.start(define(bed, "items"));
    await second.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(ITEMS);
  });

  test("rows hidden from us at the target keep the sync from starting, with what mends it", async () => {
    await using bed = await bedWith("postgres", [CREATE_ITEMS], "postgres");
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    await target.run(CREATE_ITEMS);
    await asRoleThatMayNotSeeAll(bed, "target", async ({ role, database }, url) => {
      await target.run(`GRANT CREATE ON DATABASE "${database}" TO "${role}"`);
      await target.run(`GRANT SELECT, INSERT, UPDATE, DELETE ON items TO "${role}"`);
      await target.run("CREATE POLICY write ON items FOR INSERT WITH CHECK (true)");
      await source.run("INSERT INTO items VALUES (1, 'a')");
      await expect(bed.start(withUrl(define(bed, "items"), "target", url))).rejects.toSatisfy(
        tells("TM-GRANT-MISSING", /row-level security.*BYPASSRLS/),
      );
    });
  });
});

describe.each(["mariadb", "mysql"] as const)("%s", (kind) => {
  test.skipIf(!runs(kind))("partitions: new ones go on, what empties one stops", async () => {
    await using bed = await bedWith(kind, [
      `CREATE TABLE items (id int PRIMARY KEY, v varchar(200)) PARTITION BY RANGE (id)
         (PARTITION low VALUES LESS THAN (100), PARTITION high VALUES LESS THAN (200))`,
      "INSERT INTO items VALUES (1, 'a'), (150, 'b')",
      "CREATE TABLE beside (id int PRIMARY KEY, v varchar(200))",
      "INSERT INTO beside VALUES (151, 'swapped in')",
    ]);
    const source = await bed.sql("source");
    const first = await bed.start(define(bed, "items"));
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    await source.run("UPDATE items SET id = 160 WHERE id = 1");
    await source.run("ALTER TABLE items ADD PARTITION (PARTITION higher VALUES LESS THAN (300))");
    await source.run("INSERT INTO items VALUES (250, 'c')");
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(ITEMS);
    await bed.stop(first);
    await source.run("ALTER TABLE items ADD PARTITION (PARTITION top VALUES LESS THAN (400))");
    const second = await bed.start(define(bed, "items"));
    await second.waitFor({ timeoutMs: PATIENCE_MS });
    await source.run("ALTER TABLE items EXCHANGE PARTITION high WITH TABLE beside");
    // While nothing flows the relay looks only every five seconds.
    await source.run("UPDATE items SET v = 'awake' WHERE id = 250");
    await stops(second, "TM-TRUNCATE-UNSEEN", /items/);
    await bed.stop(second);
    await source.run("UPDATE tidemark_layouts SET table_id = NULL");
    const third = await bed.start(define(bed, "items"));
    await source.run("ALTER TABLE items TRUNCATE PARTITION high");
    await source.run("UPDATE items SET v = 'awake again' WHERE id = 250");
    await stops(third, "TM-TRUNCATE-UNSEEN", /items/);
  });

  test.skipIf(!runs(kind))(
    "what cannot be synced is refused by name, with what mends it",
    async () => {
      await using bed = await bedWith(kind, [
        "CREATE TABLE items (id int PRIMARY KEY, v varchar(200))",
        "CREATE TABLE a_myisam (id int PRIMARY KEY) ENGINE = MyISAM",
        "CREATE TABLE a_memory (id int PRIMARY KEY) ENGINE = MEMORY",
        "CREATE VIEW a_view AS SELECT * FROM items",
        "CREATE TEMPORARY TABLE a_temporary (id int PRIMARY KEY)",
        ...(kind === "mariadb"
          ? [
              "CREATE TABLE an_aria (id int PRIMARY KEY) ENGINE = Aria",
              "CREATE SEQUENCE a_sequence",
            ]
          : []),
      ]);
      const refused = {
        a_myisam: /ALTER TABLE .*a_myisam.* ENGINE = InnoDB/,
        a_memory: /ALTER TABLE .*a_memory.* ENGINE = InnoDB/,
        a_view: /a_view is a view/,
        ...(kind === "mariadb"
          ? { an_aria: /ENGINE = InnoDB/, a_sequence: /a_sequence is a sequence/ }
          : {}),
      };
      for (const [name, words] of Object.entries(refused)) {
        await expect(bed.open(define(bed, name))).rejects.toSatisfy(
          (error) =>
            isTidemarkError(error, "TM-TABLE-UNSUPPORTED") &&
            words.test(`${error.message} ${error.fix}`),
        );
      }
      await expect(bed.open(define(bed, "a_temporary"))).rejects.toSatisfy((error) =>
        isTidemarkError(error, "TM-TABLE-MISSING"),
      );
      // A glob means tables: views and sequences are none, the others are refused through it, too.
      await expect(bed.open(define(bed, "*"))).rejects.toSatisfy((error) =>
        isTidemarkError(error, "TM-TABLE-UNSUPPORTED"),
      );
    },
  );

  test.skipIf(!runs(kind))(
    "what plan tells for a key over the beginning of texts runs there, and the sync then starts",
    async () => {
      const tables = [
        "CREATE TABLE pfx (k varchar(500) NOT NULL, b blob NOT NULL, v int, PRIMARY KEY (k(100), b(50)))",
        "CREATE TABLE wide (k varchar(900) CHARACTER SET latin1 NOT NULL, b varchar(700) CHARACTER SET utf8mb4 NOT NULL, id int, PRIMARY KEY (id, k(9), b(9)))",
        "CREATE TABLE fits (k varchar(90) NOT NULL, v int, PRIMARY KEY (k(9)))",
      ];
      const rows = ["pfx VALUES ('a', 'b', 1)", "wide VALUES ('a', 'b', 1)"];
      const statements = [...tables, ...rows.map((row) => `INSERT INTO ${row}`)];
      await using bed = await TestBed.make({ source: kind, target: kind });
      const source = await bed.sql("source");
      for (const statement of statements) await source.run(statement);
      const target = await bed.sql("target");
      for (const table of tables) await target.run(table);
      const definition = define(bed, "pfx", "wide", "fits");
      const { mappings } = await makePlan(definition, bed.logger);
      const told = mappings.flatMap(({ note }) => /ALTER TABLE .*/.exec(note ?? "") ?? []);
      const mends = [...new Set(told)];
      expect(mends).toHaveLength(tables.length);
      expect(mends).toContain("ALTER TABLE `fits` ADD UNIQUE KEY (`k`)");
      for (const mend of mends) await target.run(mend);
      const pipeline = await bed.start(definition);
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      for (const name of ["pfx", "wide"]) {
        expect(await target.rows(`SELECT * FROM ${name}`)).toHaveLength(1);
      }
    },
  );

  test.skipIf(!runs(kind))(
    "a default that PostgreSQL has no date for is told by plan",
    async () => {
      await using bed = await bedWith(
        kind,
        [
          "SET sql_mode = ''",
          `CREATE TABLE dated (id int PRIMARY KEY, d date NOT NULL DEFAULT '0000-00-00', dt datetime DEFAULT '0000-00-00 00:00:00',
           ts timestamp NOT NULL DEFAULT '0000-00-00 00:00:00', m date DEFAULT '2020-00-01', fine datetime DEFAULT '2000-10-10 00:00:00', v varchar(10) DEFAULT '0000-00-00')`,
        ],
        "postgres",
      );
      const noted = async () => {
        const { mappings } = await makePlan(define(bed, "dated"), bed.logger);
        return mappings
          .filter(({ note = "" }) => note.includes("zero date"))
          .map(({ column }) => column);
      };
      expect(await noted()).toEqual(["d", "dt", "ts", "m"]);
      // Where the text of it can stand there is nothing to say.
      const target = await bed.sql("target");
      await target.run(
        "CREATE TABLE dated (id int PRIMARY KEY, d text, dt timestamp(0), ts text, m text, fine timestamp(0), v varchar(10))",
      );
      expect(await noted()).toEqual(["dt"]);
    },
  );

  test.skipIf(!runs(kind))(
    "tables without transactions are refused all at once, and what mends them does, zero dates or not",
    async () => {
      await using bed = await bedWith(kind, [
        "SET sql_mode = ''",
        "CREATE TABLE items (id int PRIMARY KEY, v varchar(200)) ENGINE = MyISAM",
        "CREATE TABLE dated (id int PRIMARY KEY, at datetime NOT NULL DEFAULT '0000-00-00 00:00:00') ENGINE = MyISAM",
        "CREATE TABLE short (id int PRIMARY KEY) ENGINE = MEMORY",
        "INSERT INTO items VALUES (1, 'a')",
        "INSERT INTO dated (id) VALUES (1)",
      ]);
      const refused = await bed.open(define(bed, "*")).catch((error: unknown) => error);
      if (!isTidemarkError(refused, "TM-TABLE-UNSUPPORTED")) throw refused;
      for (const name of ["items", "dated", "short"]) expect(refused.message).toContain(name);
      const source = await bed.sql("source");
      await source.run("SET sql_mode = DEFAULT");
      for (const statement of refused.fix?.split("; ") ?? []) await source.run(statement);
      const pipeline = await bed.start(define(bed, "items", "dated", "short"));
      await source.run("UPDATE items SET v = 'b'");
      await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.expectSame(ITEMS);
    },
  );
});

test.skipIf(!runs("mariadb"))("MariaDB: a system-versioned table, its present rows", async () => {
  await using bed = await bedWith("mariadb", [
    "CREATE TABLE items (id int PRIMARY KEY, v varchar(200)) WITH SYSTEM VERSIONING",
    "INSERT INTO items VALUES (1, 'a'), (2, 'b')",
    "UPDATE items SET v = 'aa' WHERE id = 1",
  ]);
  const source = await bed.sql("source");
  const pipeline = await bed.start(define(bed, "items"));
  await source.run("UPDATE items SET v = 'later' WHERE id = 2");
  await source.run("DELETE FROM items WHERE id = 1");
  await source.run("DELETE HISTORY FROM items");
  await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
  await bed.expectSame(ITEMS);
});

test.skipIf(!runs("mariadb"))(
  "MariaDB: a system-versioned table whose period is declared, into one like it, too",
  async () => {
    const make = (period: string) =>
      `CREATE TABLE items (id int PRIMARY KEY, v varchar(200) UNIQUE, began ${period} GENERATED ALWAYS AS ROW START INVISIBLE, ended ${period} GENERATED ALWAYS AS ROW END INVISIBLE, PERIOD FOR SYSTEM_TIME (began, ended)) WITH SYSTEM VERSIONING`;
    await using bed = await bedWith(
      "mariadb",
      [make("bigint unsigned"), "INSERT INTO items VALUES (1, 'a'), (2, 'b'), (3, 'c')"],
      "mariadb",
    );
    await (await bed.sql("target")).run(make("timestamp(6)"));
    const source = await bed.sql("source");
    await source.run("UPDATE items SET v = 'aa' WHERE id = 1");
    const pipeline = await bed.start(define(bed, "items"));
    await source.run("UPDATE items SET v = 'later' WHERE id = 2");
    await source.run("UPDATE items SET id = 4 WHERE id = 3");
    await source.run("DELETE FROM items WHERE id = 1");
    await source.run("INSERT INTO items VALUES (1, 'b')");
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(ITEMS);
  },
);

test.skipIf(!runs("sqlite"))(
  "SQLite: STRICT and WITHOUT ROWID arrive, all else is refused",
  async () => {
    await using bed = await bedWith("sqlite", [
      "CREATE TABLE items (id INTEGER PRIMARY KEY, v TEXT) STRICT",
      "CREATE TABLE keyed (id INT PRIMARY KEY, v TEXT) WITHOUT ROWID",
      "CREATE VIEW a_view AS SELECT * FROM items",
      "CREATE VIRTUAL TABLE a_search USING fts5(v)",
      "CREATE TEMPORARY TABLE a_temporary (id INTEGER PRIMARY KEY)",
      "ATTACH ':memory:' AS other",
      "CREATE TABLE other.elsewhere (id INTEGER PRIMARY KEY)",
    ]);
    const refused: readonly [string, ErrorCode, RegExp][] = [
      ["a_view", "TM-TABLE-UNSUPPORTED", /is a view/],
      ["a_search", "TM-TABLE-UNSUPPORTED", /is a virtual table/],
      ["a_search_data", "TM-TABLE-UNSUPPORTED", /a_search_data/],
      ["a_temporary", "TM-TABLE-MISSING", /temporary.*make it a table of this file/],
      ["other.elsewhere", "TM-TABLE-MISSING", /ATTACH.*name the other file as a database/],
    ];
    for (const [name, code, words] of refused) {
      await expect(bed.open(define(bed, name))).rejects.toSatisfy(
        (error) => isTidemarkError(error, code) && words.test(`${error.message} ${error.fix}`),
      );
    }
    const source = await bed.sql("source");
    const pipeline = await bed.start(define(bed, "*"));
    for (const table of ["items", "keyed"]) {
      await source.run(`INSERT INTO ${table} VALUES (1, 'a'), (2, 'b')`);
      await source.run(`UPDATE ${table} SET id = 3 WHERE id = 1`);
    }
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(ITEMS);
    await bed.expectSame({ ...ITEMS, name: "keyed" });
  },
);

/** What has the name of the table at the target. */
const IN_ITS_PLACE: readonly (readonly [what: string, target: DatabaseKind, make: string])[] = [
  ["a view", "postgres", "CREATE VIEW items AS TABLE base"],
  ["a materialized view", "postgres", "CREATE MATERIALIZED VIEW items AS TABLE base"],
  ["a sequence", "postgres", "CREATE SEQUENCE items"],
  ["a type", "postgres", "CREATE TYPE items AS (id int, v text)"],
  ["an index", "postgres", "CREATE INDEX items ON base (id)"],
  ["a view", "sqlite", "CREATE VIEW items AS SELECT * FROM base"],
  ["a virtual table", "sqlite", "CREATE VIRTUAL TABLE items USING fts5(id, v)"],
  ["an index", "sqlite", "CREATE INDEX items ON base (id)"],
  ["a view", "mariadb", "CREATE VIEW items AS SELECT * FROM base"],
  ["a view", "mysql", "CREATE VIEW items AS SELECT * FROM base"],
  ["a sequence", "mariadb", "CREATE SEQUENCE items"],
];

test.each(IN_ITS_PLACE.filter(([, target]) => available({ ...pair("sqlite"), target })))(
  "%s in the place of the target's table, in %s, is refused before the start",
  async (what, target, make) => {
    await using bed = await bedWith("sqlite", [BASE.replace("base", "items")], target);
    const sql = await bed.sql("target");
    for (const statement of [BASE, make]) await sql.run(statement);
    const before = await inventory(sql);
    await expect(bed.open(define(bed, "items"))).rejects.toMatchObject({
      code: "TM-COLUMN-UNFIT",
      message: expect.stringMatching(new RegExp(`items is ${what}, not a table: .*\\bas\\b`)),
    });
    expect(await inventory(sql)).toEqual(before);
  },
);
