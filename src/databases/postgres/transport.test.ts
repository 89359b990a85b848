// What goes to another machine is encrypted unless the URL says otherwise (G8).
import { expect, test } from "vitest";
import { checkFiles, driverUrl, transportSecurity } from "./transport.ts";

const PLAIN = { ssl: false };
const CHECKED = { ssl: { rejectUnauthorized: true } };

test.each([
  ["postgres://u:p@db.example/d", CHECKED],
  ["postgres://127.db.example/d", CHECKED],
  ["postgres://localhost/d?host=db.example", CHECKED],
  ["postgres://db.example/d?sslnegotiation=postgres", CHECKED],
  ["postgres://localhost/d", PLAIN],
  ["postgres://LocalHost/d", PLAIN],
  ["postgres://127.0.0.1:5432/d", PLAIN],
  ["postgres://[::1]/d", PLAIN],
  ["postgres://%2Frun%2Fpostgresql/d", PLAIN],
  ["postgres://u:p@/d?host=/run/postgresql", PLAIN],
  ["postgres:///d", PLAIN],
  ["postgres://db.example/d?sslmode=disable", {}],
])("%s", (url, expected) => {
  expect(transportSecurity(url)).toEqual(expected);
});

test("the host of the environment counts where the URL names none", () => {
  for (const url of ["postgres:///d", "postgres://u:p@/d"]) {
    expect(transportSecurity(url, "db.example")).toEqual(CHECKED);
    expect(transportSecurity(url, "/run/postgresql")).toEqual(PLAIN);
  }
  expect(transportSecurity("postgres://localhost/d", "db.example")).toEqual(PLAIN);
});

test("an empty word, which the driver takes for none, is refused", () => {
  expect(() => transportSecurity("postgres://db.example/d?sslmode=")).toThrow("sslmode is empty");
});

test.each([
  "postgres://u:canary@h/d?sslmoed=verify-full",
  "postgres://u:canary@h/d?sslmode=verify-al",
  "postgres://u:canary@h/d?query_timeout=1",
  "postgres://u:canary@/d?channel_binding=require",
  "postgres://u:canary@h/d?channel_binding=required",
  "postgres://u:canary@h/d?connect_timeout=5",
  "postgres://u:canary@h/d?ssl=false",
  "postgres://u:canary@h/d?host=localhost&host=db.example",
])("a word that would be passed over is refused: %s", (url) => {
  expect(() => driverUrl(url, "shop")).toThrow(
    expect.objectContaining({ code: "TM-URL-INVALID", message: expect.stringContaining("shop") }),
  );
  expect(() => driverUrl(url, "shop")).not.toThrow(/canary/);
});

test("libpq's word for what the machine knows is told from a file", () => {
  const fixOf = (url: string) => {
    try {
      checkFiles(url, "shop");
      return null;
    } catch (error) {
      return error;
    }
  };
  const refused = (fix: string) => ({
    code: "TM-URL-INVALID",
    fix: expect.stringContaining(fix),
  });
  expect(fixOf("postgres://h/d?sslrootcert=system")).toMatchObject(refused("NODE_EXTRA_CA_CERTS"));
  expect(fixOf("postgres://h/d?sslrootcert=no.pem")).toMatchObject(refused("Check no.pem"));
});

test.each([
  ["postgres://h/d?sslmode=require&host=/run", "postgres://h/d?sslmode=verify-full&host=/run"],
  ["postgres://h/d?sslrootcert=a&sslmode=verify-ca", undefined],
  ["postgres://h/d?sslmode=no-verify", "postgres://h/d?sslmode=no-verify"],
  ["postgres://h/d?sslmode=disable", "postgres://h/d?sslmode=disable"],
  ["postgres://h/d?channel_binding=prefer", "postgres://h/d?channel_binding=prefer"],
  [
    "postgres://u:p%40@/d?host=/run&options=-c%20a%3Db",
    "postgres://u:p%40@/d?host=/run&options=-c%20a%3Db",
  ],
])("of %s the driver is told what it means, in words of which it does not warn", (url, told) => {
  expect(driverUrl(url, "shop")).toBe(told ?? url.replace("verify-ca", "verify-full"));
});
