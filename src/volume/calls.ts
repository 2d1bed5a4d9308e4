/**
 * The operations on paths, each checked and described once; volume.ts runs them blocking or on the
 * event loop.
 */
import { type ErrorContext, HoldfastError } from "../base/errors.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import {
  checkInteger,
  checkMode,
  checkOwner,
  checkPath,
  checkTime,
  checkWaitOptions,
  pathText,
  type WaitOptions,
  wrongType,
  wrongValue,
} from "./arguments.ts";
import { changeDax } from "./access.ts";
import { changeMode, changeOwner, changeTimes, listDirectory, readSpace } from "./attributes.ts";
import { prepareContent, setSize, truncateInode } from "./content-change.ts";
import type { Operation, VolumeCore } from "./core.ts";
import {
  getAttribute,
  listAttributes,
  removeAttribute,
  type SetAttributeOptions,
  setAttribute,
} from "./extended-attributes.ts";
import { type FileHolders, holdersOf } from "./holders.ts";
import type { InodeReference } from "./inode-reference.ts";
import {
  findOrCreate,
  isDirectory,
  makeDirectories,
  makeDirectory,
  makeLink,
  makeSpecial,
  makeSymlink,
  type OpenFlags,
  pathOfNames,
  removeDirectory,
  removeFile,
  rename,
} from "./names.ts";
import { notDirectory, parsePath, readTarget, Scope } from "./paths.ts";
import {
  DirectoryEntry,
  readStats,
  type Stats,
  textOfName,
  type VolumeSpace,
  volumeSpaceOf,
} from "./stats.ts";

/** A path: text, or bytes where names are not UTF-8. Always from the volume's root. */
export type PathLike = string | Uint8Array;

/** An operation, checked and ready to run. */
export interface Call<T> {
  readonly context: ErrorContext;
  readonly run: (scope: Scope) => Sleeps<T>;
  readonly options?: WaitOptions | undefined;
}

/** Runs one operation on names, and drops what it referred to. */
export function* runScoped<T>(core: VolumeCore, task: Task, run: Call<T>["run"]): Sleeps<T> {
  const scope = new Scope(core, task);
  try {
    return yield* run(scope);
  } finally {
    scope[Symbol.dispose]();
  }
}

function call<T>(
  syscall: string,
  path: PathLike,
  run: (scope: Scope) => Sleeps<T>,
  dest?: PathLike,
): Call<T> {
  const context = { syscall, path: pathText(path) };
  return { context: dest === undefined ? context : { ...context, dest: pathText(dest) }, run };
}

/**
 * A call about the inode that a path leads to; `bytes`: the path, checked. `act` is no generator function made
 * for each call: that would cost more than most calls.
 */
function callOn<T>(
  syscall: string,
  path: PathLike,
  bytes: Uint8Array,
  follow: boolean,
  act: (scope: Scope, inode: InodeReference) => Sleeps<T>,
): Call<T> {
  return call(syscall, path, (scope) => actOn(scope, bytes, follow, act));
}

function* actOn<T>(
  scope: Scope,
  path: Uint8Array,
  follow: boolean,
  act: (scope: Scope, inode: InodeReference) => Sleeps<T>,
): Sleeps<T> {
  const inode = yield* scope.find(parsePath(path), follow);
  return yield* act(scope, inode);
}

/** The ways to open a file, by the names that Node has for them. */
export type OpenMode = "r" | "r+" | "w" | "w+" | "wx" | "wx+" | "a" | "a+" | "ax" | "ax+";

export interface OpenOptions extends WaitOptions {
  /**
   * As O_DIRECT: reads and writes of the handle pass by the page cache, of a copied file. They see what windows
   * and pins have stored, and these see what they write. Default false.
   */
  readonly direct?: boolean;
}

/** Throws: ERR_INVALID_ARG_VALUE. */
export function parseOpenMode(mode: unknown, options?: OpenOptions): OpenFlags {
  const match = typeof mode === "string" ? /^([rwa])(x?)(\+?)$/.exec(mode) : null;
  if (match === null || mode === "rx" || mode === "rx+") {
    throw wrongValue("flags", "must be one of r, r+, w, w+, wx, wx+, a, a+, ax, ax+", mode);
  }
  const [, letter, exclusive, plus] = match;
  return {
    read: letter === "r" || plus === "+",
    write: letter !== "r" || plus === "+",
    append: letter === "a",
    create: letter !== "r",
    exclusive: exclusive === "x",
    truncate: letter === "w",
    direct: options?.direct ?? false,
    directory: false,
    noFollow: false,
  };
}

/** Answers a reference of its own, which the caller drops. */
export function open(
  path: PathLike,
  flags: OpenFlags,
  mode: unknown,
  options?: WaitOptions,
): Call<InodeReference> {
  const bytes = checkPath("path", path);
  const bits = checkMode("mode", mode, 0o666);
  const run = (scope: Scope) => openAt(scope, bytes, flags, bits);
  const { context } = call("open", path, run);
  return { context, run, options: checkWaitOptions(options) };
}

function* openAt(
  scope: Scope,
  path: Uint8Array,
  flags: OpenFlags,
  bits: number,
): Sleeps<InodeReference> {
  const { core, task } = scope;
  const { inode, isNew } = yield* findOrCreate(scope, parsePath(path), flags, bits);
  if (inode.isDirectory && flags.write) throw isDirectory();
  if (flags.directory && !inode.isDirectory) throw notDirectory();
  if (!inode.isDirectory && inode.type !== "file") {
    throw new HoldfastError("ENXIO", `is a ${inode.type}; only files and directories are opened`);
  }
  if (flags.write) {
    yield* prepareContent(task, core, inode, flags.append);
    if (flags.truncate && !isNew) yield* setSize(task, core, inode, 0);
  }
  return inode.again();
}

export interface MkdirOptions {
  /** Permission bits, before the umask. Default 0o777. */
  readonly mode?: number | string;
  /** Makes missing parents, too; a directory that is there already is no error then. */
  readonly recursive?: boolean;
}

/** What `mknod` makes. */
export type SpecialType = "character-device" | "block-device" | "fifo" | "socket";

export interface MknodOptions {
  /** Permission bits, before the umask. Default 0o666. */
  readonly mode?: number | string;
  /** A device's number: major up to 4095, minor up to 1048575. */
  readonly major?: number;
  readonly minor?: number;
}

const SPECIAL_TYPES: readonly SpecialType[] = [
  "character-device",
  "block-device",
  "fifo",
  "socket",
];

export function mknod(path: PathLike, type: SpecialType, options: MknodOptions = {}): Call<void> {
  const bytes = checkPath("path", path);
  if (!SPECIAL_TYPES.includes(type)) {
    throw wrongValue("type", `must be one of ${SPECIAL_TYPES.join(", ")}`, type);
  }
  const draft = {
    type,
    mode: checkMode("options.mode", options.mode, 0o666),
    deviceMajor: checkInteger("options.major", options.major ?? 0, 0, 0xfff),
    deviceMinor: checkInteger("options.minor", options.minor ?? 0, 0, 0xfffff),
  };
  return call("mknod", path, (scope) => makeSpecial(scope, parsePath(bytes), draft));
}

/** Answers the first directory made, if `recursive`. */
export function mkdir(path: PathLike, options: MkdirOptions = {}): Call<string | undefined> {
  const bytes = checkPath("path", path);
  const mode = checkMode("options.mode", options.mode, 0o777);
  const recursive = options.recursive === true;
  return call("mkdir", path, (scope) => mkdirAt(scope, bytes, mode, recursive));
}

function* mkdirAt(
  scope: Scope,
  path: Uint8Array,
  mode: number,
  recursive: boolean,
): Sleeps<string | undefined> {
  const parsed = parsePath(path);
  if (!recursive) {
    yield* makeDirectory(scope, parsed, mode);
    return undefined;
  }
  const count = yield* makeDirectories(scope, parsed, mode);
  return count === 0 ? undefined : pathOfNames(parsed.names.slice(0, count));
}

export function unlink(path: PathLike): Call<void> {
  const bytes = checkPath("path", path);
  return call("unlink", path, (scope) => removeFile(scope, parsePath(bytes)));
}

export function rmdir(path: PathLike): Call<void> {
  const bytes = checkPath("path", path);
  return call("rmdir", path, (scope) => removeDirectory(scope, parsePath(bytes)));
}

export function renamePath(from: PathLike, to: PathLike): Call<void> {
  const oldBytes = checkPath("oldPath", from);
  const newBytes = checkPath("newPath", to);
  const run = (scope: Scope): Sleeps<void> =>
    rename(scope, parsePath(oldBytes), parsePath(newBytes));
  return call("rename", from, run, to);
}

export function link(existing: PathLike, path: PathLike): Call<void> {
  const oldBytes = checkPath("existingPath", existing);
  const newBytes = checkPath("newPath", path);
  const run = (scope: Scope): Sleeps<void> =>
    makeLink(scope, parsePath(oldBytes), parsePath(newBytes));
  return call("link", existing, run, path);
}

export function symlink(target: PathLike, path: PathLike): Call<void> {
  const targetBytes = checkPath("target", target);
  const bytes = checkPath("path", path);
  const run = (scope: Scope): Sleeps<void> => makeSymlink(scope, targetBytes, parsePath(bytes));
  return call("symlink", target, run, path);
}

export function readlink(path: PathLike): Call<Uint8Array> {
  const bytes = checkPath("path", path);
  return callOn("readlink", path, bytes, false, readLink);
}

function* readLink(scope: Scope, inode: InodeReference): Sleeps<Uint8Array> {
  if (inode.type !== "symlink") throw new HoldfastError("EINVAL", "is not a symlink");
  return Uint8Array.from(yield* readTarget(scope, inode));
}

export function readdir(path: PathLike): Call<string[]> {
  const bytes = checkPath("path", path);
  return callOn("scandir", path, bytes, true, listNames);
}

function* listNames(scope: Scope, directory: InodeReference): Sleeps<string[]> {
  const entries = yield* listDirectory(scope, directory, false);
  return entries.map(({ name }) => textOfName(name));
}

export function readdirEntries(path: PathLike): Call<DirectoryEntry[]> {
  const bytes = checkPath("path", path);
  const parent = pathText(path);
  return callOn("scandir", path, bytes, true, (scope, directory) =>
    listEntries(scope, directory, parent),
  );
}

function* listEntries(
  scope: Scope,
  directory: InodeReference,
  parent: string,
): Sleeps<DirectoryEntry[]> {
  const entries = yield* listDirectory(scope, directory, true);
  return entries.map(({ name, ino, type }) => new DirectoryEntry(name, parent, ino, type));
}

export function stat(path: PathLike, follow: boolean): Call<Stats> {
  const bytes = checkPath("path", path);
  return callOn(follow ? "stat" : "lstat", path, bytes, follow, ({ task, core }, inode) =>
    readStats(task, core, inode),
  );
}

export function holders(path: PathLike): Call<FileHolders> {
  const bytes = checkPath("path", path);
  return callOn("holders", path, bytes, true, findHolders);
}

function* findHolders(scope: Scope, { mapping, ino }: InodeReference): Sleeps<FileHolders> {
  return holdersOf(scope.core, mapping, ino, 1);
}

export function setDax(path: PathLike, flag: unknown): Call<void> {
  const bytes = checkPath("path", path);
  if (typeof flag !== "boolean") throw wrongType("flag", "a boolean", flag);
  return callOn("setdax", path, bytes, true, ({ task, core }, inode) =>
    changeDax(task, core, inode, flag),
  );
}

export function chmod(path: PathLike, mode: unknown): Call<void> {
  const bytes = checkPath("path", path);
  const bits = checkMode("mode", mode, 0);
  return callOn("chmod", path, bytes, true, ({ task, core }, inode) =>
    changeMode(task, core, inode, bits),
  );
}

export function chown(path: PathLike, uid: unknown, gid: unknown, follow: boolean): Call<void> {
  const bytes = checkPath("path", path);
  const [user, group] = [checkOwner("uid", uid), checkOwner("gid", gid)];
  return callOn(follow ? "chown" : "lchown", path, bytes, follow, ({ task, core }, inode) =>
    changeOwner(task, core, inode, user, group),
  );
}

export function utimes(
  path: PathLike,
  atime: unknown,
  mtime: unknown,
  follow: boolean,
): Call<void> {
  const bytes = checkPath("path", path);
  const [access, modify] = [checkTime("atime", atime), checkTime("mtime", mtime)];
  return callOn(follow ? "utime" : "lutime", path, bytes, follow, ({ task, core }, inode) =>
    changeTimes(task, core, inode, access, modify),
  );
}

/** Of calls that may be about a symlink itself. */
export interface FollowSymlinks {
  /** Default true. */
  readonly followSymlinks?: boolean;
}

/** A call about extended attributes: of the inode at a path, what `operation` makes of it. */
function attributeCall<T>(
  syscall: string,
  path: PathLike,
  options: FollowSymlinks | undefined,
  operation: (core: VolumeCore, inode: InodeReference) => Operation<T>,
): Call<T> {
  const bytes = checkPath("path", path);
  const follow = options?.followSymlinks ?? true;
  return callOn(follow ? syscall : `l${syscall}`, path, bytes, follow, ({ core, task }, inode) =>
    operation(core, inode)(task),
  );
}

export function getxattr(path: PathLike, name: unknown, options?: FollowSymlinks) {
  return attributeCall("getxattr", path, options, getAttribute(name));
}

export function setxattr(
  path: PathLike,
  name: unknown,
  value: unknown,
  options?: FollowSymlinks & SetAttributeOptions,
) {
  return attributeCall("setxattr", path, options, setAttribute(name, value, options));
}

export function listxattr(path: PathLike, options?: FollowSymlinks) {
  return attributeCall("listxattr", path, options, listAttributes);
}

export function removexattr(path: PathLike, name: unknown, options?: FollowSymlinks) {
  return attributeCall("removexattr", path, options, removeAttribute(name));
}

export function truncate(path: PathLike, size: unknown, options?: WaitOptions): Call<void> {
  const bytes = checkPath("path", path);
  const length = checkInteger("size", size);
  const { context, run } = call("truncate", path, (scope) => truncateAt(scope, bytes, length));
  return { context, run, options: checkWaitOptions(options) };
}

function* truncateAt(scope: Scope, path: Uint8Array, length: number): Sleeps<void> {
  const { core, task } = scope;
  core.assertWritable();
  const inode = yield* scope.find(parsePath(path), true);
  yield* truncateInode(task, core, inode, length);
}

export function statfs(): Call<VolumeSpace> {
  return call("statfs", "/", function* (scope) {
    yield* scope.root();
    const { core, task } = scope;
    return volumeSpaceOf(core.driver.type, yield* readSpace(task, core));
  });
}
