// No password reaches anybody, whatever it holds and wherever it stands (G8).
import { expect, test } from "vitest";
import { placeOfUrl, redactJson, redactText, redactUrl } from "./secrets.ts";

test.each([
  ["postgres://u:secret@h/db", "postgres://u:***@h/db"],
  ['"nats://:secret@h:4222" is not known', '"nats://:***@h:4222" is not known'],
  ["No file /home/a/postgres:/u:secret@h/db.", "No file /home/a/postgres:/u:***@h/db."],
  ["mysql://u:a/se@cret:b@h, and mysql://v:secret@i", "mysql://u:***@h, and mysql://v:***@i"],
  ["mysql://u:my secret@h/db", "mysql://u:***@h/db"],
  ["'--form=mysql://u:my\"secret@h/db'", "'--form=mysql://u:***@h/db'"],
  ["nats://secret@h:4222 and tls://secret@h,i:4222", "nats://***@h:4222 and tls://***@h,i:4222"],
  ["postgres://u@h/db?user=u&password=secret", "postgres://u@h/db?user=u&password=***"],
])("hides what looks like a password: %s", (text, hidden) => {
  expect(redactText(text)).toBe(hidden);
});

test.each([
  "postgres://h:5432/db",
  "nats://h:4222, asked by ada@example.org",
  "see https://nodejs.org: a newer one",
  "'ada'@'%' may not read shop.orders",
  "sqlite:./copy.db",
])("leaves what holds none: %s", (text) => {
  expect(redactText(text)).toBe(text);
});

test.each([
  ["nats://u:secret@h:4222", "nats://u:***@h:4222"],
  ["nats://secret@h:4222", "nats://***@h:4222"],
  ["nats://secret@h:4222,i:4222", "***"],
  ["nats://h:4222,i:4222", "nats://h:4222,i:4222"],
  ["postgres://u@h/db", "postgres://u@h/db"],
])("knows whether a URL holds one: %s", (url, hidden) => {
  expect(redactUrl(url)).toBe(hidden);
});

test("a token stands nowhere that a driver may have put it", () => {
  expect(redactText("refused: s%cret", ["tls://s%25cret@h:4222"])).toBe("refused: ***");
});

test.each([
  // It is no part of another word, and is hidden where it stands as one.
  ["test", "the latest test", "the latest ***"],
  ["relation", 'the "relation" relations.a and relation_b', 'the "***" relations.a and relation_b'],
  // Names that all see: of the config, the user, the host, the database, and ours.
  ["orders", "sync=orders->copy", "sync=orders->copy"],
  ["postgres", 'the user "postgres"', 'the user "postgres"'],
  ["tidemark", "tidemark status", "tidemark status"],
  // Not in a URL, whatever it is.
  ["postgres", "mysql://postgres:postgres@h/x", "mysql://postgres:***@h/x"],
  // One that is no mere word stands nowhere.
  ["t3st", "lat3sts", "la***s"],
])("a password that is an ordinary word (%s) spoils no message: %s", (password, text, hidden) => {
  const url = `postgres://postgres:${password}@h/db`;
  expect(redactText(text, [url], ["orders"])).toBe(hidden);
});

test("a JSON text stays one, with its numbers as they were", () => {
  const json = `{"a":"mysql://h:5432","b":"ada@h","big":12345678901234567890,"url":"mysql://u:se\\"cret@h"}`;
  const hidden = `{"a":"mysql://h:5432","b":"ada@h","big":12345678901234567890,"url":"mysql://u:***@h"}`;
  expect(redactJson(json, redactText)).toBe(hidden);
});

test.each([
  ["postgres://u:secret@db.example:5433/shop?sslmode=require", "postgres://db.example:5433/shop"],
  ["mysql://u:secret@[::1]/shop", "mysql://[::1]/shop"],
  ["sqlite:./a b.db?mode=rw", "sqlite:./a b.db"],
  ["mysql://u:12/secret@h/db", null],
  ["mysql://DB.Example:3307/Shop", "mysql://db.example:3307/Shop"],
])("the place of %s holds neither user nor password", (url, place) => {
  expect(placeOfUrl(url)).toBe(place);
});
