// Long rows, as of a table of JSON documents: the server stores such values compressed.
import type { Database } from "../database.ts";

/** Makes so many documents of 20 KB, uncompressed, and an empty table for them. */
export async function createDocuments(database: Database, count: number): Promise<void> {
  await database.query("CREATE TABLE documents (id integer PRIMARY KEY, body text)");
  await database.query("CREATE TABLE documents_ready (LIKE documents)");
  await database.query("ALTER TABLE documents_ready ALTER COLUMN body SET STORAGE EXTERNAL");
  await database.query(`INSERT INTO documents_ready
    SELECT g, (
      SELECT json_agg(json_build_object('name', 'customer ' || i * g, 'street', md5(i::text || g) || ' street',
             'amount', (i * g * 17) % 9973 / 7.0, 'tags', array['red', 'green', 'blue'],
             'at', timestamptz '2026-01-01 00:00:00Z' + i * interval '1 minute'))
      FROM generate_series(1, 110) i)
    FROM generate_series(1, ${count}) g`);
}

export const INSERT_DOCUMENTS = "INSERT INTO documents SELECT * FROM documents_ready";
