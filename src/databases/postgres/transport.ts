import { accessSync, constants } from "node:fs";
import { type Encryption, isLoopback } from "../../core/encryption.ts";
import { TidemarkError } from "../../core/errors.ts";
import { saidTwice } from "../../core/url-parameters.ts";

/** What the driver's client keeps of it. */
export type PgSsl =
  | boolean
  | { readonly rejectUnauthorized?: boolean; readonly checkServerIdentity?: unknown };

const PARAMETERS = ["sslmode", "ssl", "sslrootcert"];
const OTHERS = ["sslcert", "sslkey", "uselibpqcompat", "host", "port", "user", "password"];
const OF_SESSION = ["sslnegotiation", "channel_binding", "options", "application_name"];
const KNOWN = ["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "sslnegotiation", "options"];
const MODES = ["disable", "no-verify", "verify-full", "require", "verify-ca", "prefer", "allow"];
/** Of any other word of `ssl` the driver makes neither a yes nor a no, and fails outside of our reach. */
const SSL = ["true", "1", "0", "no-verify"];
const FILES = ["sslrootcert", "sslcert", "sslkey"];
/** libpq's word for the authorities that the machine knows; the driver takes it for a file. */
const SYSTEM = "system";
const WITHOUT_A_FILE =
  "Write sslmode=verify-full in place of sslrootcert=system: where no file is named, the authorities that Node knows are taken, and those of NODE_EXTRA_CA_CERTS.";

/** Of what the driver has made of a URL and of ours. */
export function encryptionOf(host: string, ssl: PgSsl): Encryption {
  if (ssl === false) return isLocal(host) ? "local" : "none";
  if (ssl === true) return "checked";
  if (ssl.rejectUnauthorized === false) return "unchecked";
  // The driver looks at no name where it was given a function that takes any.
  return ssl.checkServerIdentity === undefined ? "checked" : "nameless";
}

/**
 * Without a word in the URL: plain text on the same machine, a checked certificate elsewhere.
 * `sslmode` in the URL decides otherwise. `otherwise`: the host where the URL names none.
 * Throws where a word is empty, which the driver would take for none at all.
 */
export function transportSecurity(text: string, otherwise = ""): object {
  const [{ hostname, searchParams }, named] = read(text);
  const said = PARAMETERS.filter((key) => searchParams.has(key));
  const empty = said.find((key) => searchParams.get(key) === "");
  if (empty !== undefined) throw new Error(`The parameter ${empty} is empty.`);
  const host = searchParams.get("host") || (named && decodeURIComponent(hostname)) || otherwise;
  if (said.length > 0) return {};
  // Said in any case: else the driver looks for PGSSLMODE.
  return { ssl: isLocal(host) ? false : { rejectUnauthorized: true } };
}

/**
 * The URL as the driver is to have it. The driver passes over a word that it does not know, sets what is ours by some that
 * it does (`query_timeout`), and takes a mode that is misspelt for `verify-full`. Throws TM-URL-INVALID, never quoting the URL.
 */
export function driverUrl(text: string, name: string): string {
  const [{ searchParams }] = read(text);
  const known = [...PARAMETERS, ...OTHERS, ...OF_SESSION];
  const unknown = [...searchParams.keys()].find((key) => !known.includes(key));
  if (unknown !== undefined) {
    const fix = `Remove it, or use one of: ${KNOWN.join(", ")}.`;
    throw invalid(name, `has the unknown parameter "${unknown}"`, fix);
  }
  const twice = saidTwice(searchParams);
  if (twice !== undefined) throw invalid(name, `says ${twice} twice`, "Leave one of them out.");
  const ssl = searchParams.get("ssl");
  if (ssl !== null && !SSL.includes(ssl)) {
    throw invalid(name, "has an unknown word for ssl", "Write sslmode=disable or verify-full.");
  }
  const mode = searchParams.get("sslmode");
  if (mode && !MODES.includes(mode)) {
    throw invalid(name, "has an unknown sslmode", `Use one of: ${MODES.slice(0, 5).join(", ")}.`);
  }
  // The driver takes a login that is not bound to the channel where the server offers no other.
  if (!["prefer", "disable", null].includes(searchParams.get("channel_binding"))) {
    const fix =
      "Write channel_binding=prefer, and sslmode=verify-full, which tells the server by its certificate.";
    throw invalid(name, "asks for channel_binding, which cannot be promised", fix);
  }
  // By its own name: of the others the driver warns that they are to mean less one day.
  return mode === null || searchParams.has("uselibpqcompat")
    ? text
    : text.replace(/([?&]sslmode=)(require|verify-ca|prefer|allow)(?=&|$)/g, "$1verify-full");
}

/** The driver tells no more than that a file is not there, and takes a certificate without its key for none. */
export function checkFiles(text: string, name: string): void {
  const [{ searchParams }] = read(text);
  for (const key of FILES) {
    const path = searchParams.get(key);
    if (!path) continue;
    try {
      accessSync(path, constants.R_OK);
    } catch {
      const isWord = key === "sslrootcert" && path === SYSTEM;
      const fix = isWord ? WITHOUT_A_FILE : `Check ${path}.`;
      throw invalid(name, `names a file in ${key} that cannot be read`, fix);
    }
  }
  if (searchParams.has("sslcert") !== searchParams.has("sslkey")) {
    const fix = "Name both, the certificate and its key.";
    throw invalid(name, "names one of sslcert and sslkey, not both", fix);
  }
}

function invalid(name: string, what: string, fix: string): TidemarkError {
  return new TidemarkError("TM-URL-INVALID", `The URL of database "${name}" ${what}.`, { fix });
}

/** None at all and a path are a socket. */
function isLocal(host: string): boolean {
  return host === "" || host.startsWith("/") || isLoopback(host);
}

/** And whether it names a host: a login without one only the driver knows how to read. */
function read(text: string): [URL, boolean] {
  return URL.canParse(text)
    ? [new URL(text), true]
    : [new URL(text.replace("@/", "@localhost/")), false];
}
