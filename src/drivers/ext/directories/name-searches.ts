/**
 * The last searches of names in directories, by this thread: an operation looks for a name before it opens its
 * transaction, and again in it, and nothing has changed in between.
 *
 * What was found holds while no transaction has been committed since, and this thread has changed no directory.
 * Others that changed one and did not commit have undone it before they let go of its lock.
 */
import type { Ino } from "../../../base/quantities.ts";
import type { FileType } from "../../../iomap/contract.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import { NAME_LENGTH_MAX, type NameFormat } from "./names.ts";

/** What a search of a directory has found. Good until the directory changes. */
export interface NameSearch {
  /** The block that holds the name, or null. */
  readonly block: MetadataBlock | null;
  /** How the names lie in the block, or in the one with room. */
  readonly format: NameFormat;
  /** Byte offsets in it; `previousAt` is -1 where there is no record before. */
  readonly at: number;
  readonly previousAt: number;
  /** Where the name was not found: a block and a record of it that has room for it, or null and -1. */
  readonly spaceBlock: MetadataBlock | null;
  readonly spaceAt: number;
  /** What the name stands for. */
  readonly entry: { readonly ino: Ino; readonly type: FileType | null } | null;
}

/** A rename looks for two names. */
const SEARCHES = 2;

class Noted {
  directory = 0;
  committed = 0;
  length = 0;
  readonly name = new Uint8Array(NAME_LENGTH_MAX);
  search: NameSearch | null = null;

  isOf(directory: Ino, name: Uint8Array): boolean {
    if (this.directory !== directory || this.length !== name.length) return false;
    for (let index = 0; index < name.length; index++) {
      if (this.name[index] !== name[index]) return false;
    }
    return true;
  }
}

export class NameSearches {
  /** Transactions committed so far, by all threads. */
  readonly #committed: () => number;
  readonly #noted = Array.from({ length: SEARCHES }, () => new Noted());
  #next = 0;

  constructor(committed: () => number) {
    this.#committed = committed;
  }

  /** What the last search for this name has found, if that still holds. Locks: the directory's io lock. */
  of(directory: Ino, name: Uint8Array): NameSearch | null {
    for (const noted of this.#noted) {
      if (noted.search === null || !noted.isOf(directory, name)) continue;
      return noted.committed === this.#committed() ? noted.search : null;
    }
    return null;
  }

  /** Notes a search. Locks: as for the search; no transaction of this thread is open. */
  note(directory: Ino, name: Uint8Array, search: NameSearch): void {
    if (name.length > NAME_LENGTH_MAX) return;
    const same = this.#noted.find((noted) => noted.isOf(directory, name));
    const noted = same ?? this.#noted[this.#next]!;
    if (same === undefined) this.#next = (this.#next + 1) % SEARCHES;
    noted.directory = directory;
    noted.committed = this.#committed();
    noted.length = name.length;
    noted.name.set(name);
    noted.search = search;
  }

  /** This thread changes a directory. */
  forget(): void {
    for (const noted of this.#noted) noted.search = null;
  }
}
