// A server from which a power cut can take commits is named by doctor, with the statements that mend it (G8).
import { describe, expect, it } from "vitest";
import type { Finding } from "../../src/core/database.ts";
import { mysql } from "../../src/databases/mysql/index.ts";
import { available } from "../servers/index.ts";
import { openBed, SERVERS } from "./bed.ts";

const SETTINGS = ["innodb_flush_log_at_trx_commit", "sync_binlog"];
const CHECKS = ["durability", "binary-log-durability"];

describe.each(SERVERS)("durability of %s", (kind) => {
  it.skipIf(!available(kind))("is looked at, of a source and of a target", async () => {
    await using bed = await openBed(kind);
    const [[before = []]] = (await bed.admin.query(
      `SELECT ${SETTINGS.map((name) => `@@GLOBAL.${name}`).join(", ")}`,
    )) as unknown as [string[][]];
    const set = (values: readonly string[]) =>
      bed.admin.query(SETTINGS.map((name, i) => `SET GLOBAL ${name} = ${values[i]}`).join("; "));
    const source = await mysql.openSource(bed.options);
    const target = await mysql.openTarget(bed.options);
    const both = async () => [await source.diagnose([]), await target.diagnose([])].map(concerned);
    try {
      await set(["2", "0"]);
      const [ofSource = [], ofTarget = []] = await both();
      expect(ofSource.map(({ check }) => check)).toEqual(CHECKS);
      expect(ofTarget.map(({ check }) => check)).toEqual(CHECKS);
      for (const { fix } of ofSource) await bed.admin.query(fix ?? "");
      expect(await both()).toEqual([[], []]);
    } finally {
      await set(before);
      await source.close();
      await target.close();
    }
  });
});

function concerned(findings: readonly Finding[]): readonly Finding[] {
  return findings.filter(({ check }) => CHECKS.includes(check));
}
