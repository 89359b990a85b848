// A certificate is looked at for the host of the queue's URL, be it an address (G8).
import type { PeerCertificate } from "node:tls";
import { expect, test } from "vitest";
import { identityCheck } from "./identity-check.ts";

const of = (subjectaltname: string) =>
  ({ subject: { CN: "any" }, subjectaltname }) as unknown as PeerCertificate;
const LOCALHOST = of("DNS:localhost");
const ADDRESS = of("IP Address:10.0.0.7");

test.each([
  [["10.0.0.7:4222"], "localhost", ADDRESS, true],
  [["10.0.0.7:4222"], "localhost", LOCALHOST, false],
  [["10.0.0.6:4222", "10.0.0.7:4222"], "localhost", ADDRESS, true],
  [["[::1]:4222"], "localhost", of("IP Address:0:0:0:0:0:0:0:1"), true],
  [["[::1]:4222"], "localhost", ADDRESS, false],
  [["localhost:4222"], "localhost", LOCALHOST, true],
  [["localhost:4222"], "localhost", ADDRESS, false],
  [["a.example:4222"], "a.example", of("DNS:a.example"), true],
  [["a.example:4222"], "a.example", of("DNS:b.example"), false],
] as const)("%j, asked for %s", (servers, host, certificate, isRight) => {
  expect(identityCheck(servers)(host, certificate) === undefined).toBe(isRight);
});
