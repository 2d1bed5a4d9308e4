/** Kernel mounts, as the inode table knows them: by the slab of their lookups. */
import { type Mapping, MappingWord } from "../../mapping/mapping.ts";
import { load, type Words } from "../../sync/atomics.ts";
import { freeObject, SLAB_WORDS } from "../../sync/slab.ts";
import type { Thread } from "../../sync/thread.ts";
import type { InodeTable } from "../../volume/inodes.ts";
import {
  addLookups,
  findLookups,
  initLookups,
  isOpenInKernels,
  Lookups,
  makeLookups,
} from "../../volume/lookups.ts";
import { ensure } from "../scenario.ts";

/** With a first entry, so that no schedule makes one. */
export function makeMount(thread: Thread): number {
  const slab = thread.region.allocatePages(SLAB_WORDS);
  initLookups(thread, slab);
  freeObject(thread, slab, makeLookups(thread, slab, 0));
  return slab;
}

/** What nobody changes, and lies where the first words of a record and of an entry would, were their offset 0. */
export function headerOf(words: Words): number[] {
  return [0, MappingWord.references, Lookups.opens, Lookups.writers].map((at) => load(words, at));
}

export function assertHeader(words: Words, header: readonly number[]): void {
  const isWhole = headerOf(words).every((value, at) => value === header[at]);
  ensure(isWhole, "somebody has written where no record is");
}

/** Whether a program has an inode open, and whether to write. */
export function opensOf(table: InodeTable, mapping: Mapping): readonly [boolean, boolean] {
  const { words } = table.thread;
  const found: [boolean, boolean] = [false, false];
  table.underGuard(() => {
    found[0] = isOpenInKernels(words, mapping, false);
    found[1] = isOpenInKernels(words, mapping, true);
  });
  return found;
}

/** Adds to the lookups of an inode that the kernel knows. */
export function countLookups(
  table: InodeTable,
  mount: number,
  mapping: Mapping,
  count: number,
): void {
  const { words } = table.thread;
  table.underGuard(() => {
    addLookups(words, findLookups(words, mapping, mount), count);
  });
}
