// One consistent look at the change log and at the rows that are copied.
import { TidemarkError } from "../../core/errors.ts";
import type { Chunk, ChunkRequest } from "../../core/source.ts";
import { formatTable } from "../../core/table.ts";
import type { Answer } from "./answers.ts";
import { readWhole } from "./chunk.ts";
import { ChunkReader } from "./chunk-reader.ts";
import type { Session } from "./connection.ts";
import { latecomers, reachedLayouts } from "./latecomers.ts";
import type { StoredLayout } from "./layouts.ts";
import type { LogReader } from "./log-rows.ts";
import { isClosed, readUnseen, type SeenIds, type Unseen } from "./unseen.ts";

export interface LookSessions {
  /** Opens one that keeps a snapshot while a table without a key is read in it. */
  readonly openCopier: () => Promise<Session>;
  /** Holds the lease and cuts: a lost lease is a lost connection, and then nothing is cut. */
  readonly main: Session;
  /** Looks beside the snapshot and checks. */
  readonly side: Session;
}

export interface Look extends Unseen {
  /** What became of latecomers. */
  readonly answers: readonly Answer[];
}

interface Found {
  readonly unseen: Look;
  /** Of what was asked for, from the first on. */
  readonly chunks: readonly Chunk[];
}

export interface View extends Found {
  /** When the snapshot was closed, by the server's clock. What is asked of the session next waits for that. */
  readonly closedAt: Promise<string>;
}

/** On one way to the server. */
const CLOSE = ["ROLLBACK", "SELECT UTC_TIMESTAMP(6)"];

export class Looks {
  readonly #sessions: LookSessions;
  readonly #seen: SeenIds;
  readonly #reader: LogReader;
  readonly #chunks: ChunkReader;
  #captured: readonly StoredLayout[] = [];
  #reached: readonly StoredLayout[] = [];
  /** All layouts that the tables of those ever had. */
  #late: ReadonlySet<number> = new Set();
  #copier: Session | null = null;

  constructor(sessions: LookSessions, seen: SeenIds, reader: LogReader) {
    this.#sessions = sessions;
    this.#seen = seen;
    this.#reader = reader;
    this.#chunks = new ChunkReader(sessions.main, (request) => this.#findLayout(request));
  }

  /** Those that deletions carry on to. */
  get reached(): readonly StoredLayout[] {
    return this.#reached;
  }

  setLayouts(captured: readonly StoredLayout[]): void {
    this.#captured = captured;
    this.#reached = reachedLayouts(captured);
    this.#late = new Set(this.#reader.layoutsOfSameTables(this.#reached.map(({ id }) => id)));
  }

  /**
   * Looks at the log, and at tables when chunks are asked for. Null when the snapshot was not closed (see {@link isClosed}), or
   * is to be taken again.
   */
  take(requests: readonly ChunkRequest[]): Promise<View | null> {
    const [first] = requests;
    const layout = first === undefined ? null : this.#layoutOf(first);
    if (first !== undefined && layout?.key.length === 0) return this.#takeWhole(layout, first);
    return this.#sessions.main.exclusive(async () => {
      let found: Found | null = null;
      try {
        found = await this.#find(requests);
      } finally {
        if (found === null) await this.#close();
      }
      return found && { ...found, closedAt: this.#close() };
    });
  }

  /** Leaves what is still being read. */
  close(): void {
    this.#copier?.destroy();
    this.#copier = null;
  }

  /** As `take`, in a session that keeps its snapshot until all rows of the table are read. */
  async #takeWhole(layout: StoredLayout, request: ChunkRequest): Promise<View | null> {
    this.#copier?.destroy();
    this.#copier = await this.#sessions.openCopier();
    const copier = this.#copier;
    const unseen = await this.#readUnseen(copier);
    if (unseen === null) return null;
    const end = async () => {
      this.#copier = null;
      await copier.close();
    };
    const chunks = [await readWhole(copier, layout, request, end)];
    return { unseen, chunks, closedAt: this.#close() };
  }

  async #find(requests: readonly ChunkRequest[]): Promise<Found | null> {
    const unseen = await this.#readUnseen(this.#sessions.main);
    const chunks = unseen && (await this.#chunks.read(requests));
    return chunks && { unseen, chunks };
  }

  async #close(): Promise<string> {
    const [, at] = await this.#sessions.main.flight(CLOSE);
    return at?.[0]?.[0] ?? "";
  }

  /** In a snapshot that it opens. Null when that was not closed. */
  async #readUnseen(session: Session): Promise<Look | null> {
    const unseen = await readUnseen(session, this.#seen);
    const [reader, reached] = [this.#reader, this.#reached];
    const context = { seen: this.#seen, unseen, reader, reached, late: this.#late };
    if (!(await isClosed(session, this.#sessions.side, context))) return null;
    const known = { captured: this.#captured, reached, reader };
    const answers = unseen.spans.size === 0 ? [] : await latecomers(session, unseen, known);
    return { ...unseen, answers };
  }

  #findLayout({ table }: ChunkRequest): StoredLayout | undefined {
    const name = formatTable(table);
    return this.#captured.find((each) => formatTable(each.table) === name);
  }

  #layoutOf(request: ChunkRequest): StoredLayout {
    const layout = this.#findLayout(request);
    if (layout !== undefined) return layout;
    const name = formatTable(request.table);
    throw new TidemarkError("TM-CAPTURE-MISSING", `Table ${name} is not captured.`, {
      details: { table: name },
    });
  }
}
