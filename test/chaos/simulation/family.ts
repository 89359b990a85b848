import type { Random } from "../../support/random.ts";
import { CHILD, type ForeignKey, NOBODY, PARENT } from "./shapes.ts";
import { KEY_NAMES, type SourceDatabase, type SourceTransaction } from "./source-database.ts";

/**
 * Parents and children, whose foreign key the source keeps. Who makes a child locks its parent, who takes a parent
 * away locks its children: so two transactions cannot break it together.
 */
export class Family {
  readonly #source: SourceDatabase;
  readonly #transaction: SourceTransaction;
  readonly #foreignKey: ForeignKey;

  constructor(source: SourceDatabase, transaction: SourceTransaction, foreignKey: ForeignKey) {
    this.#source = source;
    this.#transaction = transaction;
    this.#foreignKey = foreignKey;
  }

  /** A parent for a child that is locked, or nobody; null when it is not to be had. */
  parentFor(child: string, random: Random): string | null {
    const parent = random.pick(KEY_NAMES);
    if (random.chance(0.15)) return NOBODY;
    if (!this.#source.lock(this.#transaction, PARENT, parent)) return null;
    if (this.#parent(parent) !== null) return parent;
    const { isUnique } = this.#source.shapes[PARENT];
    if (!this.#foreignKey.isDeferred || isUnique) return null;
    // The child comes first: what it refers to stands when the transaction ends.
    this.#setParent(child, parent);
    this.#source.write(this.#transaction, { table: PARENT, key: parent, value: child }, null);
    return null;
  }

  /** Deletes a parent that is locked, when its children can be locked. */
  remove(parent: string, before: string, random: Random): void {
    const children = this.#lockChildren(parent);
    if (children === null) return;
    const { onDelete, isDeferred } = this.#foreignKey;
    const goesFirst = onDelete !== "restrict" || isDeferred;
    const remove = () =>
      this.#source.write(this.#transaction, { table: PARENT, key: parent, value: null }, before);
    if (goesFirst) remove();
    for (const child of children) {
      const goesAlong = onDelete === "cascade" || (onDelete === "restrict" && random.chance(0.5));
      this.#setParent(child, goesAlong ? null : NOBODY);
    }
    if (!goesFirst) remove();
  }

  /** Gives a parent another key, which is locked and free; its children follow. */
  move(from: string, to: string): void {
    const children = this.#lockChildren(from);
    if (children === null) return;
    this.#source.move(this.#transaction, PARENT, from, to);
    for (const child of children) this.#setParent(child, to);
  }

  /** Empties both, when the children can be locked. */
  truncate(): void {
    if (!KEY_NAMES.every((key) => this.#source.lock(this.#transaction, CHILD, key))) return;
    this.#source.truncate(this.#transaction, PARENT);
    this.#source.truncate(this.#transaction, CHILD);
  }

  #parent(key: string): string | null {
    return this.#source.valueUnder(this.#transaction, PARENT, key);
  }

  /** Null when another transaction holds one. */
  #lockChildren(parent: string): readonly string[] | null {
    const isChild = (key: string) =>
      this.#source.valueUnder(this.#transaction, CHILD, key) === parent;
    const children = KEY_NAMES.filter(isChild);
    const areLocked = children.every((key) => this.#source.lock(this.#transaction, CHILD, key));
    return areLocked ? children : null;
  }

  /** Null: the child goes. */
  #setParent(child: string, parent: string | null): void {
    const before = this.#source.valueUnder(this.#transaction, CHILD, child);
    this.#source.write(this.#transaction, { table: CHILD, key: child, value: parent }, before);
  }
}
