import { TidemarkError } from "../../core/errors.ts";
import type { Session } from "./connection.ts";
import { NO_TEMPORARY_TABLE } from "./error-rules.ts";

/** Why this session cannot stage rows in a temporary table within its transaction; null where it can. */
export async function whyNoStaging(session: Session): Promise<TidemarkError | null> {
  const rows = await session.rows(
    "SHOW VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format', 'enforce_gtid_consistency')",
  );
  const of = new Map(rows.map(([name, value]) => [name, value]));
  const forbidden =
    of.get("log_bin") === "ON" &&
    of.get("binlog_format") === "STATEMENT" &&
    of.get("enforce_gtid_consistency") === "ON";
  if (!forbidden) return null;
  const { code, text, fix = "" } = NO_TEMPORARY_TABLE;
  return new TidemarkError(code, text, { fix });
}
