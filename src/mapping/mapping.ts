/**
 * A file's record in the region: its locks, its size, its tree of entries and what is announced
 * about them. A mapping is named by its record's offset, in every thread the same.
 *
 * Record, in words:
 *
 *     0 inode number, low | 1 high | 2 references | 3 next in the inode table's bucket
 *     4 size, low | 5 size, high | 6 layout sequence (metadata/sequence.ts)
 *     7 tree root, with its level in the low bits | 8 tree guard
 *     9 break: first page | 10 break: last page | 11 break: who announced it, 0 for none
 *     12 breakers waiting for pins | 13 until when new pins let them pass, ms | 14 break wake
 *     15 windows' head | 16..23 io lock | 24..31 map lock
 *     32 written, not yet persistent: first page | 33 last page (below the first: none) | 34 flags
 *     35 inode generation | 36 when the modification time was last set, ms
 *     37 the break's entries are being removed | 38 guard of 32 and 33 | 56..59 the inode table's own (volume/inodes.ts)
 *
 * The io lock of a directory ranks as `directory`.
 */
import { DEVICE_BYTES_MAX, type Ino } from "../base/quantities.ts";
import { load, loadUnsigned, or, store } from "../sync/atomics.ts";
import { enterGuard, leaveGuard } from "../sync/guard.ts";
import { initSlab, SLAB_WORDS } from "../sync/slab.ts";
import { Root } from "../sync/region.ts";
import type { Thread } from "../sync/thread.ts";

export const MAPPING_WORDS = 64;

export const MappingWord = {
  inoLow: 0,
  inoHigh: 1,
  references: 2,
  next: 3,
  sizeLow: 4,
  sizeHigh: 5,
  sequence: 6,
  root: 7,
  treeGuard: 8,
  breakFirst: 9,
  breakLast: 10,
  breakHolder: 11,
  breakWaiters: 12,
  breakInsist: 13,
  breakWake: 14,
  windows: 15,
  ioLock: 16,
  mapLock: 24,
  writtenFirst: 32,
  writtenLast: 33,
  flags: 34,
  generation: 35,
  timeTick: 36,
  removing: 37,
  writtenGuard: 38,
} as const;

/** A mapping's name: the word offset of its record. */
export type Mapping = number;

/** The last page a mapping can have: its bytes end at 16 TiB. */
export const PAGE_INDEX_MAX = DEVICE_BYTES_MAX / 4096 - 1;

/** Of the range that was written, when there is none: the first page is beyond any, the last is 0. */
const NONE_FIRST = -1;

/** The area of the layer: a slab of records, then one of tree nodes. */
const Area = { mappings: 0, nodes: SLAB_WORDS } as const;
export const NODE_WORDS = 72;

export function createMappingArea(thread: Thread): void {
  const { region } = thread;
  const area = region.allocatePages(SLAB_WORDS * 2);
  initSlab(region, area + Area.mappings, MAPPING_WORDS);
  initSlab(region, area + Area.nodes, NODE_WORDS);
  region.setRoot(Root.mapping, area);
}

export function mappingSlab(thread: Thread): number {
  return thread.region.root(Root.mapping) + Area.mappings;
}

export function nodeSlab(thread: Thread): number {
  return thread.region.root(Root.mapping) + Area.nodes;
}

export function inoOf(thread: Thread, mapping: Mapping): Ino {
  const low = loadUnsigned(thread.words, mapping + MappingWord.inoLow);
  return (load(thread.words, mapping + MappingWord.inoHigh) * 2 ** 32 + low) as Ino;
}

/**
 * The file's size in bytes. Locks: the io lock, or read under the layout sequence: the two words
 * change together only for those.
 */
export function sizeOf(thread: Thread, mapping: Mapping): number {
  const low = loadUnsigned(thread.words, mapping + MappingWord.sizeLow);
  return load(thread.words, mapping + MappingWord.sizeHigh) * 2 ** 32 + low;
}

/** Sets up the record of an inode that is not in use in memory. */
export function initMapping(
  thread: Thread,
  mapping: Mapping,
  ino: Ino,
  size: number,
  generation: number,
): void {
  const { words } = thread;
  // Never a sequence again that some thread may have read for the inode that was here before.
  const sequence = (load(words, mapping + MappingWord.sequence) + 2) & ~1;
  for (let word = mapping; word < mapping + MAPPING_WORDS; word++) store(words, word, 0);
  store(words, mapping + MappingWord.sequence, sequence);
  store(words, mapping + MappingWord.writtenFirst, NONE_FIRST);
  store(words, mapping + MappingWord.inoLow, ino | 0);
  store(words, mapping + MappingWord.inoHigh, Math.floor(ino / 2 ** 32));
  store(words, mapping + MappingWord.sizeLow, size | 0);
  store(words, mapping + MappingWord.sizeHigh, Math.floor(size / 2 ** 32));
  store(words, mapping + MappingWord.generation, generation | 0);
}

/**
 * Notes that pages [first, last] were written past their entries' marks (by a write call, or through
 * a window that no longer shows them), so that write-back persists them. Locks: none. The range only
 * grows until write-back takes it; whoever dies in here loses no more than what it noted or took.
 */
export function noteWritten(thread: Thread, mapping: Mapping, first: number, last: number): void {
  const { words } = thread;
  enterGuard(thread, mapping + MappingWord.writtenGuard);
  if (first < loadUnsigned(words, mapping + MappingWord.writtenFirst)) {
    store(words, mapping + MappingWord.writtenFirst, first | 0);
  }
  if (last > loadUnsigned(words, mapping + MappingWord.writtenLast)) {
    store(words, mapping + MappingWord.writtenLast, last | 0);
  }
  leaveGuard(thread, mapping + MappingWord.writtenGuard);
}

/** In the flags: a window may show a page as lost whose entry does not say so. */
const LOST_UNLISTED = 1;

/** Notes such a page. Locks: the map lock, shared. It is never taken back: it costs a look at the windows. */
export function noteLostUnlisted(thread: Thread, mapping: Mapping): void {
  or(thread.words, mapping + MappingWord.flags, LOST_UNLISTED);
}

export function hasLostUnlisted(thread: Thread, mapping: Mapping): boolean {
  return (load(thread.words, mapping + MappingWord.flags) & LOST_UNLISTED) !== 0;
}

/** Takes the range that `noteWritten` noted, leaving none; null when there is none. */
export function takeWritten(
  thread: Thread,
  mapping: Mapping,
): { first: number; last: number } | null {
  const { words } = thread;
  enterGuard(thread, mapping + MappingWord.writtenGuard);
  const first = loadUnsigned(words, mapping + MappingWord.writtenFirst);
  const last = loadUnsigned(words, mapping + MappingWord.writtenLast);
  store(words, mapping + MappingWord.writtenFirst, NONE_FIRST);
  store(words, mapping + MappingWord.writtenLast, 0);
  leaveGuard(thread, mapping + MappingWord.writtenGuard);
  return first > last ? null : { first, last };
}
