/**
 * Where to begin to look for a free inode: in the group that is wanted, or behind so many that were full when
 * somebody looked last. A directory of a million names would else have each new one pass by all the groups that
 * its others have filled.
 *
 * It is a hint alone. Other threads free inodes without telling this one, so who follows it looks at all groups in
 * the end; and those before it are found again when the ones behind it are full.
 */

/** Groups that are remembered, at most; they are few, as only those count that are full. */
const GROUPS_MAX = 64;

export class FullGroups {
  readonly #groups: number;
  /** By the group that was wanted: how many are full from there on. */
  readonly #full = new Map<number, number>();

  constructor(groups: number) {
    this.#groups = groups;
  }

  /** How many groups from `first` on need not be looked at first. */
  behind(first: number): number {
    return this.#full.get(first) ?? 0;
  }

  /** The first `full` groups from `first` on have no inode left. */
  note(first: number, full: number): void {
    if (full === 0) {
      this.#full.delete(first);
      return;
    }
    if (this.#full.size >= GROUPS_MAX && !this.#full.has(first)) this.#full.clear();
    this.#full.set(first, full);
  }

  /** A group has a free inode. */
  noteFree(group: number): void {
    for (const [first, full] of this.#full) {
      const distance = (group - first + this.#groups) % this.#groups;
      if (distance < full) this.note(first, distance);
    }
  }
}
