// What another user has put where our locks are to be is not opened (G8).
import { chownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { takeLease } from "./lease.ts";

let shared: string;
let folder: string;

beforeEach(() => {
  shared = mkdtempSync(join(tmpdir(), "tidemark-lease-"));
  folder = join(shared, `tidemark-locks-${userInfo().uid}`);
  vi.stubEnv("TMPDIR", shared);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(shared, { recursive: true });
});

const take = () => takeLease("shop.db", "relay");

it("is taken once, in a folder of its own", () => {
  const lease = take();
  expect(lease).not.toBeNull();
  expect(take()).toBeNull();
  lease?.release();
  const next = take();
  expect(next).not.toBeNull();
  next?.release();
});

it.skipIf(process.getuid?.() !== 0)("is not taken in a folder of another user", () => {
  mkdirSync(folder);
  chownSync(folder, 65_534, 65_534);
  expect(take).toThrow(expect.objectContaining({ code: "TM-GRANT-MISSING" }));
});

it.skipIf(process.platform === "win32")("is not taken behind a link", () => {
  const elsewhere = join(shared, "elsewhere");
  mkdirSync(elsewhere, { mode: 0o700 });
  symlinkSync(elsewhere, folder);
  expect(take).toThrow(expect.objectContaining({ code: "TM-GRANT-MISSING" }));
});
