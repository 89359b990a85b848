import { isTidemarkError } from "../core/errors.ts";
import type { Piece } from "../core/message.ts";
import type { RowLines } from "../core/row-lines.ts";
import type { ApplierSession, Progress, TargetTransaction } from "../core/target.ts";
import { applyEffect } from "./apply.ts";
import type { Inbox } from "./inbox.ts";
import type { LayoutMappings } from "./layouts.ts";
import type { SyncTable } from "./mapping.ts";
import { NetEffect } from "./net-effect.ts";
import type { TableStates } from "./tables.ts";

/** Changes held in memory before they go to the target; a batch of any size passes through in runs of this. */
export const FLUSH_CHANGES = 10_000;
/**
 * And so many bytes of messages: rows may be large, and decoded they take five times that. More would
 * not make the statements quicker.
 */
const FLUSH_BYTES = 512 * 1024;

/**
 * The batches being applied in one target transaction. The transaction is begun with the first
 * run of changes, so a small group costs begin, its statements and commit, in a row.
 */
export class Group {
  readonly #session: ApplierSession;
  readonly #tables: readonly SyncTable[];
  readonly #mappings: LayoutMappings;
  readonly #states: TableStates;
  #progress: Progress;
  #transaction: TargetTransaction | null = null;
  #effect = new NetEffect();
  #changes = 0;
  /** Of the pieces in the effect, and of all since the last commit. */
  #bytes = 0;
  #bytesTaken = 0;

  constructor(
    session: ApplierSession,
    progress: Progress,
    parts: {
      readonly tables: readonly SyncTable[];
      readonly mappings: LayoutMappings;
      readonly states: TableStates;
    },
  ) {
    this.#session = session;
    this.#progress = progress;
    this.#tables = parts.tables;
    this.#mappings = parts.mappings;
    this.#states = parts.states;
  }

  /** Has a transaction been begun at the target? */
  get open(): boolean {
    return this.#transaction !== null;
  }

  /** Changes taken since the last commit. */
  get changes(): number {
    return this.#changes;
  }

  /** Bytes of messages taken since the last commit. */
  get bytes(): number {
    return this.#bytesTaken;
  }

  get progress(): Progress {
    return this.#progress;
  }

  /** Takes a piece of a batch, or of a chunk meant for this sync. */
  async take(piece: Piece): Promise<void> {
    const { copy } = piece;
    // The first chunk turns the table to "copying" before the changes that follow it are judged.
    if (copy !== null) this.#states.advance(copy, piece);
    this.#bytesTaken += piece.bytes;
    if (piece.lines !== null && (await this.#takeLines(piece.lines))) return;
    await this.#takeChanges(piece);
    this.#bytes += piece.bytes;
    if (this.#bytes >= FLUSH_BYTES) await this.#flush();
  }

  async #takeChanges({ copy, changes }: Piece): Promise<void> {
    for (const change of changes) {
      let mapping = this.#mappings.known(change.layout);
      if (mapping === undefined) mapping = await this.#mappings.lookUp(change.layout);
      if (mapping === null) continue;
      if (copy === null && !this.#states.takesChanges(mapping.table.source)) continue;
      if (mapping.incomplete && change.row !== null) this.#states.copyAnew(mapping.table.source);
      this.#effect.add(mapping.effectOf(change));
      this.#changes++;
      if (this.#effect.size >= FLUSH_CHANGES) await this.#flush();
    }
  }

  /** Hands rows on as they are, where they need no look. False: they are to be taken one by one. */
  async #takeLines(lines: RowLines): Promise<boolean> {
    const known = this.#mappings.known(lines.layout);
    const mapping = known === undefined ? await this.#mappings.lookUp(lines.layout) : known;
    if (mapping === null) return true;
    if (!mapping.isPlain || lines.filtered) return false;
    // What came before them is applied before them.
    const transaction = await this.#flush();
    const { putLines } = transaction;
    if (putLines === undefined) return false;
    try {
      const { bound } = mapping.table;
      const taken = await transaction.attempt(() => putLines.call(transaction, bound, lines));
      if (taken) this.#changes += lines.rows;
      return taken;
    } catch (error) {
      // Some stand already: a change came before the copy, or the table is copied anew.
      if (!isTidemarkError(error, "TM-APPLY-CONSTRAINT")) throw error;
      return false;
    }
  }

  /** Commits everything taken, and progress up to where the inbox stands. */
  async commit(inbox: Inbox): Promise<void> {
    const transaction = await this.#flush();
    const { position, hash } = inbox;
    const { timeline } = this.#progress;
    const next: Progress = { timeline, position, hash, tables: this.#states.all };
    await transaction.commit(next);
    this.#transaction = null;
    this.#progress = next;
    this.#changes = 0;
    this.#bytesTaken = 0;
  }

  async rollback(): Promise<void> {
    const transaction = this.#transaction;
    this.#transaction = null;
    await transaction?.rollback();
  }

  async #flush(): Promise<TargetTransaction> {
    this.#transaction ??= await this.#session.begin(this.#progress, {
      relaxed: this.#states.pending > 0 || this.#progress.tables.some(isNotLive),
    });
    if (this.#effect.size > 0) {
      await applyEffect(this.#transaction, this.#effect, this.#tables);
      this.#effect = new NetEffect();
    }
    this.#bytes = 0;
    return this.#transaction;
  }
}

function isNotLive({ state }: Progress["tables"][number]): boolean {
  return state !== "live";
}
