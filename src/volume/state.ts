/**
 * What the threads of a volume must know of it as a whole.
 *
 * Area, in words:
 *
 *     0 state | 1 holder that mounted | 2 pager's holder | 3 pager: start lock, the starter's holder
 *     4 pager: told to stop | 5 pager: wake | 6, 7 commits by time (committer.ts) | 8..15 rename lock | 16..19 the evicting thread, as 2..5
 *     20 where changes are told (changes.ts) | 21 areas of kernel mounts: the first one (fuse/shared-mount.ts)
 *     22 where recalls are asked for (kernel-recalls.ts) | 23 whether inodes were marked (marks.ts)
 *
 *     live --close--> closing --nobody uses it--> closed
 *                     closing --somebody does---> live
 *
 * Rules. (1) `state` changes under the inode table's guard, and every operation takes a reference
 *            of an inode under that guard: so when the closer sees no reference of other threads,
 *            none of their operations runs, and none begins.
 *        (2) The volume lives as long as the thread that mounted it: Node closes the descriptors of
 *            a worker that ends. After its death everything fails with EIO.
 */
import { HoldfastError } from "../base/errors.ts";
import { load, store } from "../sync/atomics.ts";
import { Root } from "../sync/region.ts";
import type { Thread } from "../sync/thread.ts";

export const VolumeWord = {
  state: 0,
  mounter: 1,
  pager: 2,
  commitSeconds: 6,
  committedMs: 7,
  renameLock: 8,
  evictor: 16,
  changes: 20,
  kernelMounts: 21,
  recalls: 22,
  marks: 23,
} as const;
const AREA_WORDS = 64;

export const VolumeState = { live: 1, closing: 2, closed: 3 } as const;

export function createVolumeArea(thread: Thread): void {
  const area = thread.region.allocatePages(AREA_WORDS);
  store(thread.words, area + VolumeWord.state, VolumeState.live);
  store(thread.words, area + VolumeWord.mounter, thread.holder);
  thread.region.setRoot(Root.volume, area);
}

/** Word offset of one of the volume's words. */
export function volumeWord(thread: Thread, word: number): number {
  return thread.region.root(Root.volume) + word;
}

/** Why the volume cannot be used, or null. Costs a few loads. */
export function unusable(thread: Thread): HoldfastError | null {
  const area = thread.region.root(Root.volume);
  if (load(thread.words, area + VolumeWord.state) !== VolumeState.live) return closedError();
  const mounter = load(thread.words, area + VolumeWord.mounter);
  if (mounter === thread.holder || thread.isAlive(mounter)) return null;
  return new HoldfastError("EIO", "the thread that mounted the volume has ended; mount it again");
}

export function closedError(): HoldfastError {
  return new HoldfastError("EBADF", "the volume is closed");
}
