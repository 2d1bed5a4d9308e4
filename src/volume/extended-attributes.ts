/**
 * Extended attributes, as the calls of Linux treat them: getxattr(2), setxattr(2), listxattr(2),
 * removexattr(2). Which inodes may have which, and who may change them, is said here; drivers only keep them.
 *
 * Source: xattr(7), acl(5), and what the calls answer on the kernel's own ext4.
 */
import { HoldfastError } from "../base/errors.ts";
import {
  ATTRIBUTE_NAME_BYTES_MAX,
  type ExtendedAttributes,
  type InodeInfo,
} from "../iomap/contract.ts";
import { type Acl, assertSound, decodeAcl, formatAcl } from "../iomap/posix-acl.ts";
import { MappingWord } from "../mapping/mapping.ts";
import { readStable } from "../metadata/sequence.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { ACL_ACCESS_NAME, ACL_DEFAULT_NAME, setAccessAcl } from "./acl.ts";
import { wrongType } from "./arguments.ts";
import { changeAttributes } from "./attributes.ts";
import type { Operation, VolumeCore } from "./core.ts";
import type { InodeReference } from "./inode-reference.ts";
import { textOfName } from "./stats.ts";

const VALUE_BYTES_MAX = 65_536;
const STICKY = 0o1000;

/** With its prefix, as "user.comment": text, or bytes where it is not UTF-8. */
export type AttributeName = string | Uint8Array;
/** Text is stored as UTF-8. */
export type AttributeValue = string | Uint8Array;

export interface SetAttributeOptions {
  /** Throws EEXIST where there is one ("create"), ENODATA where there is none ("replace"). */
  readonly only?: "create" | "replace";
}

/** Throws: ERR_INVALID_ARG_TYPE; ERANGE for a name that is empty or too long. */
function checkName(name: unknown): Uint8Array {
  const isText = typeof name === "string";
  if (!isText && !(name instanceof Uint8Array)) {
    throw wrongType("name", "a string or Uint8Array", name);
  }
  const bytes = isText ? Buffer.from(name, "utf8") : name;
  if (bytes.length > 0 && bytes.length <= ATTRIBUTE_NAME_BYTES_MAX) return bytes;
  const most = ATTRIBUTE_NAME_BYTES_MAX;
  const what = `an attribute's name has 1 to ${most} bytes, not ${bytes.length}`;
  throw new HoldfastError("ERANGE", what);
}

function checkValue(value: unknown): Uint8Array {
  const isText = typeof value === "string";
  if (!isText && !(value instanceof Uint8Array)) {
    throw wrongType("value", "a string or Uint8Array", value);
  }
  const bytes = isText ? Buffer.from(value, "utf8") : Uint8Array.from(value);
  if (bytes.length <= VALUE_BYTES_MAX) return bytes;
  const what = `an attribute's value has at most ${VALUE_BYTES_MAX} bytes, not ${bytes.length}`;
  throw new HoldfastError("E2BIG", what);
}

function checkOnly(options: SetAttributeOptions | undefined): "create" | "replace" | null {
  const only = options?.only;
  if (only === undefined || only === "create" || only === "replace") return only ?? null;
  throw wrongType("options.only", '"create" or "replace"', only);
}

function attributesOf(core: VolumeCore): ExtendedAttributes {
  const attributes = core.driver.extendedAttributes;
  if (attributes !== null) return attributes;
  const what = `volumes of type ${core.driver.type} have no extended attributes`;
  throw new HoldfastError("EOPNOTSUPP", what);
}

function startsWith(name: Uint8Array, prefix: string): boolean {
  return Buffer.from(name.subarray(0, prefix.length)).toString("latin1") === prefix;
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** Null: there is none. */
function isSameValue(a: Uint8Array | null, b: Uint8Array | null): boolean {
  return a === null || b === null ? a === b : isSame(a, b);
}

function isAcl(name: Uint8Array): boolean {
  return isSame(name, ACL_ACCESS_NAME) || isSame(name, ACL_DEFAULT_NAME);
}

function noData(): HoldfastError {
  return new HoldfastError("ENODATA", "there is no such extended attribute");
}

/** Why an inode cannot have an attribute of this name, or this process may not use it; or null. */
function refusal(core: VolumeCore, { type }: { type: string }, name: Uint8Array): string | null {
  if (startsWith(name, "trusted.") && core.uid !== 0)
    return "trusted attributes are the superuser's";
  if (startsWith(name, "user.") && type !== "file" && type !== "directory") {
    return `a ${type} has no user attributes, only files and directories have`;
  }
  return null;
}

/** Throws: EOPNOTSUPP for the access control list of a symlink. */
function assertHasAcl(inode: InodeReference): void {
  if (inode.type !== "symlink") return;
  throw new HoldfastError("EOPNOTSUPP", "a symlink has no access control list");
}

/** Throws: EPERM. Locks: the inode, exclusively. */
function assertMayChange(core: VolumeCore, info: InodeInfo, name: Uint8Array): void {
  const reason = refusal(core, info, name);
  if (reason !== null) throw new HoldfastError("EPERM", reason);
  const isOthers = core.uid !== 0 && core.uid !== info.uid;
  const isSticky = info.type === "directory" && (info.mode & STICKY) !== 0;
  if (startsWith(name, "user.") && isSticky && isOthers) {
    throw new HoldfastError("EPERM", "user attributes of a sticky directory are its owner's");
  }
}

/** A call, its arguments checked, before it is known which inode it is about. */
type OfInode<T> = (core: VolumeCore, inode: InodeReference) => Operation<T>;

/** getxattr(2). Throws: ENODATA, EOPNOTSUPP, ERANGE, CorruptionError. Sleeps: while they change. */
export function getAttribute(name: unknown): OfInode<Uint8Array> {
  const wanted = checkName(name);
  return (core, inode) =>
    function* (task) {
      const attributes = attributesOf(core);
      if (isAcl(wanted)) assertHasAcl(inode);
      if (refusal(core, inode, wanted) !== null) throw noData();
      const sequence = inode.mapping + MappingWord.sequence;
      const value = yield* readStable(task, sequence, () => attributes.get(inode.ino, wanted));
      if (value === null) throw noData();
      return value;
    };
}

/** listxattr(2), without the names that this process may not use. Sleeps: while they change. */
export function listAttributes(core: VolumeCore, inode: InodeReference): Operation<string[]> {
  return function* (task) {
    const attributes = attributesOf(core);
    const sequence = inode.mapping + MappingWord.sequence;
    const names = yield* readStable(task, sequence, () => attributes.list(inode.ino));
    return names.filter((name) => refusal(core, inode, name) === null).map(textOfName);
  };
}

/** setxattr(2). To the value that it has: nothing changes, as on ext4. Throws: EEXIST, ENODATA, ENOSPC, E2BIG, EPERM, EROFS, EOPNOTSUPP, EINVAL. */
export function setAttribute(
  name: unknown,
  value: unknown,
  options: SetAttributeOptions | undefined,
): OfInode<void> {
  const wanted = checkName(name);
  const bytes = checkValue(value);
  const only = checkOnly(options);
  return (core, inode) => (task) => {
    const attributes = attributesOf(core);
    if (isAcl(wanted)) return setAcl(task, core, inode, wanted, decodeAcl(bytes));
    return changeAttributes(task, core, inode, (info, transaction) => {
      assertMayChange(core, info, wanted);
      const before = attributes.get(inode.ino, wanted);
      if (only === "create" && before !== null) {
        throw new HoldfastError("EEXIST", "there is such an extended attribute already");
      }
      if (only === "replace" && before === null) throw noData();
      if (isSameValue(before, bytes)) return null;
      attributes.set(transaction, inode.ino, wanted, bytes);
      return {};
    });
  };
}

/** Sets an access control list; null removes it. As in Linux the option `only` does not count. */
function* setAcl(
  task: Task,
  core: VolumeCore,
  inode: InodeReference,
  name: Uint8Array,
  acl: Acl | null,
): Sleeps<void> {
  assertHasAcl(inode);
  const isAccess = isSame(name, ACL_ACCESS_NAME);
  if (!isAccess && acl !== null && !inode.isDirectory) {
    throw new HoldfastError("EACCES", `a ${inode.type} has no default access control list`);
  }
  if (acl !== null) assertSound(acl);
  const attributes = attributesOf(core);
  yield* changeAttributes(task, core, inode, ({ ino, mode }, transaction) => {
    const before = attributes.get(ino, name);
    let newMode = mode;
    if (acl === null) attributes.remove(transaction, ino, name);
    else if (isAccess) newMode = setAccessAcl(core, transaction, ino, mode, acl);
    else attributes.set(transaction, ino, name, formatAcl(acl));
    const isKept = newMode === mode && isSameValue(before, attributes.get(ino, name));
    return isKept ? null : { mode: newMode };
  });
}

/** removexattr(2). Throws: ENODATA, but not for an access control list; EPERM, EROFS, EOPNOTSUPP. */
export function removeAttribute(name: unknown): OfInode<void> {
  const wanted = checkName(name);
  return (core, inode) => (task) => {
    const attributes = attributesOf(core);
    if (isAcl(wanted)) assertHasAcl(inode);
    return changeAttributes(task, core, inode, (info, transaction) => {
      assertMayChange(core, info, wanted);
      const had = attributes.remove(transaction, inode.ino, wanted);
      if (!had && !isAcl(wanted)) throw noData();
      return had ? {} : null;
    });
  };
}
