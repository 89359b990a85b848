import { sleep } from "../core/async.ts";
import type { Catalog } from "../core/database.ts";
import { keys } from "../core/documents.ts";
import { TidemarkError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { Documents } from "../core/queue.ts";
import { shellWord } from "../core/shell.ts";
import { formatTable, type TableName, type TableSchema } from "../core/table.ts";

/**
 * The tables of a source as its relay has written them into the queue: an applier on another
 * machine needs no connection to the source.
 */
export class DocumentCatalog implements Catalog {
  readonly #schemas: ReadonlyMap<string, TableSchema>;

  /** Waits until the relay has written all of its tables; TM-WAIT-TIMEOUT after `timeoutMs`, or when the signal aborts. */
  static async open(
    documents: Documents,
    source: string,
    {
      timeoutMs,
      signal,
      logger,
    }: { readonly timeoutMs: number; readonly signal: AbortSignal; readonly logger: Logger },
  ): Promise<DocumentCatalog> {
    const start = `tidemark run --role relay --database ${shellWord(source)}`;
    const until = performance.now() + timeoutMs;
    for (let looks = 0; ; looks++) {
      const schemas = await readSchemas(documents, source);
      if (schemas !== null) return new DocumentCatalog(schemas);
      if (performance.now() > until || signal.aborted) {
        throw new TidemarkError(
          "TM-WAIT-TIMEOUT",
          `The relay of "${source}" has not written its tables to the queue.`,
          { fix: `Start it: ${start}` },
        );
      }
      if (looks === 0) {
        logger.warn(
          { source, timeoutMs, start },
          "waiting for the relay to write its tables to the queue",
        );
      }
      await sleep(200, signal);
    }
  }

  private constructor(schemas: readonly TableSchema[]) {
    this.#schemas = new Map(schemas.map((schema) => [formatTable(schema.name), schema]));
  }

  /** The relay, which is at the source, has looked. */
  async identity(): Promise<null> {
    return null;
  }

  async listTables(): Promise<readonly TableName[]> {
    return [...this.#schemas.values()].map(({ name }) => name);
  }

  async describe(tables: readonly TableName[]): Promise<readonly TableSchema[]> {
    return tables.map((table) => {
      const schema = this.#schemas.get(formatTable(table));
      if (schema !== undefined) return schema;
      throw new TidemarkError(
        "TM-TABLE-MISSING",
        `The relay does not capture ${formatTable(table)}.`,
        {
          fix: "Give the relay and the appliers the same config, and restart the relay.",
          details: { table: formatTable(table) },
        },
      );
    });
  }

  async timeline(): Promise<null> {
    return null;
  }

  async logHolders(): Promise<null> {
    return null;
  }

  async planUninstall(): Promise<readonly string[]> {
    return [];
  }

  async uninstall(): Promise<readonly string[]> {
    return [];
  }

  async close(): Promise<void> {}
}

/** Null while any is missing. */
async function readSchemas(documents: Documents, source: string): Promise<TableSchema[] | null> {
  const names = (await documents.get(keys.tables(source))) as readonly string[] | null;
  if (names === null) return null;
  const found = await Promise.all(names.map((name) => documents.get(keys.table(source, name))));
  return found.includes(null) ? null : (found as TableSchema[]);
}
