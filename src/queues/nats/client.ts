import { readFileSync } from "node:fs";
import { access, constants } from "node:fs/promises";
import type { JetStreamClient, JetStreamManager } from "@nats-io/jetstream";
import type {
  Authenticator,
  ConnectionOptions,
  MsgHdrs,
  NatsConnection,
} from "@nats-io/transport-node";
import { loadDriver } from "../../core/driver.ts";
import { TidemarkError } from "../../core/errors.ts";
import { askUntilAnswered } from "./ask.ts";
import { toConnectError, toJetStreamError } from "./errors.ts";
import { identityCheck } from "./identity-check.ts";
import { asksForTls, type NatsLocation } from "./location.ts";

/** How long one question to the server may take. */
export const REQUEST_TIMEOUT_MS = 5_000;
/** So long at least, and at most twice as long, between two attempts to connect again. */
const RECONNECT_MS = 250;
/** Clocks that are kept right move less at once. */
const SET_BACK_MS = 100;
const MINIMUM_VERSION = [2, 9] as const;
/** Four times what marks and headers may need; the documents need as much. */
export const LEAST_PAYLOAD = 16 * 1024;

/** One connection of the driver, with JetStream on it. */
export interface NatsClient {
  readonly connection: NatsConnection;
  readonly jetstream: JetStreamClient;
  readonly manager: JetStreamManager;
  headers(): MsgHdrs;
  /** Puts a question that changes nothing to the server; in a cluster again and again, until it is answered. */
  ask<T>(question: () => Promise<T>): Promise<T>;
}

/** Loads the driver, connects, and makes sure that the server can be a queue. */
export async function connectClient(location: NatsLocation): Promise<NatsClient> {
  const transport = await loadDriver(
    "@nats-io/transport-node",
    () => import("@nats-io/transport-node"),
  );
  const { jetstream, jetstreamManager } = await loadDriver(
    "@nats-io/jetstream",
    () => import("@nats-io/jetstream"),
  );
  const address = location.servers.join(",");
  const options = await connectionOptions(location, transport.credsAuthenticator);
  const connection = await transport.connect(options).catch((error: unknown) => {
    throw toConnectError(error, address, options.tls != null);
  });
  try {
    refuseOldServer(connection);
    refuseSmallMessages(connection, address);
    const manager = await jetstreamManager(connection, { timeout: REQUEST_TIMEOUT_MS });
    const client = jetstream(connection, { timeout: REQUEST_TIMEOUT_MS });
    const { headers } = transport;
    // Copies are kept in a cluster only.
    const ask: NatsClient["ask"] =
      location.replicas > 1 ? askUntilAnswered : (question) => question();
    return { connection, jetstream: client, manager, headers, ask };
  } catch (error) {
    await connection.close();
    if ((error as Error).name === "JetStreamNotEnabled") throw noJetStream(error);
    throw toJetStreamError(error, address);
  }
}

type CredsAuthenticator = typeof import("@nats-io/transport-node")["credsAuthenticator"];

async function connectionOptions(
  location: NatsLocation,
  credsAuthenticator: CredsAuthenticator,
): Promise<ConnectionOptions> {
  const { user, password, token, credentials, caFile, certFile, keyFile } = location;
  // The driver reads them at each attempt, so that one that was renewed holds; of one that is not there it tells nothing of use.
  for (const path of [caFile, certFile, keyFile]) if (path !== null) await mustBeReadable(path);
  return {
    name: "tidemark",
    servers: [...location.servers],
    timeout: REQUEST_TIMEOUT_MS,
    // For ever: a server that is away for a day must find its readers again.
    maxReconnectAttempts: -1,
    ignoreAuthErrorAbort: true,
    reconnectDelayHandler: reconnectDelay(location.servers.length),
    // A connection whose other end is gone without a word is found dead after 15 s.
    pingInterval: 5_000,
    maxPingOut: 2,
    ...(user === null ? {} : { user, pass: password ?? "" }),
    ...(token === null ? {} : { token }),
    ...(credentials === null
      ? {}
      : { authenticator: byCredentials(credentials, credsAuthenticator) }),
    ...(asksForTls(location)
      ? {
          tls: {
            ...(caFile === null ? {} : { caFile }),
            ...(certFile === null ? {} : { certFile }),
            ...(keyFile === null ? {} : { keyFile }),
            ...{ checkServerIdentity: identityCheck(location.servers) },
          },
        }
      : {}),
  };
}

/**
 * Milliseconds to wait since the last attempt to connect to a server. The driver counts them on the wall clock, and asks
 * before each attempt: set back by an hour, the clock would keep it from trying for an hour. So after that each
 * server is tried at once, which puts its last attempt on the clock as it is.
 */
function reconnectDelay(servers: number): () => number {
  let ahead = Number.NEGATIVE_INFINITY;
  let back = 0;
  let untried = 0;
  return () => {
    const before = ahead;
    ahead = Date.now() - performance.now();
    if (before - ahead > SET_BACK_MS) {
      back = before - ahead;
      untried = servers;
    }
    if (untried === 0) return RECONNECT_MS * (1 + Math.random());
    untried--;
    return -back - SET_BACK_MS;
  };
}

async function mustBeReadable(path: string): Promise<void> {
  await access(path, constants.R_OK).catch(() => {
    throw new TidemarkError(
      "TM-URL-INVALID",
      `The queue's URL names a file that cannot be read: ${path}.`,
      {
        fix: "Check the parameters ca, cert and key of the queue's URL.",
      },
    );
  });
}

/** Read at each attempt to connect: what is in the file is made to expire, and renewed there. */
function byCredentials(path: string, credsAuthenticator: CredsAuthenticator): Authenticator {
  const authenticator = credsAuthenticator(() => readFileSync(path));
  return (nonce) => {
    try {
      return authenticator(nonce);
    } catch (cause) {
      throw new TidemarkError(
        "TM-AUTH-FAILED",
        `The credentials file ${path} cannot be read, or holds no credentials.`,
        { fix: "Check the parameter creds of the queue's URL, and the file.", cause },
      );
    }
  };
}

function refuseOldServer(connection: NatsConnection): void {
  const version = connection.info?.version ?? "0.0";
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [neededMajor, neededMinor] = MINIMUM_VERSION;
  if (major > neededMajor || (major === neededMajor && minor >= neededMinor)) return;
  throw new TidemarkError(
    "TM-SERVER-UNSUPPORTED",
    `NATS ${version} is too old: Tidemark needs ${MINIMUM_VERSION.join(".")} or later.`,
  );
}

function refuseSmallMessages({ info }: NatsConnection, address: string): void {
  const most = info?.max_payload ?? LEAST_PAYLOAD;
  if (most >= LEAST_PAYLOAD) return;
  throw new TidemarkError(
    "TM-QUEUE-LIMIT",
    `NATS at ${address} takes messages of ${most} bytes at most: Tidemark needs ${LEAST_PAYLOAD}.`,
    { fix: "Raise max_payload of the server; 1MB, as it has by itself, is best." },
  );
}

function noJetStream(cause: unknown): TidemarkError {
  return new TidemarkError("TM-SERVER-UNSUPPORTED", "JetStream is not enabled in NATS.", {
    fix: "Start nats-server with -js and a store_dir, and enable JetStream for the account.",
    cause,
  });
}
