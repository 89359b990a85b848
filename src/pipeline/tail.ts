import { type Change, keyColumns, type Layout, type Operation } from "../core/change.ts";
import type { PipelineDefinition, RowObject } from "../core/definition.ts";
import { keys } from "../core/documents.ts";
import { type Piece, PieceReader } from "../core/message.ts";
import { START } from "../core/position.ts";
import type { Queue } from "../core/queue.ts";
import { formatTable } from "../core/table.ts";
import { isTagged, type Row, UNCHANGED } from "../core/value.ts";

export interface TailOptions {
  /** Default: every source of the definition. */
  readonly source?: string | undefined;
  /** Source table, as formatTable gives it. */
  readonly table?: string | undefined;
  readonly signal: AbortSignal;
  /** From the oldest batch the queue still holds; default: from now on. */
  readonly fromStart?: boolean | undefined;
}

/** A change as it stands in the stream: names instead of indexes, values as canonical text. */
export interface TailEntry {
  readonly source: string;
  readonly batch: number;
  readonly committedAt: string;
  readonly table: string;
  readonly op: Operation;
  readonly key: RowObject | null;
  readonly row: RowObject | null;
}

/** The changes of the sources' streams as they come, read beside the appliers. Ends with the signal. */
export async function* tail(
  definition: PipelineDefinition,
  queue: Queue,
  options: TailOptions,
): AsyncGenerator<TailEntry> {
  const all = [...new Set(definition.syncs.map(({ from }) => from))];
  const sources = options.source === undefined ? all : [options.source];
  // Whoever stops iterating, or meets an error in one source, must not wait for the next change of another.
  const left = new AbortController();
  const signal = AbortSignal.any([options.signal, left.signal]);
  const tails = sources.map((source) => tailSource(source, queue, { ...options, signal }));
  yield* merge(tails, () => left.abort());
}

async function* tailSource(
  source: string,
  queue: Queue,
  { table, signal, fromStart }: TailOptions,
): AsyncGenerator<TailEntry> {
  const stream = await queue.openStream(source);
  const { mark } = await stream.tail();
  const after = fromStart || mark === null ? START : { batch: mark.batch, chunk: mark.chunk };
  const reader = new PieceReader();
  const layouts = new Map<number, Layout | null>();
  for await (const message of stream.read(after, signal)) {
    const piece = reader.push(message);
    if (piece === null || piece.copy !== null) continue;
    for (const change of piece.changes) {
      const layout = await layoutOf(change, piece, { queue, layouts });
      const name = layout === null ? "" : formatTable(layout.table);
      if (layout === null || (table !== undefined && name !== table)) continue;
      yield toEntry(change, piece, layout);
    }
  }
}

async function layoutOf(
  change: Change,
  piece: Piece,
  { queue, layouts }: { queue: Queue; layouts: Map<number, Layout | null> },
): Promise<Layout | null> {
  const known = layouts.get(change.layout);
  if (known !== undefined) return known;
  const key = keys.layout(piece.source, piece.header.timeline, change.layout);
  const layout = (await queue.documents.get(key)) as Layout | null;
  layouts.set(change.layout, layout);
  return layout;
}

function toEntry(change: Change, piece: Piece, layout: Layout): TailEntry {
  const names = layout.columns.map(({ name }) => name);
  const keyNames = keyColumns(layout).map((index) => names[index] ?? "");
  const row = change.row === null ? null : named(names, change.row);
  const hasKey = row !== null && layout.key.length > 0;
  const ownKey = !hasKey ? null : Object.fromEntries(keyNames.map((k) => [k, row[k] ?? null]));
  return {
    source: piece.source,
    batch: piece.mark.batch,
    committedAt: piece.header.committedAt,
    table: formatTable(layout.table),
    op: change.op,
    key: change.keyBefore === null ? ownKey : named(keyNames, change.keyBefore),
    row,
  };
}

/** Columns that were not captured with the change are left out. */
function named(names: readonly string[], row: Row): RowObject {
  const object: RowObject = {};
  for (const [index, name] of names.entries()) {
    const value = row[index] ?? null;
    if (value !== UNCHANGED) object[name] = isTagged(value) ? value[1] : value;
  }
  return object;
}

/** Items of several iterables as each comes. `leave` makes those end that still wait for one. */
async function* merge<T>(
  iterables: readonly AsyncGenerator<T>[],
  leave: () => void,
): AsyncGenerator<T> {
  const pending = new Map(iterables.map((items) => [items, step(items)]));
  try {
    while (pending.size > 0) {
      const { items, result } = await Promise.race(pending.values());
      if (result.done) {
        pending.delete(items);
      } else {
        pending.set(items, step(items));
        yield result.value;
      }
    }
  } finally {
    leave();
    await Promise.allSettled([...pending.values()]);
    await Promise.all([...pending.keys()].map((items) => items.return(undefined)));
  }
}

async function step<T>(
  items: AsyncGenerator<T>,
): Promise<{ items: AsyncGenerator<T>; result: IteratorResult<T, unknown> }> {
  return { items, result: await items.next() };
}
