import type { Session } from "./connection.ts";
import { quoteText } from "./identifiers.ts";

export type Variables = ReadonlyMap<string, string>;

/** Those that tell whether capture and applying are safe. */
export async function serverVariables(session: Session): Promise<Variables> {
  const wanted = [
    ...["log_bin", "binlog_format", "innodb_flush_log_at_trx_commit", "sync_binlog"],
    ...["auto_increment_increment", "wsrep_on", "max_allowed_packet", "read_only"],
    ...["log_bin_trust_function_creators", "innodb_autoinc_lock_mode"],
  ];
  const rows = await session.rows(
    `SHOW GLOBAL VARIABLES WHERE Variable_name IN (${wanted.map(quoteText).join(", ")})`,
  );
  return new Map(rows.map(([name, value]) => [name ?? "", value ?? ""]));
}
