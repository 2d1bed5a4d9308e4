/** Kernel mounts, as the inode table knows them: by the slab of their lookups. */
import { type Mapping, MappingWord } from "../../mapping/mapping.ts";
import { load, type Words } from "../../sync/atomics.ts";
import { freeObject, SLAB_WORDS } from "../../sync/slab.ts";
import type { Thread } from "../../sync/thread.ts";
import type { InodeTable } from "../../volume/inodes.ts";
import { addLookups, findLookups, initLookups, makeLookups } from "../../volume/lookups.ts";
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
  return [load(words, 0), load(words, MappingWord.references)];
}

export function assertHeader(words: Words, header: readonly number[]): void {
  const isWhole = headerOf(words).every((value, at) => value === header[at]);
  ensure(isWhole, "somebody has written where no record is");
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
