import { resolve } from "node:path";
import { TidemarkError } from "../../core/errors.ts";

/** The file that `sqlite:./queue.db`, `sqlite:/var/lib/queue.db` or `sqlite:///var/lib/queue.db` names. */
export function fileOf(url: string): string {
  const [, rest = ""] = /^sqlite:(?:\/\/(?=\/))?([^?#]*)$/.exec(url) ?? [];
  if (rest === "" || rest.startsWith("//") || rest === ":memory:" || rest.endsWith("/")) {
    throw new TidemarkError("TM-URL-INVALID", "The queue's URL does not name a file.", {
      fix: "Write it as sqlite:./.tidemark/queue.db or sqlite:/absolute/path/queue.db.",
    });
  }
  return resolve(decode(rest));
}

function decode(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path; // a file name with a bare percent sign
  }
}
