import { merge, sleep } from "../core/async.ts";
import { type Change, keyColumns, type Layout, type Operation } from "../core/change.ts";
import type { PipelineDefinition, RowObject } from "../core/definition.ts";
import { keys } from "../core/documents.ts";
import { TidemarkError } from "../core/errors.ts";
import type { Piece } from "../core/message.ts";
import type { Queue } from "../core/queue.ts";
import { formatTable } from "../core/table.ts";
import { isTagged, type Row, UNCHANGED } from "../core/value.ts";
import { follow, type Gap } from "./follow.ts";

export interface TailOptions {
  /** Default: every source of the definition. */
  readonly source?: string | undefined;
  /** Source table, as formatTable gives it. */
  readonly table?: string | undefined;
  /** Ends it; so does who leaves the loop. */
  readonly signal?: AbortSignal | undefined;
  /** From the oldest batch the queue still holds; default: from now on. */
  readonly fromStart?: boolean | undefined;
  /**
   * Told of batches that are gone from the queue before they were read whole: it keeps nothing for who reads beside the appliers.
   * Default: TM-TAIL-GAP is thrown.
   */
  readonly onGap?: ((gap: Gap) => void) | undefined;
}

/** A change as it stands in the stream: names instead of indexes, values as canonical text. */
export interface TailEntry {
  readonly source: string;
  readonly timeline: string;
  readonly batch: number;
  /** Its place in the batch, from 0. Timeline, batch and this name a change for good. */
  readonly index: number;
  readonly committedAt: string;
  readonly table: string;
  readonly op: Operation;
  readonly key: RowObject | null;
  readonly row: RowObject | null;
}

/**
 * The changes of the sources' streams as they come, in order and each once, read beside the appliers. Ends with the
 * signal. Throws TM-TAIL-GAP, TM-USAGE.
 */
export async function* tail(
  definition: PipelineDefinition,
  queue: Queue,
  options: TailOptions,
): AsyncGenerator<TailEntry> {
  const sources = sourcesToRead(definition, options.source);
  // Whoever stops iterating, or meets an error in one source, must not wait for the next change of another.
  const left = new AbortController();
  const given = options.signal === undefined ? [] : [options.signal];
  const signal = AbortSignal.any([...given, left.signal]);
  const tails = sources.map((source) => tailSource(source, queue, { ...options, signal }));
  for await (const entry of merge(tails, () => left.abort())) {
    // The next one of each is fetched while the reader is at the last.
    if (options.signal?.aborted) return;
    yield entry;
  }
}

/** Throws TM-USAGE: of a source that no sync reads nothing would ever come. */
export function sourcesToRead(
  { syncs }: PipelineDefinition,
  source: string | undefined,
): readonly string[] {
  const all = [...new Set(syncs.map(({ from }) => from))];
  if (source === undefined) return all;
  if (all.includes(source)) return [source];
  throw new TidemarkError("TM-USAGE", `No sync reads from a database named "${source}".`, {
    fix: `Known sources: ${all.join(", ")}.`,
  });
}

async function* tailSource(
  source: string,
  queue: Queue,
  { table, signal, fromStart, onGap = refuse }: TailOptions & { readonly signal: AbortSignal },
): AsyncGenerator<TailEntry> {
  const stream = await queue.openStream(source);
  const after = fromStart ? null : (await stream.tail()).mark;
  const layouts = new Layouts(queue, signal);
  for await (const { change, index, piece } of follow(stream, { source, after, signal, onGap })) {
    const layout = await layouts.of(change, piece);
    if (layout === null) return;
    if (table !== undefined && formatTable(layout.table) !== table) continue;
    yield toEntry(change, { piece, index, layout });
  }
}

/** A queue that has lost its documents is given them again by the relay. */
const LAYOUT_PATIENCE_MS = 30_000;
const LAYOUT_POLL_MS = 200;

/** What the rows of each layout look like. */
class Layouts {
  readonly #queue: Queue;
  readonly #signal: AbortSignal;
  readonly #known = new Map<string, Layout>();

  constructor(queue: Queue, signal: AbortSignal) {
    this.#queue = queue;
    this.#signal = signal;
  }

  /** Null when the signal aborts. */
  async of({ layout: id }: Change, { source, mark }: Piece): Promise<Layout | null> {
    const key = keys.layout(source, mark.timeline, id);
    const until = performance.now() + LAYOUT_PATIENCE_MS;
    while (!this.#signal.aborted) {
      const layout = this.#known.get(key) ?? (await this.#queue.documents.get(key));
      if (layout !== null) {
        this.#known.set(key, layout as Layout);
        return layout as Layout;
      }
      if (performance.now() > until) {
        throw new TidemarkError(
          "TM-TAIL-GAP",
          `Batch ${mark.batch} of ${source} cannot be read: the queue has lost what its rows look like.`,
          { fix: "Restart the relay, which tells it again; see docs/errors/TM-TAIL-GAP.md." },
        );
      }
      await sleep(LAYOUT_POLL_MS, this.#signal);
    }
    return null;
  }
}

function refuse({ source, from, to }: Gap): never {
  throw new TidemarkError(
    "TM-TAIL-GAP",
    `Batches ${from} to ${to} of ${source} were gone from the queue before they were read whole.`,
    {
      fix: "Begin again from what is there; what may miss nothing is a target: see docs/errors/TM-TAIL-GAP.md.",
      details: { source, from, to },
    },
  );
}

function toEntry(
  change: Change,
  {
    piece,
    index,
    layout,
  }: { readonly piece: Piece; readonly index: number; readonly layout: Layout },
): TailEntry {
  const names = layout.columns.map(({ name }) => name);
  const keyNames = keyColumns(layout).map((index) => names[index] ?? "");
  const row = change.row === null ? null : named(names, change.row);
  const hasKey = row !== null && layout.key.length > 0;
  const ownKey = !hasKey ? null : Object.fromEntries(keyNames.map((k) => [k, row[k] ?? null]));
  return {
    source: piece.source,
    timeline: piece.mark.timeline,
    batch: piece.mark.batch,
    index,
    committedAt: piece.header.committedAt,
    table: formatTable(layout.table),
    op: change.op,
    key: change.keyBefore === null ? ownKey : named(keyNames, change.keyBefore),
    row,
  };
}

/** Columns that were not captured with the change are left out. */
function named(names: readonly string[], row: Row): RowObject {
  // Not by assignment, which would lose a column that is called `__proto__`.
  return Object.fromEntries(
    names.flatMap((name, index) => {
      const value = row[index] ?? null;
      return value === UNCHANGED ? [] : [[name, isTagged(value) ? value[1] : value]];
    }),
  );
}
