// Somebody who breaks in on the sessions that Tidemark has at a target.
import { sleep } from "../../../src/core/async.ts";
import type { DatabaseKind } from "../../servers/index.ts";
import type { Random } from "../../support/random.ts";
import { isTransient, openSql, type SqlClient } from "../../support/sql-client.ts";

export interface Nemesis extends AsyncDisposable {
  /** What was done to a session, or kept from it. */
  readonly faults: number;
  /** Until told to end. */
  harass(signal: AbortSignal): Promise<void>;
}

type Deed = "cancel" | "end" | "hold";

/** `spared`: sessions of the test's own. */
export async function nemesisOf(
  database: { readonly kind: DatabaseKind; readonly url: string },
  random: Random,
  spared: readonly SqlClient[],
): Promise<Nemesis> {
  const sql = await openSql(database);
  const own: string[] = [];
  if (sql.dialect === "mariadb") {
    for (const each of [sql, ...spared]) {
      const [row] = await each.rows("SELECT CONNECTION_ID() AS id");
      own.push(row?.id ?? "");
    }
  }
  let faults = 0;
  const act = async (deed: Deed, ms: number) => {
    if (deed === "hold" || sql.dialect === "sqlite") return hold(sql, ms);
    if (sql.dialect === "postgres") return await breakPostgres(sql, deed);
    return await breakMariadb(sql, deed, own);
  };
  return {
    get faults() {
      return faults;
    },
    async harass(signal) {
      while (!signal.aborted) {
        await sleep(random.unit() * random.pick([10, 60, 300]), signal);
        const deed = random.pick(["cancel", "cancel", "cancel", "end", "hold", "hold"]);
        try {
          faults += await act(deed, random.unit() * 150);
        } catch (error) {
          if (!isTransient(error)) throw error;
          await sql.rollback();
        }
      }
    },
    [Symbol.asyncDispose]: () => sql[Symbol.asyncDispose](),
  };
}

/** Rows that are written, for a while: what comes meanwhile is applied together. */
async function hold(sql: SqlClient, ms: number): Promise<number> {
  await sql.begin();
  try {
    if (sql.dialect !== "sqlite") await sql.rows("SELECT id FROM owners WHERE id < 0 FOR UPDATE");
    await sleep(ms);
  } finally {
    await sql.rollback();
  }
  return 1;
}

async function breakPostgres(sql: SqlClient, deed: "cancel" | "end"): Promise<number> {
  const [how, which] =
    deed === "cancel"
      ? ["pg_cancel_backend", "state = 'active'"]
      : ["pg_terminate_backend", "true"];
  const rows = await sql.rows(
    `SELECT ${how}(pid) FROM pg_stat_activity
     WHERE datname = current_database() AND application_name = 'tidemark applier' AND ${which}`,
  );
  return rows.length;
}

async function breakMariadb(
  sql: SqlClient,
  deed: "cancel" | "end",
  own: readonly string[],
): Promise<number> {
  const sessions = await sql.rows(
    `SELECT id AS id FROM information_schema.processlist
     WHERE db = DATABASE() AND id NOT IN (${own.join(", ")}) ${deed === "cancel" ? "AND command <> 'Sleep'" : ""}`,
  );
  for (const { id } of sessions) {
    // It may be gone already.
    await sql.run(`KILL ${deed === "cancel" ? "QUERY " : ""}${id}`).catch(() => {});
  }
  return sessions.length;
}
