const PARAMETERS = ["sslmode", "ssl", "sslrootcert", "sslnegotiation"];
const LOCAL = /^(|localhost|127(\.\d+){3}|\[?::1\]?|\/.*)$/;

/**
 * Without a word in the URL: plain text on the same machine, a checked certificate elsewhere.
 * `sslmode` in the URL decides otherwise. `otherwise`: the host where the URL names none.
 * Throws where a word is empty, which the driver would take for none at all.
 */
export function transportSecurity(text: string, otherwise = ""): object {
  // A login without a host, which only the driver knows how to read.
  const [url, named] = URL.canParse(text)
    ? [new URL(text), true]
    : [new URL(text.replace("@/", "@localhost/")), false];
  const { hostname, searchParams } = url;
  const said = PARAMETERS.filter((key) => searchParams.has(key));
  const empty = said.find((key) => searchParams.get(key) === "");
  if (empty !== undefined) throw new Error(`The parameter ${empty} is empty.`);
  const host = searchParams.get("host") || (named && decodeURIComponent(hostname)) || otherwise;
  return LOCAL.test(host) || said.length > 0 ? {} : { ssl: { rejectUnauthorized: true } };
}
