// The only list of scenarios, in the order they run.
import type { Scenario } from "../scenario.ts";
import { backlog } from "./backlog.ts";
import { beside } from "./beside.ts";
import { growth } from "./growth.ts";
import { idle } from "./idle.ts";
import { lag } from "./lag.ts";
import { million } from "./million.ts";
import { snapshot } from "./snapshot.ts";
import { sourceMariadb } from "./source-mariadb.ts";
import { sourcePostgres } from "./source-postgres.ts";
import { sourceSqlite } from "./source-sqlite.ts";
import { wherePostgres } from "./where-postgres.ts";

export const SCENARIOS: readonly Scenario[] = [
  sourcePostgres,
  sourceMariadb,
  sourceSqlite,
  wherePostgres,
  snapshot,
  lag,
  backlog,
  beside,
  idle,
  million,
  growth,
];
