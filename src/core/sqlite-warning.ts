import { TidemarkError } from "./errors.ts";

type Sqlite = typeof import("node:sqlite");

/**
 * The built-in SQLite module. Some versions of Node print an ExperimentalWarning when it is first
 * loaded; that one warning is dropped, every other goes through. Loading is synchronous, so no
 * warning of somebody else can fall in between.
 */
export function loadSqlite(): Sqlite {
  const original = process.emitWarning;
  process.emitWarning = ((warning: string | Error, ...rest: unknown[]) => {
    if (isSqliteWarning(warning, rest[0])) return;
    Reflect.apply(original, process, [warning, ...rest]);
  }) as typeof process.emitWarning;
  try {
    const sqlite = process.getBuiltinModule("node:sqlite");
    if (sqlite === undefined) throw missing();
    return sqlite;
  } finally {
    process.emitWarning = original;
  }
}

function isSqliteWarning(warning: string | Error, options: unknown): boolean {
  const message = typeof warning === "string" ? warning : warning.message;
  const type =
    typeof options === "string" ? options : (options as { type?: string } | undefined)?.type;
  return type === "ExperimentalWarning" && message.startsWith("SQLite ");
}

function missing(): TidemarkError {
  return new TidemarkError("TM-DRIVER-MISSING", "This Node has no built-in SQLite.", {
    fix: "Run Tidemark on Node 22.13 or later.",
    details: { package: "node:sqlite" },
  });
}
