import type { Finding } from "../../core/database.ts";
import type { TidemarkError } from "../../core/errors.ts";
import { ok } from "../../core/findings.ts";
import { firstOf } from "../../core/first-of.ts";
import { resyncCommand } from "../../core/shell.ts";
import type { CaptureTable } from "../../core/source.ts";
import { formatTable } from "../../core/table.ts";
import { notFiring, whatBroke } from "./capture-broken.ts";
import { prepareCaptures, type TableCapture } from "./capture-plan.ts";
import type { Connection } from "./connection.ts";
import { captureBroken, shapeBroken } from "./drift.ts";
import { quoteIdentifier, quoteTable } from "./identifiers.ts";
import { loadLayouts, loadTableStates, type StoredLayout } from "./layouts.ts";
import { logFault, logHeldByAnother, missingSourceObjects } from "./ours.ts";
import { formatArrayText } from "./row-text.ts";
import { chooseShapes } from "./shape.ts";
import { lookAtTriggers } from "./trigger-watch.ts";
import { columnsStand, uncarriedLayouts } from "./uncarried.ts";

const CHECKS_OF_LOG: Readonly<Record<string, string>> = {
  "TM-LOG-VERSION": "log-version",
  "TM-SOURCE-REWOUND": "log-lost",
  "TM-SOURCE-CLONED": "log-cloned",
};

interface CaptureState {
  readonly findings: readonly Finding[];
  /** Of the tables whose capture stands as it should, the oids: nothing is to be done on them. */
  readonly intact: ReadonlySet<string>;
  /** Do our own tables stand? */
  readonly installed: boolean;
}

/** What stands of the capture, against what should. */
export async function captureFindings(
  connection: Connection,
  tables: readonly CaptureTable[],
): Promise<CaptureState> {
  const intact = new Set<string>();
  const fault = await logFault(connection);
  if (fault !== null) {
    const { code, message, fix } = fault;
    const check = CHECKS_OF_LOG[code] ?? "log";
    const finding: Finding = {
      check,
      severity: "error",
      message,
      ...(fix !== undefined && { fix }),
    };
    return { findings: [finding], intact, installed: true };
  }
  const installed = (await missingSourceObjects(connection)).length === 0;
  if (!installed) {
    const message = "The change log is not installed yet; the first run installs it.";
    return { findings: [ok("capture-installed", message)], intact, installed };
  }
  const findings: Finding[] = [];
  const another = await logHeldByAnother(connection);
  if (another !== null) findings.push(grantMissing(another.error));
  const [cache] = await connection.rows(
    `SELECT seqcache FROM pg_sequence WHERE seqrelid = 'tidemark.change_seq'::regclass`,
  );
  if (cache?.[0] !== "1") {
    findings.push({
      check: "sequence-cache",
      severity: "error",
      message:
        "The change log's sequence has a cache: sessions log later changes under earlier numbers.",
      fix: "ALTER SEQUENCE tidemark.change_seq CACHE 1;",
    });
  }
  const unlogged = await connection.rows(
    `SELECT relname FROM pg_class
     WHERE relnamespace = 'tidemark'::regnamespace AND relkind = 'r' AND relpersistence = 'u' ORDER BY 1`,
  );
  if (unlogged.length > 0) {
    const names = unlogged.map(([name]) => `tidemark.${quoteIdentifier(name ?? "")}`);
    findings.push({
      check: "log-unlogged",
      severity: "error",
      message: `${firstOf(names, ", ")}: unlogged. A crash of the server empties it, and changes are lost.`,
      fix: `${names.map((name) => `ALTER TABLE ${name} SET LOGGED;`).join(" ")} Where the server has crashed since, tidemark resync of what was written, besides.`,
    });
  }
  const layouts = await loadLayouts(connection);
  const captured = new Map([...layouts.values()].map((layout) => [layout.oid, layout]));
  const captures = await prepareCaptures(connection, tables, true);
  for (const capture of captures) {
    const layout = captured.get(capture.spec.oid);
    const shape = layout?.shape ?? null;
    findings.push(...tableCaptureFindings(capture, shape));
    if (shape !== null && isIntact(capture)) intact.add(capture.spec.oid);
  }
  findings.push(...replicaFindings(captures));
  const carried = new Set(captures.map(({ spec }) => spec.oid));
  findings.push(
    ...(await uncarriedFindings(connection, uncarriedLayouts(layouts.values(), carried))),
  );
  findings.push(...(await orderFindings(connection, captures)));
  return { findings, intact, installed };
}

/** Of tables that are captured all the same: nobody else would tell. */
async function uncarriedFindings(
  connection: Connection,
  layouts: readonly StoredLayout[],
): Promise<Finding[]> {
  const oids = layouts.map(({ oid }) => oid);
  const states = await loadTableStates(connection, oids);
  const shapes = await chooseShapes(connection, oids);
  const look = await lookAtTriggers(connection, oids);
  return layouts.flatMap((layout): Finding[] => {
    const { oid } = layout;
    const [state, choice] = [states.get(oid), shapes.get(oid)];
    if (state === undefined || choice === undefined) return [];
    const name = formatTable(state.name);
    const check = "capture-uncarried";
    if (!columnsStand(layout, state.columns)) {
      const message = `${name} is captured, though no sync of this config carries it, and what names its columns fails, the application's writes with it: one was renamed, dropped or given another type.`;
      return [{ check, severity: "error", message, fix: "tidemark run: they go on." }];
    }
    const [touched, revalued] = [look.touched.get(oid) ?? null, look.revalued.get(oid) ?? null];
    const broken = whatBroke(layout, { oid, state, touched, revalued, choice });
    if (broken === null) {
      return [ok(check, `${name} is captured, though no sync of this config carries it.`)];
    }
    const message = `Capture of ${name}, which no sync of this config carries, is broken: ${broken.what}.`;
    const fix = `Once it is in the config again: ${resyncCommand(name)}, then tidemark run.`;
    return [{ check: "trigger-broken", severity: "warning", message, fix }];
  });
}

/** Sessions that take themselves for replication (`session_replication_role`), as some loaders do. */
function replicaFindings(captures: readonly TableCapture[]): Finding[] {
  const silent = captures.filter(({ owned }) => !owned);
  if (silent.length === 0) return [];
  const refused = silent.map(notFiring).filter((error) => error !== null);
  const names = silent.map(({ spec }) => formatTable(spec.table)).join(", ");
  return [
    ...refused.map(grantMissing),
    ok(
      "replica-sessions",
      `What a session with session_replication_role = replica writes is not captured of tables that the role does not own: ${names}.`,
    ),
  ];
}

function grantMissing({ message, fix = "" }: TidemarkError): Finding {
  return { check: "grant-missing", severity: "error", message, fix };
}

function isIntact({ broken, functions, isNewLayout }: TableCapture): boolean {
  return broken === null && functions.length === 0 && !isNewLayout;
}

function tableCaptureFindings(capture: TableCapture, shape: string | null): Finding[] {
  const name = formatTable(capture.spec.table);
  if (capture.broken !== null) {
    const { what, shape: ofShape } = capture.broken;
    const { message, fix } = ofShape
      ? shapeBroken(capture.spec.table, what)
      : captureBroken(name, `Capture of ${name} is broken: ${what}.`);
    const check = ofShape ? "capture-shape" : "trigger-broken";
    return [{ check, severity: "error", message, ...(fix === undefined ? {} : { fix }) }];
  }
  if (shape === null) {
    return [ok("capture-installed", `${name} is not captured yet; the next run begins.`)];
  }
  if (!isIntact(capture)) {
    return [
      {
        check: "capture-outdated",
        severity: "warning",
        message: `The columns, conditions or function of ${name} are not those captured.`,
        fix: "Start Tidemark again: it captures the table as it stands.",
      },
    ];
  }
  return [ok("capture-installed", `${name} is captured by shape ${shape}.`)];
}

/** Row triggers run in the order of their names: one before ours could write before we log. */
async function orderFindings(
  connection: Connection,
  captures: readonly TableCapture[],
): Promise<Finding[]> {
  const rows = await connection.rows(
    `SELECT t.tgrelid::oid, t.tgname FROM pg_trigger t
     JOIN pg_trigger ours ON ours.tgrelid = t.tgrelid AND ours.tgname = '!tidemark_row'
     WHERE t.tgrelid = ANY ($1::oid[]) AND t.tgname < ours.tgname AND (t.tgtype & 3) = 1`,
    [formatArrayText(captures.map((capture) => capture.spec.oid))],
  );
  return rows.map(([oid, trigger]) => {
    const table = captures.find((capture) => capture.spec.oid === oid)?.spec.table;
    const name = table ? quoteTable(table) : "";
    return {
      check: "trigger-order",
      severity: "error",
      message: `Trigger ${trigger} on ${name} fires before capture does.`,
      fix: `ALTER TRIGGER ${quoteIdentifier(trigger ?? "")} ON ${name} RENAME TO ${quoteIdentifier(`z${trigger}`)};`,
    };
  });
}
