import { checkTopology } from "../config/topology.ts";
import type { Identified } from "../core/database.ts";
import type { PipelineDefinition } from "../core/definition.ts";

/**
 * Which names of a definition are one database. URLs do not tell that (another user, localhost, a link to the file):
 * each database is asked once, by the first of it that is opened. One that cannot tell is taken for another.
 */
export class Identities {
  readonly #definition: PipelineDefinition;
  readonly #kindOf: (name: string) => string;
  /** Of each database, the name that was asked first. */
  readonly #names = new Map<string, string>();
  /** By name, the database's first name. */
  readonly #asked = new Map<string, string>();

  constructor(definition: PipelineDefinition, kindOf: (name: string) => string) {
    this.#definition = definition;
    this.#kindOf = kindOf;
  }

  /**
   * True when the name is another name's database. Throws TM-CONFIG-LOOP, TM-CONFIG-OVERLAP where they may not be one.
   */
  async ask(name: string, opened: Identified): Promise<boolean> {
    if (this.has(name)) return false;
    const identity = await opened.identity();
    if (identity === null) return false;
    const database = `${this.#kindOf(name)} ${identity}`;
    const known = this.#names.get(database);
    if (known === undefined) this.#names.set(database, name);
    else this.#check(name, known);
    this.#asked.set(name, known ?? name);
    return known !== undefined;
  }

  has(name: string): boolean {
    return this.#asked.has(name);
  }

  /** One name for all that are one database. */
  nameOf(name: string): string {
    return this.#asked.get(name) ?? name;
  }

  #check(fresh: string, known: string): void {
    const nameOf = (name: string) => (name === fresh ? known : this.nameOf(name));
    checkTopology(this.#definition, "config", (one, other) => nameOf(one) === nameOf(other));
  }
}
