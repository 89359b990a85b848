// A PostgreSQL server with the extensions of other people's replication, from Debian's packages,
// unpacked in one place. PostgreSQL finds its files from where its program is, so the tree runs
// where it stands. Server and extensions are fetched together: those of different minor versions
// may not fit.
import { spawnSync } from "node:child_process";
import { chmodSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { isReachable, serverAccount } from "../../test/servers/account.ts";
import { systemPostgres } from "../../test/servers/programs.ts";
import { unpackDebian } from "./debian.ts";
import { fetched } from "./folder.ts";

export interface PostgresTree {
  readonly root: string;
  /** The folder of its programs. */
  readonly bin: string;
  /** Where Perl finds its modules. */
  readonly perl: string;
  /** Of the server's settings, what the extensions need to be allowed at all. */
  readonly settings: Readonly<Record<string, string>>;
}

let tree: Promise<PostgresTree> | undefined;

/** The same for all who ask; rejects with the reason when it cannot be had here. */
export function postgresTree(): Promise<PostgresTree> {
  tree ??= make();
  return tree;
}

async function make(): Promise<PostgresTree> {
  const major = debianMajor();
  const root = await fetched(`postgres-${major}`, async (folder) => {
    const server = [`postgresql-${major}`, `postgresql-plperl-${major}`];
    const perl = ["libdbi-perl", "libdbd-pg-perl", "libdbix-safe-perl", "libboolean-perl"];
    const rivals = [`postgresql-${major}-pglogical`, "bucardo", "libpod-parser-perl"];
    await unpackDebian([...server, ...perl, ...rivals], folder);
    chmodSync(folder, 0o755); // the servers run as another account than root
  });
  const account = serverAccount("postgres");
  if (!isReachable(root, account)) {
    throw new Error(`the account of the servers cannot enter ${root}`);
  }
  const bin = join(root, `usr/lib/postgresql/${major}/bin`);
  return { root, bin, perl: perlPath(root), settings: trusted(bin, account) };
}

function debianMajor(): string {
  const bin = systemPostgres() ?? "";
  const major = basename(dirname(bin));
  if (!bin.startsWith("/usr/lib/postgresql/")) {
    throw new Error("needs Debian's package of PostgreSQL");
  }
  return major;
}

function perlPath(root: string): string {
  const { stdout } = spawnSync("perl", ["-MConfig", "-e", "print $Config{vendorarch}"]);
  return [join(root, "usr/share/perl5"), join(root, String(stdout))].join(":");
}

/** Later minor versions run only those output plugins that a setting lists. */
function trusted(bin: string, account: ReturnType<typeof serverAccount>): Record<string, string> {
  const { stdout } = spawnSync(join(bin, "postgres"), ["--describe-config"], {
    encoding: "utf8",
    ...account,
  });
  const isAsked = /^output_plugin_libraries\t/m.test(String(stdout));
  return isAsked ? { output_plugin_libraries: "pgoutput, pglogical_output" } : {};
}
