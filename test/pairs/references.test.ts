// Foreign keys: what their actions do at the source arrives, whatever foreign keys stand at the
// target; and the target's own hold, in whatever order a transaction of the source wrote its rows (G1, G3).
import { describe, expect, test } from "vitest";
import type { DatabaseKind } from "../servers/index.ts";
import { available, ELEVEN_PAIRS, type TestPair, title } from "../support/pairs.ts";
import { asPlainRole } from "../support/plain-role.ts";
import { player, startPlayer } from "../support/player.ts";
import { Random, testSeed } from "../support/random.ts";
import { dialectOf, isConstraint, type SqlClient, transaction } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import {
  asTarget,
  contents,
  createTables,
  insertRow,
  type TestTable,
} from "../support/test-tables.ts";

const BOTH = "ON DELETE CASCADE ON UPDATE CASCADE";

const COMPANIES: TestTable = {
  name: "companies",
  columns: { id: "integer", name: "varchar" },
  key: ["id"],
  unique: [["name"]],
};
const TEAMS: TestTable = {
  name: "teams",
  columns: { id: "integer", company: "integer" },
  key: ["id"],
  references: { company: "companies" },
  actions: { company: BOTH },
};
/** Its key follows that of its parent. */
const SEATS: TestTable = {
  name: "seats",
  columns: { team: "integer", n: "integer", person: "varchar" },
  key: ["team", "n"],
  references: { team: "teams" },
  actions: { team: BOTH },
};
const BADGES: TestTable = {
  name: "badges",
  columns: { id: "integer", team: "integer", code: "varchar" },
  key: ["id"],
  references: { team: "teams" },
  actions: { team: "ON DELETE SET NULL ON UPDATE CASCADE" },
};
/** With its notes, three levels below a company. */
const MEMBERS: TestTable = {
  name: "members",
  columns: { id: "integer", team: "integer" },
  key: ["id"],
  references: { team: "teams" },
  actions: { team: BOTH },
};
const NOTES: TestTable = {
  name: "notes",
  columns: { id: "integer", member: "integer", text: "varchar" },
  key: ["id"],
  references: { member: "members" },
  actions: { member: "ON DELETE CASCADE" },
};
const NODES: TestTable = {
  name: "nodes",
  columns: { id: "integer", up: "integer" },
  key: ["id"],
  references: { up: "nodes" },
  actions: { up: "ON DELETE CASCADE" },
};
/** Actions that PostgreSQL and SQLite alone have, or are captured from alone; at the target without a foreign key. */
const OWN_ACTIONS: Readonly<Record<string, string>> = {
  desks: "ON DELETE SET DEFAULT",
  chairs: "ON DELETE CASCADE ON UPDATE SET DEFAULT",
  lamps: "ON DELETE CASCADE ON UPDATE SET NULL",
};
const placed = (name: string): TestTable => ({
  name,
  columns: { id: "integer", team: "integer" },
  key: ["id"],
});
const OWN = Object.keys(OWN_ACTIONS).map(placed);
const FAMILY: readonly TestTable[] = [COMPANIES, TEAMS, SEATS, BADGES, MEMBERS, NOTES, NODES];

const DESKS = placed("desks");

const PARENTS: TestTable = { name: "parents", columns: { id: "integer" }, key: ["id"] };
const CHILDREN: TestTable = {
  name: "children",
  columns: { id: "integer", parent: "integer", note: "varchar" },
  key: ["id"],
  references: { parent: "parents" },
};
const TREE: TestTable = {
  name: "tree",
  columns: { id: "integer", up: "integer" },
  key: ["id"],
  references: { up: "tree" },
};

describe.each(ELEVEN_PAIRS.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  describe.skipIf(!available(pair))("", () => registerReferenceTests(pair));
});

function registerReferenceTests(pair: TestPair): void {
  test("actions of foreign keys, with the same at the target and without", async () => {
    await using bed = await bedWithFamily(pair, { bare: pair.target });
    const source = await bed.sql("source");
    const own = source.dialect === "mariadb" ? [] : OWN;
    for (const table of own) {
      await source.run(
        `CREATE TABLE ${table.name} (id int PRIMARY KEY, team int DEFAULT 60, FOREIGN KEY (team) REFERENCES teams (id) ${OWN_ACTIONS[table.name]})`,
      );
      for (const id of [10, 11, 20]) await insertRow(source, table, { id, team: id });
      if (table.name !== "desks") await insertRow(source, table, { id: 21, team: 21 });
    }
    const teamsOf = async (table: TestTable) =>
      (await contents(source, table)).map(({ team }) => team);
    const play = await startPlayer(bed, {
      tables: [...FAMILY, ...own],
      targets: ["target", "bare"],
    });
    await play("DELETE FROM companies WHERE id = 1");
    await play("UPDATE companies SET id = 20 WHERE id = 2");
    await play("UPDATE teams SET id = 210 WHERE id = 21");
    expect(await Promise.all(own.map(teamsOf))).toEqual(
      own.length === 0
        ? []
        : [
            ["60", "60", "20"],
            ["20", "60"],
            ["20", null],
          ],
    );
    await play("DELETE FROM nodes WHERE id = 1");
    // A name changes hands together with the key it belongs to.
    await play(
      "UPDATE companies SET id = 30, name = 'moved' WHERE id = 3",
      "INSERT INTO companies (id, name) VALUES (3, 'company 3')",
    );
    await play(
      "UPDATE companies SET name = 'spare' WHERE id = 4",
      "UPDATE companies SET name = 'company 4' WHERE id = 5",
      "UPDATE companies SET name = 'company 5' WHERE id = 4",
      "UPDATE companies SET id = 40 WHERE id = 4",
    );
    if (own.length > 0) await play("DELETE FROM desks");
    await play("DELETE FROM teams WHERE id IN (50, 51)", "DELETE FROM companies");
  });

  // In MariaDB and MySQL: test/mysql/cascades.test.ts.
  if (dialectOf(pair.source) !== "mariadb") {
    test("actions that go in a circle through two tables, with the same at the target", () =>
      playCircle(pair));
  }

  test("a parent that goes, and comes back further on than what is applied at a time, keeps its children", () =>
    playReturn(pair));

  test("a row that has left its parent stays, with all below it, when that goes", async () => {
    await using bed = await bedWithFamily(pair);
    const play = await startPlayer(bed, { tables: FAMILY });
    await play("UPDATE teams SET company = 4 WHERE id = 11", "DELETE FROM companies WHERE id = 1");
    await play("UPDATE nodes SET up = 6 WHERE id = 2", "DELETE FROM nodes WHERE id = 1");
  });

  test("random changes of a family", async () => {
    const random = new Random(testSeed());
    await using bed = await bedWithFamily(pair);
    const source = await bed.sql("source");
    const play = await startPlayer(bed, { tables: FAMILY });
    for (let round = 0; round < 10; round++) {
      for (let n = random.between(1, 4); n > 0; n--) await randomTransaction(source, random);
      await play();
    }
  });

  test("children before their parents, a tree in reverse, a circle of two tables", async () => {
    await using bed = await bedWithLateParents(pair);
    const source = await bed.sql("source");
    const expectArrived = await startPlayer(bed, { tables: [PARENTS, CHILDREN, TREE, HENS, EGGS] });
    await transaction(source, async () => {
      await insertRow(source, CHILDREN, { id: 1, parent: 1, note: "first" });
      await insertRow(source, PARENTS, { id: 1 });
      for (const id of [5, 4, 3, 2]) await insertRow(source, TREE, { id, up: id - 1 });
      await insertRow(source, TREE, { id: 1, up: null });
      await insertRow(source, HENS, { id: 1, egg: 1 });
      await insertRow(source, EGGS, { id: 1, hen: 1 });
    });
    await expectArrived();

    // More than the applier writes at a time.
    await transaction(source, async () => {
      await source.run(many(12_000, "children (id, parent, note)", "n + 10, 100, 'many'"));
      await source.run(many(11_000, "tree (id, up)", "n + 10, n + 11"));
      await insertRow(source, TREE, { id: 11_011, up: null });
      await insertRow(source, HENS, { id: 2, egg: 2 });
      await source.run(many(10_500, "eggs (id, hen)", "n + 10, 2"));
      await insertRow(source, PARENTS, { id: 100 });
      await insertRow(source, EGGS, { id: 2, hen: 2 });
    });
    await expectArrived();

    await transaction(source, async () => {
      await insertRow(source, PARENTS, { id: 101 });
      await source.run("DELETE FROM parents WHERE id = 100");
      await source.run("UPDATE children SET parent = 101 WHERE parent = 100");
      await source.run("DELETE FROM tree WHERE id > 10");
      await source.run("DELETE FROM hens WHERE id = 2");
      await source.run("DELETE FROM eggs WHERE hen = 2");
    });
    await expectArrived();
    // And they are on again: the target refuses what its rules forbid.
    const target = await bed.sql("target");
    await expect(
      insertRow(target, CHILDREN, { id: 7, parent: 77, note: "orphan" }),
    ).rejects.toThrow();
  });
}

/** At the source nothing refers to it, so its children stay. */
async function playReturn(pair: TestPair): Promise<void> {
  await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
  const [source, target] = [await bed.sql("source"), await bed.sql("target")];
  await allowMany(source, pair.source);
  await createTables(source, pair.source, [PARENTS, { ...CHILDREN, references: {} }]);
  const carriedOn: TestTable = { ...CHILDREN, actions: { parent: "ON DELETE CASCADE" } };
  const asked = [PARENTS, carriedOn].map((table) => asTarget(table, pair.source, pair.target));
  await createTables(target, pair.target, asked);
  const play = await startPlayer(bed, { tables: [PARENTS, CHILDREN] });
  await play(
    "INSERT INTO parents (id) VALUES (1), (2)",
    "INSERT INTO children (id, parent, note) VALUES (1, 1, 'first')",
  );
  await play(
    "DELETE FROM parents WHERE id = 1",
    // More than the applier writes at a time.
    many(12_000, "children (id, parent, note)", "n + 10, 2, 'many'"),
    "INSERT INTO parents (id) VALUES (1)",
  );
  expect((await contents(target, CHILDREN))[0]).toMatchObject({ id: "1", note: "first" });
}

async function playCircle(pair: TestPair): Promise<void> {
  await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
  const source = await bed.sql("source");
  const late = "DEFERRABLE INITIALLY DEFERRED";
  const mode = dialectOf(pair.target) === "mariadb" ? BOTH : `${BOTH} ${late}`;
  // An egg has the key of its hen, and a hen names the egg of the next: a key that changes comes back to its table.
  await createCircle(source, pair.source, `${BOTH} ${late}`, { key: "hen" });
  await createCircle(await bed.sql("target"), pair.target, mode, {
    key: "hen",
    type: integerAtTarget(pair),
  });
  const play = await startPlayer(bed, { tables: [HENS, { ...EGGS, key: ["hen"] }] });
  const ring = (from: number, to: number) =>
    Array.from({ length: to - from + 1 }, (_, i) => from + i).flatMap((id) => [
      `INSERT INTO hens (id, egg) VALUES (${id}, ${id === to ? from : id + 1})`,
      `INSERT INTO eggs (id, hen) VALUES (${id}, ${id})`,
    ]);
  await play(...ring(1, 3), ...ring(11, 14), ...ring(21, 22), ...ring(31, 31));
  await play("UPDATE hens SET id = id + 100 WHERE id > 20");
  // One row takes its whole ring along; so does one that was written just before.
  await play("DELETE FROM hens WHERE id = 1");
  await play("UPDATE hens SET id = 112 WHERE id = 12", "DELETE FROM eggs WHERE hen = 112");
  await play("UPDATE hens SET egg = NULL WHERE id = 121", "DELETE FROM hens WHERE id = 122");
  expect(await contents(source, HENS)).toEqual([
    { id: "121", egg: null },
    { id: "131", egg: "131" },
  ]);
  await play("DELETE FROM eggs");
}

describe.each(["mariadb", "mysql"] as const)("%s, whose foreign keys stay", (kind) => {
  const it = test.skipIf(!available({ source: kind, target: "postgres", queue: "embedded" }));

  it("rows written in any order while they are not checked, as a dump is loaded", async () => {
    await using bed = await TestBed.make({ source: kind, target: "postgres" });
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    for (const sql of [source, target]) {
      await createTables(sql, sql === source ? kind : "postgres", [PARENTS, CHILDREN, TREE]);
      await createCircle(sql, sql === source ? kind : "postgres", "");
    }
    const play = await startPlayer(bed, { tables: [PARENTS, CHILDREN, TREE, HENS, EGGS] });
    await source.run("SET foreign_key_checks = 0");
    await play(
      "INSERT INTO children (id, parent, note) VALUES (1, 1, 'first')",
      "INSERT INTO parents (id) VALUES (1)",
      "INSERT INTO tree (id, up) VALUES (3, 2), (2, 1), (1, NULL)",
      "INSERT INTO hens (id, egg) VALUES (1, 1)",
      "INSERT INTO eggs (id, hen) VALUES (1, 1)",
    );
    await source.run("SET foreign_key_checks = 1");
    await play("DELETE FROM tree WHERE id = 3", "INSERT INTO parents (id) VALUES (2)");
    await play("UPDATE children SET parent = 2", "DELETE FROM parents WHERE id = 1");
  });

  it("ON DELETE SET DEFAULT, which InnoDB takes for RESTRICT", async () => {
    await using bed = await TestBed.make({ source: kind, target: "postgres" });
    const source = await bed.sql("source");
    await createTables(source, kind, [PARENTS]);
    await source.run(
      "CREATE TABLE desks (id int PRIMARY KEY, team int DEFAULT 9, FOREIGN KEY (team) REFERENCES parents (id) ON DELETE SET DEFAULT)",
    );
    for (const id of [1, 2, 9]) await insertRow(source, PARENTS, { id });
    await insertRow(source, DESKS, { id: 1, team: 1 });
    const play = await startPlayer(bed, { tables: [PARENTS, DESKS] });
    await expect(source.run("DELETE FROM parents WHERE id = 1")).rejects.toSatisfy(isConstraint);
    await play("DELETE FROM parents WHERE id = 2");
    await play("UPDATE desks SET team = DEFAULT", "DELETE FROM parents WHERE id = 1");
  });
});

test.skipIf(!available({ source: "sqlite", target: "postgres", queue: "embedded" }))(
  "more parents than are applied at a time are reloaded where the target's foreign keys cannot be put off",
  async () => {
    await using bed = await TestBed.make({ source: "sqlite", target: "postgres" });
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    const carriedOn: TestTable = { ...CHILDREN, actions: { parent: "ON DELETE CASCADE" } };
    await createTables(source, "sqlite", [PARENTS, carriedOn]);
    const reload = [
      "DELETE FROM parents",
      many(26_000, "parents (id)", "n"),
      "INSERT INTO children (id, parent, note) VALUES (1, 1, 'first'), (2, 26000, 'last')",
    ];
    await transaction(source, async () => {
      for (const statement of reload) await source.run(statement);
    });
    const tables = [PARENTS.name, CHILDREN.name];
    const definition = bed.define([{ from: "source", to: "target", tables }]);
    await asPlainRole(bed, definition, async (limited) => {
      const first = await bed.start(limited);
      await first.waitFor({ timeoutMs: PATIENCE_MS });
      await bed.stop(first);
      await target.run(
        "ALTER TABLE children ADD FOREIGN KEY (parent) REFERENCES parents ON DELETE CASCADE",
      );
      const play = await player(bed, await bed.start(limited), { tables: [PARENTS, CHILDREN] });
      await play(...reload);
    });
  },
);

/** What a rule of the source forbids undoes the whole transaction there. */
async function randomTransaction(source: SqlClient, random: Random): Promise<void> {
  await source.begin();
  try {
    for (let n = random.between(1, 6); n > 0; n--) await source.run(randomChange(random));
    await source.commit();
  } catch (error) {
    if (!isConstraint(error)) throw error;
    await source.rollback();
  }
}

function randomChange(random: Random): string {
  const id = (table: string) => (table === "companies" ? random.between(1, 8) : team());
  const team = () => random.between(1, 8) * 10 + random.between(0, 1);
  const table = random.pick(["companies", "teams", "members"]);
  switch (random.pick(["delete", "move", "rename", "add", "turn", "badge", "node", "prune"])) {
    case "delete":
      return `DELETE FROM ${table} WHERE id = ${id(table)}`;
    case "move":
      return `UPDATE ${table} SET id = ${id(table)} WHERE id = ${id(table)}`;
    case "rename":
      return `UPDATE companies SET name = 'company ${random.between(1, 8)}' WHERE id = ${id("companies")}`;
    case "add":
      if (table === "companies") {
        const company = id(table);
        return `INSERT INTO companies (id, name) VALUES (${company}, 'company ${company}')`;
      }
      return table === "teams"
        ? `INSERT INTO teams (id, company) VALUES (${team()}, ${id("companies")})`
        : `INSERT INTO members (id, team) VALUES (${team()}, ${team()})`;
    case "turn":
      return `UPDATE teams SET company = ${id("companies")} WHERE id = ${team()}`;
    case "badge":
      return `UPDATE badges SET team = ${team()} WHERE id = ${team()}`;
    case "node":
      return `INSERT INTO nodes (id, up) VALUES (${random.between(1, 30)}, ${random.between(1, 30)})`;
    case "prune":
      return `DELETE FROM nodes WHERE id = ${random.between(1, 12)}`;
  }
}

/** The same foreign keys on both sides. */
async function bedWithFamily(
  pair: TestPair,
  others: Readonly<Record<string, DatabaseKind>> = {},
): Promise<TestBed> {
  const kinds = { source: pair.source, target: pair.target, ...others };
  const bed = await TestBed.make(kinds, pair);
  const source = await bed.sql("source");
  await createTables(source, pair.source, FAMILY);
  await createTables(
    await bed.sql("target"),
    pair.target,
    FAMILY.map((table) => asTarget(table, pair.source, pair.target)),
  );
  await transaction(source, () => insertFamily(source));
  return bed;
}

async function insertFamily(sql: SqlClient): Promise<void> {
  for (let company = 1; company <= 6; company++) {
    await insertRow(sql, COMPANIES, { id: company, name: `company ${company}` });
    for (const team of [company * 10, company * 10 + 1]) {
      await insertRow(sql, TEAMS, { id: team, company });
      for (const n of [1, 2]) await insertRow(sql, SEATS, { team, n, person: `p${n}` });
      await insertRow(sql, BADGES, { id: team, team, code: `b${team}` });
      await insertRow(sql, MEMBERS, { id: team, team });
      for (const id of [team * 10, team * 10 + 1]) {
        await insertRow(sql, NOTES, { id, member: team, text: `n${id}` });
      }
    }
  }
  const tree = [null, 1, 2, 3, 1, null, 6];
  for (const [i, up] of tree.entries()) await insertRow(sql, NODES, { id: i + 1, up });
}

const HENS: TestTable = { name: "hens", columns: { id: "integer", egg: "integer" }, key: ["id"] };
const EGGS: TestTable = { name: "eggs", columns: { id: "integer", hen: "integer" }, key: ["id"] };

/** At the source foreign keys hold at the end of a transaction; at the target, at every statement. */
async function bedWithLateParents(pair: TestPair): Promise<TestBed> {
  const bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
  const source = await bed.sql("source");
  const deferrable = source.dialect !== "mariadb";
  const late = "DEFERRABLE INITIALLY DEFERRED";
  const atSource = (table: TestTable, column: string): TestTable =>
    deferrable ? { ...table, actions: { [column]: late } } : { ...table, references: {} };
  await createTables(source, pair.source, [
    PARENTS,
    atSource(CHILDREN, "parent"),
    atSource(TREE, "up"),
  ]);
  await createCircle(source, pair.source, deferrable ? late : null);
  await allowMany(source, pair.source);
  const target = await bed.sql("target");
  const asked = [PARENTS, CHILDREN, TREE].map((table) => asTarget(table, pair.source, pair.target));
  await createTables(target, pair.target, asked);
  await createCircle(target, pair.target, "", { type: integerAtTarget(pair) });
  for (const sql of [source, target]) await findByParent(sql);
  return bed;
}

/** InnoDB does so by itself; elsewhere each of thousands of parents that go would be looked for in all rows. */
async function findByParent(sql: SqlClient): Promise<void> {
  if (sql.dialect === "mariadb") return;
  for (const on of ["children (parent)", "tree (up)", "hens (egg)", "eggs (hen)"]) {
    await sql.run(`CREATE INDEX ${on.replace(/\W+/g, "_")}idx ON ${on}`);
  }
}

const integerAtTarget = ({ source }: TestPair) => (source === "sqlite" ? "bigint" : "int");

/** `mode`: what follows each reference; null: no references. `key`: of the eggs. */
async function createCircle(
  sql: SqlClient,
  kind: TestPair["source"],
  mode: string | null,
  { key = "id", type = "int" }: { readonly key?: "id" | "hen"; readonly type?: string } = {},
): Promise<void> {
  const refer = (column: string, table: string, of: string) =>
    mode === null ? "" : `, FOREIGN KEY (${column}) REFERENCES ${table} (${of}) ${mode}`;
  const early = dialectOf(kind) === "sqlite";
  const hens = `CREATE TABLE hens (id ${type} NOT NULL PRIMARY KEY, egg ${type}`;
  await sql.run(`${hens}${early ? refer("egg", "eggs", key) : ""})`);
  const must = (column: string) => (column === key ? "NOT NULL" : "");
  const eggs = `CREATE TABLE eggs (id ${type} ${must("id")}, hen ${type} ${must("hen")}, PRIMARY KEY (${key})`;
  await sql.run(`${eggs}${refer("hen", "hens", "id")})`);
  if (!early && mode !== null) {
    await sql.run(`ALTER TABLE hens ADD ${refer("egg", "eggs", key).slice(2)}`);
  }
}

/** In MariaDB and MySQL {@link many} goes against a bound. */
async function allowMany(sql: SqlClient, kind: TestPair["source"]): Promise<void> {
  if (dialectOf(kind) !== "mariadb") return;
  const bound = kind === "mysql" ? "cte_max_recursion_depth" : "max_recursive_iterations";
  await sql.run(`SET ${bound} = 100000`);
}

/** One statement that inserts rows for n from 1 up. */
function many(count: number, into: string, values: string): string {
  return `INSERT INTO ${into} WITH RECURSIVE g (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < ${count}) SELECT ${values} FROM g`;
}
