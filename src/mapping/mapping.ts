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
 *     32 written, not yet persistent: first page (-1: none) | 33 last page | 34 flags
 *     35 inode generation | 36 when the modification time was last set, ms
 *     37 the break's entries are being removed | 38 a write-back has not ended | 39 written ranges taken
 *     40..47 write-back lock | 48 leases' head | 49 lease wake (layout/lease.ts) | 50 access: `Access`
 *     51 layout sequence whose layout was last found to be on the medium, 0 for none (dax/sync-fault.ts)
 *     56..62 the inode table's own (volume/inodes.ts)
 *
 * The io lock of a directory ranks as `directory`.
 */
import { DEVICE_BYTES_MAX, type Ino } from "../base/quantities.ts";
import { add, load, loadUnsigned, or, store } from "../sync/atomics.ts";
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
  writingBack: 38,
  writtenTakes: 39,
  writeBackLock: 40,
  leases: 48,
  leaseWake: 49,
  access: 50,
  persistentSequence: 51,
} as const;

/** How a file's pages are reached: as the blocks of the device, or through the page cache. */
export const Access = { direct: 0, copied: 1 } as const;
export type Access = (typeof Access)[keyof typeof Access];

/** A mapping's name: the word offset of its record. */
export type Mapping = number;

/** The last page a mapping can have: its bytes end at 16 TiB. */
export const PAGE_INDEX_MAX = DEVICE_BYTES_MAX / 4096 - 1;

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
  store(words, mapping + MappingWord.writtenFirst, -1);
  store(words, mapping + MappingWord.inoLow, ino | 0);
  store(words, mapping + MappingWord.inoHigh, Math.floor(ino / 2 ** 32));
  store(words, mapping + MappingWord.sizeLow, size | 0);
  store(words, mapping + MappingWord.sizeHigh, Math.floor(size / 2 ** 32));
  store(words, mapping + MappingWord.generation, generation | 0);
}

/**
 * Notes that pages [first, last] were written past their entries' marks (by a write call, or through
 * a window that no longer shows them), so that write-back persists them: after they were written.
 * Locks: none, but the tree guard where they are not noted yet. Who dies in it has noted a part at
 * most, and forgotten nothing.
 */
export function noteWritten(thread: Thread, mapping: Mapping, first: number, last: number): void {
  const { words } = thread;
  const from = Math.min(first, PAGE_INDEX_MAX - 1); // the last index there is stands for none
  if (isNoted(thread, mapping, from, last)) return;
  enterGuard(thread, mapping + MappingWord.treeGuard);
  const none = load(words, mapping + MappingWord.writtenFirst) === -1;
  if (none || last > loadUnsigned(words, mapping + MappingWord.writtenLast)) {
    store(words, mapping + MappingWord.writtenLast, last | 0);
  }
  if (from < loadUnsigned(words, mapping + MappingWord.writtenFirst)) {
    store(words, mapping + MappingWord.writtenFirst, from | 0);
  }
  leaveGuard(thread, mapping + MappingWord.treeGuard);
}

/**
 * Whether pages [first, last] lie in the range that is noted. Without the guard: between two takes the
 * range only grows, so it covers them if what was read of it does and no take came in between.
 */
export function isNoted(thread: Thread, mapping: Mapping, first: number, last: number): boolean {
  const { words } = thread;
  const takes = load(words, mapping + MappingWord.writtenTakes);
  if (first < loadUnsigned(words, mapping + MappingWord.writtenFirst)) return false;
  if (last > loadUnsigned(words, mapping + MappingWord.writtenLast)) return false;
  return load(words, mapping + MappingWord.writtenTakes) === takes;
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

/**
 * Takes the range that `noteWritten` noted, leaving none; null when there is none. The take is counted
 * when the range is empty, and before another one can be noted: whoever has read a part of each finds
 * another count. Who dies in it has not ended its write-back (dax/write-back.ts, rule 3).
 */
export function takeWritten(
  thread: Thread,
  mapping: Mapping,
): { first: number; last: number } | null {
  const { words } = thread;
  enterGuard(thread, mapping + MappingWord.treeGuard);
  const first = load(words, mapping + MappingWord.writtenFirst);
  const last = loadUnsigned(words, mapping + MappingWord.writtenLast);
  store(words, mapping + MappingWord.writtenFirst, -1);
  add(words, mapping + MappingWord.writtenTakes, 1);
  leaveGuard(thread, mapping + MappingWord.treeGuard);
  return first === -1 ? null : { first: first >>> 0, last };
}
