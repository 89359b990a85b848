import { TidemarkError } from "../../core/errors.ts";
import { saidTwice } from "../../core/url-parameters.ts";

/** What a NATS URL says: `nats://user:password@host:4222,host2:4222/?replicas=3&creds=/etc/tm.creds`. */
export interface NatsLocation {
  readonly servers: readonly string[];
  readonly tls: boolean;
  readonly user: string | null;
  readonly password: string | null;
  readonly token: string | null;
  /** A file with a JWT and a key. */
  readonly credentials: string | null;
  readonly caFile: string | null;
  readonly certFile: string | null;
  readonly keyFile: string | null;
  readonly replicas: number;
  /** Begins the names of all streams and subjects: pipelines on one server are kept apart by it. */
  readonly prefix: string;
}

const PARAMETERS = ["replicas", "creds", "token", "prefix", "ca", "cert", "key"] as const;

export function parseLocation(url: string): NatsLocation {
  const parts = /^(nats|tls):\/\/(?:([^@/?#]*)@)?([^@/?#]+)\/?(?:\?([^#]*))?$/.exec(url);
  if (parts === null) throw invalid("is not of the form nats://host:4222");
  const [, scheme, login = "", hosts = "", query = ""] = parts;
  const parameters = new URLSearchParams(query);
  for (const name of parameters.keys()) {
    if (!(PARAMETERS as readonly string[]).includes(name)) {
      throw invalid(`has the unknown parameter "${name}"; known are ${PARAMETERS.join(", ")}`);
    }
  }
  const twice = saidTwice(parameters);
  if (twice !== undefined) throw invalid(`says ${twice} twice: leave one of them out`);
  // The driver takes one without the other for neither, and says nothing.
  if (parameters.has("cert") !== parameters.has("key")) {
    throw invalid("names one of cert and key, not both");
  }
  return {
    servers: hosts.split(",").map(hostAndPort),
    tls: scheme === "tls",
    ...parseLogin(login, parameters.get("token")),
    credentials: parameters.get("creds"),
    caFile: parameters.get("ca"),
    certFile: parameters.get("cert"),
    keyFile: parameters.get("key"),
    replicas: parseReplicas(parameters.get("replicas")),
    prefix: parsePrefix(parameters.get("prefix")),
  };
}

export function asksForTls({ tls, caFile, certFile }: NatsLocation): boolean {
  return tls || caFile !== null || certFile !== null;
}

/** Of a server as it stands in a location: `host:4222`, `[::1]:4222`. */
export function hostOf(server: string): string {
  return server.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
}

/** A login without a colon is a token, as in every NATS tool. */
function parseLogin(login: string, token: string | null) {
  if (login === "") return { user: null, password: null, token };
  const [user = "", ...password] = login.split(":");
  if (password.length === 0) return { user: null, password: null, token: decode(user) };
  return { user: decode(user), password: decode(password.join(":")), token };
}

function hostAndPort(host: string): string {
  if (!/^(\[[0-9a-fA-F:.]+\]|[^:[\]]+)(:\d{1,5})?$/.test(host)) {
    throw invalid("names a host that is not of the form host:port");
  }
  return /:\d+$/.test(host) ? host : `${host}:4222`;
}

function parseReplicas(text: string | null): number {
  if (text === null) return 1;
  if (!/^[1-5]$/.test(text)) throw invalid("has replicas other than 1 to 5");
  return Number(text);
}

function parsePrefix(text: string | null): string {
  if (text === null) return "tidemark";
  if (!/^[A-Za-z0-9_-]{1,32}$/.test(text)) {
    throw invalid("has a prefix with other characters than letters, digits, - and _ (at most 32)");
  }
  return text;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalid("has a login with a % that encodes nothing; write it as %25");
  }
}

/** Never shows the URL: it may hold a password. */
function invalid(why: string): TidemarkError {
  return new TidemarkError("TM-URL-INVALID", `The queue's URL ${why}.`);
}
