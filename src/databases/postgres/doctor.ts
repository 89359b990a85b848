import type { Finding } from "../../core/database.ts";
import type { CaptureTable } from "../../core/source.ts";
import type { Connection } from "./connection.ts";
export async function diagnoseSource(
  _c: Connection,
  _t: readonly CaptureTable[],
): Promise<readonly Finding[]> {
  return [];
}

import type { TargetTable } from "../../core/target.ts";
export async function diagnoseTarget(
  _c: Connection,
  _t: readonly TargetTable[],
): Promise<readonly Finding[]> {
  return [];
}
