// Source and target of a bed, compared row by row by the rule of the matrix.
import { expect } from "vitest";
import type { ColumnMapping } from "../../src/core/target.ts";
import type { TestBed } from "../support/test-bed.ts";
import { differences } from "./compare.ts";
import { describe, Mirror } from "./mirror.ts";

export interface SidesOptions {
  /** As the plan told them before anything was created. */
  readonly mappings: readonly ColumnMapping[];
  /** Statements that make the types of each side's tables. */
  readonly types: { readonly source: readonly string[]; readonly target: readonly string[] };
}

export class Sides implements AsyncDisposable {
  readonly #bed: TestBed;
  readonly #mappings: readonly ColumnMapping[];
  readonly #source: Mirror;
  readonly #target: Mirror;

  static async of(bed: TestBed, { mappings, types }: SidesOptions): Promise<Sides> {
    const mirror = async (side: "source" | "target") =>
      Mirror.of(bed.database(side), await bed.sql(side), types[side]);
    return new Sides(bed, mappings, await mirror("source"), await mirror("target"));
  }

  private constructor(
    bed: TestBed,
    mappings: readonly ColumnMapping[],
    source: Mirror,
    target: Mirror,
  ) {
    this.#bed = bed;
    this.#mappings = mappings;
    this.#source = source;
    this.#target = target;
  }

  /** Nobody may write meanwhile. */
  async expectSame(tables: readonly string[]): Promise<void> {
    const schemas = await describe(this.#bed.database("source"), tables);
    const [source, target] = [await this.#source.read(tables), await this.#target.read(tables)];
    const found = schemas.flatMap((schema) => {
      const { name } = schema.name;
      const [a, b] = [source.get(name), target.get(name)];
      return a && b ? differences(schema, this.#mappings, a, b) : [`${name} was not read`];
    });
    expect(found.slice(0, 10)).toEqual([]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#source[Symbol.asyncDispose]();
    await this.#target[Symbol.asyncDispose]();
  }
}
