// A source and a target database, and what tells that the target is right.
import { setTimeout as sleep } from "node:timers/promises";
import type { Server } from "../test/servers/index.ts";
import type { Bed } from "./bed.ts";
import { Database } from "./database.ts";

/** Nothing here takes longer, unless it hangs. */
const PATIENCE_MS = 300_000;

export interface PairOptions {
  /** A database at the source's server that the source is a copy of. */
  readonly template?: string;
  /** Instead of the ones that most share. */
  readonly servers?: { readonly source: Server; readonly target: Server };
}

export class Pair {
  readonly source: Database;
  readonly target: Database;
  /** Throws when what keeps the pair in step has ended: then nothing more will arrive. */
  assertRunning: () => void = () => {};

  private constructor(source: Database, target: Database) {
    this.source = source;
    this.target = target;
  }

  /** Two new databases. */
  static async create(bed: Bed, name: string, options: PairOptions = {}): Promise<Pair> {
    const { template, servers } = options;
    const { source, target } = servers ?? {
      source: await bed.source(),
      target: await bed.target(),
    };
    const pair = new Pair(
      await Database.create(source, `source_${name}`, template),
      await Database.create(target, `target_${name}`),
    );
    bed.atEnd(() => pair.close());
    return pair;
  }

  /** Nothing left over from before shall be written to disk while something is measured. */
  async settle(): Promise<void> {
    await Promise.all([this.source.query("CHECKPOINT"), this.target.query("CHECKPOINT")]);
    await sleep(500);
  }

  /**
   * Polls the target until the row is visible; gives the time (performance.now) it was seen. Each look costs
   * processor time that who is measured could use.
   */
  async visible(table: string, id: number | string, everyMs = 5): Promise<number> {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      const found = await this.target.value(`SELECT 1 FROM ${table} WHERE id = $1`, [id]);
      const now = performance.now();
      if (found !== null) return now;
      this.assertRunning();
      if (now > deadline) throw new Error(`${table} ${id} did not arrive in ${this.target.name}.`);
      await sleep(everyMs);
    }
  }

  /** Compares number and contents of all rows; gives what differs. */
  async differences(tables: readonly string[]): Promise<string[]> {
    const wrong: string[] = [];
    for (const table of tables) {
      const [source, target] = await Promise.all([
        contents(this.source, table),
        contents(this.target, table),
      ]);
      if (source !== target) {
        wrong.push(`${table}: ${source} at ${this.source.name}, ${target} at ${this.target.name}`);
      }
    }
    return wrong;
  }

  async close(): Promise<void> {
    await this.source.close().catch(() => {});
    await this.target.close().catch(() => {});
  }
}

async function contents(database: Database, table: string): Promise<string> {
  // Columns by name: a table created by a copy may have them in the same order, or not.
  const columns = await database.value(
    `SELECT string_agg(quote_ident(attname), ', ' ORDER BY attname) FROM pg_attribute
     WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped`,
    [table],
  );
  const sum = await database.value(
    `SELECT count(*) || ' rows, sum ' || coalesce(sum(hashtextextended(ROW(${columns})::text, 0)::numeric), 0) FROM ${table}`,
  );
  return String(sum);
}
