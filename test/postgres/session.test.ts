// What a role or a database is set to ends no session of ours, and lets none see less than it must (G6).
import { describe, expect, it } from "vitest";
import { Connection } from "../../src/databases/postgres/connection.ts";
import { available, freshDatabase } from "../servers/index.ts";
import { connect, optionsOf, SERVERS } from "./support.ts";

/** What others have set, and what stands in our sessions all the same. */
const SETTINGS = [
  ["default_transaction_isolation", "serializable", "read committed"],
  ["statement_timeout", "1s", "0"],
  ["lock_timeout", "1s", "0"],
  ["idle_in_transaction_session_timeout", "1s", "0"],
  ["idle_session_timeout", "1s", "0"],
  ["transaction_timeout", "1s", "0"],
  ["array_nulls", "off", "on"],
  ["xmloption", "document", "content"],
  ["row_security", "on", "off"],
  ["search_path", "public", "pg_catalog"],
  ["standard_conforming_strings", "off", "on"],
  ["synchronous_commit", "off", "on"],
] as const;

describe.each(SERVERS)("a session of ours at %s", (kind) => {
  it.skipIf(!available(kind))("has its own settings", async () => {
    await using database = await freshDatabase(kind);
    const owner = await connect(database.url);
    const { rows } = await owner.query("SELECT name FROM pg_settings");
    const known = new Set(rows.map(({ name }) => name));
    const settings = SETTINGS.filter(([name]) => known.has(name));
    const name = new URL(database.url).pathname.slice(1);
    for (const [setting, theirs] of settings) {
      await owner.query(`ALTER DATABASE ${name} SET ${setting} TO '${theirs}'`);
    }
    await owner.end();
    const session = await Connection.open(optionsOf(database.url), "test");
    try {
      const found: (readonly [string, string | null | undefined])[] = [];
      for (const [setting] of settings) {
        const [row] = await session.rows("SELECT current_setting($1)", [setting]);
        found.push([setting, row?.[0]]);
      }
      expect(found).toEqual(settings.map(([setting, , ours]) => [setting, ours]));
    } finally {
      await session.close();
    }
  });
});
