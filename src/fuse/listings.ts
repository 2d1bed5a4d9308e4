/**
 * Directories that are open for reading, by a handle: its next part may be asked of any thread that serves the mount.
 *
 * Nearly all places in a directory's order are one name's, and nothing is kept of them. Where names have a place in common
 * it does not tell them apart: those that were given are kept, so that none is given twice or left out.
 *
 * Name, in words:
 *
 *     0 next in the mount's list | 1 handle | 2 cursor, low | 3 cursor, high | 4 its index among those of the cursor
 *     5 bytes | 6..69 the name
 */
import { add, load, store } from "../sync/atomics.ts";
import { enterGuard, leaveGuard } from "../sync/guard.ts";
import { allocateObject, freeObject, initSlab } from "../sync/slab.ts";
import type { Thread } from "../sync/thread.ts";
import { NAME_BYTES_MAX } from "../volume/paths.ts";
import { MountWord } from "./mount-area.ts";
import type { SharedMount } from "./shared-mount.ts";

const Name = { next: 0, handle: 1, low: 2, high: 3, index: 4, length: 5, bytes: 6 } as const;
const NAME_WORDS = Name.bytes + Math.ceil(NAME_BYTES_MAX / 4);
/** Names kept of one directory that is open; those of earlier answers are forgotten when they get more. */
const KEPT_MAX = 512;

export function initListings(thread: Thread, slab: number): void {
  initSlab(thread.region, slab, NAME_WORDS);
}

/** Forgets what was left of the mount that had the area before. */
export function clearListings(thread: Thread, area: number): void {
  remove(thread, area, () => true);
}

/** Takes names out of the list. */
function remove(thread: Thread, area: number, isRemoved: (name: number) => boolean): void {
  const { words } = thread;
  const removed: number[] = [];
  enterGuard(thread, area + MountWord.listingsGuard);
  let link = area + MountWord.listings;
  for (let name = load(words, link); name !== 0; name = load(words, link)) {
    if (isRemoved(name)) {
      removed.push(name);
      store(words, link, load(words, name + Name.next));
    } else link = name + Name.next;
  }
  leaveGuard(thread, area + MountWord.listingsGuard);
  for (const name of removed) freeObject(thread, area + MountWord.nameSlab, name);
}

export class Listings {
  readonly #thread: Thread;
  readonly #area: number;

  constructor({ thread, area }: SharedMount) {
    this.#thread = thread;
    this.#area = area;
  }

  open(): number {
    return (add(this.#thread.words, this.#area + MountWord.lastHandle, 1) + 1) >>> 0;
  }

  close(handle: number): void {
    if (this.#isEmpty) return;
    remove(this.#thread, this.#area, (name) => this.#isOf(name, handle));
  }

  /** The first `count` names that were given of this place; undefined: not through this handle. */
  given(handle: number, cursor: number, count: number): readonly Uint8Array[] | undefined {
    if (this.#isEmpty) return undefined;
    const { words, region } = this.#thread;
    const names: Uint8Array[] = [];
    let isKnown = false;
    enterGuard(this.#thread, this.#area + MountWord.listingsGuard);
    for (
      let name = load(words, this.#area + MountWord.listings);
      name !== 0;
      name = load(words, name + Name.next)
    ) {
      if (!this.#isAt(name, handle, cursor)) continue;
      isKnown = true;
      if (load(words, name + Name.index) >= count) continue;
      const length = load(words, name + Name.length);
      names.push(Uint8Array.from(region.bytes(name + Name.bytes, length)));
    }
    leaveGuard(this.#thread, this.#area + MountWord.listingsGuard);
    return isKnown ? names : undefined;
  }

  /** Notes names that have a place in common, in their order. */
  note(handle: number, cursor: number, names: readonly Uint8Array[]): void {
    const { words } = this.#thread;
    const made = names.map((name, index) => this.#make(handle, cursor, name, index));
    let kept = 0;
    remove(this.#thread, this.#area, (name) => {
      if (this.#isAt(name, handle, cursor)) return true;
      return this.#isOf(name, handle) && ++kept > KEPT_MAX;
    });
    enterGuard(this.#thread, this.#area + MountWord.listingsGuard);
    const first = this.#area + MountWord.listings;
    for (const name of made) {
      store(words, name + Name.next, load(words, first));
      store(words, first, name);
    }
    leaveGuard(this.#thread, this.#area + MountWord.listingsGuard);
  }

  #make(handle: number, cursor: number, bytes: Uint8Array, index: number): number {
    const { words, region } = this.#thread;
    const name = allocateObject(this.#thread, this.#area + MountWord.nameSlab);
    store(words, name + Name.handle, handle | 0);
    store(words, name + Name.low, cursor | 0);
    store(words, name + Name.high, Math.floor(cursor / 2 ** 32));
    store(words, name + Name.index, index);
    store(words, name + Name.length, bytes.length);
    region.bytes(name + Name.bytes, bytes.length).set(bytes);
    return name;
  }

  get #isEmpty(): boolean {
    return load(this.#thread.words, this.#area + MountWord.listings) === 0;
  }

  #isOf(name: number, handle: number): boolean {
    return load(this.#thread.words, name + Name.handle) === (handle | 0);
  }

  #isAt(name: number, handle: number, cursor: number): boolean {
    const { words } = this.#thread;
    if (!this.#isOf(name, handle) || load(words, name + Name.low) !== (cursor | 0)) return false;
    return load(words, name + Name.high) === Math.floor(cursor / 2 ** 32);
  }
}
