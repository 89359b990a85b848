import { isIP } from "node:net";
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import { hostOf } from "./location.ts";

type Check = (host: string, certificate: PeerCertificate) => Error | undefined;

/** What Node asks for where it has been told no name. */
const NO_NAME = "localhost";

/**
 * Is the certificate that of a server of the URL? Of a server that is given by its address the driver tells no name:
 * then it must be that of one of the addresses. `servers`: `host:4222`, `[::1]:4222`.
 */
export function identityCheck(servers: readonly string[]): Check {
  const hosts = servers.map(hostOf);
  const addresses = hosts.filter((host) => isIP(host) !== 0);
  return (host, certificate) => {
    if (host !== NO_NAME || hosts.includes(NO_NAME)) return checkServerIdentity(host, certificate);
    const objections = addresses.map((address) => checkServerIdentity(address, certificate));
    return objections.includes(undefined) ? undefined : objections[0];
  };
}
