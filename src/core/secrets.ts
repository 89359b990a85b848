/**
 * A connection URL without its secrets: the password and every query parameter that may hold one
 * are replaced by `***`. What cannot be parsed is hidden whole.
 */
export function redactUrl(text: string): string {
  if (/^sqlite:/.test(text)) return text;
  try {
    const url = new URL(text);
    if (url.password !== "") url.password = "***";
    for (const name of [...url.searchParams.keys()]) {
      if (/pass|pwd|secret|token|key|cred/i.test(name)) url.searchParams.set(name, "***");
    }
    return url.toString();
  } catch {
    return "***";
  }
}

/** Replaces each secret wherever it stands in a text (driver messages may quote the URL). */
export function redactText(text: string, urls: readonly string[]): string {
  let redacted = text;
  for (const url of urls) {
    const password = passwordOf(url);
    redacted = redacted.replaceAll(url, redactUrl(url));
    if (password !== null && password.length > 2) redacted = redacted.replaceAll(password, "***");
  }
  return redacted;
}

function passwordOf(text: string): string | null {
  try {
    const password = new URL(text).password;
    return password === "" ? null : decodeURIComponent(password);
  } catch {
    return null;
  }
}
