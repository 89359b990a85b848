// Triggers of the application at the source, which write what the statement did not.
import type { Random } from "../../support/random.ts";
import type { Dialect } from "../../support/sql-client.ts";
import type { SoakTable } from "./random-schema.ts";

export type SoakTrigger =
  /** Changes the row before it is written. */
  | { readonly kind: "before" }
  /** Writes the row once more. */
  | { readonly kind: "again" }
  /** Writes a row of another table. */
  | { readonly kind: "other"; readonly table: string };

/** For the n-th table; another is an earlier one, so that none goes in a circle. */
export function someTrigger(random: Random, dialect: Dialect, n: number): SoakTrigger {
  // MariaDB lets no trigger write the table that fired it, and SQLite none change the row that comes.
  const own: SoakTrigger = { kind: dialect === "mariadb" ? "before" : "again" };
  const before: SoakTrigger = { kind: dialect === "sqlite" ? "again" : "before" };
  if (n === 0) return random.pick([own, before]);
  return random.pick([own, before, { kind: "other", table: `t${random.between(0, n - 1)}` }]);
}

export function triggerSql(dialect: Dialect, { name, trigger }: SoakTable): readonly string[] {
  if (trigger === null) return [];
  switch (dialect) {
    case "postgres":
      return postgresSql(name, trigger);
    case "mariadb":
      return mariadbSql(name, trigger);
    case "sqlite":
      return sqliteSql(name, trigger);
  }
}

/** The second time there is nothing left to do. */
function againSql(name: string): string {
  return `UPDATE ${name} SET n = n - 10 WHERE id = NEW.id AND n > 5`;
}

function otherSql(table: string, row: "NEW" | "OLD"): string {
  return `UPDATE ${table} SET n = n + 1 WHERE id = ${row}.id`;
}

function postgresSql(name: string, trigger: SoakTrigger): readonly string[] {
  const create = (body: string, when: string) => [
    `CREATE OR REPLACE FUNCTION ${name}_application() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN ${body}; RETURN NEW; END'`,
    `CREATE TRIGGER application ${when} ON ${name} FOR EACH ROW EXECUTE FUNCTION ${name}_application()`,
  ];
  switch (trigger.kind) {
    case "before":
      return create("NEW.n := NEW.n % 5", "BEFORE INSERT OR UPDATE");
    case "again":
      return create(againSql(name), "AFTER INSERT OR UPDATE");
    case "other":
      return create(
        `IF TG_OP = ''DELETE'' THEN ${otherSql(trigger.table, "OLD")}; ELSE ${otherSql(trigger.table, "NEW")}; END IF`,
        "AFTER INSERT OR UPDATE OR DELETE",
      );
  }
}

function mariadbSql(name: string, trigger: SoakTrigger): readonly string[] {
  const create = (time: string, body: (row: "NEW" | "OLD") => string, events: readonly string[]) =>
    events.map(
      (event) =>
        `CREATE TRIGGER ${name}_${event.toLowerCase()} ${time} ${event} ON ${name} FOR EACH ROW ${body(event === "DELETE" ? "OLD" : "NEW")}`,
    );
  if (trigger.kind !== "other") {
    return create("BEFORE", () => "SET NEW.n = NEW.n % 5", ["INSERT", "UPDATE"]);
  }
  const { table } = trigger;
  return create("AFTER", (row) => otherSql(table, row), ["INSERT", "UPDATE", "DELETE"]);
}

function sqliteSql(name: string, trigger: SoakTrigger): readonly string[] {
  const create = (body: (row: "NEW" | "OLD") => string, events: readonly string[]) =>
    events.map(
      (event) =>
        `CREATE TRIGGER ${name}_${event.toLowerCase()} AFTER ${event} ON ${name} BEGIN ${body(event === "DELETE" ? "OLD" : "NEW")}; END`,
    );
  if (trigger.kind !== "other") return create(() => againSql(name), ["INSERT", "UPDATE"]);
  const { table } = trigger;
  return create((row) => otherSql(table, row), ["INSERT", "UPDATE", "DELETE"]);
}
