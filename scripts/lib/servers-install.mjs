// The servers that the tests need, from the distribution's packages: only as root on Debian and its
// kin, only what is neither installed nor named in the environment, and without starting a service.
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const POLICY = "/usr/sbin/policy-rc.d";

const NEEDED = [
  { variable: "TIDEMARK_TEST_POSTGRES_URL", package: "postgresql", isThere: hasPostgres },
  { variable: "TIDEMARK_TEST_MARIADB_URL", package: "mariadb-server", isThere: has("mariadbd") },
  { variable: "TIDEMARK_TEST_NATS_URL", package: "nats-server", isThere: has("nats-server") },
  { package: "pgbouncer", isThere: has("pgbouncer") },
];

export function installServers() {
  const missing = NEEDED.filter((each) => !process.env[each.variable ?? ""] && !each.isThere());
  if (missing.length === 0) return;
  const packages = missing.map((each) => each.package);
  if (process.getuid?.() !== 0 || !has("apt-get")()) {
    // Not an error: what needs them is skipped, and listed at the end. (In CI it is one, there.)
    console.log(`Not installed: ${packages.join(", ")}. On Debian or Ubuntu:`);
    console.log(`  sudo apt-get install --no-install-recommends ${packages.join(" ")}`);
    for (const { variable } of missing)
      if (variable) console.log(`or name a server in ${variable}`);
    return;
  }
  console.log(`Installing ${packages.join(", ")} …`);
  withoutStartingServices(() => {
    apt("update");
    apt("install", "--yes", "--no-install-recommends", ...packages);
  });
}

/** Debian's packages start their server when installed; this file, by Debian policy, forbids it. */
function withoutStartingServices(work) {
  const isOurs = !existsSync(POLICY);
  if (isOurs) {
    writeFileSync(POLICY, "#!/bin/sh\nexit 101\n");
    chmodSync(POLICY, 0o755);
  }
  try {
    work();
  } finally {
    if (isOurs) rmSync(POLICY);
  }
}

/** Hundreds of lines that matter only when something goes wrong, and are shown only then. */
function apt(...args) {
  const { status, stdout, stderr } = spawnSync("apt-get", ["--quiet=2", ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
  });
  if (status !== 0) throw new Error(`${stdout}${stderr}\napt-get ${args[0]} failed.`);
}

function has(program) {
  const folders = [...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/usr/local/sbin"];
  return () => folders.some((folder) => existsSync(join(folder, program)));
}

function hasPostgres() {
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian) ? readdirSync(debian) : [];
  const isThere = versions.some((version) => existsSync(join(debian, version, "bin/postgres")));
  return isThere || has("postgres")();
}
