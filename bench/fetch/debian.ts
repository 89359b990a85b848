// Debian packages, unpacked into a folder of their own: nothing is installed, no service starts.
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { findProgram } from "../../test/servers/programs.ts";
import { runProgram } from "../programs.ts";

/** Unpacks the packages (named, no more: not what they depend on) below the folder. */
export async function unpackDebian(packages: readonly string[], folder: string): Promise<void> {
  if (findProgram("apt-get") === undefined || findProgram("dpkg-deb") === undefined) {
    throw new Error("needs Debian or its kin: there is no apt-get here");
  }
  const archives = join(folder, "archives");
  mkdirSync(archives);
  try {
    await download(packages, archives);
  } catch (error) {
    // A machine that is new has no list of packages yet, and only root may fetch one.
    if (process.getuid?.() !== 0) throw error;
    await runProgram("apt-get", ["--quiet=2", "update"]);
    await download(packages, archives);
  }
  for (const archive of readdirSync(archives)) {
    await runProgram("dpkg-deb", ["--extract", join(archives, archive), folder]);
  }
  rmSync(archives, { recursive: true });
}

async function download(packages: readonly string[], cwd: string): Promise<void> {
  await runProgram("apt-get", ["--quiet=2", "download", ...packages], { cwd });
}
