/** How the URL of one kind of server says what. */
export interface TlsWords {
  /** Who signed the server's certificate: `&sslrootcert=FILE`. */
  readonly authority: string;
  /** A certificate of our own and its key: `&sslcert=FILE&sslkey=FILE`. */
  readonly own: string;
  /** Takes any certificate: `?sslmode=no-verify`. */
  readonly unchecked?: string;
  /** Looks at who signed it, not at the name. */
  readonly nameless?: string;
}

/** Without the thread and the places in OpenSSL's source, which its own messages carry. */
export function tlsReason(message: string): string {
  return message.replace(/^[0-9A-F]+:(?=error:)|:\.\.\/.*$/gs, "").trim();
}

/**
 * What to do about a connection by TLS that could not be made, by what Node or OpenSSL said of it (English always); undefined
 * where that is something else. Their codes are of less use: the drivers put codes of their own in place of some.
 */
export function tlsFix(reason: string, words: TlsWords): string | undefined {
  const { authority, own, unchecked, nameless } = words;
  const orNot =
    unchecked === undefined
      ? ""
      : ` Or, on a network that you trust, give up the check: ${unchecked}.`;
  if (/altnames|not match certificate/i.test(reason)) {
    return `Name the server in the URL as its certificate does, or give it a certificate for the name that stands there.${nameless === undefined ? orNot : ` Or look at its authority alone: ${nameless}.`}`;
  }
  if (/certificate (has expired|is not yet valid)/.test(reason)) {
    return `Give the server a certificate that is valid today; if it is, set this machine's clock.${orNot}`;
  }
  if (/key values mismatch|PEM routines|no start line|bad decrypt|asn1|DECODER/i.test(reason)) {
    return `Look at the files of ${own}: the key must be that of the certificate, both in PEM, the key without a passphrase.`;
  }
  if (/alert (unknown ca|bad certificate|certificate|handshake failure)/i.test(reason)) {
    return `The server does not take our certificate: name one of an authority that it knows, with its key: ${own}.`;
  }
  if (/self.signed|unable to (verify|get)/i.test(reason)) {
    return `Name who signed the server's certificate: ${authority}.${orNot}`;
  }
  return undefined;
}
