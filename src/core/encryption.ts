import type { Finding } from "./database.ts";
import { ok, warning } from "./findings.ts";

/**
 * How a connection is kept from others: `nameless` is by who signed the server's certificate, not by the name in it;
 * `local` is in plain text, and does not leave this machine.
 */
export type Encryption = "local" | "none" | "unchecked" | "nameless" | "checked";

/** Is it this machine? Of URLs whose scheme the standard does not know, the host is in the letters that were written. */
export function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[?::1\]?)$/i.test(host);
}

/** What the driver is given decides it: nothing falls back. `words`: how a URL asks for all of it. */
export function encryptionFindings(encryption: Encryption, words: string): Finding[] {
  const fix = `${words}; on a network that you trust it may stay as it is`;
  switch (encryption) {
    case "local":
      return [];
    case "none":
      return [warning("encryption", "The connection goes to another machine in plain text.", fix)];
    case "unchecked":
      return [
        warning(
          "encryption",
          "The connection is encrypted, with whoever answers: the server's certificate is not looked at.",
          fix,
        ),
      ];
    case "nameless":
      return [
        ok(
          "encryption",
          "The connection is encrypted; the certificate's authority is checked, not its name.",
        ),
      ];
    case "checked":
      return [
        ok("encryption", "The connection is encrypted, and the server's certificate checked."),
      ];
  }
}
