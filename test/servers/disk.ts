// A disk of its own, an ext4 in a loop device, whose power can be cut: what was not synced is gone, as after a real cut.
// Needs Linux, root and loop devices.
import { execFileSync } from "node:child_process";
import {
  accessSync,
  closeSync,
  fsyncSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { findProgram } from "./programs.ts";
import { releaseDisk, rememberDisk } from "./register.ts";

const PROGRAMS = ["perl", "mkfs.ext4", "losetup", "mount", "umount", "fallocate"];
/** The file is sparse: what a disk does not hold costs nothing. */
const MEGABYTES = 1_500;
// The journal is not to be written by the clock: what was not synced shall be lost.
const OPTIONS = "commit=300,noatime";
const UNMOUNT_MS = 10_000;
/** The system needs some to note a large file. */
const SPARED_BYTES = 2 ** 20;

// EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH, for each folder named.
const CUT = `
  for my $folder (@ARGV) {
    open(my $disk, "<", $folder) or die "$folder: $!";
    my $flags = pack("L", 2);
    ioctl($disk, 0x8004587D, $flags) or die "$folder: $!";
  }`;

export class Disk implements AsyncDisposable {
  /** Where it is mounted. */
  readonly folder: string;
  readonly #device: string;
  readonly #ballast: string;

  constructor(megabytes = MEGABYTES) {
    this.folder = mkdtempSync(join(tmpdir(), "tidemark-disk-"));
    this.#ballast = join(this.folder, "ballast");
    const image = `${this.folder}.img`;
    try {
      writeFileSync(image, "");
      truncateSync(image, megabytes * 2 ** 20);
      run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,nodiscard", image);
      this.#device = run("losetup", "--find", "--show", image).trim();
      rememberDisk(this.folder, this.#device);
    } catch (error) {
      rmSync(this.folder, { recursive: true });
      throw error;
    } finally {
      // The device holds it; whatever becomes of us, its space is free when the device is.
      rmSync(image, { force: true });
    }
    this.#mount();
  }

  /** At one moment, of all of them. Whoever uses them must stand still, and be killed before the power is back. */
  static cut(disks: readonly Disk[]): void {
    run("perl", "-e", CUT, ...disks.map(({ folder }) => folder));
  }

  /** Back again, with what was on it. Nobody may use it any more. */
  async mend(): Promise<void> {
    for (const end = Date.now() + UNMOUNT_MS; ; await sleep(20)) {
      try {
        run("umount", this.folder);
        break;
      } catch (error) {
        // Processes that were killed close their files a moment later.
        if (Date.now() > end) throw error;
      }
    }
    this.#mount();
    // That it was removed may not have been synced.
    this.free();
  }

  /** Takes all space that is left. */
  fill(): void {
    const { bavail, bsize } = statfsSync(this.folder);
    const most = Math.max(0, bavail * bsize - SPARED_BYTES);
    run("fallocate", "--length", `${most + 1}`, this.#ballast);
    const ballast = openSync(this.#ballast, "a");
    const block = Buffer.alloc(bsize);
    try {
      while (writeSync(ballast, block) === bsize);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
    } finally {
      closeSync(ballast);
    }
  }

  /** Gives it back. */
  free(): void {
    rmSync(this.#ballast, { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    releaseDisk(this.folder, this.#device);
  }

  #mount(): void {
    run("mount", "-t", "ext4", "-o", OPTIONS, this.#device, this.folder);
  }
}

let why: Promise<string | null> | undefined;

/** Why no power can be cut here; null when it can. It is tried. */
export function whyNoPowerCut(): Promise<string | null> {
  why ??= findWhyNot();
  return why;
}

async function findWhyNot(): Promise<string | null> {
  if (process.platform !== "linux") return "only Linux has the means for it";
  if (process.getuid?.() !== 0) return "only root may mount";
  const missing = PROGRAMS.filter((name) => findProgram(name) === undefined);
  if (missing.length > 0) return `these programs are missing: ${missing.join(", ")}`;
  try {
    accessSync("/dev/loop-control");
  } catch {
    return "there are no loop devices (/dev/loop-control)";
  }
  try {
    await using disk = new Disk(64);
    return await proves(disk);
  } catch (error) {
    const { stderr, message } = error as { stderr?: string; message: string };
    return `a disk could not be made, mounted and cut: ${stderr || message}`.trim();
  }
}

/** What is not synced must be lost, else a cut shows nothing: a new file, and what a file was overwritten with. */
async function proves(disk: Disk): Promise<string | null> {
  const file = join(disk.folder, "synced");
  const write = (text: string, isSynced: boolean) => {
    const opened = openSync(file, isSynced ? "w" : "r+");
    writeSync(opened, text);
    if (isSynced) fsyncSync(opened);
    closeSync(opened);
  };
  write("kept", true);
  write("lost", false);
  Disk.cut([disk]);
  await disk.mend();
  const found = readFileSync(file, "utf8");
  return found === "kept" ? null : `a file that read "kept" when it was synced reads "${found}"`;
}

function run(program: string, ...args: readonly string[]): string {
  return execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}
