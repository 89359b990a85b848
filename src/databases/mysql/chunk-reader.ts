import { isTidemarkError } from "../../core/errors.ts";
import type { Chunk, ChunkRequest } from "../../core/source.ts";
import { readChunk, readSmall } from "./chunk.ts";
import type { Session } from "./connection.ts";
import type { StoredLayout } from "./layouts.ts";

/** The layout that a table is captured by. */
type FindLayout = (request: ChunkRequest) => StoredLayout | undefined;

/** Reads the chunks of a look: of small tables several together. */
export class ChunkReader {
  readonly #session: Session;
  readonly #findLayout: FindLayout;
  /** So many small tables are read together next. */
  #together = 1;

  constructor(session: Session, findLayout: FindLayout) {
    this.#session = session;
    this.#findLayout = findLayout;
  }

  /**
   * In the snapshot that the session has open, from the first on; that this one is captured, is known. Twice as many small tables as the time before, and one
   * again where the first is not small. Null when one is in the way of the others: in another snapshot the first is read by
   * itself, since whatever it was is told of each when it comes first.
   */
  async read(requests: readonly ChunkRequest[]): Promise<readonly Chunk[] | null> {
    const asked: { readonly layout: StoredLayout; readonly request: ChunkRequest }[] = [];
    for (const request of requests.slice(0, this.#together)) {
      const layout = this.#findLayout(request);
      if (layout === undefined) break;
      asked.push({ layout, request });
    }
    const [first] = asked;
    if (first === undefined) return [];
    try {
      const small = await readSmall(this.#session, asked);
      this.#together = 2 * small.length;
      if (small.length > 0) return small;
    } catch (error) {
      if (!isTidemarkError(error) || isTidemarkError(error, "TM-CONNECTION-LOST")) throw error;
      this.#together = 1;
      return null;
    }
    const chunk = await readChunk(this.#session, first.layout, first.request);
    this.#together = chunk.done ? 2 : 1;
    return [chunk];
  }
}
