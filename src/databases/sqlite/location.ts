import { resolve } from "node:path";
import { TidemarkError } from "../../core/errors.ts";
import { splitSqliteUrl } from "../../core/sqlite-url.ts";
import { saidTwice } from "../../core/url-parameters.ts";

export interface Location {
  /** Absolute. */
  readonly path: string;
  readonly mode: "ro" | "rw" | "rwc";
}

/** `sqlite:./x.db`, `sqlite:/abs/x.db`, `sqlite:///abs/x.db`, each with `?mode=ro|rw|rwc`. */
export function parseUrl(url: string): Location {
  const parts = splitSqliteUrl(url);
  if (parts === null) {
    throw new TidemarkError("TM-URL-INVALID", "An SQLite URL names a file.", {
      fix: "sqlite:./shop.db or sqlite:/var/lib/shop/shop.db",
    });
  }
  let mode: Location["mode"] = "rwc";
  const parameters = new URLSearchParams(parts.parameters);
  const twice = saidTwice(parameters);
  if (twice !== undefined) {
    throw new TidemarkError("TM-URL-INVALID", `An SQLite URL says ${twice} twice.`, {
      fix: "Leave one of them out.",
    });
  }
  for (const [name, value] of parameters) {
    if (name !== "mode" || (value !== "ro" && value !== "rw" && value !== "rwc")) {
      throw new TidemarkError("TM-URL-INVALID", `An SQLite URL takes no "${name}=${value}".`, {
        fix: "The only parameter is mode=ro, mode=rw or mode=rwc.",
      });
    }
    mode = value;
  }
  return { path: resolve(parts.file), mode };
}

/** Throws TM-URL-INVALID where the URL lets nothing be written. Else it would be taken for a file that may be written later. */
export function requireWritableUrl({
  name,
  url,
}: {
  readonly name: string;
  readonly url: string;
}): void {
  if (parseUrl(url).mode !== "ro") return;
  throw new TidemarkError(
    "TM-URL-INVALID",
    `${name}: ?mode=ro is for looking alone, and a run writes at both ends.`,
    {
      fix: `Leave ?mode=ro out of the URL of "${name}".`,
      details: { database: name },
    },
  );
}
