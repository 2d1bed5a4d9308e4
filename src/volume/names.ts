/**
 * Names: making and removing them. Each operation walks to its directory, locks it exclusively,
 * looks again, and changes everything in one transaction.
 *
 * Rules. (1) What was found without a lock is looked up again under it; if it is another inode now,
 *            everything starts again. (2) A directory whose last name is gone gets no new one.
 *        (3) An inode whose last name goes is marked nameless in the same transaction, and freed by
 *            whoever drops its last reference (inodes.ts).
 */
import { randomUUID } from "node:crypto";
import { HoldfastError } from "../base/errors.ts";
import type { EntryPlace, InodeInfo, NewInode } from "../iomap/contract.ts";
import { timeNow } from "../dax/dax.ts";
import type { Transaction } from "../metadata/transaction.ts";
import { lockExclusive } from "../sync/lock.ts";
import type { Sleeps } from "../sync/sleep.ts";
import { type Inheritance, inherit, inheritance } from "./acl.ts";
import { ChangeKind } from "./changes.ts";
import { inTransaction, type VolumeCore } from "./core.ts";
import type { InodeReference } from "./inode-reference.ts";
import { SET_GROUP_ID } from "./mode-bits.ts";
import {
  lockInode,
  lockInodes,
  missing,
  notDirectory,
  type Path,
  type Place,
  type Scope,
} from "./paths.ts";
import { VolumeWord, volumeWord } from "./state.ts";

/** What mkdir takes of a mode: permission bits and the sticky bit. */
const DIRECTORY_MODE = 0o1777;
const TARGET_BYTES_MAX = 4095;
const DOT_DOT = Buffer.from("..");

/**
 * What an operation gives a new inode, its mode before the umask. Owner and times are added where they are left
 * out.
 */
export type Draft = Pick<NewInode, "type" | "mode" | "target" | "deviceMajor" | "deviceMinor"> &
  Partial<Pick<NewInode, "uid" | "gid" | "time">> & { readonly maker?: Maker };

/** For whom an inode is made, where that is not this process. */
export interface Maker {
  readonly uid: number;
  /** Of the new inode, unless its directory passes on its own group. */
  readonly gid: number;
  readonly umask: number;
}

/** Throws: EPERM for what may not be changed ("immutable" or "append-only"). */
export function assertUnrestricted(info: InodeInfo): void {
  if (info.restriction !== null) refuseRestricted(info.restriction);
}

/** Throws: EPERM for what may not even be added to ("immutable"). */
export function assertTakesMore(info: InodeInfo): void {
  if (info.restriction !== "append-only") assertUnrestricted(info);
}

function refuseRestricted(restriction: string): never {
  throw new HoldfastError("EPERM", `the inode is marked ${restriction}`);
}

function assertUnrestrictedNow({ driver }: VolumeCore, { ino }: InodeReference): void {
  const restriction = driver.restrictionOf(ino);
  if (restriction !== null) refuseRestricted(restriction);
}

/** The directory may take a new name. Locks: it, exclusively. Throws: ENOENT, EPERM. */
function assertTakesNames(core: VolumeCore, directory: InodeReference): InodeInfo {
  if (directory.isNameless) throw missing();
  const info = core.driver.readInode(directory.ino);
  assertTakesMore(info);
  return info;
}

function exists(): HoldfastError {
  return new HoldfastError("EEXIST", "file already exists");
}

/** What is made in a directory, by its attributes and the draft, and the lists that it inherits. */
function newInode(
  core: VolumeCore,
  parent: InodeInfo,
  draft: Draft,
): { inode: NewInode; inherited: Inheritance } {
  const inherits = (parent.mode & SET_GROUP_ID) !== 0;
  const maker = draft.maker ?? core;
  const inherited = inheritance(core, parent.ino, draft.type, draft.mode, maker.umask);
  const setsGroup = draft.type === "directory" && inherits;
  const inode: NewInode = {
    type: draft.type,
    mode: setsGroup ? inherited.mode | SET_GROUP_ID : inherited.mode,
    uid: draft.uid ?? maker.uid,
    gid: draft.gid ?? (inherits ? parent.gid : maker.gid),
    time: draft.time ?? timeNow(),
    dax: parent.dax && draft.type !== "symlink",
    deviceMajor: draft.deviceMajor,
    deviceMinor: draft.deviceMinor,
    target: draft.target,
  };
  return { inode, inherited };
}

/**
 * Makes an inode under a new name, its mode cut by the umask or by its directory's default list. Throws: EEXIST, ENOENT when the directory was removed, ENOSPC,
 * EROFS, EPERM, EMLINK.
 */
export function* createAt(scope: Scope, place: Place, draft: Draft): Sleeps<InodeReference> {
  const { core, task } = scope;
  const { directory, name } = place;
  using _lock = yield* lockInode(task, directory);
  if (core.driver.lookup(directory.ino, name) !== null) throw exists();
  const parent = assertTakesNames(core, directory);
  const { inode, inherited } = newInode(core, parent, draft);
  const ino = yield* inTransaction(task, core, [directory], (transaction) => {
    const made = core.driver.create(transaction, directory.ino, name, inode);
    inherit(core, transaction, made, inherited);
    const isDirectory = draft.type === "directory";
    core.changes.note(ChangeKind.created, made, isDirectory, directory.ino, name);
    return made;
  });
  return yield* scope.reference(ino);
}

/**
 * Makes a file that has no name, as O_TMPFILE: with what it would inherit in this directory. It goes with its last
 * user, unless it is given a name. Throws: as `createAt`.
 */
export function* createNameless(
  scope: Scope,
  directory: InodeReference,
  draft: Draft,
): Sleeps<InodeReference> {
  const { core, task } = scope;
  using _lock = yield* lockInode(task, directory);
  const parent = assertTakesNames(core, directory);
  const { inode, inherited } = newInode(core, parent, draft);
  const name = Buffer.from(`.holdfast-${randomUUID()}`);
  const ino = yield* inTransaction(task, core, [directory], (transaction) => {
    const made = core.driver.create(transaction, parent.ino, name, inode);
    inherit(core, transaction, made, inherited);
    core.driver.unlink(transaction, parent.ino, name, inode.time);
    const { modifyTime, changeTime } = parent;
    core.driver.setAttributes(transaction, parent.ino, { modifyTime, changeTime });
    return made;
  });
  return yield* scope.reference(ino);
}

/** mkdir(2). */
export function* makeDirectory(scope: Scope, path: Path, mode: number): Sleeps<void> {
  scope.core.assertWritable();
  const place = yield* scope.walk(path);
  if (place.kind !== "name") throw exists();
  yield* createAt(scope, place, { type: "directory", mode: mode & DIRECTORY_MODE });
}

/** Makes the directories of a path that are missing. Returns how many names the first one has, or 0. */
export function* makeDirectories(scope: Scope, path: Path, mode: number): Sleeps<number> {
  let first = 0;
  for (let count = 1; count <= path.names.length; count++) {
    const names = path.names.slice(0, count);
    const prefix: Path = { absolute: true, names, trailingSlash: false };
    const place = yield* scope.walk(prefix);
    let found = yield* scope.at(place);
    if (found === null) {
      try {
        scope.core.assertWritable();
        const draft: Draft = { type: "directory", mode: mode & DIRECTORY_MODE };
        found = yield* createAt(scope, place, draft);
        if (first === 0) first = count;
      } catch (error) {
        if (!(error instanceof HoldfastError && error.code === "EEXIST")) throw error;
        found = yield* scope.find(prefix, true);
      }
    }
    if (found.type === "symlink") found = yield* scope.find(prefix, true);
    if (!found.isDirectory) {
      throw count < path.names.length || path.trailingSlash ? notDirectory() : exists();
    }
  }
  return first;
}

/** mknod(2) of what has no content of its own: devices, FIFOs, sockets. */
export function* makeSpecial(scope: Scope, path: Path, draft: Draft): Sleeps<void> {
  scope.core.assertWritable();
  const place = yield* scope.walk(path);
  if (place.kind !== "name") throw exists();
  if (place.trailingSlash) throw (yield* scope.at(place)) === null ? missing() : exists();
  yield* createAt(scope, place, draft);
}

/** symlink(2). `target` is kept as it is. */
export function* makeSymlink(scope: Scope, target: Uint8Array, path: Path): Sleeps<void> {
  scope.core.assertWritable();
  if (target.length === 0) throw new HoldfastError("ENOENT", "a symlink's target is empty");
  if (target.length > TARGET_BYTES_MAX) {
    throw new HoldfastError("ENAMETOOLONG", `a symlink's target has ${target.length} bytes`);
  }
  const place = yield* scope.walk(path);
  if (place.kind !== "name") throw exists();
  if (place.trailingSlash) throw (yield* scope.at(place)) === null ? missing() : exists();
  yield* createAt(scope, place, { type: "symlink", mode: 0o777, target });
}

/** link(2): another name for a file; a symlink gets one itself. */
export function* makeLink(scope: Scope, existing: Path, path: Path): Sleeps<void> {
  scope.core.assertWritable();
  const source = yield* scope.find(existing, false);
  const place = yield* scope.walk(path);
  if (place.kind !== "name") throw exists();
  if (place.trailingSlash) throw (yield* scope.at(place)) === null ? missing() : exists();
  yield* makeLinkAt(scope, source, place, false);
}

/** As `makeLink`. `revives`: a file that has no name any more, or never had one, gets one as well. */
export function* makeLinkAt(
  scope: Scope,
  source: InodeReference,
  { directory, name }: Place,
  revives: boolean,
): Sleeps<void> {
  const { core, task } = scope;
  core.assertWritable();
  using _directory = yield* lockInode(task, directory);
  if (core.driver.lookup(directory.ino, name) !== null) throw exists();
  assertTakesNames(core, directory);
  if (source.isDirectory) throw new HoldfastError("EPERM", "a directory gets no second name");
  using _source = yield* lockInode(task, source);
  if (source.isNameless && !revives) throw missing();
  assertUnrestrictedNow(core, source);
  yield* inTransaction(task, core, [directory, source], (transaction) => {
    core.driver.link(transaction, directory.ino, name, source.ino, timeNow());
    source.setNameless(transaction, false);
    core.changes.note(ChangeKind.links, source.ino);
    core.changes.note(ChangeKind.created, source.ino, false, directory.ino, name);
  });
}

/** After a name of `inode` went in this transaction: notes whether it was the last. */
function noteNameGone(core: VolumeCore, transaction: Transaction, inode: InodeReference): void {
  if (core.driver.linkCountOf(inode.ino) === 0) inode.setNameless(transaction, true);
}

/** unlink(2). */
export function* removeFile(scope: Scope, path: Path): Sleeps<void> {
  scope.core.assertWritable();
  const place = yield* scope.walk(path);
  if (place.kind !== "name") throw new HoldfastError("EISDIR", "is a directory; use rmdir");
  yield* removeFileAt(scope, place);
}

/** As `removeFile`, of a place of kind "name". */
export function* removeFileAt(scope: Scope, place: Place): Sleeps<void> {
  const { core, task } = scope;
  const { directory, name } = place;
  core.assertWritable();
  using _directory = yield* lockInode(task, directory);
  const entry = core.driver.lookup(directory.ino, name);
  if (entry === null) throw missing();
  const inode = yield* scope.reference(entry.ino);
  if (inode.isDirectory) throw new HoldfastError("EISDIR", "is a directory; use rmdir");
  if (place.trailingSlash) throw notDirectory();
  assertUnrestrictedNow(core, directory);
  using _inode = yield* lockInode(task, inode);
  assertUnrestrictedNow(core, inode);
  yield* inTransaction(task, core, [directory, inode], (transaction) => {
    core.driver.unlink(transaction, directory.ino, name, timeNow());
    noteNameGone(core, transaction, inode);
    core.changes.note(ChangeKind.links, inode.ino);
    core.changes.note(ChangeKind.removed, inode.ino, false, directory.ino, name);
  });
}

/** rmdir(2). */
export function* removeDirectory(scope: Scope, path: Path): Sleeps<void> {
  scope.core.assertWritable();
  const place = yield* scope.walk(path);
  if (place.kind === "dot") throw new HoldfastError("EINVAL", "'.' cannot be removed");
  if (place.kind === "dotdot") throw new HoldfastError("ENOTEMPTY", "directory not empty");
  if (place.kind === "root") throw new HoldfastError("EBUSY", "the root stays");
  yield* removeDirectoryAt(scope, place);
}

/** As `removeDirectory`, of a place of kind "name". */
export function* removeDirectoryAt(scope: Scope, { directory, name }: Place): Sleeps<void> {
  const { core, task } = scope;
  core.assertWritable();
  for (;;) {
    const victim = yield* scope.step(directory, name);
    if (victim === null) throw missing();
    if (!victim.isDirectory) throw notDirectory();
    using _locks = yield* lockInodes(task, [directory, victim]);
    if (core.driver.lookup(directory.ino, name)?.ino !== victim.ino) continue;
    assertUnrestrictedNow(core, directory);
    assertUnrestrictedNow(core, victim);
    yield* inTransaction(task, core, [directory, victim], (transaction) => {
      core.driver.unlink(transaction, directory.ino, name, timeNow());
      noteNameGone(core, transaction, victim);
      core.changes.note(ChangeKind.removed, victim.ino, true, directory.ino, name);
    });
    return;
  }
}

/** rename(2). */
export function* rename(scope: Scope, fromPath: Path, toPath: Path): Sleeps<void> {
  scope.core.assertWritable();
  const from = yield* scope.walk(fromPath);
  const to = yield* scope.walk(toPath);
  if (from.kind !== "name" || to.kind !== "name") {
    throw new HoldfastError("EBUSY", "'.', '..' and the root keep their names");
  }
  yield* renameAt(scope, from, to);
}

/** What becomes of what has the new name: as the flags of renameat2(2), which names them. */
export type RenameMode = "replace" | "noreplace" | "exchange";

/** As `rename`, of places of kind "name". Throws, also: EEXIST by "noreplace", ENOENT by "exchange". */
export function* renameAt(
  scope: Scope,
  from: Place,
  to: Place,
  mode: RenameMode = "replace",
): Sleeps<void> {
  const { core, task } = scope;
  core.assertWritable();
  const crosses = from.directory.ino !== to.directory.ino;
  // Where directories hang changes under this lock only, so it stands still for the check below.
  using _rename = crosses ? yield* lockRename(scope) : null;
  for (;;) {
    const moved = yield* scope.step(from.directory, from.name);
    if (moved === null) throw missing();
    if (!moved.isDirectory && (from.trailingSlash || to.trailingSlash)) throw notDirectory();
    const replaced = yield* scope.step(to.directory, to.name);
    if (mode === "noreplace" && replaced !== null) throw exists();
    if (mode === "exchange" && replaced === null) throw missing();
    if (crosses) yield* assertNoLoop(scope, from, to, moved, replaced, mode);
    if (replaced !== null && mode === "replace") assertReplaces(moved, replaced);
    if (replaced?.ino === moved.ino) return;
    using _locks = yield* lockInodes(task, [from.directory, to.directory, moved, replaced]);
    const { driver } = core;
    if (driver.lookup(from.directory.ino, from.name)?.ino !== moved.ino) continue;
    if (driver.lookup(to.directory.ino, to.name)?.ino !== replaced?.ino) continue;
    yield* renameLocked(scope, from, to, moved, replaced, mode);
    return;
  }
}

/** A place as drivers take it. */
function entryPlace({ directory, name }: Place): EntryPlace {
  return { directory: directory.ino, name };
}

function* lockRename(scope: Scope): Sleeps<Disposable> {
  const lock = volumeWord(scope.task.thread, VolumeWord.renameLock);
  return yield* lockExclusive(scope.task, lock, { rankName: "directory", order: 0 });
}

/**
 * Throws: EINVAL when a directory would move into itself, ENOTEMPTY when it would replace one that it
 * lies in, EINVAL when it would change places with that. Locks: the rename lock.
 */
function* assertNoLoop(
  scope: Scope,
  from: Place,
  to: Place,
  moved: InodeReference,
  replaced: InodeReference | null,
  mode: RenameMode,
): Sleeps<void> {
  if (moved.isDirectory && (yield* isWithin(scope, to.directory, moved))) {
    throw new HoldfastError("EINVAL", "a directory cannot be moved into itself");
  }
  if (replaced?.isDirectory && (yield* isWithin(scope, from.directory, replaced))) {
    if (mode === "exchange") {
      throw new HoldfastError("EINVAL", "a directory cannot be moved into itself");
    }
    throw new HoldfastError("ENOTEMPTY", "directory not empty");
  }
}

/** Whether `directory` is `ancestor` or lies below it. Locks: the rename lock. */
function* isWithin(
  scope: Scope,
  directory: InodeReference,
  ancestor: InodeReference,
): Sleeps<boolean> {
  const seen = new Set<number>();
  let at = directory;
  for (;;) {
    if (at.ino === ancestor.ino) return true;
    if (at.ino === scope.core.driver.rootIno) return false;
    if (seen.has(at.ino)) throw new HoldfastError("ELOOP", "the directories form a loop");
    seen.add(at.ino);
    const parent = yield* scope.step(at, DOT_DOT);
    if (parent === null) throw missing();
    at = parent;
  }
}

/** Throws: EISDIR, ENOTDIR where `moved` cannot take the place of `replaced`. */
function assertReplaces(moved: InodeReference, replaced: InodeReference): void {
  if (replaced.ino === moved.ino) return;
  if (moved.isDirectory && !replaced.isDirectory) throw notDirectory();
  if (!moved.isDirectory && replaced.isDirectory) {
    throw new HoldfastError("EISDIR", "a directory is not replaced by a file");
  }
}

/** The change itself. Locks: all four inodes', exclusively. */
function* renameLocked(
  scope: Scope,
  from: Place,
  to: Place,
  moved: InodeReference,
  replaced: InodeReference | null,
  mode: RenameMode,
): Sleeps<void> {
  const { core, task } = scope;
  const { driver } = core;
  assertUnrestrictedNow(core, from.directory);
  if (mode === "exchange") assertUnrestrictedNow(core, to.directory);
  assertTakesNames(core, to.directory);
  assertUnrestrictedNow(core, moved);
  if (replaced !== null) assertUnrestrictedNow(core, replaced);
  const changed = [from.directory, to.directory, moved, replaced].filter((each) => each !== null);
  yield* inTransaction(task, core, changed, (transaction) => {
    const source = entryPlace(from);
    const target = entryPlace(to);
    if (mode === "exchange") driver.exchange(transaction, source, target, timeNow());
    else {
      driver.rename(transaction, source, target, timeNow());
      if (replaced !== null) {
        noteNameGone(core, transaction, replaced);
        core.changes.note(ChangeKind.links, replaced.ino, replaced.isDirectory);
      }
    }
    noteMoved(core, moved, from, to);
    if (mode === "exchange" && replaced !== null) noteMoved(core, replaced, to, from);
  });
}

/** Tells that an inode has another name. */
function noteMoved({ changes }: VolumeCore, moved: InodeReference, from: Place, to: Place): void {
  const { ino, isDirectory } = moved;
  changes.note(ChangeKind.movedFrom, ino, isDirectory, from.directory.ino, from.name);
  changes.note(ChangeKind.movedTo, ino, isDirectory, to.directory.ino, to.name);
}

/** How a file is opened: the flags of open(2) that matter here. */
export interface OpenFlags {
  readonly read: boolean;
  readonly write: boolean;
  readonly append: boolean;
  readonly create: boolean;
  readonly exclusive: boolean;
  readonly truncate: boolean;
  /** Reads and writes pass by the page cache. */
  readonly direct: boolean;
  /** Nothing but a directory is opened. */
  readonly directory: boolean;
  /** A symlink at the path's end is an error. */
  readonly noFollow: boolean;
}

/** What is to be opened, and whether it was made for that. */
export interface FoundOrCreated {
  readonly inode: InodeReference;
  readonly isNew: boolean;
}

/** Finds the file to open, or makes it. Permission bits and truncation are the caller's. */
export function* findOrCreate(
  scope: Scope,
  path: Path,
  flags: OpenFlags,
  mode: number,
): Sleeps<FoundOrCreated> {
  const { core } = scope;
  if (!flags.create) {
    const inode = yield* scope.find(path, !flags.noFollow);
    if (inode.type === "symlink") throw flags.directory ? notDirectory() : isSymlink();
    return { inode, isNew: false };
  }
  let place = yield* scope.walk(path);
  for (;;) {
    if (place.kind !== "name") throw flags.exclusive ? exists() : isDirectory();
    if (place.trailingSlash) throw isDirectory();
    const found = yield* scope.at(place);
    if (found !== null) {
      if (flags.exclusive) throw exists();
      if (found.type !== "symlink") return { inode: found, isNew: false };
      if (flags.noFollow) throw isSymlink();
      place = yield* scope.walk(yield* scope.target(found), place.directory);
      continue;
    }
    core.assertWritable();
    try {
      const inode = yield* createAt(scope, place, { type: "file", mode });
      return { inode, isNew: true };
    } catch (error) {
      const lost = error instanceof HoldfastError && error.code === "EEXIST";
      if (!lost || flags.exclusive) throw error;
    }
  }
}

function isSymlink(): HoldfastError {
  return new HoldfastError("ELOOP", "is a symlink, and was to be opened without following it");
}

export function isDirectory(): HoldfastError {
  return new HoldfastError("EISDIR", "is a directory");
}

/** The path of a directory entry below another: for messages and for recursive listings. */
export function pathOfNames(names: readonly Uint8Array[]): string {
  return `/${names.map((name) => Buffer.from(name).toString("utf8")).join("/")}`;
}
