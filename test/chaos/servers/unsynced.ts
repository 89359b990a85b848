// Loaded into a process before all else: of one database, an SQLite file or a PostgreSQL server by its port, it does not
// sync what it commits. A fault built in on purpose (plants.ts).
import type { Socket } from "node:net";
import { DatabaseSync } from "node:sqlite";
import pg from "pg";

const { TIDEMARK_TEST_UNSYNCED: unsynced } = process.env;

const { exec } = DatabaseSync.prototype;
DatabaseSync.prototype.exec = function (sql) {
  const isOurs = this.location() === unsynced;
  exec.call(this, isOurs ? sql.replace(/synchronous = (FULL|NORMAL)/g, "synchronous = OFF") : sql);
};

interface Connection {
  readonly stream: Socket;
  query(this: Connection, text: string): void;
  parse(this: Connection, statement: { readonly text: string; readonly name: string }): void;
}
const connection = pg.Connection.prototype as unknown as Connection;
const { query, parse } = connection;
connection.query = function (text) {
  query.call(this, relaxed(this, text));
};
connection.parse = function (statement) {
  parse.call(this, { ...statement, text: relaxed(this, statement.text) });
};

function relaxed({ stream }: Connection, text: string): string {
  const isOurs = String(stream.remotePort) === unsynced;
  return isOurs ? text.replace("synchronous_commit TO on", "synchronous_commit TO off") : text;
}
