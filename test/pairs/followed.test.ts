// A foreign key of the target follows a unique column of its parent (ON UPDATE CASCADE): there a row may change
// only as it did at the source, whatever the order in which rows are written (G3).
import { describe, expect, test } from "vitest";
import { FLUSH_CHANGES } from "../../src/applier/group.ts";
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
const OTHERS: TestTable = {
  name: "others",
  columns: { id: "integer", code: "integer" },
  key: ["id"],
};

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

  test.skipIf(!available(pair))("a value that moves on takes along only who had it", async () => {
    await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    for (const side of ["source", "target"]) {
      const sql = await bed.sql(side);
      for (const statement of tables(sql.dialect)) await sql.run(statement);
      // MariaDB carries no such change on within a table.
      const action = sql.dialect === "mariadb" ? "" : " ON UPDATE CASCADE";
      await sql.run(
        `CREATE TABLE people (id bigint PRIMARY KEY, code bigint UNIQUE, up bigint, note text,
           FOREIGN KEY (up) REFERENCES people (code)${action})`,
      );
      await sql.run("CREATE TABLE others (id bigint PRIMARY KEY, code bigint UNIQUE)");
      await sql.run("CREATE INDEX children_code ON children (code)");
    }
    const source = await bed.sql("source");
    await source.run("INSERT INTO people VALUES (8, 40, NULL, 'a'), (9, 39, NULL, 'b')");
    await source.run("INSERT INTO people VALUES (1, NULL, 39, 'c')");
    await source.run("INSERT INTO parents VALUES (8, 40, 'a'), (9, 39, 'b')");
    await source.run("INSERT INTO children VALUES (1, 39), (2, 40)");
    await source.run("INSERT INTO others VALUES (1, 1), (2, 2)");
    const play = await startPlayer(bed, { tables: [PEOPLE, PARENTS, CHILDREN, OTHERS] });

    const upBy = (table: string, by: number) =>
      [8, 9].map((id) => `UPDATE ${table} SET code = code + ${by} WHERE id = ${id}`);
    await play("UPDATE people SET note = 'd' WHERE id = 1", ...upBy("people", 1));
    await play("UPDATE children SET id = 3 WHERE id = 1", ...upBy("parents", 1));
    // As no set can be written: in the order of the log.
    const swap = ["1001 WHERE code = 1", "1 WHERE code = 2", "2 WHERE code = 1001"].map(
      (change) => `UPDATE others SET code = ${change}`,
    );
    await play(...swap, "UPDATE parents SET code = code + 1 WHERE id IN (8, 9)");
    await play(...swap, "UPDATE people SET note = 'e' WHERE id = 1", ...upBy("people", 1));
    // More than is written at a time.
    const [from, many] = [100, FLUSH_CHANGES];
    const numbers = `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${many})`;
    await play(
      `${numbers} INSERT INTO parents SELECT ${from} + i, 2 * (${from} + i), 'x' FROM n`,
      `${numbers} INSERT INTO children SELECT ${from} + i, 2 * (${from} + i) FROM n`,
    );
    await play(
      `UPDATE parents SET code = -code - 2 WHERE id > ${from}`,
      `UPDATE parents SET code = -code WHERE id > ${from}`,
    );
  });
});

function tables(dialect: Dialect): readonly string[] {
  const late = dialect === "mariadb" ? "" : " DEFERRABLE INITIALLY DEFERRED";
  return [
    "CREATE TABLE parents (id bigint PRIMARY KEY, code bigint UNIQUE, note text)",
    `CREATE TABLE children (id bigint PRIMARY KEY, code bigint,
       FOREIGN KEY (code) REFERENCES parents (code) ON UPDATE CASCADE${late})`,
  ];
}
