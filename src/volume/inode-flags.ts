/** Flags of inodes, as chattr(1) sets them, by their numbers in FS_IOC_GETFLAGS. */
import { HoldfastError } from "../base/errors.ts";
import type { InodeFlags } from "../iomap/contract.ts";
import { MappingWord } from "../mapping/mapping.ts";
import { readStable } from "../metadata/sequence.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { noteDaxFlag } from "./access.ts";
import { changeAttributes } from "./attributes.ts";
import type { VolumeCore } from "./core.ts";
import type { InodeReference } from "./inode-reference.ts";
import { noteMark } from "./marks.ts";

function flagsOf({ driver }: VolumeCore): InodeFlags {
  if (driver.inodeFlags !== null) return driver.inodeFlags;
  throw new HoldfastError("ENOTTY", `files of a ${driver.type} volume have no flags`);
}

/** Sleeps: while they change. Throws: ENOTTY where the format has none. */
export function* readFlags(task: Task, core: VolumeCore, inode: InodeReference): Sleeps<number> {
  const flags = flagsOf(core);
  return yield* readStable(task, inode.mapping + MappingWord.sequence, () => flags.get(inode.ino));
}

/**
 * Sets them all. Also of what is immutable: it may be so no more. Who may is the caller's to know. Locks: takes the
 * inode's, exclusively. Sleeps: for it. Throws: ENOTTY, EROFS; EOPNOTSUPP for a change that is not kept to.
 */
export function* changeFlags(
  task: Task,
  core: VolumeCore,
  inode: InodeReference,
  flags: number,
): Sleeps<void> {
  const change = flagsOf(core);
  yield* changeAttributes(
    task,
    core,
    inode,
    ({ dax }, transaction) => {
      change.set(transaction, inode.ino, flags);
      const { dax: isDax, restriction } = core.driver.readInode(inode.ino);
      if (restriction !== null) noteMark(core);
      if (isDax !== dax) noteDaxFlag(core, inode, transaction, isDax);
      return {};
    },
    () => {},
  );
}
