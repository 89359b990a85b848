import type { QueueConnection } from "./connection.ts";
import type { QueueDatabase } from "./database.ts";

/** Free pages are used again by the next messages; only what a burst has left over is given back. */
const KEEP_FREE_BYTES = 64 * 1024 * 1024;
const SLICE_PAGES = 256;

/** Shrinks the file after a burst, in short transactions. */
export async function giveBackPages(connection: QueueConnection): Promise<void> {
  const bound = await connection.read(pagesToKeep);
  const slice = () =>
    connection.write(null, 0, (database) => {
      if (freePages(database) <= bound) return false;
      database.execute(`PRAGMA incremental_vacuum(${SLICE_PAGES})`);
      return true;
    });
  if ((await connection.read(freePages)) <= bound) return;
  while (await slice());
}

function freePages(database: QueueDatabase): number {
  return Number(database.row("PRAGMA freelist_count")?.freelist_count);
}

function pagesToKeep(database: QueueDatabase): number {
  const size = Number(database.row("PRAGMA page_size")?.page_size);
  return Math.ceil(KEEP_FREE_BYTES / size);
}
