import type { Finding } from "../../core/database.ts";
import { isTidemarkError, toTidemarkError } from "../../core/errors.ts";
import { triggersWithoutLog } from "../../core/rewound.ts";
import { resyncCommand } from "../../core/shell.ts";
import type { CaptureTable } from "../../core/source.ts";
import type { TargetTable } from "../../core/target.ts";
import { describeTrigger } from "../../core/trigger-text.ts";
import { shapeOf } from "./capture.ts";
import type { Connection } from "./connection.ts";
import { readTable, type TableFacts } from "./facts.ts";
import { checkCapture } from "./guard.ts";
import { quoteText, sameName } from "./identifiers.ts";
import { type InstalledLayout, Layouts } from "./layouts.ts";
import { missingOfSource } from "./ours.ts";
import { apart, lookAtRecords, timelineOf } from "./records.ts";
import { standingTriggers } from "./standing-triggers.ts";
import { storedTimeline } from "./stored-timeline.ts";
import { targetTriggers } from "./target-triggers.ts";

/** Everything that can break capture of these tables. */
export function diagnoseSource(connection: Connection, tables: readonly CaptureTable[]): Finding[] {
  const findings: Finding[] = [...journalMode(connection, "source")];
  const layouts = standingLog(connection, tables);
  if ("check" in layouts) return [...findings, layouts];
  for (const table of tables) {
    const name = table.schema.name.name;
    const layout = layouts.find((candidate) => sameName(candidate.table.name, name));
    const before = findings.length;
    try {
      const { facts } = shapeOf(connection, table);
      if (layout === undefined) {
        findings.push({
          check: "capture-installed",
          severity: "warning",
          message: `${name} is not captured yet: its changes are not logged.`,
          fix: "tidemark run",
        });
      } else checkCapture(connection, layout);
      findings.push(...oddUniques(facts));
    } catch (error) {
      const { code, message, fix } = toTidemarkError(error);
      findings.push({
        check: code === "TM-CAPTURE-BROKEN" ? "capture-intact" : "table-capturable",
        severity: "error",
        message,
        ...(fix === undefined ? {} : { fix }),
      });
    }
    if (findings.length === before) {
      findings.push({ check: "capture-intact", severity: "ok", message: `${name} is captured.` });
    }
  }
  const asked = tables.map(({ schema }) => schema.name.name);
  const others = layouts.filter(({ table }) => !asked.some((name) => sameName(name, table.name)));
  return [...findings, ...others.flatMap((layout) => uncarriedFinding(connection, layout))];
}

/** Do the records of what was sent belong to the log? */
export async function recordsFindings(connection: Connection): Promise<readonly Finding[]> {
  const stored = await connection.read(() => storedTimeline(connection));
  if (stored === null || stored.cloned) return [];
  const found = await lookAtRecords(connection, timelineOf);
  if (found === stored.timeline) return [];
  const { message, fix = "" } = apart(connection, found);
  return [{ check: "log-lost", severity: "error", message, fix }];
}

/** What is captured; or what is wrong, where the log is gone and its triggers stand. */
function standingLog(
  connection: Connection,
  tables: readonly CaptureTable[],
): readonly InstalledLayout[] | Finding {
  try {
    if (missingOfSource(connection).length === 0) return new Layouts(connection).current();
  } catch (error) {
    const { code, message, fix = "" } = toTidemarkError(error);
    const check = code === "TM-LOG-VERSION" ? "log-version" : "log-lost";
    return { check, severity: "error", message, fix };
  }
  const names = tables.map(({ schema }) => schema.name.name);
  const captured = names.filter((name) => standingTriggers(connection, name).size > 0);
  return captured.length === 0 ? [] : triggersWithoutLog(captured);
}

/** Of a table that is captured all the same: nobody else would tell. None where it is gone. */
function uncarriedFinding(connection: Connection, layout: InstalledLayout): Finding[] {
  const { name } = layout.table;
  if (readTable(connection, name) === null) return [];
  try {
    checkCapture(connection, layout);
  } catch (error) {
    if (isTidemarkError(error, "TM-CAPTURE-BROKEN")) {
      const message = `No sync of this config carries ${name}. ${error.message}`;
      const fix = `Once it is in the config again: ${resyncCommand(name)}, then tidemark run.`;
      return [{ check: "capture-intact", severity: "warning", message, fix }];
    }
    if (!isTidemarkError(error)) throw error;
  }
  const message = `${name} is captured, though no sync of this config carries it.`;
  return [{ check: "capture-uncarried", severity: "ok", message }];
}

/** Everything that can break applying to these tables. */
export function diagnoseTarget(connection: Connection, tables: readonly TargetTable[]): Finding[] {
  const findings: Finding[] = [...journalMode(connection, "target")];
  // Those that cannot stay are told as columns that do not fit.
  for (const trigger of targetTriggers(connection, tables)) {
    if (trigger.writes !== null) continue;
    findings.push({
      check: "target-triggers",
      severity: "warning",
      message: `The ${describeTrigger(trigger)}.`,
      fix: trigger.fix,
    });
  }
  const broken = connection.rows<{ table: string }>(
    'SELECT DISTINCT "table" FROM pragma_foreign_key_check LIMIT 10',
  );
  for (const { table } of broken) {
    findings.push({
      check: "foreign-keys-hold",
      severity: "warning",
      message: `Rows of ${table} refer to rows that are not there.`,
      fix: `PRAGMA foreign_key_check(${quoteText(table)})`,
    });
  }
  return findings;
}

function journalMode(connection: Connection, part: "source" | "target"): Finding[] {
  if (connection.isNothing) {
    const message = `The ${part} has no file yet: the first tidemark run makes it, in WAL mode.`;
    return [{ check: "journal-mode", severity: "ok", message }];
  }
  const mode = String(connection.value("PRAGMA journal_mode"));
  if (mode === "wal") {
    return [{ check: "journal-mode", severity: "ok", message: `The ${part} is in WAL mode.` }];
  }
  const why =
    part === "source"
      ? "a commit of the application waits, or fails as busy, while the relay reads"
      : "readers see the file locked while a batch is applied";
  return [
    {
      check: "journal-mode",
      severity: "warning",
      message: `${connection.name} is in ${mode} mode: ${why}.`,
      fix: "PRAGMA journal_mode = WAL",
    },
  ];
}

function oddUniques(facts: TableFacts): Finding[] {
  return facts.oddUniques.map((name) => ({
    check: "replace-captured",
    severity: "warning",
    message: `The unique index ${name} of ${facts.name} is over an expression or part of the rows: a row that REPLACE removes because of it is not seen.`,
    fix: "PRAGMA recursive_triggers = ON in every program that uses REPLACE on this table",
  }));
}
