// What the application's own triggers write: to the same row, before and after, and to other tables (G1).
import { describe, expect, test } from "vitest";
import { available, ELEVEN_PAIRS, type TestPair, title } from "../support/pairs.ts";
import { startPlayer } from "../support/player.ts";
import type { Dialect } from "../support/sql-client.ts";
import { TestBed } from "../support/test-bed.ts";
import { contents, createTables, insertRow, type TestTable } from "../support/test-tables.ts";

const ITEMS: TestTable = {
  name: "items",
  columns: { id: "integer", name: "varchar", qty: "integer", stamp: "integer" },
  key: ["id"],
};
const PARTS: TestTable = {
  name: "parts",
  columns: { id: "integer", item: "integer" },
  key: ["id"],
};
const TOTALS: TestTable = { name: "totals", columns: { id: "integer", n: "integer" }, key: ["id"] };
const AUDIT: TestTable = {
  name: "audit",
  columns: { n: "integer", item: "integer", what: "varchar" },
  key: ["n"],
};
const ALL = [ITEMS, PARTS, TOTALS, AUDIT];

const NOTE = (item: string, what: string) =>
  `INSERT INTO audit (n, item, what) SELECT n, ${item}, '${what}' FROM totals WHERE id = 1`;
const COUNT = "UPDATE totals SET n = n + 1 WHERE id = 1";

/** A row's stamp counts its writes; quantities below zero become zero; all is counted and noted. */
const TRIGGERS: Readonly<Record<Dialect, readonly string[]>> = {
  postgres: [
    `CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN NEW.stamp := coalesce(NEW.stamp, 0) + 1; RETURN NEW; END $$`,
    `CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN
         ${COUNT};
         ${NOTE("CASE TG_OP WHEN 'DELETE' THEN OLD.id ELSE NEW.id END", "written")};
         IF TG_OP = 'DELETE' THEN DELETE FROM parts WHERE item = OLD.id;
         ELSIF NEW.qty < 0 THEN UPDATE items SET qty = 0 WHERE id = NEW.id;
         END IF;
         RETURN NULL;
       END $$`,
    // Before the row stands: it writes other tables, and other rows of this one.
    `CREATE FUNCTION ahead() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN
         ${COUNT};
         ${NOTE("CASE TG_OP WHEN 'DELETE' THEN OLD.id ELSE NEW.id END", "ahead")};
         IF TG_OP <> 'DELETE' THEN RETURN NEW; END IF;
         DELETE FROM parts WHERE item = OLD.id;
         UPDATE items SET name = name || '-' WHERE id > OLD.id;
         RETURN OLD;
       END $$`,
    "CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION stamp()",
    "CREATE TRIGGER ahead BEFORE INSERT OR UPDATE OR DELETE ON items FOR EACH ROW EXECUTE FUNCTION ahead()",
    "CREATE TRIGGER aaa_note AFTER INSERT OR UPDATE OR DELETE ON items FOR EACH ROW EXECUTE FUNCTION note()",
  ],
  mariadb: [
    ...["INSERT", "UPDATE"].map(
      (event) => `CREATE TRIGGER stamp_${event} BEFORE ${event} ON items FOR EACH ROW
        BEGIN SET NEW.stamp = COALESCE(NEW.stamp, 0) + 1; IF NEW.qty < 0 THEN SET NEW.qty = 0; END IF; END`,
    ),
    ...["INSERT", "UPDATE"].map(
      (event) => `CREATE TRIGGER note_${event} AFTER ${event} ON items FOR EACH ROW
        BEGIN ${COUNT}; ${NOTE("NEW.id", "written")}; END`,
    ),
    `CREATE TRIGGER note_DELETE BEFORE DELETE ON items FOR EACH ROW
       BEGIN ${COUNT}; ${NOTE("OLD.id", "written")}; DELETE FROM parts WHERE item = OLD.id; END`,
  ],
  sqlite: [
    ...["INSERT", "UPDATE OF id, name, qty"].map(
      (event, i) => `CREATE TRIGGER note_${i} AFTER ${event} ON items BEGIN
        UPDATE items SET stamp = coalesce(stamp, 0) + 1 WHERE id = NEW.id;
        ${COUNT}; ${NOTE("NEW.id", "written")};
        UPDATE items SET qty = 0 WHERE id = NEW.id AND qty < 0; END`,
    ),
    `CREATE TRIGGER note_2 BEFORE DELETE ON items BEGIN
       ${COUNT}; ${NOTE("OLD.id", "written")}; DELETE FROM parts WHERE item = OLD.id; END`,
  ],
};

describe.each(ELEVEN_PAIRS.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  test.skipIf(!available(pair))("rows arrive as the application's triggers leave them", () =>
    followTriggers(pair),
  );
});

async function followTriggers(pair: TestPair): Promise<void> {
  await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
  const source = await bed.sql("source");
  await createTables(source, pair.source, ALL);
  await insertRow(source, TOTALS, { id: 1, n: 0 });
  for (const statement of TRIGGERS[source.dialect]) await source.run(statement);
  const play = await startPlayer(bed, { tables: ALL });
  await play("INSERT INTO items (id, name, qty) VALUES (1, 'a', 1), (2, 'b', -2), (3, 'c', 3)");
  await play(
    "INSERT INTO parts (id, item) VALUES (1, 1), (2, 2), (3, 2)",
    "UPDATE items SET qty = qty - 2",
  );
  await play("UPDATE items SET id = 30, qty = -1 WHERE id = 3", "DELETE FROM items WHERE id = 2");
  await play(
    "INSERT INTO items (id, name, qty) VALUES (2, 'again', -1)",
    "DELETE FROM items WHERE id = 2",
    "INSERT INTO items (id, name, qty) VALUES (2, 'and again', -1)",
    "UPDATE items SET name = 'last'",
  );
  // The triggers did run.
  const items = await contents(await bed.sql("target"), ITEMS);
  expect(items.map(({ qty }) => qty)).toEqual(["0", "0", "0"]);
  expect(items.every(({ stamp }) => Number(stamp) > 1)).toBe(true);
  expect((await contents(await bed.sql("target"), AUDIT)).length).toBeGreaterThan(10);
}
