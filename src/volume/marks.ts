/**
 * Inodes that are marked immutable or append-only while files are open: what opened them was checked then, and what is
 * written since is refused, as by the kernel's ext4. (Not stores through windows, nor what is written to pins.)
 *
 * Rule. A word of the volume says whether any inode has been marked since the mount: who changes an open file looks at its
 *       inode only then.
 */
import { MappingWord } from "../mapping/mapping.ts";
import { readStable } from "../metadata/sequence.ts";
import { load, store } from "../sync/atomics.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import type { VolumeCore } from "./core.ts";
import type { InodeReference } from "./inode-reference.ts";
import { assertTakesMore, assertUnrestricted } from "./names.ts";
import { VolumeWord, volumeWord } from "./state.ts";

/** An inode is being marked. Locks: its own, exclusively. */
export function noteMark({ thread }: VolumeCore): void {
  store(thread.words, volumeWord(thread, VolumeWord.marks), 1);
}

export function hasMarks({ thread }: VolumeCore): boolean {
  return load(thread.words, volumeWord(thread, VolumeWord.marks)) !== 0;
}

/**
 * An open file is about to be changed; `adds`: as one that is open to write may be whose inode is append-only.
 * Sleeps: while its attributes change. Throws: EPERM.
 */
export function* assertNotMarked(
  task: Task,
  core: VolumeCore,
  inode: InodeReference,
  adds: boolean,
): Sleeps<void> {
  if (!hasMarks(core)) return;
  const read = () => core.driver.readInode(inode.ino);
  const info = yield* readStable(task, inode.mapping + MappingWord.sequence, read);
  if (adds) assertTakesMore(info);
  else assertUnrestricted(info);
}
