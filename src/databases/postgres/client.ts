import type { DatabaseOptions } from "../../core/database.ts";
import { TidemarkError } from "../../core/errors.ts";
import { redactText } from "../../core/secrets.ts";
import { severWith } from "../../core/sever.ts";
import { tlsFix, tlsReason } from "../../core/tls-fix.ts";
import type { Row } from "./connection.ts";
import { classify } from "./errors.ts";
import type { OtherSession } from "./pooler.ts";
import { checkFiles, driverUrl, type PgSsl, transportSecurity } from "./transport.ts";

/** The slice of `pg` that we use. */
export interface PgClient {
  pipeline: boolean;
  readonly processID: number | null;
  readonly host: string;
  readonly ssl: PgSsl;
  readonly connection: { readonly stream: { cork(): void; uncork(): void; destroy(): void } };
  connect(): Promise<unknown>;
  end(): Promise<void>;
  query(config: PgQuery): Promise<PgResult>;
  query<T>(stream: T): T;
  readonly connectionParameters: { replication: unknown };
  on(event: "error" | "end", listener: (error?: unknown) => void): unknown;
  on(event: "notification", listener: (message?: { readonly channel: string }) => void): unknown;
}
export type Pg = Awaited<typeof import("pg")>["default"];
interface PgQuery {
  readonly text: string;
  readonly rowMode: "array";
}
export interface PgResult {
  readonly rows: Row[];
}

const CONNECT_TIMEOUT_MS = 15_000;

/** One that is not connected yet, and what ends it. */
export function clientOf(
  pg: Pg,
  options: DatabaseOptions,
  role: string,
): { client: PgClient; end: () => Promise<void> } {
  let client: PgClient;
  try {
    checkFiles(options.url, options.name);
    client = new pg.Client({
      connectionString: driverUrl(options.url, options.name),
      ...transportSecurity(options.url, process.env.PGHOST),
      // Unless the URL says otherwise; else the driver looks for PGSSLNEGOTIATION.
      sslnegotiation: "postgres",
      application_name: `tidemark ${role}`,
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      types: { getTypeParser: () => (text: string) => text },
      pipeline: true,
    } as ConstructorParameters<typeof pg.Client>[0]) as unknown as PgClient;
  } catch (error) {
    if (error instanceof TidemarkError) throw error;
    throw new TidemarkError(
      "TM-URL-INVALID",
      `The URL of database "${options.name}" is not valid.`,
      {
        fix: "postgres://user:password@host:5432/database, in which the password's special characters are percent-encoded: # is %23, / is %2F, @ is %40.",
        cause: new Error(redactText(String(error), [options.url])),
      },
    );
  }
  // Of PGREPLICATION the driver would ask for a session that replicates, in which no statement of ours is taken.
  client.connectionParameters.replication = undefined;
  // A socket that breaks while connecting is told by connect() and by this event: one is enough.
  client.on("error", () => {});
  const release = severWith(options, () => client.connection.stream.destroy());
  client.on("end", release);
  const end = async () => {
    await client.end().catch(() => {});
    release();
  };
  return { client, end };
}

/** A session that nothing was set in. */
export async function probe(pg: Pg, options: DatabaseOptions): Promise<OtherSession> {
  const { client, end } = clientOf(pg, options, "probe");
  try {
    await client.connect();
    return Object.assign(client, { leave: () => client.connection.stream.destroy() });
  } catch (error) {
    await end();
    throw error;
  }
}

/** What a failure to connect is told as. */
export function connectError(error: unknown, options: DatabaseOptions): TidemarkError {
  if (error instanceof TidemarkError) return error;
  const known = classify(error, { action: "connect", database: options.name });
  if (known.code !== "TM-CONNECTION-LOST" && known.code !== "TM-INTERNAL") return known;
  const said = tlsReason(error instanceof Error ? error.message : String(error));
  const message = redactText(said, [options.url]);
  // The driver's own words for a login that needs one.
  if (/client password must be a/.test(message)) {
    return new TidemarkError(
      "TM-AUTH-FAILED",
      `Database "${options.name}" asks for a password, and its URL has none.`,
      { fix: "Write it into the URL, as ${VARIABLE} of the environment, or set PGPASSWORD." },
    );
  }
  const fix = connectFix(message);
  return new TidemarkError(
    "TM-CONNECT-FAILED",
    `Database "${options.name}" cannot be reached: ${message}`,
    fix === undefined ? {} : { fix },
  );
}

function connectFix(message: string): string | undefined {
  if (/disconnected before secure TLS/.test(message)) {
    return "Is this PostgreSQL, with ssl = on? sslnegotiation=direct needs 17 or later: leave it out with an older one.";
  }
  if (/received invalid response/.test(message)) {
    return "Is it PostgreSQL that listens there? Correct host and port in the URL.";
  }
  if (/does not support SSL/.test(message)) {
    return "Turn ssl on at the server; or, on a network that you trust, add ?sslmode=disable.";
  }
  return tlsFix(message, {
    authority: "&sslrootcert=FILE",
    own: "&sslcert=FILE&sslkey=FILE",
    unchecked: "?sslmode=no-verify",
  });
}
