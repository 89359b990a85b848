import type { DatabaseOptions } from "./database.ts";
import { TidemarkError } from "./errors.ts";

/**
 * Ends a connection when all of them are to end, whatever they wait for. Throws TM-CONNECTION-LOST where that is over.
 * The function given back is to be called once the connection has ended by itself.
 */
export function severWith({ name, signal }: DatabaseOptions, end: () => void): () => void {
  if (signal === undefined) return () => {};
  if (signal.aborted) {
    const message = `No connection to database "${name}" is made any more: the pipeline was stopped.`;
    throw new TidemarkError("TM-CONNECTION-LOST", message);
  }
  signal.addEventListener("abort", end, { once: true });
  return () => signal.removeEventListener("abort", end);
}
