/** Directories that are open for reading. */

/** Names of one place in their directory's order: where they are several, a place alone does not tell them apart. */
export class Listing {
  readonly #given = new Map<number, Uint8Array[]>();

  /** The first `count` names that were given of this place; undefined: not by this listing. */
  given(cursor: number, count: number): readonly Uint8Array[] | undefined {
    return this.#given.get(cursor)?.slice(0, count);
  }

  /** Notes names that have a place in common. Those of earlier answers are forgotten when they get many. */
  note(cursor: number, names: Uint8Array[]): void {
    if (this.#given.size > 64) this.#given.clear();
    this.#given.set(cursor, names);
  }
}

export class Listings {
  readonly #open = new Map<number, Listing>();
  #last = 0;

  open(): number {
    this.#last++;
    this.#open.set(this.#last, new Listing());
    return this.#last;
  }

  get(handle: number): Listing | undefined {
    return this.#open.get(handle);
  }

  close(handle: number): void {
    this.#open.delete(handle);
  }
}
