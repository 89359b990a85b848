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

/** The adapter of a database URL. Throws TM-URL-INVALID. */
export function databaseAdapterFor(url: string): DatabaseAdapter {
  return adapterFor(url, DATABASES, "database");
}

/** The adapter of a queue URL. Throws TM-URL-INVALID. */
export function queueAdapterFor(url: string): QueueAdapter {
  return adapterFor(url, QUEUES, "queue");
}

function adapterFor<T extends { readonly schemes: readonly string[] }>(
  url: string,
  adapters: readonly T[],
  what: string,
): T {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1]?.toLowerCase() ?? "";
  const adapter = adapters.find(({ schemes }) => schemes.includes(scheme));
  if (adapter !== undefined) return adapter;
  const known = adapters.flatMap(({ schemes }) => schemes).join(", ");
  throw new TidemarkError(
    "TM-URL-INVALID",
    scheme === ""
      ? `"${redactUrl(url)}" is not a ${what} URL.`
      : `No ${what} is known for the scheme "${scheme}".`,
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
