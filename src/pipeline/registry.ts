import type { DatabaseAdapter } from "../core/database.ts";
import { TidemarkError } from "../core/errors.ts";
import type { QueueAdapter } from "../core/queue.ts";
import { redactUrl } from "../core/secrets.ts";
import { mysql } from "../databases/mysql/index.ts";
import { postgres } from "../databases/postgres/index.ts";
import { sqlite } from "../databases/sqlite/index.ts";
import { nats } from "../queues/nats/index.ts";
import { sqliteQueue } from "../queues/sqlite/index.ts";

// The only list of adapters: a new database or queue is one folder and one line here.
const DATABASES: readonly DatabaseAdapter[] = [postgres, mysql, sqlite];
const QUEUES: readonly QueueAdapter[] = [sqliteQueue, nats];

/** The adapter of a database URL. Throws TM-URL-INVALID, with the `name` that it has in the config. */
export function databaseAdapterFor(url: string, name?: string): DatabaseAdapter {
  return adapterFor(url, DATABASES, { what: "database", name });
}

/** The adapter of a queue URL. Throws TM-URL-INVALID. */
export function queueAdapterFor(url: string): QueueAdapter {
  return adapterFor(url, QUEUES, { what: "queue" });
}

function adapterFor<T extends { readonly schemes: readonly string[] }>(
  url: string,
  adapters: readonly T[],
  { what, name }: { readonly what: string; readonly name?: string | undefined },
): T {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1]?.toLowerCase() ?? "";
  const adapter = adapters.find(({ schemes }) => schemes.includes(scheme));
  if (adapter !== undefined) return adapter;
  const [where, no] = name === undefined ? ["", "No"] : [`${name}: `, "no"];
  const known = adapters.flatMap(({ schemes }) => schemes).join(", ");
  throw new TidemarkError(
    "TM-URL-INVALID",
    scheme === ""
      ? `${where}"${redactUrl(url)}" is not a ${what} URL.`
      : `${where}${no} ${what} is known for the scheme "${scheme}".`,
    {
      // As on the command line.
      fix:
        scheme === "env"
          ? `In a config file write \${${url.slice("env:".length)}} to take it from the environment.`
          : `Use a URL with one of these schemes: ${known}.`,
      details: { scheme },
    },
  );
}
