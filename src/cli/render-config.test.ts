import { expect, test } from "vitest";
import { loadConfigText } from "../config/load-config.ts";
import { holdsPassword, renderConfig } from "./render-config.ts";

test.each([
  ["postgres://u@h/shop", "sqlite:./shop.db", ["source", "target"]],
  ["postgres://u@h:5432/shop?sslmode=require", "sqlite:./copy.db", ["shop", "copy"]],
  ["sqlite:/data/my shop.db", "mysql://u:p%23@h/a-b", ["source", "a-b"]],
  ["env:SHOP", "${COPY}", ["source", "target"]],
  // Words that are no names in YAML.
  ["postgres://u@h/true", "sqlite:./Null.db", ["source", "target"]],
])("%s to %s: a config that loads", (from, to, names) => {
  const text = renderConfig({ from, to, tables: ["*", "public.order items", "a: b"] });
  const environment = { SHOP: "sqlite:a.db", COPY: "sqlite:b.db" };
  const definition = loadConfigText("/etc/tidemark.yaml", text, environment);
  expect(definition.databases.map(({ name }) => name)).toEqual(names);
  expect(definition.syncs[0]?.tables.map(({ table }) => table)).toEqual([
    "*",
    "public.order items",
    "a: b",
  ]);
});

test("what the globs leave out", () => {
  const answers = {
    from: "sqlite:a.db",
    to: "sqlite:b.db",
    tables: ["*"],
    except: ["audit", "old_*"],
  };
  const [sync] = loadConfigText("/etc/tidemark.yaml", renderConfig(answers), {}).syncs;
  expect(sync).toMatchObject({ tables: [{ table: "*" }], except: ["audit", "old_*"] });
});

test.each([
  ["postgres://u:p@h/d", true],
  ["postgres://u:${PW}@h/d", false],
  ["postgres://u@h/d?password=x", true],
  ["postgres://u@h/d", false],
  ["nats://token@h", true],
  ["nats://${TOKEN}@h", false],
  ["nats://h:4222,i:4222", false],
  ["env:SHOP", false],
  ["sqlite:a.db", false],
])("%s holds a password: %s", (from, holds) => {
  expect(holdsPassword({ from, to: "sqlite:b.db", tables: ["*"] })).toBe(holds);
});
