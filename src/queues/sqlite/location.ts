import { resolve } from "node:path";
import { TidemarkError } from "../../core/errors.ts";
import { splitSqliteUrl } from "../../core/sqlite-url.ts";

/** The file that `sqlite:./queue.db`, `sqlite:/var/lib/queue.db` or `sqlite:///var/lib/queue.db` names. */
export function fileOf(url: string): string {
  const { file, parameters } = splitSqliteUrl(url) ?? { file: "", parameters: "" };
  if (file === "" || file.startsWith("//")) {
    throw new TidemarkError("TM-URL-INVALID", "The queue's URL does not name a file.", {
      fix: "Write it as sqlite:./.tidemark/queue.db or sqlite:/absolute/path/queue.db.",
    });
  }
  if (parameters !== "") {
    throw new TidemarkError("TM-URL-INVALID", "The URL of the queue's file takes no parameters.", {
      fix: "Leave out the last ? and what follows it.",
    });
  }
  return resolve(file);
}
