/**
 * Room for files to grow: for each file that grows, the free blocks behind its last one, which the allocator gives
 * to others only when it finds nothing else. So files that grow side by side stay in long pieces.
 *
 * It is advice, in the region alone: the bitmaps say what is free, and a file's room can be lost at any moment
 * without harm. So a crash leaves nothing of it, and neither does an undone transaction or a thread's death.
 * docs/allocation.md says why it is so.
 *
 * Area, in words:
 *
 *     0 rooms in use, at least | 1 clock | 16..: a bit of each slot, set: it is to be looked at
 *     then of each slot the inode, 0: not in use
 *     then of each slot: group | first bit | end bit | when it was last used
 *
 * A slot is searched for in the few that an inode's number leads to; where these are in use, the one that was not
 * used for longest goes. Rules. (1) The rest of a slot changes under the transaction. (2) An inode's word becomes
 * 0 at any time, by compare-exchange; it is set when the rest of its slot says what it should.
 */
import type { Ino } from "../../../base/quantities.ts";
import { add, and, cas, load, loadRelaxed, or, store } from "../../../sync/atomics.ts";
import { Root } from "../../../sync/region.ts";
import type { Thread } from "../../../sync/thread.ts";
import { setBits } from "./bitmaps.ts";

const Area = { used: 0, clock: 1, bits: 16 } as const;
const SlotWord = { group: 0, from: 1, to: 2, usedAt: 3 } as const;
const SLOT_WORDS = 4;
export const ROOMS_MAX = 1024;
/** Slots that an inode can have. */
const WAYS = 8;
const BIT_WORDS = ROOMS_MAX / 32;
const INODES = Area.bits + BIT_WORDS;

/** Makes the table of a new region. */
export function createGrowthRooms(thread: Thread): void {
  const words = INODES + ROOMS_MAX * (1 + SLOT_WORDS);
  thread.region.setRoot(Root.growthRooms, thread.region.allocatePages(words));
}

export class GrowthRooms {
  readonly #thread: Thread;
  readonly #area: number;
  readonly #slots: number;
  /** What `mask` answers with: good until it is called again. */
  readonly #masked: Uint32Array;
  /** Where the slots lie that `survey` has found, and how many they are. */
  readonly #found = new Int32Array(ROOMS_MAX);
  #count = 0;

  constructor(thread: Thread, blockSize: number) {
    this.#thread = thread;
    this.#area = thread.region.root(Root.growthRooms);
    this.#slots = this.#area + INODES + ROOMS_MAX;
    this.#masked = new Uint32Array(blockSize / 4);
  }

  /** Where an inode's room ends, as a bit of the group, if bit `bit` is in it; else 0. Locks: the transaction. */
  endOf(ino: Ino, group: number, bit: number): number {
    const slot = this.#find(ino);
    if (slot < 0) return 0;
    const { words } = this.#thread;
    const at = this.#slots + slot * SLOT_WORDS;
    if (loadRelaxed(words, at + SlotWord.group) !== group) return 0;
    const to = loadRelaxed(words, at + SlotWord.to);
    return bit >= loadRelaxed(words, at + SlotWord.from) && bit < to ? to : 0;
  }

  /** An inode's room is now bits [from, to) of a group, and no other; none where that is empty. Locks: the transaction. */
  keep(ino: Ino, group: number, from: number, to: number): void {
    let slot = this.#find(ino);
    if (from >= to) {
      if (slot >= 0) this.#vacate(slot, ino);
      return;
    }
    const { words } = this.#thread;
    const isNew = slot < 0;
    if (isNew) slot = this.#vacantSlot(ino);
    const at = this.#slots + slot * SLOT_WORDS;
    store(words, at + SlotWord.group, group);
    store(words, at + SlotWord.from, from);
    store(words, at + SlotWord.to, to);
    store(words, at + SlotWord.usedAt, add(words, this.#area + Area.clock, 1));
    if (!isNew) return;
    add(words, this.#area + Area.used, 1);
    or(words, this.#bitWord(slot), 1 << (slot & 31));
    store(words, this.#inodeWord(slot), ino | 0);
  }

  /** An inode has no room any more. Locks: none needed. */
  drop(ino: Ino): void {
    if (load(this.#thread.words, this.#area + Area.used) === 0) return;
    const slot = this.#find(ino);
    if (slot >= 0) this.#vacate(slot, ino);
  }

  /** A group's block bitmap, in which the rooms found by the last survey count as used. Locks: the transaction. */
  mask(group: number, bitmap: Uint32Array): Uint32Array {
    const { words } = this.#thread;
    let masked = bitmap;
    for (let index = 0; index < this.#count; index++) {
      const at = this.#found[index]!;
      if (loadRelaxed(words, at + SlotWord.group) !== group) continue;
      const from = loadRelaxed(words, at + SlotWord.from);
      const to = loadRelaxed(words, at + SlotWord.to);
      if (from >= to) continue;
      if (masked === bitmap) {
        this.#masked.set(bitmap);
        masked = this.#masked;
      }
      setBits(masked, from, to);
    }
    return masked;
  }

  /** Looks for the rooms of others than `ino`. Returns the blocks in them. Locks: the transaction. */
  survey(ino: number): number {
    const { words } = this.#thread;
    this.#count = 0;
    if (load(words, this.#area + Area.used) === 0) return 0;
    const [area, slots, found] = [this.#area, this.#slots, this.#found];
    let [count, blocks] = [0, 0];
    for (let word = 0; word < BIT_WORDS; word++) {
      let bits = loadRelaxed(words, area + Area.bits + word);
      for (; bits !== 0; bits &= bits - 1) {
        const slot = word * 32 + (31 - Math.clz32(bits & -bits));
        const owner = loadRelaxed(words, area + INODES + slot);
        if (owner === 0 || owner === (ino | 0)) continue;
        const at = slots + slot * SLOT_WORDS;
        const length =
          loadRelaxed(words, at + SlotWord.to) - loadRelaxed(words, at + SlotWord.from);
        if (length > 0) blocks += length;
        found[count++] = at;
      }
    }
    this.#count = count;
    return blocks;
  }

  #inodeWord(slot: number): number {
    return this.#area + INODES + slot;
  }

  /** The first of an inode's slots. */
  #firstSlot(ino: Ino): number {
    const sets = ROOMS_MAX / WAYS;
    return ((Math.imul(ino | 0, 0x9e3779b1) >>> 0) % sets) * WAYS;
  }

  #find(ino: Ino): number {
    const { words } = this.#thread;
    const first = this.#firstSlot(ino);
    for (let slot = first; slot < first + WAYS; slot++) {
      if (load(words, this.#inodeWord(slot)) === (ino | 0)) return slot;
    }
    return -1;
  }

  /** One of an inode's slots that is not in use, if need be from now on. */
  #vacantSlot(ino: Ino): number {
    const { words } = this.#thread;
    const first = this.#firstSlot(ino);
    const now = load(words, this.#area + Area.clock);
    let oldest = first;
    let oldestAge = -1;
    for (let slot = first; slot < first + WAYS; slot++) {
      if (load(words, this.#inodeWord(slot)) === 0) return slot;
      const usedAt = load(words, this.#slots + slot * SLOT_WORDS + SlotWord.usedAt);
      const age = (now - usedAt) >>> 0;
      if (age > oldestAge) [oldest, oldestAge] = [slot, age];
    }
    const owner = load(words, this.#inodeWord(oldest));
    if (owner !== 0) this.#vacate(oldest, owner);
    return oldest;
  }

  /** The slot is not in use any more, if `ino` has it still. */
  #vacate(slot: number, ino: number): void {
    const { words } = this.#thread;
    const bit = 1 << (slot & 31);
    and(words, this.#bitWord(slot), ~bit);
    if (cas(words, this.#inodeWord(slot), ino | 0, 0)) add(words, this.#area + Area.used, -1);
    // Another inode has had it since.
    else if (load(words, this.#inodeWord(slot)) !== 0) or(words, this.#bitWord(slot), bit);
  }

  #bitWord(slot: number): number {
    return this.#area + Area.bits + (slot >>> 5);
  }
}
