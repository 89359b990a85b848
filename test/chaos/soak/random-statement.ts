// Random statements over a random schema. They come from chance alone, never from what the database
// holds, so that a seed gives the same ones again.
import type { Random } from "../../support/random.ts";
import type { Dialect } from "../../support/sql-client.ts";
import type { SoakColumn, SoakTable } from "./random-schema.ts";

const IDS = 30;
/** Where rows go that came many at a time. */
const BULK_FROM = 2_000;
const BULK_ROWS = 260;

/** One step of a transaction: statements that belong together. */
export function randomStep(
  random: Random,
  dialect: Dialect,
  tables: readonly SoakTable[],
  writer: number,
): readonly string[] {
  const table = tables[random.between(0, tables.length - 1)] as SoakTable;
  const { name } = table;
  const id = () => random.between(1, IDS);
  const range = () => {
    const low = id();
    return `id BETWEEN ${low} AND ${low + random.between(1, 6)}`;
  };
  switch (random.pick(STEPS)) {
    case "insert":
      return [insert(random, table, [id()])];
    case "several":
      return [insert(random, table, Array.from({ length: random.between(2, 8) }, id))];
    case "upsert":
      return [upsert(random, dialect, table, id())];
    case "update":
      return set(random, table, `id = ${id()}`);
    case "updates":
      return set(random, table, range());
    case "key":
      return [`UPDATE ${name} SET id = ${id()} WHERE id = ${id()}`];
    case "keys": {
      const order = dialect === "mariadb" ? " ORDER BY id DESC" : "";
      return random.chance(0.5)
        ? [`UPDATE ${name} SET id = id + 50 WHERE ${range()}${order}`]
        : [`UPDATE ${name} SET id = id - 50 WHERE id BETWEEN 51 AND 90`];
    }
    case "part":
      return table.key.includes("part")
        ? [`UPDATE ${name} SET part = ${random.between(0, 2)} WHERE id = ${id()}`]
        : set(random, table, range());
    case "swap": {
      const [a, b, between] = [id(), id(), 1_000 + writer];
      return [
        `UPDATE ${name} SET id = ${between} WHERE id = ${a}`,
        `UPDATE ${name} SET id = ${a} WHERE id = ${b}`,
        `UPDATE ${name} SET id = ${b} WHERE id = ${between}`,
      ];
    }
    case "shift": {
      const order = dialect === "mariadb" ? " ORDER BY u DESC" : "";
      if (table.unique.length === 0) return set(random, table, range());
      return [`UPDATE ${name} SET u = u + 1 WHERE u BETWEEN ${id()} AND 40${order}`];
    }
    case "unique":
      return swapUnique(random, table, writer);
    case "delete":
      return [`DELETE FROM ${name} WHERE id = ${id()}`];
    case "deletes":
      return [`DELETE FROM ${name} WHERE ${range()}`];
    case "again": {
      const same = id();
      return [`DELETE FROM ${name} WHERE id = ${same}`, insert(random, table, [same])];
    }
    case "together":
      if (dialect !== "postgres") return [`DELETE FROM ${name} WHERE id = ${id()}`];
      return [together(random, table, id)];
    case "bulk":
      return [
        insert(
          random,
          table,
          Array.from({ length: BULK_ROWS }, (_, i) => BULK_FROM + i),
        ),
      ];
    case "prune":
      return [`DELETE FROM ${name} WHERE id > ${IDS}`];
    case "empty":
      if (table.marked) return set(random, table, "id > 0");
      return [dialect === "postgres" ? `TRUNCATE ${name}` : `DELETE FROM ${name}`];
  }
}

const STEPS = [
  ...["insert", "insert", "insert", "several", "several", "upsert", "upsert"],
  ...[
    "update",
    "update",
    "update",
    "updates",
    "key",
    "key",
    "keys",
    "part",
    "swap",
    "unique",
    "shift",
  ],
  ...["delete", "deletes", "again", "together", "together", "bulk", "prune", "empty"],
] as unknown as readonly [Step, ...Step[]];

type Step =
  | ("insert" | "several" | "upsert" | "update" | "updates" | "key" | "keys" | "part" | "swap")
  | ("unique" | "shift" | "delete" | "deletes" | "again" | "together" | "bulk" | "prune" | "empty");

/** A writer's marker in a table. */
export function markerSql(random: Random, table: SoakTable, writer: number): string {
  const names = ["id", ...keyed(table), ...must(table).map(({ name }) => name)];
  const values = [
    markerId(writer),
    ...keyed(table).map(() => 0),
    ...must(table).map((column) => literal(random, column)),
  ];
  return `INSERT INTO ${table.name} (${names.join(", ")}) VALUES (${values.join(", ")})`;
}

function markerId(writer: number): number {
  return -1 - writer;
}

/** Moves a part of a writer's balance; together with its counterpart the sum stays. */
export function moveSql(table: SoakTable, writer: number, amount: number): string {
  return `UPDATE ${table.name} SET balance = balance + (${amount}) WHERE id = ${markerId(writer)}`;
}

/** Rows of these ids, with the same columns given for each. */
export function insert(random: Random, table: SoakTable, ids: readonly number[]): string {
  const given = chosen(random, table);
  const names = ["id", ...keyed(table), ...given.map(([name]) => name)];
  const rows = ids.map((id) => {
    const parts = keyed(table).map(() => random.between(0, 2));
    return `(${[id, ...parts, ...given.map(([, value]) => value())].join(", ")})`;
  });
  return `INSERT INTO ${table.name} (${names.join(", ")}) VALUES ${rows.join(", ")}`;
}

function upsert(random: Random, dialect: Dialect, table: SoakTable, id: number): string {
  const sql = insert(random, table, [id]);
  const names = [...(/\(([^)]*)\)/.exec(sql)?.[1] ?? "").split(", ")];
  const others = names.filter((name) => !table.key.includes(name));
  const how = others.length === 0 ? "nothing" : random.pick(["replace", "update", "nothing"]);
  if (dialect === "mariadb") {
    if (how === "replace") return sql.replace("INSERT", "REPLACE");
    if (how === "nothing") return sql.replace("INSERT", "INSERT IGNORE");
    const sets = others.map((name) => `${name} = VALUES(${name})`);
    return `${sql} ON DUPLICATE KEY UPDATE ${sets.join(", ")}`;
  }
  // SQLite lets a row that replaces one refer to nothing, where others of the same table referred to that one:
  // then the source itself breaks its foreign key.
  const breaksItself = table.reference?.table === table.name;
  if (dialect === "sqlite" && how === "replace" && !breaksItself) {
    return sql.replace("INSERT", "INSERT OR REPLACE");
  }
  if (how === "nothing" || table.key.length === 0) return `${sql} ON CONFLICT DO NOTHING`;
  const sets = others.map((name) => `${name} = excluded.${name}`);
  return `${sql} ON CONFLICT (${table.key.join(", ")}) DO UPDATE SET ${sets.join(", ")}`;
}

function set(random: Random, table: SoakTable, where: string): readonly string[] {
  const given = chosen(random, table).filter(
    ([name]) => !table.key.includes(name) || random.chance(0.3),
  );
  // At least one; a value that is the same again is a change, too.
  const sets = [["n", () => String(random.between(0, 9))] as const, ...given];
  const list = new Map(sets.map(([name, value]) => [name, value()]));
  const assignments = [...list].map(([name, value]) => `${name} = ${value}`);
  return [
    `UPDATE ${table.name} SET ${assignments.join(", ")} WHERE ${where}${where.startsWith("id =") ? "" : " AND id > 0"}`,
  ];
}

function swapUnique(random: Random, table: SoakTable, writer: number): readonly string[] {
  if (table.unique.length === 0) return set(random, table, `id = ${random.between(1, IDS)}`);
  const [a, b] = [random.between(1, 40), random.between(1, 40)];
  const between = 1_000 + writer;
  return [
    [between, a],
    [a, b],
    [b, between],
  ].map(([to, from]) => `UPDATE ${table.name} SET u = ${to} WHERE u = ${from}`);
}

/** One statement of PostgreSQL that writes a table in several ways. */
function together(random: Random, table: SoakTable, id: () => number): string {
  const { name } = table;
  const [one, other] = [id(), id()];
  switch (random.pick(["go, come", "come, go", "move, go", "merge"])) {
    case "go, come": {
      const come = insert(random, table, [one]).replace(
        /VALUES \((.*)\)$/s,
        "SELECT $1 FROM went LIMIT 1",
      );
      return `WITH went AS (DELETE FROM ${name} WHERE id = ${one} RETURNING id) ${come}`;
    }
    case "come, go": {
      const come = insert(random, table, [one, one + 1, one + 2]);
      return `WITH came AS (${come} RETURNING id) DELETE FROM ${name} USING came WHERE ${name}.id = came.id + 1`;
    }
    case "move, go":
      return `WITH moved AS (UPDATE ${name} SET id = ${one} WHERE id = ${other} RETURNING id) DELETE FROM ${name} WHERE id = ${one}`;
    case "merge": {
      const [, columns, values] =
        /\(([^)]*)\) VALUES \((.*)\)$/s.exec(insert(random, table, [other])) ?? [];
      return `MERGE INTO ${name} t USING (VALUES (${one}), (${other})) s (i) ON t.id = s.i
        WHEN MATCHED AND s.i = ${one} THEN DELETE WHEN MATCHED THEN UPDATE SET n = 7
        WHEN NOT MATCHED THEN INSERT (${columns}) VALUES (${values})`;
    }
  }
}

type Given = readonly [name: string, value: () => string];

/** Columns to be given, and how to find a value for each. */
function chosen(random: Random, table: SoakTable): readonly Given[] {
  const given: Given[] = must(table).map((column) => [column.name, () => literal(random, column)]);
  for (const column of table.columns.filter((each) => !must(table).includes(each))) {
    if (random.chance(0.7)) given.push([column.name, () => literal(random, column)]);
  }
  if (random.chance(0.5)) given.push(["n", () => String(random.between(-9, 9))]);
  if (table.unique.length > 0 && random.chance(0.8)) {
    given.push(["u", () => (random.chance(0.1) ? "NULL" : String(random.between(1, 40)))]);
  }
  if (table.reference !== null && random.chance(0.7)) {
    for (const name of table.reference.columns) {
      const [low, high] = RANGES[name] ?? [0, 2];
      given.push([name, () => (random.chance(0.1) ? "NULL" : String(random.between(low, high)))]);
    }
  }
  return given;
}

/** Of columns that refer to other rows. */
const RANGES: Readonly<Record<string, readonly [number, number]>> = {
  up_id: [1, IDS],
  up_u: [1, 40],
};

function literal(random: Random, column: SoakColumn): string {
  if (column.nullable && random.chance(0.15)) return "NULL";
  return column.pool[random.between(0, column.pool.length - 1)] as string;
}

function must(table: SoakTable): readonly SoakColumn[] {
  return table.columns.filter(({ nullable, hasDefault }) => !nullable && !hasDefault);
}

function keyed(table: SoakTable): readonly string[] {
  return table.key.includes("part") ? ["part"] : [];
}
