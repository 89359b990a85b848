// What is played beside the bank (test/support/bank.ts): games whose rules every state of the source keeps.
//
// - Lists: a transaction puts its number at the end of one to four lists. A list has no hole and is as long as
//   its head says; an author stands in all of its lists or in none.
// - Families: a child has its parent; a parent that goes takes its children along.
// - Rounds: emptied and filled again in one transaction, so all rows are of one round.
// - Pages: all are of one version, which only grows; now and then all are written in one transaction.
// - Floods: so many rows come in one statement, and go in one; there are all of them or none.
// - Sagas: the chapters of one that is told by one transaction, open for as long as faults go on, are all there or none.
// - Notes: only some columns are synced; others come while it runs.
import { sleep } from "../../../src/core/async.ts";
import type { Random } from "../../support/random.ts";
import type { SqlClient } from "../../support/sql-client.ts";
import type { TestTable } from "../../support/test-tables.ts";

const HEADS: TestTable = {
  name: "heads",
  columns: { id: "integer", length: "bigint" },
  key: ["id"],
  required: ["length"],
};
const ENTRIES: TestTable = {
  name: "entries",
  columns: { list: "integer", place: "bigint", author: "varchar", lists: "integer" },
  key: ["list", "place"],
};
const PARENTS: TestTable = {
  name: "parents",
  columns: { id: "integer", name: "varchar" },
  key: ["id"],
};
const CHILDREN: TestTable = {
  name: "children",
  columns: { id: "integer", parent_id: "integer", name: "varchar" },
  key: ["id"],
  references: { parent_id: "parents" },
  actions: { parent_id: "ON DELETE CASCADE" },
};
const ROUNDS: TestTable = {
  name: "rounds",
  columns: { id: "integer", number: "bigint" },
  key: ["id"],
};
const PAGES: TestTable = {
  name: "pages",
  columns: { id: "integer", ver: "bigint", content: "text" },
  key: ["id"],
};
const FLOODS: TestTable = {
  name: "floods",
  columns: { id: "integer", size: "integer", content: "varchar" },
  key: ["id"],
};
const SAGAS: TestTable = {
  name: "sagas",
  columns: { saga: "integer", chapter: "integer", chapters: "integer" },
  key: ["saga", "chapter"],
};
const NOTES: TestTable = {
  name: "notes",
  columns: { id: "integer", body: "varchar" },
  key: ["id"],
};

export const GAMES: readonly TestTable[] = [
  ...[HEADS, ENTRIES, PARENTS, CHILDREN, ROUNDS, PAGES, FLOODS, SAGAS, NOTES],
];
/** As a sync names them. */
export const GAME_RULES = GAMES.map(({ name, columns }) =>
  name === NOTES.name ? { table: name, columns: Object.keys(columns) } : { table: name },
);

const LISTS = 6;
const FAMILIES = 12;
const SIBLINGS = 3;
const ROUND_ROWS = 5;
/** Of them one transaction makes several messages. */
const PAGE_COUNT = 4_000;
const FILLING = "x".repeat(150);

export async function fillGames(sql: SqlClient): Promise<void> {
  // Of a table of which all columns are named, PostgreSQL's rows are logged whole: a new one would stop the sync.
  await addNoteColumn(sql, 0);
  await sql.begin();
  for (let id = 1; id <= LISTS; id++) await sql.run("INSERT INTO heads VALUES (?, 0)", [id]);
  for (let id = 0; id < PAGE_COUNT; id += 500) {
    const rows = Array.from({ length: 500 }, (_, at) => `(${id + at}, 0, '${FILLING}')`);
    await sql.run(`INSERT INTO pages (id, ver, content) VALUES ${rows.join(", ")}`);
  }
  await sql.commit();
}

/** One transaction of some game; true when it was committed. */
export async function playGame(sql: SqlClient, random: Random): Promise<boolean> {
  await sql.begin();
  switch (random.pick(["lists", "lists", "lists", "lists", "family", "family", "round", "note"])) {
    case "lists":
      await append(sql, random);
      break;
    case "family":
      await playFamily(sql, random);
      break;
    case "round":
      await playRound(sql, random);
      break;
    case "note":
      await writeNote(sql, random);
      break;
  }
  if (random.chance(0.1)) {
    await sql.rollback();
    return false;
  }
  await sql.commit();
  return true;
}

/** Gives who has appended. */
export async function append(sql: SqlClient, random: Random): Promise<string> {
  const author = `${random.between(1, 2 ** 31)}-${random.between(1, 2 ** 31)}`;
  const chosen = Array.from({ length: LISTS }, (_, at) => at + 1).filter(() => random.chance(0.35));
  const lists = chosen.length === 0 ? [random.between(1, LISTS)] : chosen.slice(0, 4);
  for (const list of lists) {
    await sql.run("UPDATE heads SET length = length + 1 WHERE id = ?", [list]);
    const [head] = await sql.rows("SELECT length FROM heads WHERE id = ?", [list]);
    await sql.run("INSERT INTO entries (list, place, author, lists) VALUES (?, ?, ?, ?)", [
      list,
      head?.length ?? null,
      author,
      lists.length,
    ]);
  }
  return author;
}

async function playFamily(sql: SqlClient, random: Random): Promise<void> {
  const id = random.between(1, FAMILIES);
  const name = `name ${random.between(1, 1_000)}`;
  const renamed = await sql.run("UPDATE parents SET name = ? WHERE id = ?", [name, id]);
  if (renamed === 0) {
    await sql.run("INSERT INTO parents (id, name) VALUES (?, ?)", [id, name]);
    for (let child = 1; child <= SIBLINGS; child++) {
      const key = id * 10 + child;
      await sql.run("INSERT INTO children (id, parent_id, name) VALUES (?, ?, ?)", [key, id, name]);
    }
  } else if (random.chance(0.4)) {
    await sql.run("DELETE FROM parents WHERE id = ?", [id]);
  } else {
    await sql.run("UPDATE children SET name = ? WHERE parent_id = ?", [name, id]);
  }
}

async function playRound(sql: SqlClient, random: Random): Promise<void> {
  const number = random.between(1, 2 ** 31);
  // MariaDB and MySQL would end the transaction with a TRUNCATE, and it would stop the sync.
  await sql.run(sql.dialect === "postgres" ? "TRUNCATE rounds" : "DELETE FROM rounds");
  for (let id = 1; id <= ROUND_ROWS; id++) {
    await sql.run("INSERT INTO rounds (id, number) VALUES (?, ?)", [id, number]);
  }
}

async function writeNote(sql: SqlClient, random: Random): Promise<void> {
  const id = random.between(1, 50);
  await sql.run("DELETE FROM notes WHERE id = ?", [id]);
  await sql.run("INSERT INTO notes (id, body) VALUES (?, ?)", [id, `body ${random.unit()}`]);
}

/** A large transaction. */
export async function turnPages(sql: SqlClient): Promise<boolean> {
  await sql.begin();
  await sql.run("UPDATE pages SET ver = ver + 1");
  await sql.commit();
  return true;
}

/** A transaction of so many rows: they come, or those of an earlier one go. `size`: a digit, then zeros. */
export async function flood(sql: SqlClient, size: number): Promise<void> {
  await sql.begin();
  if ((await sql.run("DELETE FROM floods")) === 0) await sql.run(floodOf(size));
  await sql.commit();
}

function floodOf(size: number): string {
  const [first, ...zeros] = String(size);
  const places = [
    `(${digits(Number(first))}) AS d`,
    ...zeros.map((_, at) => `(${digits(10)}) AS d${at}`),
  ];
  const id = ["d.n", ...zeros.map((_, at) => `d${at}.n`)].reduce(
    (number, digit) => `(${number}) * 10 + ${digit}`,
  );
  return `INSERT INTO floods (id, size, content) SELECT ${id}, ${size}, 'row' FROM ${places.join(", ")}`;
}

function digits(count: number): string {
  const all = Array.from({ length: count }, (_, digit) => `SELECT ${digit} AS n`);
  return all.join(" UNION ALL ");
}

/** The schema changes in a way that the sync follows: the column is not among those it names. */
export async function addNoteColumn(sql: SqlClient, number: number): Promise<void> {
  await sql.run(`ALTER TABLE notes ADD COLUMN extra_${number} integer`);
}

/** One transaction that stays open until the signal aborts. */
export async function tellSaga(
  sql: SqlClient,
  saga: number,
  signal: AbortSignal,
): Promise<boolean> {
  await sql.begin();
  let chapter = 0;
  while (!signal.aborted) {
    await sql.run("INSERT INTO sagas (saga, chapter) VALUES (?, ?)", [saga, ++chapter]);
    await sleep(500, signal);
  }
  await sql.run("UPDATE sagas SET chapters = ? WHERE saga = ?", [chapter, saga]);
  await sql.commit();
  return true;
}

/** What a reader sees in one snapshot that no state of the source can be. */
export async function judgeGames(sql: SqlClient): Promise<string[]> {
  const found: string[] = [];
  for (const [rule, query] of RULES) {
    const broken = await sql.rows(query);
    if (broken.length > 0) found.push(`${rule}: ${JSON.stringify(broken.slice(0, 3))}`);
  }
  return found;
}

const RULES: readonly (readonly [rule: string, brokenBy: string])[] = [
  [
    "a list is whole and as long as its head says",
    `SELECT h.id, h.length, e.entries, e.newest FROM heads h LEFT JOIN
       (SELECT list, COUNT(*) AS entries, MAX(place) AS newest FROM entries GROUP BY list) e ON e.list = h.id
     WHERE h.length <> COALESCE(e.entries, 0) OR h.length <> COALESCE(e.newest, 0)`,
  ],
  [
    "an author stands in all of its lists or in none",
    "SELECT author, COUNT(*) AS stands FROM entries GROUP BY author HAVING COUNT(*) <> MAX(lists)",
  ],
  [
    "a child has its parent",
    "SELECT c.id FROM children c LEFT JOIN parents p ON p.id = c.parent_id WHERE p.id IS NULL",
  ],
  [
    "a parent has its children",
    `SELECT p.id FROM parents p LEFT JOIN children c ON c.parent_id = p.id
     GROUP BY p.id HAVING COUNT(c.id) <> ${SIBLINGS}`,
  ],
  [
    "all rows are of one round",
    `SELECT COUNT(*) AS found FROM rounds HAVING COUNT(*) NOT IN (0, ${ROUND_ROWS})
       OR MIN(number) <> MAX(number)`,
  ],
  [
    "all pages are there and of one version",
    `SELECT COUNT(*) AS found, MIN(ver) AS oldest, MAX(ver) AS newest FROM pages
     HAVING COUNT(*) <> ${PAGE_COUNT} OR MIN(ver) <> MAX(ver)`,
  ],
  [
    "of a flood there is all or nothing",
    `SELECT MAX(size) AS expected, COUNT(*) AS found FROM floods
     HAVING COUNT(*) <> 0 AND (COUNT(*) <> MAX(size) OR MIN(size) <> MAX(size))`,
  ],
  [
    "a saga is told to its end or not at all",
    `SELECT saga, COUNT(*) AS found FROM sagas GROUP BY saga
     HAVING COUNT(chapters) <> COUNT(*) OR COUNT(*) <> MAX(chapters)`,
  ],
];
