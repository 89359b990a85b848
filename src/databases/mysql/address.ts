import { readFileSync } from "node:fs";
import type { ConnectionOptions } from "mysql2/promise";
import { type Encryption, isLoopback } from "../../core/encryption.ts";
import { TidemarkError } from "../../core/errors.ts";
import { saidTwice } from "../../core/url-parameters.ts";

/** A database URL taken apart. */
export interface Address {
  readonly options: ConnectionOptions;
  readonly database: string;
  /** `db.example:3306`: for messages, holds no secret. */
  readonly server: string;
  readonly encryption: Encryption;
}

const MODES = ["DISABLED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"] as const;
const PARAMETERS = new Set(["ssl-mode", "ssl-ca", "ssl-cert", "ssl-key", "socket"]);

/**
 * `mysql://user:password@host:3306/database?ssl-mode=…&ssl-ca=…&socket=…`; parameters are named as
 * the servers' own clients name them. Encryption with a full check of the certificate is the
 * default, except to this very machine where the URL says nothing of it. Throws TM-URL-INVALID, never quoting the URL.
 */
export function parseAddress(text: string, name: string): Address {
  const url = parseUrl(text, name);
  const database = decode(url.pathname.slice(1), name);
  if (database === "") {
    throw invalid(name, "names no database", "end the URL with /database");
  }
  for (const parameter of url.searchParams.keys()) {
    if (!PARAMETERS.has(parameter)) {
      throw invalid(
        name,
        `has the unknown parameter "${parameter}"`,
        `use one of: ${[...PARAMETERS].join(", ")}`,
      );
    }
  }
  const twice = saidTwice(url.searchParams);
  if (twice !== undefined) throw invalid(name, `says ${twice} twice`, "leave one of them out");
  const host = url.hostname === "" ? "localhost" : url.hostname.replace(/^\[|\]$/g, "");
  const port = url.port === "" ? 3306 : Number(url.port);
  const socket = url.searchParams.get("socket");
  const isLocal = socket !== null || isLoopback(host);
  const ssl = tls(url, isLocal, name);
  return {
    encryption: encryptionOf(ssl, isLocal),
    database,
    server: socket ?? `${host}:${port}`,
    options: {
      ...(socket === null ? { host, port } : { socketPath: socket }),
      ...(url.username === "" ? {} : { user: decode(url.username, name) }),
      ...(url.password === "" ? {} : { password: decode(url.password, name) }),
      ...(ssl === undefined ? {} : { ssl }),
      database,
    },
  };
}

function tls(url: URL, isLocal: boolean, name: string): ConnectionOptions["ssl"] | undefined {
  const asked = url.searchParams.get("ssl-mode")?.toUpperCase().replaceAll("-", "_");
  // Whoever names a certificate means it to be looked at.
  const silent = !["ssl-ca", "ssl-cert", "ssl-key"].some((each) => url.searchParams.has(each));
  const mode = asked ?? (isLocal && silent ? "DISABLED" : "VERIFY_IDENTITY");
  if (!MODES.includes(mode as (typeof MODES)[number])) {
    throw invalid(name, "has an unknown ssl-mode", `use one of: ${MODES.join(", ")}`);
  }
  if (url.searchParams.has("ssl-cert") !== url.searchParams.has("ssl-key")) {
    throw invalid(name, "names one of ssl-cert and ssl-key, not both", "name both");
  }
  if (mode === "DISABLED") return undefined;
  return {
    rejectUnauthorized: mode !== "REQUIRED",
    verifyIdentity: mode === "VERIFY_IDENTITY",
    ...file(url, "ssl-ca", "ca", name),
    ...file(url, "ssl-cert", "cert", name),
    ...file(url, "ssl-key", "key", name),
  };
}

function encryptionOf(ssl: ConnectionOptions["ssl"], isLocal: boolean): Encryption {
  if (typeof ssl !== "object") return isLocal ? "local" : "none";
  if (ssl.rejectUnauthorized === false) return "unchecked";
  return ssl.verifyIdentity === true ? "checked" : "nameless";
}

function file(url: URL, parameter: string, option: string, name: string): Record<string, Buffer> {
  const path = url.searchParams.get(parameter);
  if (path === null) return {};
  try {
    return { [option]: readFileSync(path) };
  } catch {
    throw invalid(name, `names a file in ${parameter} that cannot be read`, `check ${path}`);
  }
}

function parseUrl(text: string, name: string): URL {
  if (!URL.canParse(text)) {
    throw invalid(name, "is not a URL", "write mysql://user:password@host:3306/database");
  }
  return new URL(text);
}

function decode(text: string, name: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalid(name, "has a malformed % escape", "write % itself as %25");
  }
}

function invalid(name: string, what: string, fix: string): TidemarkError {
  return new TidemarkError("TM-URL-INVALID", `The URL of database "${name}" ${what}.`, {
    fix,
    details: { database: name },
  });
}
