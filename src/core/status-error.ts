import type { StatusError } from "./documents.ts";
import { TidemarkError } from "./errors.ts";

/** An error as status documents carry it. */
export function statusError(error: TidemarkError): StatusError {
  return { code: error.code, message: error.message, fix: error.fix ?? null };
}

/** The error of whoever waits for a sync, or a source's relay, that has stopped for good. */
export function stoppedError(name: string, error: StatusError): TidemarkError {
  const message = `${name} has stopped: ${error.code} ${error.message}`;
  return new TidemarkError("TM-SYNC-STOPPED", message, {
    ...(error.fix === null ? {} : { fix: error.fix }),
    details: { name, code: error.code },
  });
}
