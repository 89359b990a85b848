// An authority of our own and certificates that it signs, made by the openssl that the servers' packages bring along.
import { execFileSync } from "node:child_process";
import { chownSync, copyFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { serverAccount, serverFolder } from "./account.ts";
import { findProgram } from "./programs.ts";

export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

export interface CertificateOptions {
  /** Whom it is for: `DNS:localhost,IP:127.0.0.1`. */
  readonly names: string;
  readonly commonName?: string;
  readonly expired?: boolean;
  /** By nobody but itself. */
  readonly selfSigned?: boolean;
}

/** Why there are none; undefined where they can be made. */
export function whyNoCertificates(): string | undefined {
  return findProgram("openssl") === undefined
    ? "openssl is not installed (Debian: openssl)"
    : undefined;
}

export class Authority implements Disposable {
  readonly #account: ReturnType<typeof serverAccount>;
  readonly folder: string;
  readonly #own: Certificate;

  /** `user`: of the server that is to read the files, where the tests are run by root. */
  constructor(user: string) {
    this.#account = serverAccount(user);
    this.folder = serverFolder("tls", this.#account);
    this.#own = this.#make("authority", { names: "DNS:authority.test", selfSigned: true });
  }

  /** The file that a client is to know it by. */
  get file(): string {
    return this.#own.cert;
  }

  issue(name: string, options: CertificateOptions): Certificate {
    return this.#make(name, options);
  }

  /** Into the files that a server has been told, whose it is from when it reads them again. */
  replace(served: Certificate, by: Certificate): void {
    for (const each of ["cert", "key"] as const) copyFileSync(by[each], served[each]);
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  #make(name: string, { names, commonName = name, ...how }: CertificateOptions): Certificate {
    const made = {
      cert: join(this.folder, `${name}.pem`),
      key: join(this.folder, `${name}.key`),
    };
    const request = join(this.folder, `${name}.csr`);
    const extensions = join(this.folder, `${name}.ext`);
    const isOwn = how.selfSigned === true;
    writeFileSync(extensions, `subjectAltName=${names}\nbasicConstraints=CA:${isOwn}\n`);
    const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    const subject = ["-subj", `/CN=${commonName}`];
    openssl("req", ...curve, ...subject, "-keyout", made.key, "-out", request);
    const by = isOwn
      ? ["-signkey", made.key]
      : ["-CA", this.#own.cert, "-CAkey", this.#own.key, "-CAcreateserial"];
    const days = ["-days", how.expired ? "-1" : "7"];
    const into = ["-extfile", extensions, "-out", made.cert];
    openssl("x509", "-req", "-in", request, ...by, ...days, ...into);
    if (this.#account) {
      for (const file of Object.values(made)) {
        chownSync(file, this.#account.uid, this.#account.gid);
      }
    }
    return made;
  }
}

function openssl(...args: readonly string[]): void {
  execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
}
