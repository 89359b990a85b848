// Tables without a key: rows are matched whole, and of several that are equal as many go, come or
// change as at the source (G1, G2).
import { describe, expect, test } from "vitest";
import { sleep } from "../../src/core/async.ts";
import type { RowObject } from "../../src/core/definition.ts";
import type { DatabaseKind } from "../servers/index.ts";
import { available, FOUR_PAIRS, NINE_PAIRS, type TestPair, title } from "../support/pairs.ts";
import { Random, testSeed } from "../support/random.ts";
import { type SqlClient, transaction } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import {
  asTarget,
  contents,
  createTables,
  insertRow,
  type TestRow,
  type TestTable,
} from "../support/test-tables.ts";

/** One of each meaning; none of them may be compared by what a collation or a rounding holds equal. */
const READINGS: TestTable = {
  name: "readings",
  columns: {
    sensor: "varchar",
    amount: "decimal",
    level: "double",
    counted: "bigint",
    valid: "boolean",
    day: "date",
    at: "timestamp",
    seen: "timestamptz",
    raw: "bytes",
    note: "text",
    doc: "json",
  },
  key: [],
};
const READING: TestRow = {
  sensor: "s1",
  amount: "12.5000",
  level: 0.1,
  counted: "9007199254740993",
  valid: true,
  day: "2024-02-29",
  at: "2024-02-29 12:00:00.123456",
  seen: "2024-02-29 12:00:00.654321",
  raw: Buffer.from([0, 1, 255]),
  note: "plain",
  doc: '{"b": [1, 2], "a": "x"}',
};
const NOTHING: TestRow = Object.fromEntries(
  Object.keys(READINGS.columns).map((name) => [name, null]),
);

/** Plain enough for random games, and for statements that are the same everywhere. */
const EVENTS: TestTable = {
  name: "events",
  columns: { kind: "varchar", size: "integer", note: "varchar" },
  key: [],
};

const PAIRS: readonly TestPair[] = [
  ...NINE_PAIRS,
  { source: "mysql", target: "mysql", queue: "embedded" },
];

describe.each(PAIRS.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  describe.skipIf(!available(pair))("", () => registerTypeTests(pair));
});

// The values are plain.
describe.each(FOUR_PAIRS.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  describe.skipIf(!available(pair))("", () => registerGames(pair));
});

function registerTypeTests(pair: TestPair): void {
  test("equal rows keep their count, whatever the types", async () => {
    // Tidemark makes the table at the target.
    await using bed = await bedWithTables(pair, [READINGS], []);
    const source = await bed.sql("source");
    const alike = [READING, READING, READING, NOTHING, NOTHING];
    const similar = [
      { ...READING, sensor: "S1" },
      { ...READING, sensor: "s1 " },
      { ...READING, note: "" },
      { ...READING, note: null },
      { ...READING, level: 0.2 },
      { ...READING, raw: Buffer.from([0, 1]) },
      { ...READING, counted: "9007199254740992" },
      { ...READING, at: "2024-02-29 12:00:00.123457" },
    ];
    for (const row of [...alike, ...similar]) await insertRow(source, READINGS, row);
    await using player = await play(bed, READINGS);
    await player.same("copied");
    await player.round("one of three goes", () =>
      deleteOne(source, "sensor = 's1' AND level = 0.1 AND note = 'plain'"),
    );
    await player.round("one of the others changes", () =>
      changeOne(source, "note = 'changed'", "note = 'plain'"),
    );
    await player.round("a row of NULLs goes", () => deleteOne(source, "counted IS NULL"));
    await player.round("more of the same", async () => {
      for (const row of [...alike, ...alike, ...similar]) await insertRow(source, READINGS, row);
    });
    await player.round("all change", () => source.run("UPDATE readings SET counted = 1"));
    await player.round("similar rows go", async () => {
      await deleteOne(source, "sensor = 'S1'");
      await deleteOne(source, "note IS NULL AND sensor = 's1'");
      await deleteOne(source, "level = 0.2");
    });
    await player.round("none is left", () => source.run("DELETE FROM readings"));
  });
}

function registerGames(pair: TestPair): void {
  test("one transaction", async () => {
    await using bed = await bedWithTables(pair, [EVENTS]);
    const source = await bed.sql("source");
    for (let size = 1; size <= 4; size++) {
      await insertRow(source, EVENTS, { kind: "a", size, note: "first" });
      await insertRow(source, EVENTS, { kind: "b", size: 1, note: null });
    }
    await using player = await play(bed, EVENTS);
    await player.round("values swap", async () => {
      await source.run("UPDATE events SET size = 5 - size WHERE kind = 'a'");
    });
    await player.round("a row comes, changes and goes", async () => {
      await insertRow(source, EVENTS, { kind: "c", size: 1, note: "x" });
      await source.run("UPDATE events SET note = 'y' WHERE kind = 'c'");
      await source.run("DELETE FROM events WHERE kind = 'c'");
    });
    await player.round("different rows become equal", () =>
      source.run("UPDATE events SET kind = 'same', size = 0, note = NULL"),
    );
    await player.round("some of them change again", async () => {
      for (let n = 0; n < 3; n++)
        await changeOne(source, `note = 'again', size = ${n}`, "note IS NULL");
    });
    await player.round("an update to equal values", () =>
      source.run("UPDATE events SET kind = kind"),
    );
    await player.round("a savepoint is rolled back", async () => {
      await source.run("SAVEPOINT game");
      await source.run("DELETE FROM events");
      await source.run("ROLLBACK TO SAVEPOINT game");
      await deleteOne(source, "kind = 'same'");
    });
    // More than the applier takes at a time, so that rows come and go in different statements.
    await player.round("many", async () => {
      for (let n = 0; n < 20; n++) {
        const values = Array.from({ length: 600 }, (_, i) => `('m', ${i % 7}, 'many')`);
        await source.run(`INSERT INTO events (kind, size, note) VALUES ${values.join(", ")}`);
      }
      await source.run("UPDATE events SET note = 'more' WHERE kind = 'm' AND size < 3");
      await source.run("DELETE FROM events WHERE kind = 'm' AND size = 5");
    });
    await player.round("few of many", async () => {
      for (let n = 0; n < 5; n++) await deleteOne(source, "kind = 'm' AND size = 6");
      await source.run("DELETE FROM events WHERE kind = 'm' AND size = 1");
    });
  });

  test("random games, copied anew in between", async () => {
    const random = new Random(testSeed());
    await using bed = await bedWithTables(pair, [EVENTS]);
    const source = await bed.sql("source");
    for (let n = 0; n < 20; n++) await randomStatement(source, random);
    for (const columns of [
      ["kind", "size", "note"],
      ["kind", "note"],
      ["kind", "size", "note"],
    ]) {
      const table = { ...EVENTS, columns: only(columns) };
      await using player = await play(bed, table);
      await player.same("copied");
      for (let round = 0; round < 4; round++) {
        await player.round(`round ${round}`, async () => {
          for (let n = random.between(1, 8); n > 0; n--) await randomStatement(source, random);
        });
      }
    }
  });

  test("is copied while it is written, and stopped on the way", async () => {
    await using bed = await bedWithTables(pair, [EVENTS]);
    const source = await bed.sql("source");
    const some = (count: number) =>
      `INSERT INTO events (kind, size, note) VALUES ${Array.from({ length: count }, (_, i) => `('w', ${i % 50}, '${"x".repeat(100)}')`).join(", ")}`;
    for (let n = 0; n < 20; n++) await source.run(some(1_000));
    let over = false;
    const writing = (async () => {
      for (let n = 0; !over; n = (n + 1) % 50) {
        await transaction(source, async () => {
          await source.run(some(2));
          await changeOne(source, "note = 'changed'", `size = ${n}`);
          await deleteOne(source, `size = ${(n + 25) % 50}`);
        });
        // On SQLite the relay must come to write, too.
        await sleep(5);
      }
    })();
    try {
      const definition = bed.define([{ from: "source", to: "target", tables: [EVENTS.name] }]);
      // Stopped when its first rows can be read, or all of them.
      const first = await bed.start(definition);
      const target = await bed.sql("target");
      while ((await target.rows("SELECT 1 FROM events LIMIT 1")).length === 0) {
        await sleep(1);
      }
      await bed.stop(first);
      const second = await bed.start(definition);
      await second.waitFor({ timeoutMs: PATIENCE_MS });
      over = true;
      await writing;
      await second.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.expectSame(EVENTS);
    } finally {
      over = true;
      await writing;
    }
  });
}

const toItself = (kind: DatabaseKind): TestPair => ({
  source: kind,
  target: kind,
  queue: "embedded",
});

/** What a source cannot count, and the sentence that says so. */
const UNCOUNTABLE: readonly (readonly [
  DatabaseKind,
  statements: readonly string[],
  why: RegExp,
])[] = [
  [
    "postgres",
    [
      "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE events SET size = 0; RETURN NEW; END'",
      "CREATE TRIGGER touch AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION touch()",
    ],
    /triggers or rules of its own \(touch\)/,
  ],
  ["mariadb", ["CREATE UNIQUE INDEX one ON events (kind)"], /unique or foreign key over kind/],
  ["mysql", ["CREATE UNIQUE INDEX one ON events (kind)"], /unique or foreign key over kind/],
  [
    "mariadb",
    ["CREATE UNIQUE INDEX one ON events (kind(3))"],
    /key over .* the beginning of a text/,
  ],
  ["mysql", ["CREATE UNIQUE INDEX one ON events ((upper(kind)))"], /key over .* an expression/],
  ["sqlite", ["CREATE UNIQUE INDEX one ON events (kind)"], /unique index for which REPLACE/],
  [
    "sqlite",
    ["CREATE TRIGGER touch AFTER INSERT ON events BEGIN UPDATE events SET size = 0; END"],
    /trigger touch/,
  ],
  ["sqlite", ["PRAGMA journal_mode = DELETE"], /delete mode/],
];

for (const [kind, statements, why] of UNCOUNTABLE) {
  test.skipIf(!available(toItself(kind)))(`${kind}: refused before the start, ${why}`, async () => {
    await using bed = await bedWithTables(toItself(kind), [EVENTS]);
    const source = await bed.sql("source");
    for (const statement of statements) await source.rows(statement);
    const definition = bed.define([{ from: "source", to: "target", tables: [EVENTS.name] }]);
    await expect(bed.open(definition)).rejects.toMatchObject({
      code: "TM-TABLE-NO-KEY",
      message: expect.stringMatching(why),
      fix: expect.stringMatching(/KEY|UNIQUE/),
    });
  });
}

test.skipIf(!available(toItself("postgres")))("a target to whose rows others refer", async () => {
  await using bed = await bedWithTables(toItself("postgres"), [EVENTS]);
  const target = await bed.sql("target");
  await target.run("ALTER TABLE events ADD UNIQUE (kind)");
  await target.run(
    "CREATE TABLE parts (id int PRIMARY KEY, kind varchar REFERENCES events (kind) ON DELETE CASCADE)",
  );
  const definition = bed.define([{ from: "source", to: "target", tables: [EVENTS.name] }]);
  await expect(bed.start(definition)).rejects.toMatchObject({
    code: "TM-TABLE-NO-KEY",
    message: expect.stringContaining("refers to public.events"),
  });
});

test.skipIf(!available(toItself("postgres")))(
  "a filter and a transform see the row before, too",
  async () => {
    await using bed = await bedWithTables(toItself("postgres"), [EVENTS]);
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    const rule = {
      table: EVENTS.name,
      filter: (row: RowObject) => row.kind !== "secret",
      transform: (row: RowObject) => ({ ...row, note: row.note === null ? "none" : "some" }),
    };
    for (const kind of ["a", "a", "secret"]) {
      await insertRow(source, EVENTS, { kind, size: 1, note: kind });
    }
    const pipeline = await bed.start(
      bed.define([{ from: "source", to: "target", tables: [rule] }]),
    );
    await source.run(
      "UPDATE events SET note = NULL WHERE ctid = (SELECT min(ctid) FROM events WHERE kind = 'a')",
    );
    await source.run("UPDATE events SET kind = 'b' WHERE kind = 'secret'");
    await insertRow(source, EVENTS, { kind: "c", size: 2, note: "c" });
    await source.run("UPDATE events SET kind = 'secret' WHERE kind = 'c'");
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    expect(await contents(target, EVENTS)).toEqual([
      { kind: "a", size: "1", note: "none" },
      { kind: "a", size: "1", note: "some" },
      { kind: "b", size: "1", note: "some" },
    ]);
  },
);

test.skipIf(!available(toItself("postgres")))("TRUNCATE, and a partitioned table", async () => {
  await using bed = await TestBed.make({ source: "postgres", target: "postgres" });
  const source = await bed.sql("source");
  const partitions = [
    "CREATE TABLE events (kind varchar, size int, note varchar) PARTITION BY LIST (size)",
    "CREATE TABLE events_1 PARTITION OF events FOR VALUES IN (1)",
    "CREATE TABLE events_2 (note varchar, size int, kind varchar)",
    "ALTER TABLE events ATTACH PARTITION events_2 FOR VALUES IN (2)",
  ];
  for (const sql of [source, await bed.sql("target")]) {
    for (const statement of partitions) await sql.run(statement);
  }
  const rows =
    "INSERT INTO events VALUES ('a', 1, 'x'), ('a', 1, 'x'), ('a', 2, 'x'), (NULL, 2, NULL)";
  await source.run(rows);
  await using player = await play(bed, EVENTS);
  await player.same("copied");
  await player.round("rows change partition", () =>
    source.run("UPDATE events SET size = 3 - size WHERE kind = 'a'"),
  );
  await player.round("one goes", async () => {
    await source.run(
      "DELETE FROM events WHERE (tableoid, ctid) IN (SELECT tableoid, ctid FROM events WHERE size = 2 LIMIT 1)",
    );
  });
  await player.round("one partition is emptied", () => source.run("TRUNCATE events_2"));
  await player.round("all are, and filled again", async () => {
    await source.run("TRUNCATE events");
    await source.run(rows);
  });
});

function only(columns: readonly string[]): TestTable["columns"] {
  return Object.fromEntries(
    Object.entries(EVENTS.columns).filter(([name]) => columns.includes(name)),
  );
}

async function bedWithTables(
  pair: TestPair,
  tables: readonly TestTable[],
  atTarget: readonly TestTable[] = tables,
): Promise<TestBed> {
  const bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
  const source = await bed.sql("source");
  if (source.dialect === "sqlite") await source.rows("PRAGMA journal_mode = WAL");
  await createTables(source, pair.source, tables);
  const copies = atTarget.map((table) => asTarget(table, pair.source, pair.target));
  await createTables(await bed.sql("target"), pair.target, copies);
  return bed;
}

interface Player extends AsyncDisposable {
  same(when: string): Promise<void>;
  /** Plays in one transaction, then compares. */
  round(what: string, work: () => Promise<unknown>): Promise<void>;
}

async function play(bed: TestBed, table: TestTable): Promise<Player> {
  const source = await bed.sql("source");
  const target = await bed.sql("target");
  const columns = Object.keys(table.columns);
  const tables = [{ table: table.name, columns }];
  const pipeline = await bed.start(bed.define([{ from: "source", to: "target", tables }]));
  const same = async (when: string) => {
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    const rows = await contents(target, table);
    expect({ when, rows }).toEqual({ when, rows: await contents(source, table) });
  };
  return {
    same,
    async round(what, work) {
      await transaction(source, async () => {
        await work();
      });
      await same(what);
    },
    [Symbol.asyncDispose]: () => bed.stop(pipeline),
  };
}

/** One row, whichever it is, that meets the condition. */
function oneOf({ dialect }: SqlClient, table: string, where: string): string {
  const place = dialect === "postgres" ? "ctid" : "rowid";
  return dialect === "mariadb"
    ? `${where} LIMIT 1`
    : `${place} = (SELECT ${place} FROM ${table} WHERE ${where} LIMIT 1)`;
}

async function deleteOne(sql: SqlClient, where: string, table = tableOf(where)): Promise<void> {
  await sql.run(`DELETE FROM ${table} WHERE ${oneOf(sql, table, where)}`);
}

async function changeOne(
  sql: SqlClient,
  set: string,
  where: string,
  table = tableOf(`${set} ${where}`),
): Promise<void> {
  await sql.run(`UPDATE ${table} SET ${set} WHERE ${oneOf(sql, table, where)}`);
}

function tableOf(text: string): string {
  return /\b(sensor|level|counted)\b|plain/.test(text) ? READINGS.name : EVENTS.name;
}

async function randomStatement(sql: SqlClient, random: Random): Promise<void> {
  const kind = () => random.pick(["a", "A", "b", "c"]);
  const size = () => random.between(0, 2);
  const note = () => (random.chance(0.3) ? null : random.pick(["x", "x ", ""]));
  const step = random.pick([
    "insert",
    "insert",
    "insert",
    "update",
    "update one",
    "delete one",
    "delete",
  ]);
  if (step === "insert") {
    await insertRow(sql, EVENTS, { kind: kind(), size: size(), note: note() });
  } else if (step === "update") {
    await sql.run("UPDATE events SET size = ? WHERE kind = ?", [size(), kind()]);
  } else if (step === "update one") {
    await changeOne(sql, `kind = '${kind()}'`, `size = ${size()}`, EVENTS.name);
  } else if (step === "delete one") {
    await deleteOne(sql, `size = ${size()}`, EVENTS.name);
  } else if (random.chance(0.3)) {
    await sql.run("DELETE FROM events WHERE kind = ?", [kind()]);
  }
}
