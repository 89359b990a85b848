import { joinSqliteUrl, splitSqliteUrl } from "./sqlite-url.ts";

/**
 * A connection URL without its secrets: the password, the token of NATS, and every query parameter that may hold one
 * are replaced by `***`. What cannot be parsed is hidden whole, unless it has neither a login nor parameters.
 */
export function redactUrl(text: string): string {
  if (/^sqlite:/.test(text)) return text;
  try {
    const url = new URL(text);
    if (url.password !== "") url.password = "***";
    else if (isToken(url)) url.username = "***";
    for (const name of [...url.searchParams.keys()]) {
      if (/pass|pwd|secret|token|key|cred/i.test(name)) url.searchParams.set(name, "***");
    }
    return url.toString();
  } catch {
    // Several hosts of NATS are no URL.
    return /^[a-z]+:\/\/[^@?]*$/i.test(text) ? text : "***";
  }
}

/** A login without a colon, in a URL of NATS. */
function isToken({ protocol, username, password }: URL): boolean {
  return /^(nats|tls):$/.test(protocol) && username !== "" && password === "";
}

/**
 * Which database a connection URL names: host, port and name, or the file. Neither who connects nor how, so that it may
 * be told to anybody. Null of what cannot be parsed.
 */
export function placeOfUrl(text: string): string | null {
  const file = splitSqliteUrl(text);
  if (file !== null) return joinSqliteUrl({ ...file, parameters: "" });
  try {
    const { protocol, host, pathname } = new URL(text);
    // A password that is not written as it should be may have ended up there.
    return pathname.includes("@") ? null : `${protocol}//${host.toLowerCase()}${pathname}`;
  } catch {
    return null;
  }
}

/**
 * What looks like a URL with a user and a password, in any text. One that is not written as it should be may hold
 * what ends a password elsewhere (`/`, `@`, a blank): rather too much is hidden than a part left. A port is no password.
 */
const PASSWORD = /(:\/+[^\s:]*):(?:\S*@|(?!\d{1,5}(?:[^\w%]|$))[^\n"]*@)/g;
const TOKEN = /\b((?:nats|tls):\/+)[^\s:@/?#]+@/g;
const PARAMETER = /(?<=:\/\S*[?&][\w.-]*(?:pass|pwd|secret|token|key|cred)[\w.-]*=)[^\s&#"')]+/gi;

/**
 * Replaces each secret wherever it stands in a text: those of these URLs, which a driver's message may quote in any
 * form, and the password of whatever else looks like a URL. A password that is a mere word is not taken for a part of
 * another one; and where it is a name that is told anyway, of a user, a database or one of `names`, it stays in sight
 * outside of URLs: to hide it would spoil each message, and tell what the password is.
 */
export function redactText(
  text: string,
  urls: readonly string[] = [],
  names: readonly string[] = [],
): string {
  const told = new Set([...names, "tidemark", ...urls.flatMap(namesIn)]);
  let redacted = text;
  for (const url of urls) {
    const password = passwordOf(url);
    redacted = redacted.replaceAll(url, redactUrl(url));
    if (password === null || password.length <= 2 || told.has(password)) continue;
    redacted = redacted.replaceAll(isWord(password) ? wholeWord(password) : password, "***");
  }
  return redacted.replace(PASSWORD, "$1:***@").replace(TOKEN, "$1***@").replace(PARAMETER, "***");
}

function isWord(password: string): boolean {
  return /^\p{L}+$/u.test(password);
}

function wholeWord(word: string): RegExp {
  return new RegExp(`(?<![\\p{L}\\p{N}_])${word}(?![\\p{L}\\p{N}_])`, "gu");
}

/** What stands in a URL for all to see. */
function namesIn(text: string): string[] {
  try {
    const url = new URL(text);
    const path = decodeURIComponent(url.pathname).slice(1);
    return [isToken(url) ? "" : decodeURIComponent(url.username), url.hostname, path];
  } catch {
    return [];
  }
}

/** The same in every string of a JSON text, which stays one: a secret may hold what JSON escapes. */
export function redactJson(json: string, redact: (text: string) => string): string {
  return json.replace(/"(?:[^"\\]|\\.)*"/g, (token) =>
    JSON.stringify(redact(JSON.parse(token) as string)),
  );
}

function passwordOf(text: string): string | null {
  try {
    const url = new URL(text);
    const password = isToken(url) ? url.username : url.password;
    return password === "" ? null : decodeURIComponent(password);
  } catch {
    return null;
  }
}
