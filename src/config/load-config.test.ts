import { describe, expect, test } from "vitest";
import { FOLDER_NAMES } from "../../test/support/folder-names.ts";
import { isTidemarkError, type TidemarkError } from "../core/errors.ts";
import { parseUrl } from "../databases/sqlite/location.ts";
import { fileOf } from "../queues/sqlite/location.ts";
import { loadConfigText } from "./load-config.ts";

const GOOD = `
databases:
  shop: postgres://sync@db.example/shop
  reports: mysql://sync:\${REPORTS_PASSWORD}@reports.example/reports
  edge: sqlite:./edge.db
queue: { url: "nats://broker", maxSize: 2GiB }
retention: { log: 500MB, applied: 5m }
syncs:
  - from: shop
    to: [reports, edge]
    tables:
      - public.*
      - table: public.orders
        as: orders
        except: [card_number]
        where: status <> 'draft'
  - from: edge
    to: reports
    name: back
    tables: [sensors]
`;

function load(text: string, environment: Record<string, string> = {}) {
  return loadConfigText("/etc/pipelines/tidemark.yaml", text, environment);
}

function errorOf(work: () => unknown): TidemarkError {
  try {
    work();
  } catch (error) {
    if (isTidemarkError(error)) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

test("what TRUNCATE does is said for a sync, and otherwise for a table", () => {
  const text = `databases: { a: "sqlite:a.db", b: "sqlite:b.db" }
syncs:
  - { from: a, to: b, truncate: stop, tables: [t, { table: u, truncate: ignore }] }
`;
  expect(load(text).syncs[0]?.tables).toEqual([
    { truncate: "stop", table: "t" },
    { truncate: "ignore", table: "u" },
  ]);
  const wrong = errorOf(() => load(text.replace("stop", "perhaps")));
  expect(wrong.code).toBe("TM-CONFIG-INVALID");
  expect(wrong.message).toContain("apply, ignore or stop");
});

test("a config becomes one definition per pair, with defaults, sizes in bytes and absolute paths", () => {
  const definition = load(GOOD, { REPORTS_PASSWORD: "s3cret" });
  expect(definition.databases).toEqual([
    { name: "shop", url: "postgres://sync@db.example/shop" },
    { name: "reports", url: "mysql://sync:s3cret@reports.example/reports" },
    { name: "edge", url: "sqlite:/etc/pipelines/edge.db" },
  ]);
  expect(definition.queue).toEqual({
    url: "nats://broker",
    maxStreamBytes: 2 * 1024 ** 3,
    isBoundSoft: false,
  });
  expect(definition.retention).toEqual({ maxLogBytes: 500_000_000, keptMs: 300_000 });
  expect(definition.syncs.map(({ name, from, to }) => [name, from, to])).toEqual([
    ["shop->reports", "shop", "reports"],
    ["shop->edge", "shop", "edge"],
    ["back", "edge", "reports"],
  ]);
  expect(definition.syncs[1]?.tables).toEqual([
    { table: "public.*" },
    { table: "public.orders", as: "orders", except: ["card_number"], where: "status <> 'draft'" },
  ]);
});

test("what is left out has a default", () => {
  const definition = load(
    "databases: { a: 'sqlite:a.db', b: 'sqlite:/b.db' }\nsyncs: [{ from: a, to: b, tables: ['*'] }]",
  );
  expect(definition.queue).toEqual({
    url: "sqlite:/etc/pipelines/.tidemark/queue.db",
    maxStreamBytes: 1024 ** 3,
    isBoundSoft: true,
  });
  expect(definition.retention).toEqual({ maxLogBytes: 10 * 1024 ** 3, keptMs: 30_000 });
});

test("what all have applied may go at once", () => {
  const { retention } = load(
    "databases: { a: 'sqlite:a.db', b: 'sqlite:/b.db' }\nsyncs: [{ from: a, to: b, tables: ['*'] }]\nretention: { applied: 0s }",
  );
  expect(retention.keptMs).toBe(0);
});

test.each(FOLDER_NAMES)("paths are relative to a folder of any name: %s", (name) => {
  const text =
    "databases: { a: 'sqlite:./a.db', b: 'sqlite:b.db?mode=rw' }\nsyncs: [{ from: a, to: b, tables: ['*'] }]";
  const { databases, queue } = loadConfigText(`/work/${name}/tidemark.yaml`, text, {});
  const urls = databases.map((database) => ("url" in database ? database.url : ""));
  expect(urls.map(parseUrl)).toEqual([
    { path: `/work/${name}/a.db`, mode: "rwc" },
    { path: `/work/${name}/b.db`, mode: "rw" },
  ]);
  expect(fileOf(queue.url)).toBe(`/work/${name}/.tidemark/queue.db`);
});

const HEAD = "databases:\n  a: sqlite:a.db\n  b: sqlite:b.db\n  c: sqlite:c.db\n";
const sync = (text: string): string => `${HEAD}syncs:\n  - ${text.replaceAll("\n", "\n    ")}\n`;

const REFUSED: readonly [
  title: string,
  text: string,
  code: string,
  message: RegExp,
  fix: RegExp,
][] = [
  ["broken YAML", "databases: [a", "TM-CONFIG-INVALID", /tidemark\.yaml:1:/, /YAML/],
  [
    "an empty file",
    "# nothing yet",
    "TM-CONFIG-INVALID",
    /^tidemark\.yaml is empty\.$/,
    /tidemark init/,
  ],
  [
    "a target named twice",
    sync("from: a\nto: [b, b]\ntables: [t]"),
    "TM-CONFIG-INVALID",
    /^tidemark\.yaml:7: syncs\[0\]\.to names a database twice/,
    /config\.md/,
  ],
  [
    "an unknown key at the top",
    `${sync("from: a\nto: b\ntables: [t]")}databses: {}`,
    "TM-CONFIG-INVALID",
    /tidemark\.yaml:9: databses is not a key of the config\. Did you mean "databases"\?/,
    /Write "databases"/,
  ],
  [
    "an unknown key in a sync",
    sync("from: a\nto: b\ntabels: [t]\ntables: [t]"),
    "TM-CONFIG-INVALID",
    /:8: syncs\[0\]\.tabels .*"tables"/,
    /"tables"/,
  ],
  [
    "another tool's word",
    sync("from: a\nsink: b\ntables: [t]"),
    "TM-CONFIG-INVALID",
    /syncs\[0\]\.sink .*"to"/,
    /"to"/,
  ],
  [
    "an unknown key of a table",
    sync("from: a\nto: b\ntables:\n- table: t\n  whre: x"),
    "TM-CONFIG-INVALID",
    /:10: syncs\[0\]\.tables\[0\]\.whre .*"where"/,
    /"where"/,
  ],
  [
    "a missing key",
    sync("from: a\ntables: [t]"),
    "TM-CONFIG-INVALID",
    /:6: syncs\[0\]\.to is missing/,
    /"to"/,
  ],
  ["no tables", sync("from: a\nto: b\ntables: []"), "TM-CONFIG-INVALID", /at least one table/, /./],
  [
    "something that is no URL",
    "databases: { a: ./a.db, b: 'sqlite:b.db' }\nsyncs: [{ from: a, to: b, tables: [t] }]",
    "TM-CONFIG-INVALID",
    /databases\.a must be a connection URL such as/,
    /./,
  ],
  [
    "an unknown database",
    sync("from: a\nto: bb\ntables: [t]"),
    "TM-CONFIG-INVALID",
    /syncs\[0\]\.to names the database "bb"/,
    /Did you mean "b"/,
  ],
  [
    "a bad size",
    `${sync("from: a\nto: b\ntables: [t]")}retention: { log: 10 parsecs }`,
    "TM-CONFIG-INVALID",
    /:9: retention\.log must be a size such as 500MB/,
    /./,
  ],
  [
    "a bad duration",
    `${sync("from: a\nto: b\ntables: [t]")}retention: { applied: 30 }`,
    "TM-CONFIG-INVALID",
    /:9: retention\.applied must be a duration such as 30s/,
    /./,
  ],
  [
    "a duration without a unit",
    `${sync("from: a\nto: b\ntables: [t]")}retention: { applied: '0' }`,
    "TM-CONFIG-INVALID",
    /:9: retention\.applied must be a duration such as 30s/,
    /./,
  ],
  [
    "a missing environment variable",
    sync(`from: a\nto: b\ntables: ['\${PREFIX}.t']`),
    "TM-CONFIG-ENV-MISSING",
    /syncs\[0\]\.tables\[0\] needs the environment variable PREFIX/,
    /export PREFIX=/,
  ],
  [
    "a reference that names no variable",
    sync(`from: a\nto: b\ntables: ['\${}']`),
    "TM-CONFIG-INVALID",
    /names no environment variable/,
    /default/,
  ],
  [
    "a glob with a new name",
    sync("from: a\nto: b\ntables: [{ table: 'p.*', as: x }]"),
    "TM-CONFIG-INVALID",
    /many tables .* one name/,
    /leave out `as`/,
  ],
  [
    "columns together with except",
    sync("from: a\nto: b\ntables: [{ table: t, columns: [x], except: [y] }]"),
    "TM-CONFIG-INVALID",
    /both `columns` and `except`/,
    /Keep one/,
  ],
  [
    "a database that is its own target",
    sync("from: a\nto: a\ntables: [t]"),
    "TM-CONFIG-LOOP",
    /from "a" to itself/,
    /two different databases/,
  ],
  [
    "one database under two names",
    "databases: { a: 'sqlite:a.db', b: 'sqlite:./a.db' }\nsyncs: [{ from: a, to: b, tables: [t] }]",
    "TM-CONFIG-LOOP",
    /same URL/,
    /two different databases/,
  ],
  [
    "two syncs that write one table",
    `${sync("from: a\nto: c\ntables: [t]")}  - { from: b, to: c, tables: [{ table: x, as: t }] }`,
    "TM-CONFIG-OVERLAP",
    /table "t" of "c" would have two writers: the syncs "a->c" and "b->c"/,
    /as: other_name/,
  ],
  [
    "two globs over one source",
    `${sync("from: a\nto: c\nname: one\ntables: ['p.*']")}  - { from: a, to: c, name: two, tables: ['p.ord*'] }`,
    "TM-CONFIG-OVERLAP",
    /"one" and "two"/,
    /./,
  ],
  [
    "one pair twice",
    `${sync("from: a\nto: c\ntables: [t]")}  - { from: a, to: c, tables: [u] }`,
    "TM-CONFIG-INVALID",
    /two syncs are named "a->c"/,
    /one sync/,
  ],
  [
    "a circle of three",
    `${sync("from: a\nto: b\ntables: ['*']")}  - { from: b, to: c, tables: ['*'] }\n  - { from: c, to: a, tables: ['*'] }`,
    "TM-CONFIG-LOOP",
    /circle: a -> b -> c -> a/,
    /two-way/,
  ],
];

describe("refuses, with the place and the way out:", () => {
  test.each(REFUSED)("%s", (_title, text, code, message, fix) => {
    const error = errorOf(() => load(text));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect(error.fix).toMatch(fix);
  });
});

test("every mistake is told at once", () => {
  const error = errorOf(() => load(sync("from: a\nsink: b\ntabels: [t]")));
  expect(error.message.split("\n")).toHaveLength(2);
});

test("opposite directions are no circle when the tables differ", () => {
  const text = `${sync("from: a\nto: b\ntables: [orders]")}  - { from: b, to: a, tables: [totals] }`;
  expect(load(text).syncs).toHaveLength(2);
});

// biome-ignore-start lint/suspicious/noTemplateCurlyInString: the config's own references
test("${NAME:-default} and $${ in strings", () => {
  const text = sync(
    "from: a\nto: b\ntables: [{ table: t, where: \"x = '${V:-7}' or y = '$${z}'\" }]",
  );
  expect(load(text).syncs[0]?.tables[0]?.where).toBe("x = '7' or y = '${z}'");
  expect(load(text, { V: "8" }).syncs[0]?.tables[0]?.where).toBe("x = '8' or y = '${z}'");
});
// biome-ignore-end lint/suspicious/noTemplateCurlyInString: the config's own references
