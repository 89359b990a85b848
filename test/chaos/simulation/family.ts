import type { Random } from "../../support/random.ts";
import { CHILD, type ForeignKey, NOBODY, PARENT, referredTo } from "./shapes.ts";
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
    const value = this.#parent(parent);
    if (value !== null) return referredTo(this.#foreignKey, parent, value);
    const { isUnique } = this.#source.shapes[PARENT];
    if (!this.#foreignKey.isDeferred || isUnique) return null;
    // The child comes first: what it refers to stands when the transaction ends.
    this.#setParent(child, parent);
    this.#source.write(this.#transaction, { table: PARENT, key: parent, value: child }, null);
    return null;
  }

  /** Deletes a parent that is locked, when its children can be locked. */
  remove(parent: string, before: string, random: Random): void {
    const children = this.#lockChildren(referredTo(this.#foreignKey, parent, before));
    if (children === null) return;
    const { onDelete, isDeferred } = this.#foreignKey;
    if (children.length > 0 && this.#leavesHeir(parent, before, random)) return;
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

  /**
   * Another parent comes with the value of one that goes, whose children stay; it may come back with another one. False
   * where that cannot be.
   */
  #leavesHeir(parent: string, value: string, random: Random): boolean {
    const { followsValues, onDelete, isDeferred } = this.#foreignKey;
    if (!followsValues || !isDeferred || onDelete !== "restrict") return false;
    const [one, ...others] = KEY_NAMES.filter((key) => this.#parent(key) === null);
    if (one === undefined) return false;
    const heir = random.pick([one, ...others]);
    const areLocked = [heir, `= ${value}`].every((name) =>
      this.#source.lock(this.#transaction, PARENT, name),
    );
    if (!areLocked) return false;
    const write = (key: string, to: string | null, before: string | null) =>
      this.#source.write(this.#transaction, { table: PARENT, key, value: to }, before);
    write(parent, null, value);
    write(heir, value, null);
    if (random.chance(0.7)) this.#comeBack(parent);
    return true;
  }

  /** A parent that is locked, and gone, comes with a value that no other had. */
  #comeBack(parent: string): void {
    const value = `back ${parent}.${this.#transaction.writes.length}.${this.#transaction.id}`;
    this.#source.write(this.#transaction, { table: PARENT, key: parent, value }, null);
  }

  /** Gives a parent another key, which is locked and free; its children follow, if they refer to that. */
  move(from: string, to: string, random: Random): void {
    const { followsValues } = this.#foreignKey;
    const children = followsValues ? [] : this.#lockChildren(from);
    if (children === null) return;
    this.#source.move(this.#transaction, PARENT, from, to);
    for (const child of children) this.#setParent(child, to);
    if (followsValues && random.chance(0.8)) this.#comeBack(from);
  }

  /** False where children that would follow these values cannot be locked. */
  lockFollowers(values: readonly (string | null)[]): boolean {
    if (!this.#foreignKey.followsValues) return true;
    return values.every((value) => value === null || this.#lockChildren(value) !== null);
  }

  /** Writes a value over another; those that refer to it are locked, and follow. */
  change(parent: string, value: string | null, before: string | null): void {
    const { followsValues, logsChildrenFirst } = this.#foreignKey;
    const children = followsValues && before !== null ? this.#childrenOf(before) : [];
    const write = () =>
      this.#source.write(this.#transaction, { table: PARENT, key: parent, value }, before);
    if (!logsChildrenFirst) write();
    for (const child of children) this.#setParent(child, value);
    if (logsChildrenFirst) write();
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
    const children = this.#childrenOf(parent);
    const areLocked = children.every((key) => this.#source.lock(this.#transaction, CHILD, key));
    return areLocked ? children : null;
  }

  #childrenOf(parent: string): readonly string[] {
    const isChild = (key: string) =>
      this.#source.valueUnder(this.#transaction, CHILD, key) === parent;
    return KEY_NAMES.filter(isChild);
  }

  /** Null: the child goes. */
  #setParent(child: string, parent: string | null): void {
    const before = this.#source.valueUnder(this.#transaction, CHILD, child);
    this.#source.write(this.#transaction, { table: CHILD, key: child, value: parent }, before);
  }
}
