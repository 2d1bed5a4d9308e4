/** Attributes of inodes, and what directories hold. */
import { HoldfastError } from "../base/errors.ts";
import { timeNow } from "../dax/dax.ts";
import { noteTimeChanged } from "../dax/write-times.ts";
import type {
  AttributeChange,
  DirectoryEntry,
  FileType,
  InodeInfo,
  SpaceInfo,
  Time,
} from "../iomap/contract.ts";
import { MappingWord } from "../mapping/mapping.ts";
import { readStable, tryReadStable } from "../metadata/sequence.ts";
import { beginTransaction, type Transaction } from "../metadata/transaction.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { chmodAcl } from "./acl.ts";
import { ChangeKind } from "./changes.ts";
import { inTransaction, type VolumeCore } from "./core.ts";
import type { InodeReference } from "./inode-reference.ts";
import { GROUP_EXECUTE, PERMISSIONS, SET_GROUP_ID, SET_USER_ID } from "./mode-bits.ts";
import { assertUnrestricted } from "./names.ts";
import { freeUnusedValuesLeft } from "./unused-values.ts";
import { isDots, lockDirectoryShared, lockInode, notDirectory, type Scope } from "./paths.ts";

/** Entries asked for at a time. */
const ENTRIES_AT_ONCE = 512;

/** An inode's attributes, all of one moment. Sleeps: while they change. */
export function* readAttributes(
  task: Task,
  core: VolumeCore,
  inode: InodeReference,
): Sleeps<InodeInfo> {
  const sequence = inode.mapping + MappingWord.sequence;
  const read = (): InodeInfo => core.driver.readInode(inode.ino);
  return (
    tryReadStable(core.thread.words, sequence, read) ?? (yield* readStable(task, sequence, read))
  );
}

/**
 * Changes attributes; `change` gets those of now, and answers null where they are already what they are to be. Sets the
 * change time, but not then. `check` throws where the inode's flags forbid it.
 * Throws: EPERM, EROFS.
 */
export function* changeAttributes(
  task: Task,
  core: VolumeCore,
  inode: InodeReference,
  change: (info: InodeInfo, transaction: Transaction) => AttributeChange | null,
  check: (info: InodeInfo) => void = assertUnrestricted,
): Sleeps<void> {
  core.assertWritable();
  {
    using _lock = yield* lockInode(task, inode);
    yield* inTransaction(task, core, [inode], (transaction) => {
      const info = core.driver.readInode(inode.ino);
      check(info);
      const changed = change(info, transaction);
      core.changes.note(ChangeKind.attributes, inode.ino, inode.isDirectory);
      if (changed === null) return;
      core.driver.setAttributes(transaction, inode.ino, { changeTime: timeNow(), ...changed });
      if (changed.modifyTime !== undefined) noteTimeChanged(core.thread, inode.mapping);
    });
  }
  yield* freeUnusedValuesLeft(task, core);
}

/** Sets the time of access to now, and nothing else. Locks: takes the inode's, exclusively. Throws: EROFS, ENOSPC. */
export function* setAccessTime(task: Task, core: VolumeCore, inode: InodeReference): Sleeps<void> {
  core.assertWritable();
  using _lock = yield* lockInode(task, inode);
  yield* inTransaction(task, core, [inode], (transaction) => {
    core.driver.setAttributes(transaction, inode.ino, { accessTime: timeNow() });
  });
}

/** chmod(2); an access control list follows. `mode`: the low 12 bits. */
export function* changeMode(
  task: Task,
  core: VolumeCore,
  inode: InodeReference,
  mode: number,
): Sleeps<void> {
  if (inode.type === "symlink") {
    throw new HoldfastError("EOPNOTSUPP", "a symlink has no mode of its own");
  }
  yield* changeAttributes(task, core, inode, (_info, transaction) => {
    chmodAcl(core, transaction, inode.ino, mode);
    return { mode };
  });
}

/** chown(2): -1 leaves a number as it is. A file's set-id bits go, as in Linux. */
export function* changeOwner(
  task: Task,
  core: VolumeCore,
  inode: InodeReference,
  uid: number,
  gid: number,
): Sleeps<void> {
  yield* changeAttributes(task, core, inode, (info) => ({
    ...(uid === -1 ? {} : { uid }),
    ...(gid === -1 ? {} : { gid }),
    ...(info.type === "directory" ? {} : { mode: withoutSetId(info.mode) }),
  }));
}

/** Set-group-id without group execution is a locking mark, and stays. */
export function withoutSetId(mode: number): number {
  return mode & ~SET_USER_ID & ((mode & GROUP_EXECUTE) === 0 ? PERMISSIONS : ~SET_GROUP_ID);
}

export function* changeTimes(
  task: Task,
  core: VolumeCore,
  inode: InodeReference,
  accessTime: Time,
  modifyTime: Time,
): Sleeps<void> {
  yield* changeAttributes(task, core, inode, () => ({ accessTime, modifyTime }));
}

/** A name in a directory, its type known. */
export interface ListedEntry {
  readonly name: Uint8Array;
  readonly ino: number;
  readonly type: FileType;
}

/**
 * A directory's names, without "." and "..", all of one moment.
 * Locks: takes the directory's, shared. Throws: ENOTDIR, CorruptionError.
 */
export function* listDirectory(
  scope: Scope,
  directory: InodeReference,
  withTypes: boolean,
): Sleeps<ListedEntry[]> {
  const { driver } = scope.core;
  if (!directory.isDirectory) throw notDirectory();
  using _lock = yield* lockDirectoryShared(scope.task, directory);
  const listed: ListedEntry[] = [];
  for (let cursor: number | null = 0; cursor !== null; ) {
    const part: { entries: DirectoryEntry[]; cursor: number | null } = driver.readDirectory(
      directory.ino,
      cursor,
      ENTRIES_AT_ONCE,
    );
    for (const { name, ino, type } of part.entries) {
      if (isDots(name)) continue;
      // The name is in use, and its type never changes: no lock of the inode is needed.
      const known = type ?? (withTypes ? driver.readInode(ino).type : "file");
      listed.push({ name, ino, type: known });
    }
    cursor = part.cursor;
  }
  return listed;
}

/** The volume's space. Locks: the transaction, so that the figures agree with one another. */
export function* readSpace(task: Task, core: VolumeCore): Sleeps<SpaceInfo> {
  using _unchanged = yield* beginTransaction(task, core.cache);
  return core.driver.spaceInfo();
}
