/**
 * The entry tree of a mapping: a 64-way radix tree by page index, as in an XArray.
 *
 * Node, in words: 1 parent | 2 slot in the parent | 4..5 dirty marks | 6..7 pinned marks | 8..71
 * slots. A slot is 0, a node's offset (a multiple of 8), or an entry (odd). The root word is
 * a node's offset plus its level, so that descending reads one word a level.
 *
 * Entry: bit 0 set | bit 1 locked | bits 2..4 kind | bits 5..31 page record id.
 * An entry of 2 MiB lies in a level-1 node, the same word in its 8 slots; its lock bit counts in the
 * first of them. Whoever reads a slot again may find a node where there was an entry of 2 MiB: so the
 * kinds that mean something are odd, which a node's offset never looks like.
 *
 * Rules. (1) Nodes and marks change under the tree guard, or under the map lock held exclusively.
 *        (2) A node is linked when it is complete, and freed only under the map lock held
 *            exclusively, inside a broken range: nobody walks there.
 *        (3) A mark is set from the root down and cleared from the leaf up, so that a marked entry is
 *            always found; a mark without its entry marked costs a look, no more.
 */
import { invariant } from "../base/invariant.ts";
import { cas, load, loadRelaxed, store, type Words } from "../sync/atomics.ts";
import { enterGuard, leaveGuard } from "../sync/guard.ts";
import { allocateZeroed, freeObject } from "../sync/slab.ts";
import type { Thread } from "../sync/thread.ts";
import { type Mapping, MappingWord, nodeSlab, PAGE_INDEX_MAX } from "./mapping.ts";

const Node = { parent: 1, slotInParent: 2, slots: 8 } as const;
const FANOUT = 64;
const LEVEL_MAX = 5;
/** The level whose slots cover 64 pages: 8 of them make 2 MiB. */
export const HUGE_LEVEL = 1;
const HUGE_SLOTS = 8;

/** A mark, as the offset of its bits in a node. */
export const Mark = { dirty: 4, pinned: 6 } as const;
export type Mark = (typeof Mark)[keyof typeof Mark];
const MARKS = Object.values(Mark);

/** An entry word. */
export type Entry = number;

export const EntryKind = { empty: 0, page: 1, zero: 3, huge: 5, emptyHuge: 7 } as const;
export type EntryKind = (typeof EntryKind)[keyof typeof EntryKind];

const ENTRY = 1;
const LOCKED = 2;

/** Whether a slot's word is an entry, not a node or nothing. */
export function isEntry(value: number): boolean {
  return (value & ENTRY) !== 0;
}

export function makeEntry(kind: EntryKind, page: number): Entry {
  return (page << 5) | (kind << 2) | ENTRY;
}

export function kindOf(entry: Entry): EntryKind {
  return ((entry >>> 2) & 7) as EntryKind;
}

/** The record id of an entry of kind page or huge. */
export function pageOf(entry: Entry): number {
  return entry >>> 5;
}

export function isLocked(entry: Entry): boolean {
  return (entry & LOCKED) !== 0;
}

export function locked(entry: Entry): Entry {
  return entry | LOCKED;
}

export function unlocked(entry: Entry): Entry {
  return entry & ~LOCKED;
}

/** Whether an entry of this kind has a page, of 4 KiB or 2 MiB. */
export function isPageKind(kind: EntryKind): boolean {
  return kind === EntryKind.page || kind === EntryKind.huge;
}

export function isHugeKind(kind: EntryKind): boolean {
  return kind === EntryKind.huge || kind === EntryKind.emptyHuge;
}

/**
 * The slot that holds the entry of page `index`, or 0. For one of 2 MiB, the first of its slots, where
 * its lock bit counts. Locks: the map lock, or none: inside an epoch, after an ordered read in it.
 */
export function findSlot(words: Words, mapping: Mapping, index: number): number {
  const root = loadRelaxed(words, mapping + MappingWord.root);
  const height = root & 7;
  if (root === 0 || (height < LEVEL_MAX && index >>> (6 * height + 6) !== 0)) return 0;
  let node = root - height;
  for (let level = height; level >= 0; level--) {
    const slot = node + Node.slots + ((index >>> (6 * level)) & 63);
    const value = loadRelaxed(words, slot);
    if (value & ENTRY) return level === HUGE_LEVEL ? slot - (slot & (HUGE_SLOTS - 1)) : slot;
    if (value === 0) return 0;
    node = value;
  }
  return 0;
}

/** Whether the entry in `slot`, of page `index`, has the mark. */
export function isMarked(
  words: Words,
  slot: number,
  entry: Entry,
  index: number,
  mark: Mark,
): boolean {
  const bit = markBit(entry, index);
  return ((load(words, markWord(slot, bit, mark)) >>> (bit & 31)) & 1) !== 0;
}

/** As `isMarked`, under the conditions of `findSlot`. */
export function isMarkedRelaxed(
  words: Words,
  slot: number,
  entry: Entry,
  index: number,
  mark: Mark,
): boolean {
  const bit = markBit(entry, index);
  return ((loadRelaxed(words, markWord(slot, bit, mark)) >>> (bit & 31)) & 1) !== 0;
}

/** The place of an entry's marks among its node's, which is that of its (first) slot. */
function markBit(entry: Entry, index: number): number {
  return isHugeKind(kindOf(entry)) ? (index >>> 6) & 56 : index & 63;
}

/** The node of the slot that holds an entry, by the place of its marks. */
function nodeOfSlot(slot: number, bit: number): number {
  return slot - bit - Node.slots;
}

function markWord(slot: number, bit: number, mark: Mark): number {
  return nodeOfSlot(slot, bit) + mark + (bit >>> 5);
}

function levelFor(index: number): number {
  let level = 0;
  while (level < LEVEL_MAX && index >>> (6 * level + 6) !== 0) level++;
  return level;
}

/**
 * The slot for page `index` at `level` (0, or HUGE_LEVEL: the first of its 8), with the nodes above
 * it made. Returns 0 when there are entries of the other size. Locks: the map lock, shared.
 * Throws: ENOMEM.
 */
export function makeSlot(thread: Thread, mapping: Mapping, index: number, level: number): number {
  invariant(index <= PAGE_INDEX_MAX, () => `page ${index} is beyond a mapping's end`);
  const spare: number[] = [];
  const slab = nodeSlab(thread);
  try {
    for (;;) {
      enterGuard(thread, mapping + MappingWord.treeGuard);
      const slot = descend(thread.words, mapping, index, level, spare);
      leaveGuard(thread, mapping + MappingWord.treeGuard);
      if (slot >= 0) return slot;
      spare.push(allocateZeroed(thread, slab));
    }
  } finally {
    for (const node of spare) freeObject(thread, slab, node);
  }
}

/** Goes down to the slot, linking spare nodes; -1 when one more is needed. Under the guard. */
function descend(
  words: Words,
  mapping: Mapping,
  index: number,
  target: number,
  spare: number[],
): number {
  const rootWord = mapping + MappingWord.root;
  const wanted = Math.max(target, levelFor(index));
  let root = load(words, rootWord);
  while (root === 0 || (root & 7) < wanted) {
    const node = spare.pop();
    if (node === undefined) return -1;
    const level = root === 0 ? wanted : (root & 7) + 1;
    if (root !== 0) linkBelow(words, node, root - (root & 7));
    store(words, rootWord, node + level);
    root = node + level;
  }
  let node = root - (root & 7);
  for (let level = root & 7; ; level--) {
    const within = (index >>> (6 * level)) & 63;
    const slot = node + Node.slots + within;
    if (level === target) {
      if (level !== HUGE_LEVEL) return slot;
      const first = slot - (within & 7);
      return hugeSlotsAreFree(words, first) ? first : 0;
    }
    const value = load(words, slot);
    if (value & ENTRY) return 0;
    if (value !== 0) {
      node = value;
      continue;
    }
    const child = spare.pop();
    if (child === undefined) return -1;
    store(words, child + Node.parent, node);
    store(words, child + Node.slotInParent, within);
    if (!cas(words, slot, 0, child)) {
      // An entry of 2 MiB has been put there, without the guard.
      spare.push(child);
      return 0;
    }
    node = child;
  }
}

/** Whether 8 slots hold no node: they are free, or one entry of 2 MiB. */
function hugeSlotsAreFree(words: Words, first: number): boolean {
  for (let slot = first; slot < first + HUGE_SLOTS; slot++) {
    const value = load(words, slot);
    if (value !== 0 && (value & ENTRY) === 0) return false;
  }
  return true;
}

/** Puts the old root under a new one that is not linked yet, in its first slot, with its marks. */
function linkBelow(words: Words, node: number, child: number): void {
  store(words, node + Node.slots, child);
  for (const mark of MARKS) {
    const marked = load(words, child + mark) !== 0 || load(words, child + mark + 1) !== 0;
    store(words, node + mark, marked ? 1 : 0);
  }
  store(words, child + Node.parent, node);
}

/** Writes an entry of 2 MiB into its 8 slots, the first one last. */
export function storeHuge(words: Words, first: number, entry: Entry): void {
  storeHugeRest(words, first, entry);
  store(words, first, entry);
}

/** As `storeHuge`, but for the first slot; the last one first. */
export function storeHugeRest(words: Words, first: number, entry: Entry): void {
  for (let slot = first + HUGE_SLOTS - 1; slot > first; slot--) store(words, slot, entry);
}

/**
 * Sets a mark on the entry of page `index`, if there is one, and on the way to it. Locks: the map
 * lock, shared.
 */
export function setMark(thread: Thread, mapping: Mapping, index: number, mark: Mark): void {
  const { words } = thread;
  enterGuard(thread, mapping + MappingWord.treeGuard);
  if (findSlot(words, mapping, index) !== 0) markDownTo(words, mapping, index, mark);
  leaveGuard(thread, mapping + MappingWord.treeGuard);
}

function markDownTo(words: Words, mapping: Mapping, index: number, mark: Mark): void {
  const root = load(words, mapping + MappingWord.root);
  let node = root - (root & 7);
  for (let level = root & 7; level >= 0; level--) {
    const within = (index >>> (6 * level)) & 63;
    const value = load(words, node + Node.slots + within);
    setBit(words, node + mark, value & ENTRY ? markBit(value, index) : within);
    if (value & ENTRY) return;
    node = value;
  }
}

/** Clears a mark from an entry, and upwards where it was the last. Locks as for `setMark`. */
export function clearMark(thread: Thread, mapping: Mapping, index: number, mark: Mark): void {
  const { words } = thread;
  enterGuard(thread, mapping + MappingWord.treeGuard);
  const slot = findSlot(words, mapping, index);
  if (slot !== 0) clearUpFrom(words, slot, markBit(load(words, slot), index), mark);
  leaveGuard(thread, mapping + MappingWord.treeGuard);
}

function clearUpFrom(words: Words, slot: number, bit: number, mark: Mark): void {
  let within = bit;
  let node = nodeOfSlot(slot, bit);
  for (;;) {
    const empty = clearBit(words, node + mark, within);
    const parent = load(words, node + Node.parent);
    if (!empty || parent === 0) return;
    within = load(words, node + Node.slotInParent);
    node = parent;
  }
}

function setBit(words: Words, mark: number, bit: number): void {
  const word = mark + (bit >>> 5);
  store(words, word, load(words, word) | (1 << (bit & 31)));
}

/** Returns whether no bit is left. */
function clearBit(words: Words, mark: number, bit: number): boolean {
  const word = mark + (bit >>> 5);
  store(words, word, load(words, word) & ~(1 << (bit & 31)));
  return load(words, mark) === 0 && load(words, mark + 1) === 0;
}

/**
 * The first page in [from, last] whose entry has the mark, or -1. For an entry of 2 MiB that begins
 * before `from`, its first page. Visits marked nodes only. Locks: the map lock.
 */
export function nextMarked(
  words: Words,
  mapping: Mapping,
  from: number,
  last: number,
  mark: Mark,
): number {
  const root = load(words, mapping + MappingWord.root);
  if (root === 0) return -1;
  return nextMarkedBelow(words, root - (root & 7), root & 7, 0, from, last, mark);
}

function nextMarkedBelow(
  words: Words,
  node: number,
  level: number,
  base: number,
  from: number,
  last: number,
  mark: number,
): number {
  const step = 2 ** (6 * level);
  // An entry of 2 MiB has its mark in the first of its slots.
  const lowest = Math.max(0, Math.floor((from - base) / step));
  const start = level === HUGE_LEVEL ? lowest - (lowest % HUGE_SLOTS) : lowest;
  const end = Math.min(FANOUT - 1, Math.floor((last - base) / step));
  for (let within = start; within <= end; within++) {
    const bits = load(words, node + mark + (within >>> 5)) >>> (within & 31);
    if (bits === 0) {
      within |= 31;
      continue;
    }
    if ((bits & 1) === 0) continue;
    const value = load(words, node + Node.slots + within);
    const first = base + within * step;
    if (value & ENTRY) return first;
    if (value === 0) continue;
    const found = nextMarkedBelow(words, value, level - 1, first, from, last, mark);
    if (found >= 0) return found;
  }
  return -1;
}

/** The entry of a page, or 0 where there is none. */
export function entryAt(words: Words, mapping: Mapping, index: number): Entry {
  const slot = findSlot(words, mapping, index);
  return slot === 0 ? 0 : load(words, slot);
}

/** Calls `visit` for every entry in [from, last], with its first page and its pages. */
export function forEachEntry(
  words: Words,
  mapping: Mapping,
  from: number,
  last: number,
  visit: (entry: Entry, index: number, pages: number, slot: number) => void,
): void {
  for (let index = from; index <= last; ) {
    const slot = findSlot(words, mapping, index);
    const entry = slot === 0 ? 0 : load(words, slot);
    if (!isEntry(entry)) {
      index = nextPresent(words, mapping, index, last);
      if (index < 0) return;
      continue;
    }
    const huge = isHugeKind(kindOf(entry));
    const first = huge ? index - (index % 512) : index;
    const pages = huge ? 512 : 1;
    visit(entry, first, pages, slot);
    index = first + pages;
  }
}

/** Removes the zero entries in [from, last]. Locks: the map lock, exclusively: none is locked. */
export function dropZeroEntries(words: Words, mapping: Mapping, from: number, last: number): void {
  forEachEntry(words, mapping, from, last, (entry, _index, _pages, slot) => {
    if (kindOf(entry) === EntryKind.zero) store(words, slot, 0);
  });
}

/** The first page at or after `index` that has an entry, up to `last`, or -1. */
export function nextPresent(words: Words, mapping: Mapping, index: number, last: number): number {
  const root = load(words, mapping + MappingWord.root);
  if (root === 0) return -1;
  return nextPresentBelow(words, root - (root & 7), root & 7, 0, index, last);
}

function nextPresentBelow(
  words: Words,
  node: number,
  level: number,
  base: number,
  from: number,
  last: number,
): number {
  const step = 2 ** (6 * level);
  const start = Math.max(0, Math.floor((from - base) / step));
  const end = Math.min(FANOUT - 1, Math.floor((last - base) / step));
  for (let within = start; within <= end; within++) {
    const value = load(words, node + Node.slots + within);
    if (value === 0) continue;
    const first = base + within * step;
    if (value & ENTRY) return Math.max(first, from);
    const found = nextPresentBelow(words, value, level - 1, first, from, last);
    if (found >= 0) return found;
  }
  return -1;
}

/**
 * Removes every entry in [from, last], calling `visit` before each goes (it may empty its slot), and
 * frees the nodes that lie wholly inside. No entry of 2 MiB may stick out of the range. An entry's marks
 * go before it: who dies in between leaves no mark for the next entry of that page.
 * Locks: the map lock, exclusively, after a break of the range.
 */
export function removeEntries(
  thread: Thread,
  mapping: Mapping,
  from: number,
  last: number,
  visit: (entry: Entry, index: number, pages: number, slot: number) => void,
): void {
  const root = load(thread.words, mapping + MappingWord.root);
  if (root === 0) return;
  const level = root & 7;
  removeBelow(thread, root - level, level, 0, from, last, visit);
  if (from === 0 && last >= Math.min(PAGE_INDEX_MAX, 2 ** (6 * level + 6) - 1)) {
    store(thread.words, mapping + MappingWord.root, 0);
    freeObject(thread, nodeSlab(thread), root - level);
  }
}

function removeBelow(
  thread: Thread,
  node: number,
  level: number,
  base: number,
  from: number,
  last: number,
  visit: (entry: Entry, index: number, pages: number, slot: number) => void,
): void {
  const { words } = thread;
  const step = 2 ** (6 * level);
  const start = Math.max(0, Math.floor((from - base) / step));
  const end = Math.min(FANOUT - 1, Math.floor((last - base) / step));
  for (let within = start; within <= end; within++) {
    const slot = node + Node.slots + within;
    const value = load(words, slot);
    if (value === 0) continue;
    const first = base + within * step;
    if (value & ENTRY) {
      invariant(!isLocked(value), () => `the entry of page ${first} is removed while it is locked`);
      const huge = isHugeKind(kindOf(value));
      invariant(
        !huge || (first >= from && first + 511 <= last),
        () => `a break cuts the folio at page ${first}`,
      );
      for (const mark of MARKS) clearBit(words, node + mark, within);
      visit(value, first, huge ? 512 : 1, slot);
      if (huge) {
        storeHuge(words, slot, 0);
        within += HUGE_SLOTS - 1;
      } else {
        store(words, slot, 0);
      }
      continue;
    }
    removeBelow(thread, value, level - 1, first, from, last, visit);
    dropChild(thread, node, within, value, first >= from && first + step - 1 <= last);
  }
}

/** After a child's entries were removed: frees it when nothing can be in it, and mends the marks. */
function dropChild(
  thread: Thread,
  node: number,
  within: number,
  child: number,
  whole: boolean,
): void {
  const { words } = thread;
  for (const mark of MARKS) {
    if (load(words, child + mark) === 0 && load(words, child + mark + 1) === 0) {
      clearBit(words, node + mark, within);
    }
  }
  if (!whole) return;
  store(words, node + Node.slots + within, 0);
  freeObject(thread, nodeSlab(thread), child);
}
