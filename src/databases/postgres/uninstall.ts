import type { Logger } from "../../core/log.ts";
import { capturedBy } from "./capture-row.ts";
import type { Connection } from "./connection.ts";
import { OUR_SCHEMA, quoteIdentifier, quoteLiteral } from "./identifiers.ts";
import { againWhileLocked, withShortLocks } from "./locks.ts";
import { refuseSchema } from "./our-schema.ts";
import { OUR_RELATIONS } from "./ours.ts";

/** What removes all that is ours. */
interface Removal {
  /** Of one table each: none waits for another. */
  readonly captures: readonly string[];
  /** What those call; neither do these wait for each other. */
  readonly others: readonly string[];
  /** Behind all of those. */
  readonly schema: readonly string[];
}

export async function uninstallStatements(connection: Connection): Promise<readonly string[]> {
  return statementsOf(await planRemoval(connection));
}

function statementsOf({ captures, others, schema }: Removal): readonly string[] {
  return [...captures, ...others, ...schema];
}

/**
 * Functions first, those of a table at once (its triggers call one another's), with its triggers and their table's lock for a
 * moment only; then the schema. Dropping the schema with CASCADE alone would lock all captured tables at once. A trigger
 * that goes with its function needs no ownership of its table, which the role may lack.
 */
async function planRemoval(connection: Connection): Promise<Removal> {
  const [, functions, [schema]] = await Promise.all([
    refuseSchema(connection, OUR_RELATIONS),
    connection.rows(
      `SELECT p.proname, pg_get_function_identity_arguments(p.oid) FROM pg_proc p
       WHERE p.pronamespace = to_regnamespace('${OUR_SCHEMA}') ORDER BY 1`,
    ),
    connection.rows(`SELECT 1 FROM pg_namespace WHERE nspname = ${quoteLiteral(OUR_SCHEMA)}`),
  ]);
  const byTable = new Map<string, string[]>();
  const others: string[] = [];
  for (const [name, given] of functions as [string, string][]) {
    const signature = `${OUR_SCHEMA}.${quoteIdentifier(name)}(${given})`;
    const table = capturedBy(name);
    if (table === null) others.push(signature);
    else byTable.set(table, [...(byTable.get(table) ?? []), signature]);
  }
  const drop = (signatures: readonly string[]) => `DROP FUNCTION ${signatures.join(", ")} CASCADE`;
  return {
    captures: [...byTable.values()].map(drop),
    others: others.map((each) => drop([each])),
    schema: schema ? [`DROP SCHEMA ${OUR_SCHEMA} CASCADE`] : [],
  };
}

/**
 * All tables leave at once: the server takes one after the other, and where one is in use it alone is tried again, so
 * that it delays neither those behind it nor its writers, who must not queue behind a DROP that waits for a long transaction.
 */
export async function uninstall(
  connection: Connection,
  logger: Logger,
): Promise<readonly string[]> {
  const removal = await planRemoval(connection);
  const statements = statementsOf(removal);
  if (statements.length === 0) return [];
  const again = (statement: string) =>
    againWhileLocked({ what: `What is to go (${statement})`, logger }, () =>
      connection.script(statement),
    );
  await withShortLocks(connection, async () => {
    for (const some of [removal.captures, removal.others, removal.schema]) {
      const results = await connection.together(() => Promise.allSettled(some.map(again)));
      const failed = results.find((result) => result.status === "rejected");
      if (failed) throw failed.reason;
    }
  });
  return statements;
}
