import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { fileOf } from "./location.ts";

describe("the queue's file", () => {
  it("is named by a relative or an absolute path", () => {
    expect(fileOf("sqlite:./.tidemark/queue.db")).toBe(resolve(".tidemark/queue.db"));
    expect(fileOf("sqlite:queue.db")).toBe(resolve("queue.db"));
    expect(fileOf("sqlite:/var/lib/queue.db")).toBe("/var/lib/queue.db");
    expect(fileOf("sqlite:///var/lib/queue.db")).toBe("/var/lib/queue.db");
  });

  it("is named as it is written", () => {
    for (const path of [
      "/var/lib/with space.db",
      "/var/lib/with%20space.db",
      "/var/lib/repo_feature%2Ffoo/queue.db",
      "/var/lib/100%.db",
      "/var/lib/ha#sh/queue.db",
      "/var/lib/what?/queue.db",
      "/var/lib/what?.db",
    ]) {
      expect(fileOf(`sqlite:${path}`)).toBe(path);
    }
  });

  it("must be a file of this machine", () => {
    for (const url of [
      "sqlite:",
      "sqlite::memory:",
      "sqlite://host/queue.db",
      "sqlite:folder/",
      "sqlite:a.db?mode=ro",
    ]) {
      expect(() => fileOf(url), url).toThrow(expect.objectContaining({ code: "TM-URL-INVALID" }));
    }
  });
});
