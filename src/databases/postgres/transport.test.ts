// What goes to another machine is encrypted unless the URL says otherwise (G8).
import { expect, test } from "vitest";
import { transportSecurity } from "./transport.ts";

const CHECKED = { ssl: { rejectUnauthorized: true } };

test.each([
  ["postgres://u:p@db.example/d", CHECKED],
  ["postgres://127.db.example/d", CHECKED],
  ["postgres://localhost/d?host=db.example", CHECKED],
  ["postgres://localhost/d", {}],
  ["postgres://127.0.0.1:5432/d", {}],
  ["postgres://[::1]/d", {}],
  ["postgres://%2Frun%2Fpostgresql/d", {}],
  ["postgres://u:p@/d?host=/run/postgresql", {}],
  ["postgres:///d", {}],
  ["postgres://db.example/d?sslmode=disable", {}],
])("%s", (url, expected) => {
  expect(transportSecurity(url)).toEqual(expected);
});

test("the host of the environment counts where the URL names none", () => {
  for (const url of ["postgres:///d", "postgres://u:p@/d"]) {
    expect(transportSecurity(url, "db.example")).toEqual(CHECKED);
    expect(transportSecurity(url, "/run/postgresql")).toEqual({});
  }
  expect(transportSecurity("postgres://localhost/d", "db.example")).toEqual({});
});

test("an empty word, which the driver takes for none, is refused", () => {
  expect(() => transportSecurity("postgres://db.example/d?sslmode=")).toThrow("sslmode is empty");
});
