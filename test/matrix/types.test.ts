// Every type of every database in every database, values at the edges, decided by doing it (G6).
// What is seen is docs/reference/types.md: `npm run types:docs` writes it, and it fails when the
// two differ.
import { describe, expect, test } from "vitest";
import { available, type DatabaseKind } from "../servers/index.ts";
import { type Arrival, cross, readSource } from "./crossing.ts";
import { asked, Endpoint } from "./endpoint.ts";
import { MARIADB_TYPES, MYSQL_TYPES } from "./mysql-types.ts";
import { renderPage, type SourceRow } from "./page.ts";
import { INFINITE_INTERVALS, POSTGRES_13_TYPES, POSTGRES_TYPES } from "./postgres-types.ts";
import { SQLITE_TYPES } from "./sqlite-types.ts";
import type { TypeEntry } from "./types.ts";
import { judge, type Verdict } from "./verdict.ts";

interface TypedSource {
  readonly title: string;
  readonly intro: string;
  readonly types: readonly TypeEntry[];
  /** What the writer's session is told. */
  readonly session: readonly string[];
}

const MYSQL_SESSION = ["SET sql_mode = ''", "SET time_zone = '+05:30'"];

const SOURCES: Readonly<Record<DatabaseKind, TypedSource>> = {
  postgres: {
    title: "PostgreSQL",
    intro: "A domain travels as the type it is made of.",
    types: POSTGRES_TYPES,
    session: [],
  },
  "postgres-newest": { title: "PostgreSQL 18", intro: "", types: POSTGRES_TYPES, session: [] },
  "postgres-oldest": { title: "PostgreSQL 13", intro: "", types: POSTGRES_13_TYPES, session: [] },
  mariadb: {
    title: "MariaDB and MySQL",
    intro:
      "MySQL 8 has no `uuid`, `inet4` and `inet6`, and keeps JSON in a form of its own; its -0 becomes 0 in\nMariaDB, which stores none, and `plan` says so. What was once written without strict mode reaches both as it is: zero dates,\ndays that no month has (`ALLOW_INVALID_DATES`), and the empty value of an ENUM (index 0), unless an empty text is also one of its labels: it is taken for that.",
    types: MARIADB_TYPES,
    session: MYSQL_SESSION,
  },
  mysql: { title: "MySQL", intro: "", types: MYSQL_TYPES, session: MYSQL_SESSION },
  sqlite: {
    title: "SQLite",
    intro:
      "SQLite holds any value in any column, and enforces neither lengths nor digits. A value that is\nnot of its column's type reaches another SQLite as it is, and stops the sync elsewhere. A type without\na rule of its own (`STRING`, none at all) may hold anything.",
    types: SQLITE_TYPES,
    session: [],
  },
};

/** The columns of the page. */
const DOCUMENTED: readonly DatabaseKind[] = ["postgres", "mariadb", "sqlite"];
const OTHERS: readonly (readonly [DatabaseKind, DatabaseKind])[] = [
  ["postgres-newest", "postgres"],
  ["postgres-oldest", "postgres"],
  ["postgres", "postgres-oldest"],
  ["mysql", "postgres"],
  ["mysql", "sqlite"],
  ["postgres", "mysql"],
  ["sqlite", "mysql"],
  ["mariadb", "mysql"],
  ["mysql", "mariadb"],
  ["mysql", "mysql"],
];

const seen = new Map<DatabaseKind, readonly SourceRow[]>();

describe.each(DOCUMENTED)("from %s", (kind) => {
  const targets = [...DOCUMENTED, ...OTHERS.flatMap(([from, to]) => (from === kind ? [to] : []))];
  test.skipIf(!targets.slice(0, 3).every(available))(
    "each type reaches each database",
    async () => {
      const arrivals = await arrivalsOf(kind, targets.filter(available));
      const verdicts = arrivals.map((of) => of.map(judge));
      expect(verdicts.flat().flatMap(({ problems }) => problems)).toEqual([]);
      seen.set(kind, rowsOf(kind, verdicts));
    },
  );
});

describe.each(OTHERS.filter(([from]) => !DOCUMENTED.includes(from)))("from %s", (from, to) => {
  test.skipIf(!available(from) || !available(to))(`each type reaches ${to}`, async () => {
    const [arrivals = []] = await arrivalsOf(from, [to]);
    const problems = arrivals.flatMap((arrival) => judge(arrival).problems);
    expect(problems).toEqual([]);
  });
});

test.skipIf(!available("postgres"))(
  "a type that the target lacks arrives as its text",
  async () => {
    const own = POSTGRES_TYPES.filter(({ before }) => before !== undefined);
    const source = await readSource("postgres", own);
    try {
      const verdicts = (await cross(source, "postgres", { bare: true })).map(judge);
      expect(verdicts.flatMap(({ problems }) => problems)).toEqual([]);
      // A domain is known by its base, and citext is text to us.
      expect(verdicts.map(({ fidelity }) => fidelity)).not.toContain("refused");
      expect(verdicts.filter(({ fidelity }) => fidelity === "by-rule").length).toBeGreaterThan(5);
    } finally {
      await source.endpoint[Symbol.asyncDispose]();
    }
  },
);

describe.each([
  ["postgres-newest", []],
  ["postgres", ["infinity"]],
  ["mariadb", []],
  ["sqlite", []],
] as const)("an infinite interval, which PostgreSQL has from 17 on, to %s", (kind, stopsAt) => {
  test.skipIf(!available("postgres-newest") || !available(kind))("arrives or stops", async () => {
    const [arrivals = []] = await arrivalsOf("postgres-newest", [kind], INFINITE_INTERVALS);
    const verdicts = arrivals.map(judge);
    expect(verdicts.flatMap(({ problems }) => problems)).toEqual([]);
    for (const verdict of verdicts) expect(verdict.stopsAt).toEqual(stopsAt);
  });
});

describe.each(["postgres", "mariadb"] as const)("a column without a type, to %s", (kind) => {
  test.skipIf(!available(kind))("is refused in a key, where 5 and '5' would be one", async () => {
    await using source = await Endpoint.make("sqlite");
    await source.sql.run("CREATE TABLE t (a NOT NULL PRIMARY KEY, b)");
    const [schema] = await source.describe(["t"]);
    await using target = await Endpoint.make(kind);
    const planner = await target.adapter.openTarget(target.options);
    try {
      const tables = schema === undefined ? [] : [asked(schema, source, target)];
      const { mappings } = await planner.plan(tables);
      expect(mappings.map(({ column, fidelity }) => `${column} ${fidelity}`)).toEqual([
        "a refused",
        "b by-rule",
      ]);
    } finally {
      await planner.close();
    }
  });
});

test.skipIf(!DOCUMENTED.every(available))("the page says what was seen", async () => {
  expect([...seen.keys()], "run the whole file").toEqual(DOCUMENTED);
  const page = renderPage(
    DOCUMENTED.map((kind) => ({
      ...SOURCES[kind],
      targets: DOCUMENTED.map((target) => SOURCES[target].title.replace(" and MySQL", "")),
      rows: seen.get(kind) ?? [],
    })),
  );
  await expect(page).toMatchFileSnapshot("../../docs/reference/types.md");
});

/** One list for each target. */
async function arrivalsOf(
  kind: DatabaseKind,
  targets: readonly DatabaseKind[],
  types = SOURCES[kind].types,
): Promise<readonly (readonly Arrival[])[]> {
  const source = await readSource(kind, types, SOURCES[kind].session);
  try {
    expect(source.disagreements).toEqual([]);
    const arrivals: (readonly Arrival[])[] = [];
    for (const target of targets) arrivals.push(await cross(source, target));
    return arrivals;
  } finally {
    await source.endpoint[Symbol.asyncDispose]();
  }
}

function rowsOf(
  kind: DatabaseKind,
  verdicts: readonly (readonly Verdict[])[],
): readonly SourceRow[] {
  return SOURCES[kind].types.map((entry, i) => ({
    entry,
    cells: DOCUMENTED.map((target, n) => {
      const verdict = verdicts[n]?.[i] as Verdict;
      return target === kind && verdict.fidelity === "exact"
        ? { ...verdict, targetType: "" }
        : verdict;
    }),
  }));
}
