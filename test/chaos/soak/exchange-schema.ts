// Tables whose unique values change hands, with the same rules on both sides, and statements that make them do so. The
// target has no rule that the source has not, but may check one sooner: at each statement, where the source waits for
// the end of a statement or transaction.
import type { DatabaseKind } from "../../servers/index.ts";
import type { Random } from "../../support/random.ts";
import { type Dialect, dialectOf } from "../../support/sql-client.ts";
import { exact, type TestTable } from "../../support/test-tables.ts";

/** Of unique keys; only PostgreSQL knows the later ones. */
type Checked = "" | " DEFERRABLE" | " DEFERRABLE INITIALLY DEFERRED";

export interface ExchangeRules {
  /** Of the unique keys of one side: `u`, `(a, b)`, `tag`, `(owner, slot)`. */
  readonly source: readonly Checked[];
  readonly target: readonly Checked[];
  readonly actions: string;
  /** Has the target the foreign keys, too? */
  readonly refers: boolean;
  /** Do rows refer to a unique value besides the key? */
  readonly byUnique: boolean;
  /** May the role at the target not put off foreign keys that are not deferrable? Then they are, and do nothing by themselves. */
  readonly plain: boolean;
}

const OWNERS: TestTable = {
  name: "owners",
  columns: {
    ...{ id: "bigint", u: "bigint", name: "varchar", a: "bigint", b: "bigint" },
    ...{ n: "bigint", pad: "varchar" },
  },
  key: ["id"],
};
const HELD: TestTable = {
  name: "held",
  columns: {
    ...{ id: "bigint", owner: "bigint", slot: "bigint", tag: "bigint" },
    ...{ owner_u: "bigint", n: "bigint" },
  },
  key: ["id"],
};
/** One row for each transaction; many are equal. */
const ENTRIES: TestTable = {
  name: "entries",
  columns: { writer: "bigint", amount: "bigint" },
  key: [],
};
export const EXCHANGE: readonly TestTable[] = [OWNERS, HELD, ENTRIES];

type Place = readonly [table: string, column: "u" | "a" | "tag" | "slot", key: number];

const IDS = 24;
const BULK_FROM = 1_001;
const BULK_ROWS = 400;
/** Added for a while to what would collide. */
const AWAY = 10_000;

export function someRules(
  random: Random,
  { source, target }: { readonly source: DatabaseKind; readonly target: DatabaseKind },
): ExchangeRules {
  const kinds = () =>
    Array.from({ length: 4 }, () =>
      random.pick(["", "", " DEFERRABLE", " DEFERRABLE INITIALLY DEFERRED"]),
    );
  const isMariadb = dialectOf(source) === "mariadb";
  // What two foreign keys do between the same tables cannot be captured there.
  const byUnique = !isMariadb && random.chance(0.4);
  const deletes = random.pick(["CASCADE", "SET NULL", "NO ACTION"]);
  const updates = random.pick(["CASCADE", "NO ACTION", "CASCADE"]);
  const late = !isMariadb && random.chance(0.3);
  // What rows refer to is checked at once.
  const keys = () => (byUnique ? ["" as const, ...kinds().slice(1)] : kinds());
  return {
    ...{ source: keys(), target: keys(), refers: random.chance(0.75), byUnique },
    plain: dialectOf(target) === "postgres" && random.chance(0.3),
    actions: `ON DELETE ${deletes} ON UPDATE ${updates}${late ? " DEFERRABLE INITIALLY DEFERRED" : ""}`,
  };
}

export function exchangeSql(
  side: "source" | "target",
  kind: DatabaseKind,
  rules: ExchangeRules,
): readonly string[] {
  const dialect = dialectOf(kind);
  const checked = (n: number) => (dialect === "postgres" ? rules[side][n] : "");
  const wanted =
    side === "target" && rules.plain ? "DEFERRABLE INITIALLY IMMEDIATE" : rules.actions;
  const actions = dialect === "mariadb" ? wanted.replace(/ DEFERRABLE.*/, "") : wanted;
  const text = dialect === "postgres" ? "text" : "varchar(200)";
  const refers = side === "source" || rules.refers;
  const refer = (column: string, to: string) =>
    refers ? `, FOREIGN KEY (${column}) REFERENCES owners (${to}) ${actions}` : "";
  return [
    `CREATE TABLE owners (id bigint NOT NULL PRIMARY KEY, u bigint, name ${text}${ofName(dialect, side, kind)},
      a bigint, b bigint, n bigint DEFAULT 0 NOT NULL, pad ${text},
      UNIQUE (u)${checked(0)}, UNIQUE (a, b)${checked(1)})`,
    ...(dialect === "mariadb" ? [] : ["CREATE UNIQUE INDEX owners_name ON owners (lower(name))"]),
    `CREATE TABLE held (id bigint NOT NULL PRIMARY KEY, owner bigint, slot bigint, tag bigint, owner_u bigint,
      n bigint DEFAULT 0 NOT NULL, UNIQUE (tag)${checked(2)}, UNIQUE (owner, slot)${checked(3)}
      ${refer("owner", "id")}${rules.byUnique ? refer("owner_u", "u") : ""})`,
    "CREATE TABLE entries (writer bigint NOT NULL, amount bigint NOT NULL)",
  ];
}

/** Names are unique in any case; a target of MariaDB has to tell every text apart. */
function ofName(dialect: Dialect, side: string, kind: DatabaseKind): string {
  if (dialect !== "mariadb") return "";
  return ` ${side === "target" ? exact(kind) : "CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"} UNIQUE`;
}

/** Rows for the copy, and the writers' own, of negative ids. */
export function fillSql(writers: number): readonly string[] {
  const ids = Array.from({ length: IDS }, (_, i) => i + 1);
  const own = Array.from({ length: writers }, (_, writer) => -1 - writer);
  const owners = ids.map(
    (id) =>
      `(${id}, ${id}, 'k${id}', ${1 + (id % 6)}, ${id % 5 === 0 ? "NULL" : Math.ceil(id / 6)}, 'p')`,
  );
  const held = ids.map((id) => `(${id}, ${1 + (id % 8)}, ${id}, ${id}, ${1 + (id % 12)})`);
  return [
    `INSERT INTO owners (id, u, name, a, b, pad) VALUES ${owners.join(", ")}`,
    `INSERT INTO held (id, owner, slot, tag, owner_u) VALUES ${held.join(", ")}`,
    ...own.flatMap((id) => [
      `INSERT INTO owners (id) VALUES (${id})`,
      `INSERT INTO held (id) VALUES (${id})`,
    ]),
  ];
}

/** Statements that belong together, of chance alone. */
export function exchangeStep(
  random: Random,
  dialect: Dialect,
  rules: ExchangeRules,
  writer: number,
): readonly string[] {
  const id = () => random.between(1, IDS);
  const [x, y, away] = [id(), id(), AWAY + writer];
  const [table, column, place] = random.pick<Place>([
    ["owners", "u", 0],
    ["owners", "a", 1],
    ["held", "tag", 2],
    ["held", "slot", 3],
  ]);
  const isLate = dialect === "postgres" && rules.source[place] !== "";
  const set = (to: string | number, where: string) =>
    `UPDATE ${table} SET ${column} = ${to} WHERE ${where}`;
  const at = (value: number) => (column === "a" ? 1 + (value % 6) : value);
  const descending = dialect === "mariadb" ? ` ORDER BY ${column} DESC` : "";
  switch (random.pick(STEPS)) {
    case "swap": {
      const [from, to] = [at(x), at(y)];
      if (isLate && random.chance(0.6)) {
        const other = `CASE ${column} WHEN ${from} THEN ${to} ELSE ${from} END`;
        return [set(other, `${column} IN (${from}, ${to})`)];
      }
      return [
        set(away, `${column} = ${from}`),
        set(from, `${column} = ${to}`),
        set(to, `${column} = ${away}`),
      ];
    }
    case "rows":
      // By the key: what collides is refused, what does not leaves or takes a value.
      return [set("NULL", `id = ${x}`), set(at(id()), `id = ${y}`), set(at(id()), `id = ${x}`)];
    case "shift":
      return [`${set(`${column} + 1`, `${column} BETWEEN ${at(x)} AND 40`)}${descending}`];
    case "rotate": {
      const low = Math.min(x, y);
      if (isLate) {
        const turned = `CASE WHEN ${column} = ${low + 5} THEN ${low} ELSE ${column} + 1 END`;
        return [set(turned, `${column} BETWEEN ${low} AND ${low + 5}`)];
      }
      return [
        set(`${column} + ${AWAY}`, `${column} BETWEEN ${low} AND ${low + 5}`),
        set(
          `CASE WHEN ${column} = ${low + 5 + AWAY} THEN ${low} ELSE ${column} - ${AWAY - 1} END`,
          `${column} BETWEEN ${low + AWAY} AND ${low + 5 + AWAY}`,
        ),
      ];
    }
    case "key":
      return [
        `UPDATE ${table} SET id = ${away} WHERE id = ${x}`,
        `UPDATE ${table} SET id = ${x} WHERE id = ${y}`,
        `UPDATE ${table} SET id = ${y} WHERE id = ${away}`,
      ];
    case "under":
      return [
        `DELETE FROM ${table} WHERE id = ${x}`,
        `UPDATE ${table} SET id = ${x} WHERE id = ${y}`,
      ];
    case "again":
      return [
        `DELETE FROM ${table} WHERE ${column} = ${at(x)}`,
        table === "owners" ? owner(random, y, x) : held(random, y, x),
      ];
    case "name": {
      const [from, to, between] = [`k${x}`, `k${y}`, `w${writer}`];
      const rename = (was: string, is: string) =>
        `UPDATE owners SET name = '${random.chance(0.5) ? is : is.toUpperCase()}' WHERE lower(name) = '${was}'`;
      return [rename(from, between), rename(to, from), rename(between, to)];
    }
    case "move":
      return [`UPDATE held SET owner = ${x}, owner_u = ${id()} WHERE id = ${y}`];
    case "entries":
      return [
        `UPDATE entries SET amount = ${random.between(1, 3)} WHERE writer = ${writer} AND amount = ${random.between(1, 3)}`,
      ];
    case "bulk":
      return [bulk(random)];
    case "bulk turns": {
      const [what, last] = [random.pick(["u", "id"]), 2 * BULK_FROM + BULK_ROWS - 1];
      const turn = (to: string, above: number) =>
        `UPDATE owners SET ${what} = ${to} WHERE ${what} BETWEEN ${BULK_FROM + above} AND ${BULK_FROM + BULK_ROWS + above}`;
      if (what === "u" && dialect === "postgres" && rules.source[0] !== "")
        return [turn(`${last} - u`, 0)];
      return [turn(`${what} + ${AWAY}`, 0), turn(`${last + AWAY} - ${what}`, AWAY)];
    }
    case "prune":
      return [`DELETE FROM owners WHERE id >= ${BULK_FROM}`];
  }
}

const STEPS = [
  ...["swap", "swap", "swap", "rows", "rows", "shift", "rotate", "rotate", "key", "key", "under"],
  ...[
    "again",
    "again",
    "name",
    "move",
    "move",
    "entries",
    "bulk",
    "bulk turns",
    "bulk turns",
    "prune",
  ],
] as unknown as readonly [Step, ...Step[]];

type Step =
  | ("swap" | "rows" | "shift" | "rotate" | "key" | "under" | "again" | "name" | "move")
  | ("entries" | "bulk" | "bulk turns" | "prune");

function owner(random: Random, id: number, u: number): string {
  const values = [id, u, `'K${id}'`, random.between(1, 6), random.between(1, 5), "'again'"];
  return `INSERT INTO owners (id, u, name, a, b, pad) VALUES (${values.join(", ")})`;
}

function held(random: Random, id: number, value: number): string {
  const values = [id, random.between(1, IDS), value, random.chance(0.2) ? "NULL" : value];
  return `INSERT INTO held (id, owner, slot, tag) VALUES (${values.join(", ")})`;
}

/** Long enough that they leave in several network writes. */
function bulk(random: Random): string {
  const pad = `'${"x".repeat(random.between(0, 150))}'`;
  const rows = Array.from(
    { length: BULK_ROWS },
    (_, i) => `(${BULK_FROM + i}, ${BULK_FROM + i}, ${pad})`,
  );
  return `INSERT INTO owners (id, u, pad) VALUES ${rows.join(", ")}`;
}
