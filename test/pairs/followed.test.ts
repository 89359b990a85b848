// A foreign key of the target follows a unique column of its parent (ON UPDATE CASCADE). At the source the
// parent went and came back with another value: nothing followed there, and nothing may here (G3).
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
});

function tables(dialect: Dialect): readonly string[] {
  const late = dialect === "mariadb" ? "" : " DEFERRABLE INITIALLY DEFERRED";
  return [
    "CREATE TABLE parents (id bigint PRIMARY KEY, code bigint UNIQUE, note text)",
    `CREATE TABLE children (id bigint PRIMARY KEY, code bigint,
       FOREIGN KEY (code) REFERENCES parents (code) ON UPDATE CASCADE${late})`,
  ];
}
