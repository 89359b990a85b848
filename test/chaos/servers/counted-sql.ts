import type { Parameter, SqlClient } from "../../support/sql-client.ts";
import type { Totals } from "./tally.ts";

/** The same client; what it commits is counted. */
export function counted(sql: SqlClient, totals: Totals): SqlClient {
  let rows = 0;
  const ended = async (end: () => Promise<void>, isCommit: boolean) => {
    const written = rows;
    rows = 0;
    await end();
    if (!isCommit) return;
    totals.transactions++;
    totals.rows += written;
  };
  return {
    dialect: sql.dialect,
    async run(statement: string, parameters?: readonly Parameter[]) {
      const changed = await sql.run(statement, parameters);
      rows += changed;
      return changed;
    },
    rows: (statement, parameters) => sql.rows(statement, parameters),
    begin: () => sql.begin(),
    beginSnapshot: () => sql.beginSnapshot(),
    commit: () => ended(() => sql.commit(), true),
    rollback: () => ended(() => sql.rollback(), false),
    [Symbol.asyncDispose]: () => sql[Symbol.asyncDispose](),
  };
}
