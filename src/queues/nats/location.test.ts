import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parseLocation } from "./location.ts";

describe("a NATS URL", () => {
  it("has parameters that all are documented", () => {
    const [, known = ""] = /known are (.*)\.$/.exec(messageOf("nats://broker?nothing=1")) ?? [];
    const page = readFileSync(
      new URL("../../../docs/reference/config.md", import.meta.url),
      "utf8",
    );
    const documented = page.slice(page.indexOf("### NATS"), page.indexOf("## `syncs`"));
    expect(known.split(", ").length).toBeGreaterThan(5);
    for (const name of known.split(", ")) expect(documented).toContain(`\`${name}\``);
  });

  it("has defaults for all but the host", () => {
    expect(parseLocation("nats://broker")).toEqual({
      servers: ["broker:4222"],
      tls: false,
      user: null,
      password: null,
      token: null,
      credentials: null,
      caFile: null,
      certFile: null,
      keyFile: null,
      replicas: 1,
      prefix: "tidemark",
    });
  });

  it("may name several servers, a login and settings", () => {
    const url =
      "tls://us%40er:p:w%2F@a:1,b,[::1]:3/?replicas=3&creds=/etc/tm.creds&prefix=shop&ca=ca.pem";
    expect(parseLocation(url)).toMatchObject({
      servers: ["a:1", "b:4222", "[::1]:3"],
      tls: true,
      user: "us@er",
      password: "p:w/",
      credentials: "/etc/tm.creds",
      caFile: "ca.pem",
      replicas: 3,
      prefix: "shop",
    });
    expect(parseLocation("nats://s3cret@a").token).toBe("s3cret");
    expect(parseLocation("nats://a?token=s3cret").token).toBe("s3cret");
  });

  it("is refused without showing a secret", () => {
    for (const url of [
      "nats://",
      "nats://user:canary@a:b",
      "nats://user:canary@a/path",
      "nats://user:canary@a?replicas=9",
      "nats://user:canary@a?replica=3",
      "nats://user:canary@a?prefix=a.b",
      "nats://user:canary@a?creds=a.creds&creds=b.creds",
      "nats://user:canary%@a",
      "http://user:canary@a",
    ]) {
      expect(() => parseLocation(url), url).toThrow(
        expect.objectContaining({
          code: "TM-URL-INVALID",
          message: expect.not.stringContaining("canary"),
        }),
      );
    }
  });
});

function messageOf(url: string): string {
  try {
    parseLocation(url);
    return "";
  } catch (error) {
    return (error as Error).message;
  }
}
