// What is told of a column that cannot be carried: who does it sends nothing that was left out before (G8).
import { expect, test } from "vitest";
import type { TableRule } from "./definition.ts";
import type { TidemarkError } from "./errors.ts";
import type { ColumnSchema } from "./table.ts";
import { refuseUnsupported } from "./unsupported.ts";

const column = (name: string, unsupported?: true): ColumnSchema => ({
  ...{ name, type: { kind: "text" }, nativeType: "odd", nullable: true, generated: false },
  ...(unsupported && { unsupported }),
  identity: false,
});
const name = { schema: "public", name: "t" };
const columns = [column("id"), column("secret"), column("odd", true), column("odder", true)];

test.each<[string, TableRule, string]>([
  ["a glob", { table: "*" }, '{ table: "public.t", except: [odd, odder] }'],
  [
    "a glob that leaves out others",
    { table: "*", except: ["secret", "of_another_table"] },
    '{ table: "public.t", except: [secret, odd, odder] }',
  ],
  [
    "a condition",
    { table: "public.*", where: "id > 1" },
    '{ table: "public.t", except: [odd, odder] }, and what else the entry "public.*" says',
  ],
  ["columns", { table: "t", columns: ["id", "odd"] }, 'of the entry "t": odd'],
])("by %s", (_, rule, told) => {
  const { columns: chosen, except = [] } = rule;
  const sent = columns.filter((each) => chosen?.includes(each.name) ?? !except.includes(each.name));
  let fix: string | undefined;
  try {
    refuseUnsupported({ name, columns, key: ["id"] }, sent, rule);
  } catch (error) {
    fix = (error as TidemarkError).fix;
  }
  expect(fix?.endsWith(told), fix).toBe(true);
});
