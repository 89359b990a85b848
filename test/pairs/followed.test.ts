// A foreign key of the target follows a unique column of its parent (ON UPDATE CASCADE): there a row may change
// only as it did at the source, whatever the order in which rows are written (G3).
import { describe, expect, test } from "vitest";
import { available, type TestPair, title } from "../support/pairs.ts";
import { startPlayer } from "../support/player.ts";
import type { Dialect } from "../support/sql-client.ts";
import { TestBed } from "../support/test-bed.ts";
import { contents, type TestTable } from "../support/test-tables.ts";

const PARENTS: TestTable = {
  name: "parents",
  columns: { id: "integer", code: "integer", note: "text" },
  key: ["id"],
};
const CHILDREN: TestTable = {
  name: "children",
  columns: { id: "integer", code: "integer" },
  key: ["id"],
};

const PEOPLE: TestTable = {
  name: "people",
  columns: { id: "integer", code: "integer", up: "integer", note: "text" },
  key: ["id"],
};
/** Without a key. */
const BAGS: TestTable = {
  name: "bags",
  columns: { code: "integer", note: "text" },
  key: [],
};
const LEFTS: TestTable = { ...PEOPLE, name: "lefts" };
const RIGHTS: TestTable = { ...PEOPLE, name: "rights" };

/** MariaDB puts no foreign key off to the end of a transaction: as a source it has no such rows. */
const PAIRS: readonly TestPair[] = (["postgres", "sqlite"] as const).flatMap((source) =>
  (["postgres", "mariadb", "sqlite"] as const).map(
    (target) => ({ source, target, queue: "embedded" }) as const,
  ),
);

describe.each(PAIRS.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  test.skipIf(!available(pair))("a parent that comes back takes no child along", async () => {
    await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    for (const side of ["source", "target"]) {
      const sql = await bed.sql(side);
      for (const statement of tables(sql.dialect)) await sql.run(statement);
    }
    const source = await bed.sql("source");
    await source.run("INSERT INTO parents VALUES (1, 24, 'a'), (2, 9, 'b')");
    await source.run("INSERT INTO children VALUES (1, 24), (2, 9), (3, NULL)");
    const play = await startPlayer(bed, { tables: [PARENTS, CHILDREN] });

    await play(
      "DELETE FROM parents WHERE id = 1",
      "INSERT INTO parents VALUES (3, 24, 'c')",
      "INSERT INTO parents VALUES (1, NULL, 'a')",
    );
    const replace =
      pair.source === "sqlite"
        ? ["INSERT OR REPLACE INTO parents VALUES (2, 30, 'b')"]
        : ["DELETE FROM parents WHERE id = 2", "INSERT INTO parents VALUES (2, 30, 'b')"];
    await play(...replace, "INSERT INTO parents VALUES (4, 9, 'd')");
    // What does follow at the source arrives as it is.
    await play("UPDATE parents SET code = 31 WHERE code = 24", "UPDATE parents SET note = 'e'");
    expect(await contents(await bed.sql("target"), CHILDREN)).toHaveLength(3);
  });

  test.skipIf(!available(pair))("one under another key leaves no child to who comes", async () => {
    await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    for (const side of ["source", "target"]) {
      const sql = await bed.sql(side);
      for (const statement of tables(sql.dialect, "ON DELETE CASCADE")) await sql.run(statement);
    }
    const source = await bed.sql("source");
    await source.run("INSERT INTO parents VALUES (1, 24, 'a'), (2, 9, 'b')");
    await source.run("INSERT INTO children VALUES (1, 24), (2, 9), (3, NULL)");
    const play = await startPlayer(bed, { tables: [PARENTS, CHILDREN] });

    await play(
      "UPDATE parents SET id = 7 WHERE id = 1",
      "INSERT INTO parents VALUES (1, 30, 'c')",
      "UPDATE parents SET note = 'd' WHERE id = 2",
    );
    expect(await contents(await bed.sql("target"), CHILDREN)).toHaveLength(3);
  });

  test.skipIf(!available(pair))("a value that moves on takes along only who had it", async () => {
    await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    for (const side of ["source", "target"]) {
      const sql = await bed.sql(side);
      for (const statement of circles(sql.dialect)) await sql.run(statement);
    }
    const source = await bed.sql("source");
    const names = [PEOPLE, LEFTS, RIGHTS].map(({ name }) => name);
    for (const name of names) {
      await source.run(`INSERT INTO ${name} VALUES (8, 40, NULL, 'a'), (9, 39, NULL, 'b')`);
    }
    for (const name of names) await source.run(`INSERT INTO ${name} VALUES (1, NULL, 39, 'c')`);
    // In a circle the first one asked for is written last: here the one that is followed.
    const play = await startPlayer(bed, { tables: [PEOPLE, RIGHTS, LEFTS] });
    for (const [child, parent] of [
      ["people", "people"],
      ["lefts", "rights"],
    ]) {
      await play(
        `UPDATE ${child} SET note = 'd' WHERE id = 1`,
        `UPDATE ${parent} SET code = code + 1 WHERE id = 8`,
        // To the value that the other has just given up.
        `UPDATE ${parent} SET code = code + 1 WHERE id = 9`,
      );
    }
  });
});

const FROM_POSTGRES = PAIRS.filter(({ source }) => source === "postgres");

describe.each(FROM_POSTGRES.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  test.skipIf(!available(pair))(
    "rows without a key that followed are found by what they were",
    async () => {
      await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
      for (const side of ["source", "target"]) {
        const sql = await bed.sql(side);
        await sql.run(
          "CREATE TABLE parents (id bigint PRIMARY KEY, code bigint UNIQUE, note text)",
        );
        await sql.run(`CREATE TABLE bags (code bigint, note text,
          FOREIGN KEY (code) REFERENCES parents (code) ON UPDATE CASCADE ON DELETE SET NULL)`);
      }
      const source = await bed.sql("source");
      await source.run("INSERT INTO parents VALUES (1, 31, 'a'), (2, 32, 'b'), (3, 50, 'c')");
      await source.run("INSERT INTO bags VALUES (31, 'x'), (31, 'x'), (32, 'x'), (NULL, 'x')");
      const play = await startPlayer(bed, { tables: [PARENTS, BAGS] });
      const swap = [
        "UPDATE parents SET code = NULL WHERE id = 1",
        "UPDATE parents SET code = 31 WHERE id = 2",
        "UPDATE parents SET code = 32 WHERE id = 1",
      ];
      // No order of the parents' last states will do.
      await play(...swap);
      await play("INSERT INTO bags VALUES (32, 'y'), (32, 'y'), (31, 'y')");
      // The rows are in the end what they were, their parent is not.
      await play(
        "UPDATE parents SET code = 40 WHERE id = 2",
        "INSERT INTO parents VALUES (9, 31, 'd')",
        "UPDATE bags SET code = 31 WHERE code = 40",
      );
      await play(
        "DELETE FROM parents WHERE id = 9",
        "UPDATE parents SET code = 99 WHERE id = 1",
        "UPDATE parents SET code = 32 WHERE id = 2",
        "UPDATE parents SET code = 40 WHERE id = 1",
      );
      // More than is applied at a time.
      await play("INSERT INTO bags SELECT 50, 'z' FROM generate_series(1, 12000)");
      await play("UPDATE parents SET code = 51 WHERE id = 3");
      await play("DELETE FROM parents WHERE id = 3");
      expect(await contents(await bed.sql("target"), BAGS)).toHaveLength(12_007);
    },
  );
});

/** A table that refers to itself, and two that refer to each other. */
function circles(dialect: Dialect): readonly string[] {
  const columns = "id bigint PRIMARY KEY, code bigint UNIQUE, up bigint, note text";
  const key = (parent: string) => `FOREIGN KEY (up) REFERENCES ${parent} (code)`;
  const [left, right] = [`${key("rights")} ON UPDATE CASCADE`, key("lefts")];
  // MariaDB carries no such change on within a table.
  const self = `${key("people")}${dialect === "mariadb" ? "" : " ON UPDATE CASCADE"}`;
  const people = `CREATE TABLE people (${columns}, ${self})`;
  if (dialect === "sqlite") {
    return [
      people,
      `CREATE TABLE lefts (${columns}, ${left})`,
      `CREATE TABLE rights (${columns}, ${right})`,
    ];
  }
  return [
    people,
    `CREATE TABLE lefts (${columns})`,
    `CREATE TABLE rights (${columns})`,
    `ALTER TABLE lefts ADD ${left}`,
    `ALTER TABLE rights ADD ${right}`,
  ];
}

function tables(dialect: Dialect, onDelete = ""): readonly string[] {
  const late = dialect === "mariadb" ? "" : " DEFERRABLE INITIALLY DEFERRED";
  return [
    "CREATE TABLE parents (id bigint PRIMARY KEY, code bigint UNIQUE, note text)",
    `CREATE TABLE children (id bigint PRIMARY KEY, code bigint,
       FOREIGN KEY (code) REFERENCES parents (code) ON UPDATE CASCADE ${onDelete}${late})`,
  ];
}
