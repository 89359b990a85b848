import type { SourceStatus, StatusError, SyncStatus } from "./documents.ts";
import { ERROR_CODES, TidemarkError } from "./errors.ts";
import type { Documents } from "./queue.ts";

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

/** The error of whoever asked a worker for something that it could not do. */
export function refusedError(sync: string, { code, message, fix }: StatusError): TidemarkError {
  const known = ERROR_CODES.find((each) => each === code) ?? "TM-INTERNAL";
  return new TidemarkError(known, `${sync}: ${message}`, {
    ...(fix === null ? {} : { fix }),
    details: { sync },
  });
}

/** A worker that starts takes back what an earlier one said when it stopped: whoever waits now waits for this one. */
export async function forgetStop(documents: Documents, key: string): Promise<void> {
  const status = (await documents.get(key)) as SourceStatus | SyncStatus | null;
  if (status?.state === "stopped") {
    await documents.put(key, { ...status, state: "unknown", error: null });
  }
}
