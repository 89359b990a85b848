import type { PipelineDefinition, SyncDefinition, TableRule } from "../core/definition.ts";
import { TidemarkError } from "../core/errors.ts";
import { covers, isGlob, mayMeet } from "./patterns.ts";

/** Are two names of a config one database? */
export type SameDatabase = (one: string, other: string) => boolean;

/**
 * Refuses what cannot work, as far as names tell (what a glob stands for is known only at the
 * database; the plan checks again): a function as source, a sync from a database to itself, two
 * names for one source, two syncs that write one table, changes that would run in a circle. That two
 * names are one database is known only when both have been connected to: then it is asked again.
 */
export function checkTopology(
  definition: PipelineDefinition,
  where: string,
  same: SameDatabase = (one, other) => one === other,
): void {
  const check: Check = { where, same };
  checkEnds(definition, check);
  checkNames(definition.syncs, where);
  checkSources(definition.syncs, check);
  for (const sync of definition.syncs) checkExcept(sync, where);
  const routes = definition.syncs.flatMap((sync) => sync.tables.map((rule) => ({ sync, rule })));
  checkOverlap(routes, check);
  checkLoop(routes, check);
}

interface Check {
  readonly where: string;
  readonly same: SameDatabase;
}

/** One rule of one sync: tables on their way from a database to another. */
interface Route {
  readonly sync: SyncDefinition;
  readonly rule: TableRule;
}

function checkEnds({ databases, syncs }: PipelineDefinition, { where, same }: Check): void {
  const byName = new Map(databases.map((database) => [database.name, database]));
  for (const { name, from, to } of syncs) {
    const source = byName.get(from);
    const target = byName.get(to);
    if (source !== undefined && "deliver" in source) {
      throw new TidemarkError(
        "TM-CONFIG-INVALID",
        `${where}: the sync "${name}" reads from "${from}", which is a function.`,
        {
          fix: "A function can only be a target: name a database in `from`.",
          details: { sync: name },
        },
      );
    }
    const sameUrl =
      source !== undefined &&
      target !== undefined &&
      "url" in source &&
      "url" in target &&
      source.url === target.url;
    if (sameUrl || same(from, to)) {
      const both = `"${from}" and "${to}" ${sameUrl ? "have the same URL" : "are one database"}`;
      throw new TidemarkError(
        "TM-CONFIG-LOOP",
        from === to
          ? `${where}: the sync "${name}" goes from "${from}" to itself.`
          : `${where}: the sync "${name}" goes from a database to itself: ${both}.`,
        { fix: "Give `from` and `to` two different databases.", details: { sync: name, from, to } },
      );
    }
  }
}

function checkNames(syncs: readonly SyncDefinition[], where: string): void {
  const seen = new Set<string>();
  for (const { name } of syncs) {
    if (seen.has(name)) {
      throw new TidemarkError("TM-CONFIG-INVALID", `${where}: two syncs are named "${name}".`, {
        fix: "Put their tables into one sync, or give one of them another `name`.",
        details: { sync: name },
      });
    }
    seen.add(name);
  }
}

/** A source has one relay, which sends to the stream of one name: for who reads the other's, nothing would come. */
function checkSources(syncs: readonly SyncDefinition[], { where, same }: Check): void {
  for (const [index, second] of syncs.entries()) {
    const first = syncs
      .slice(0, index)
      .find(({ from }) => from !== second.from && same(from, second.from));
    if (first === undefined) continue;
    throw new TidemarkError(
      "TM-CONFIG-INVALID",
      `${where}: the syncs "${first.name}" and "${second.name}" read ${namesOf(first.from, second.from)}: a source needs one name.`,
      {
        fix: `Write "${first.from}" as the \`from\` of both.`,
        details: { syncs: [first.name, second.name], sources: [first.from, second.from] },
      },
    );
  }
}

/** What would leave out nothing, or what is asked for in full beside it, says something else than was meant. */
function checkExcept({ name, tables, except = [] }: SyncDefinition, where: string): void {
  if (except.length === 0) return;
  const refuse = (problem: string, fix: string): TidemarkError =>
    new TidemarkError("TM-CONFIG-INVALID", `${where}: the sync "${name}" ${problem}`, {
      fix,
      details: { sync: name, except },
    });
  const both = tables.find(({ table }) => !isGlob(table) && except.includes(table));
  if (both !== undefined) {
    throw refuse(
      `names the table ${both.table} in \`tables\` and in \`except\`.`,
      "Keep one: `tables` names what is taken, `except` what the globs there leave out.",
    );
  }
  if (tables.some(({ table }) => isGlob(table))) return;
  throw refuse(
    "has `except`, and no glob from which it could leave out a table.",
    "Take away `except`; or write a glob in `tables`, such as public.*",
  );
}

function checkOverlap(routes: readonly Route[], check: Check): void {
  const { where, same } = check;
  for (const [index, second] of routes.entries()) {
    for (const first of routes.slice(0, index)) {
      if (!same(first.sync.to, second.sync.to) || !surelyOverlap(first, second, check)) continue;
      const table = arrivesAs(isGlob(arrivesAs(first.rule)) ? second.rule : first.rule);
      const who =
        first.sync === second.sync
          ? `the sync "${first.sync.name}" writes it twice`
          : `the syncs "${first.sync.name}" and "${second.sync.name}" both write it`;
      throw new TidemarkError(
        "TM-CONFIG-OVERLAP",
        `${where}: the table "${table}" of ${namesOf(first.sync.to, second.sync.to)} would have two writers: ${who}.`,
        {
          fix: "Leave the table out of one, or give it another name at the target: as: other_name",
          details: { table, target: first.sync.to, syncs: [first.sync.name, second.sync.name] },
        },
      );
    }
  }
}

/**
 * Two rules surely meet when both name one table; or when they read the same source, where a
 * pattern stands for the same tables. Within one sync a table named in full goes before a glob.
 */
function surelyOverlap(first: Route, second: Route, { same }: Check): boolean {
  const a = arrivesAs(first.rule);
  const b = arrivesAs(second.rule);
  if (first.sync === second.sync) {
    if (isGlob(first.rule.table) || isGlob(second.rule.table)) return a === b;
    return first.rule.table === second.rule.table || a === b;
  }
  if (leavesOut(first, b) || leavesOut(second, a)) return false;
  if (same(first.sync.from, second.sync.from)) return mayMeet(a, b);
  return !isGlob(a) && !isGlob(b) && mayMeet(a, b);
}

function checkLoop(routes: readonly Route[], { where, same }: Check): void {
  const done = new Set<Route>();
  for (const start of routes) follow(start, []);

  function follow(route: Route, trail: readonly Route[]): void {
    const at = trail.indexOf(route);
    if (at >= 0) throw loop([...trail.slice(at), route], where);
    if (done.has(route)) return;
    for (const next of routes) {
      const goesOn = same(next.sync.from, route.sync.to);
      if (goesOn && meets(route, next)) follow(next, [...trail, route]);
    }
    done.add(route);
  }
}

/** May the second take up what the first brings? */
function meets(first: Route, second: Route): boolean {
  const arriving = arrivesAs(first.rule);
  if (leavesOut(first, second.rule.table) || leavesOut(second, arriving)) return false;
  return mayMeet(arriving, second.rule.table);
}

/** By `except`, from a glob: there a table has one name at both ends. */
function leavesOut({ sync, rule }: Route, pattern: string): boolean {
  return isGlob(rule.table) && (sync.except ?? []).some((each) => covers(each, pattern));
}

function loop(trail: readonly Route[], where: string): TidemarkError {
  const way = trail.map(({ sync }, index) => {
    const reached = trail[index - 1]?.sync.to ?? sync.from;
    return reached === sync.from ? reached : `${reached} (which is ${sync.from})`;
  });
  const tables = [...new Set(trail.map((route) => route.rule.table))].join(", ");
  return new TidemarkError(
    "TM-CONFIG-LOOP",
    `${where}: changes of ${tables} would run in a circle: ${way.join(" -> ")}.`,
    {
      fix: "Leave out the sync that closes the circle, or narrow its tables; two-way sync is not there yet.",
      details: { databases: trail.map((route) => route.sync.from) },
    },
  );
}

/** A database for people, who may have given it two names. */
export function namesOf(one: string, other: string): string {
  return one === other ? `"${one}"` : `"${one}" and "${other}" (one database)`;
}

/** A rule's name or pattern at the target. */
function arrivesAs(rule: TableRule): string {
  return rule.as ?? rule.table;
}
