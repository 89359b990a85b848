// What the tests of TLS have in common, whatever the server.
import { expect } from "vitest";
import { TidemarkError } from "../../src/core/errors.ts";

/** It reaches this machine, and is none of the addresses that stand for it: as another machine is. */
export const ELSEWHERE = "0.0.0.0";
/** Of a certificate that fits all addresses of the tests. */
export const ALL = `DNS:localhost,IP:127.0.0.1,IP:${ELSEWHERE}`;

/** What `open` gives; or why it was refused, with what is to be done, in which no secret may stand. */
export async function outcomeOf(open: () => Promise<string>): Promise<string> {
  try {
    return await open();
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error;
    expect(`${error.message} ${error.fix}`).not.toMatch(/canary|PRIVATE/);
    return `${error.code}: ${error.message} ${error.fix ?? "no fix"}`;
  }
}
