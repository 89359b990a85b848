import { expect } from "vitest";
import type { Change, FilterAnswer, Layout } from "../core/change.ts";
import { type ChangesPage, changesOf, decodeLines } from "../core/row-lines.ts";
import type { Batches, Chunk, ChunkRequest, Cut } from "../core/source.ts";
import { formatTable } from "../core/table.ts";
import type { Row, Value } from "../core/value.ts";

/** The plainest possible target: applies changes one by one, in log order. */
export class Replica {
  readonly #layouts: ReadonlyMap<number, Layout>;
  readonly #tables = new Map<string, Map<string, Row>>();

  constructor(layouts: readonly Layout[]) {
    this.#layouts = new Map(layouts.map((layout) => [layout.id, layout]));
  }

  apply(changes: readonly Change[]): void {
    for (const change of changes) {
      const layout = this.layout(change.layout);
      const rows = this.#rowsOf(layout);
      if (change.op === "truncate" && change.keyBefore === null) rows.clear();
      if (change.keyBefore !== null) rows.delete(JSON.stringify(change.keyBefore));
      if (change.row !== null) rows.set(keyOf(layout, change.row), change.row);
    }
  }

  /** Rows as of the batch: they replace what is known. */
  copy(chunk: CopiedChunk): void {
    const layout = this.layout(chunk.layout);
    for (const row of chunk.rows) this.#rowsOf(layout).set(keyOf(layout, row), row);
  }

  rows(table: string): readonly Row[] {
    for (const layout of this.#layouts.values()) {
      if (layout.table.name === table) return sorted([...this.#rowsOf(layout).values()]);
    }
    return [];
  }

  layout(id: number): Layout {
    const layout = this.#layouts.get(id);
    if (layout === undefined) throw new ReferenceError(`layout ${id} was never given`);
    return layout;
  }

  #rowsOf(layout: Layout): Map<string, Row> {
    const name = formatTable(layout.table);
    let rows = this.#tables.get(name);
    if (rows === undefined) {
      rows = new Map();
      this.#tables.set(name, rows);
    }
    return rows;
  }
}

function keyOf(layout: Layout, row: Row): string {
  return JSON.stringify(layout.key.map((index) => row[index] ?? null));
}

export function sorted<T extends readonly Value[]>(rows: readonly T[]): readonly T[] {
  const text = new Map(rows.map((row) => [row, JSON.stringify(row)]));
  return [...rows].sort((a, b) => ((text.get(a) ?? "") < (text.get(b) ?? "") ? -1 : 1));
}

export async function all(pages: AsyncIterable<ChangesPage>): Promise<Change[]> {
  const changes: Change[] = [];
  for await (const page of pages) changes.push(...changesOf(page));
  return changes;
}

export interface Taken {
  readonly cut: Cut;
  readonly changes: readonly Change[];
}

/** Cuts, and reads the batch to its end. */
export async function take(batches: Batches): Promise<Taken> {
  const cut = await batches.cut();
  return { cut, changes: await all(cut.pages) };
}

/** A chunk with its rows, however they came. */
export interface CopiedChunk extends Omit<Chunk, "content"> {
  readonly rows: readonly Row[];
  readonly filters: readonly (readonly FilterAnswer[])[];
}

export interface Copied extends Taken {
  readonly chunk: CopiedChunk;
}

/** Cuts together with a chunk, and reads both to their ends. */
export async function takeChunk(batches: Batches, request: ChunkRequest): Promise<Copied> {
  const cut = await batches.cut([request]);
  const changes = await all(cut.pages);
  return { cut, changes, chunk: await readToEnd(onlyChunk(cut)) };
}

/** Of a cut that was asked for one chunk. */
export function onlyChunk({ chunks }: Cut): Chunk {
  const [chunk, ...others] = chunks;
  if (chunk === undefined || others.length > 0) throw new ReferenceError("not one chunk");
  return chunk;
}

/** The rows of a chunk, however they come. */
export async function readToEnd({ content, ...rest }: Chunk): Promise<CopiedChunk> {
  if (content.kind === "rows") return { ...rest, ...content };
  if (content.kind === "pages") {
    const rows: Row[] = [];
    const filters: (readonly FilterAnswer[])[] = [];
    for await (const page of content.pages) {
      rows.push(...page.rows);
      filters.push(...page.filters);
    }
    return { ...rest, rows, filters };
  }
  const room = { headroom: 3, size: 1_000 };
  const parts: Buffer[] = [];
  let rows = 0;
  for await (const block of content.blocks(room)) {
    parts.push(block.bytes.subarray(room.headroom));
    rows += block.rows;
  }
  const bytes = Buffer.concat(parts);
  const { layout } = rest;
  const { filtered } = content;
  const copied = decodeLines({ layout, rows, filtered, bytes });
  expect(copied.length).toBe(rows);
  return {
    ...rest,
    rows: copied.map(({ row }) => row as Row),
    filters: copied.map(({ filters }) => filters),
  };
}

/** Everything that is not yet in a batch, in one; fails when there is nothing. */
export async function takeChanges(batches: Batches): Promise<readonly Change[]> {
  const { cut, changes } = await take(batches);
  expect(cut.header).not.toBeNull();
  return changes;
}

/** `insert 1,a` per change: operation, key before, row after. */
export function describeChange(change: Change): string {
  const before = change.keyBefore === null ? "" : ` from ${change.keyBefore.join(",")}`;
  const after =
    change.row === null ? "" : ` ${change.row.map((value) => value ?? "null").join(",")}`;
  return `${change.op}${before}${after}`;
}
