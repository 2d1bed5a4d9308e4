/** GETATTR, STATX, SETATTR, STATFS, and extended attributes, access control lists among them. */
import { ERRNO, HoldfastError } from "../base/errors.ts";
import { timeNow } from "../dax/dax.ts";
import type { AttributeChange, InodeInfo, Time } from "../iomap/contract.ts";
import { MappingWord } from "../mapping/mapping.ts";
import { readStable } from "../metadata/sequence.ts";
import type { Transaction } from "../metadata/transaction.ts";
import { chmodAcl } from "../volume/acl.ts";
import { changeAttributes, readAttributes, readSpace, withoutSetId } from "../volume/attributes.ts";
import { truncateInode } from "../volume/content-change.ts";
import {
  getAttribute,
  removeAttribute,
  type SetAttributeOptions,
  setAttribute,
} from "../volume/extended-attributes.ts";
import { PERMISSIONS, SET_GROUP_ID } from "../volume/mode-bits.ts";
import { assertTakesMore, assertUnrestricted } from "../volume/names.ts";
import { noteCapabilitiesChange } from "./capabilities.ts";
import { dropPrivileges, keepsSetId, modeAfterChange } from "./files.ts";
import { BODY, writeStatx } from "./messages.ts";
import {
  AttributeFlag,
  GetXattr,
  SETXATTR_KILL_SGID,
  SetAttributesIn,
  SetXattrIn,
  StatfsOut,
  StatxOut,
} from "./protocol.ts";
import type { Operation, Serving } from "./serving.ts";

const XATTR_CREATE = 1;
const XATTR_REPLACE = 2;

export const getattr: Operation = function* (serving, scope) {
  return yield* serving.attributes(scope, yield* serving.inode(scope));
};

export const statx: Operation = function* (serving, scope) {
  const { core, reply, valid } = serving;
  const inode = yield* serving.inode(scope);
  const info = yield* readAttributes(scope.task, core, inode);
  reply.clear(reply.body, StatxOut.structure.size);
  writeStatx(reply.view, reply.body, info, core.driver.blockSize, valid);
  return StatxOut.structure.size;
};

export const setattr: Operation = function* (serving, scope) {
  const { core, request } = serving;
  const { view } = request;
  const valid = SetAttributesIn.valid.get(view, BODY);
  const inode = yield* serving.inode(scope);
  core.assertWritable();
  if ((valid & AttributeFlag.SIZE) !== 0) {
    yield* dropPrivileges(serving, scope, inode, false);
    yield* truncateInode(scope.task, core, inode, SetAttributesIn.size.get(view, BODY));
  }
  const others = valid & ~AttributeFlag.SIZE;
  const isOfOwner = (valid & OWNER) !== 0 || takesBitsUnsaid(serving, valid);
  if ((others & CHANGES) !== 0 || isOfOwner) {
    if (isOfOwner) yield* dropPrivileges(serving, scope, inode, false);
    const change = changeOf(serving, valid);
    const modeOf = (info: InodeInfo): number => {
      if (change.mode !== undefined) return change.mode;
      if (info.type === "directory") return info.mode;
      if ((valid & AttributeFlag.KILL_SUIDGID) !== 0) return modeAfterChange(serving, info);
      return isOfOwner ? withoutSetId(info.mode) : info.mode;
    };
    const check = (info: InodeInfo): void => {
      if (isCollected(serving, valid)) return;
      if (isOfUse(serving, valid) && modeOf(info) === info.mode) assertTakesMore(info);
      else assertUnrestricted(info);
    };
    const apply = (info: InodeInfo, transaction: Transaction): AttributeChange => {
      if (change.mode !== undefined) chmodAcl(core, transaction, inode.ino, change.mode);
      return { ...change, mode: modeOf(info) };
    };
    yield* changeAttributes(scope.task, core, inode, apply, check);
  }
  return yield* serving.attributes(scope, inode);
};

/**
 * Nothing is asked for, but perhaps a time of change: by a chown(2) that leaves both as they are, and takes set-id bits
 * all the same; before a write that takes them; and before one of the superuser that takes capabilities, and leaves them.
 * That one names no time, and his chown(2) does only with writeback; so he may keep bits that he should not.
 */
function takesBitsUnsaid(serving: Serving, valid: number): boolean {
  if ((valid & (CHANGES | AttributeFlag.SIZE) & ~AttributeFlag.CTIME) !== 0) return false;
  return !keepsSetId(serving) || (valid & AttributeFlag.CTIME) !== 0;
}

/**
 * Whether an append-only file's flag allows a change that the kernel asks for: nothing but times, and these of now. Where
 * the kernel collects what is written, it says of now when that was.
 */
function isOfUse({ options }: Serving, valid: number): boolean {
  const has = (flag: number): boolean => (valid & flag) !== 0;
  if (has(AttributeFlag.MODE | OWNER)) return false;
  if (has(AttributeFlag.ATIME) && !has(AttributeFlag.ATIME_NOW)) return false;
  return options.writeback || !has(AttributeFlag.MTIME) || has(AttributeFlag.MTIME_NOW);
}

/**
 * Whether the kernel may say itself when a file was written whose writes it has collected: also of one that is immutable
 * since. (Who sets the time of modification of an immutable file, and no other, is not told from it.)
 */
function isCollected({ options }: Serving, valid: number): boolean {
  const isOfWrite = (valid & CHANGES & ~AttributeFlag.CTIME) === AttributeFlag.MTIME;
  return options.writeback && isOfWrite && (valid & AttributeFlag.MTIME_NOW) === 0;
}

const OWNER = AttributeFlag.UID | AttributeFlag.GID;
const CHANGES =
  AttributeFlag.MODE |
  OWNER |
  AttributeFlag.ATIME |
  AttributeFlag.MTIME |
  AttributeFlag.CTIME |
  AttributeFlag.KILL_SUIDGID;

function changeOf({ request }: Serving, valid: number): AttributeChange {
  const { view } = request;
  const has = (flag: number): boolean => (valid & flag) !== 0;
  const time = (name: "atime" | "mtime" | "ctime"): Time => ({
    seconds: request.secondsAt(SetAttributesIn[name].offset),
    nanoseconds: SetAttributesIn[`${name}Nanoseconds`].get(view, BODY),
  });
  const change: { -readonly [name in keyof AttributeChange]: AttributeChange[name] } = {};
  if (has(AttributeFlag.MODE)) change.mode = SetAttributesIn.mode.get(view, BODY) & PERMISSIONS;
  if (has(AttributeFlag.UID)) change.uid = SetAttributesIn.uid.get(view, BODY);
  if (has(AttributeFlag.GID)) change.gid = SetAttributesIn.gid.get(view, BODY);
  if (has(AttributeFlag.ATIME)) {
    change.accessTime = has(AttributeFlag.ATIME_NOW) ? timeNow() : time("atime");
  }
  if (has(AttributeFlag.MTIME)) {
    change.modifyTime = has(AttributeFlag.MTIME_NOW) ? timeNow() : time("mtime");
  }
  if (has(AttributeFlag.CTIME)) change.changeTime = time("ctime");
  return change;
}

export const statfs: Operation = function* (serving, scope) {
  const { reply, core } = serving;
  const { view, body } = reply;
  const space = yield* readSpace(scope.task, core);
  reply.clear(body, StatfsOut.structure.size);
  StatfsOut.blocks.set(view, body, space.blocks);
  StatfsOut.blocksFree.set(view, body, space.blocksFree);
  StatfsOut.blocksAvailable.set(view, body, space.blocksAvailable);
  StatfsOut.files.set(view, body, space.inodes);
  StatfsOut.filesFree.set(view, body, space.inodesFree);
  StatfsOut.blockSize.set(view, body, space.blockSize);
  StatfsOut.nameLength.set(view, body, space.nameLengthMax);
  StatfsOut.fragmentSize.set(view, body, space.blockSize);
  return StatfsOut.structure.size;
};

/** Answers with bytes, or with how many they are where the caller has asked for that. Throws: ERANGE. */
function answer({ request, reply }: Serving, value: Uint8Array): number {
  const room = GetXattr.size.get(request.view, BODY);
  if (room === 0) {
    reply.clear(reply.body, GetXattr.structure.size);
    GetXattr.size.set(reply.view, reply.body, value.length);
    return GetXattr.structure.size;
  }
  if (value.length > room) {
    throw new HoldfastError("ERANGE", `the answer has ${value.length} bytes, more than ${room}`);
  }
  reply.bytes.set(value, reply.body);
  return value.length;
}

export const getxattr: Operation = function* (serving, scope) {
  const { core, request } = serving;
  const inode = yield* serving.inode(scope);
  const name = request.nameAt(GetXattr.structure.size);
  const attributes = core.driver.extendedAttributes;
  if (attributes === null) return -ERRNO.EOPNOTSUPP;
  // Programs ask for lists and capabilities that are not there all the time: an error costs more than the look.
  const sequence = inode.mapping + MappingWord.sequence;
  const value = yield* readStable(scope.task, sequence, () => attributes.get(inode.ino, name));
  if (value === null) return -ERRNO.ENODATA;
  return answer(serving, yield* getAttribute(name)(core, inode)(scope.task));
};

export const setxattr: Operation = function* (serving, scope) {
  const { core, request } = serving;
  const { view } = request;
  const inode = yield* serving.inode(scope);
  const name = request.nameAt(SetXattrIn.structure.size);
  const valueAt = SetXattrIn.structure.size + name.length + 1;
  const value = request.bytesAt(valueAt, SetXattrIn.size.get(view, BODY));
  const options = onlyOf(SetXattrIn.flags.get(view, BODY));
  noteCapabilitiesChange(core.thread.words, inode);
  try {
    yield* setAttribute(name, value, options)(core, inode)(scope.task);
  } finally {
    noteCapabilitiesChange(core.thread.words, inode);
  }
  if ((SetXattrIn.extraFlags.get(view, BODY) & SETXATTR_KILL_SGID) !== 0) {
    yield* changeAttributes(scope.task, core, inode, ({ mode }) => ({
      mode: mode & ~SET_GROUP_ID,
    }));
  }
  return 0;
};

function onlyOf(flags: number): SetAttributeOptions {
  if (flags === 0) return {};
  if (flags === XATTR_CREATE) return { only: "create" };
  if (flags === XATTR_REPLACE) return { only: "replace" };
  throw new HoldfastError("EINVAL", `an attribute is not set with flags ${flags}`);
}

export const listxattr: Operation = function* (serving, scope) {
  const { core, request } = serving;
  const inode = yield* serving.inode(scope);
  const attributes = core.driver.extendedAttributes;
  if (attributes === null) throw new HoldfastError("EOPNOTSUPP", "there are no attributes");
  const sequence = inode.mapping + MappingWord.sequence;
  const names = yield* readStable(scope.task, sequence, () => attributes.list(inode.ino));
  const seen = names.filter((name) => request.uid === 0 || !isTrusted(name));
  const value = Buffer.concat(seen.flatMap((name) => [name, Buffer.of(0)]));
  return answer(serving, value);
};

function isTrusted(name: Uint8Array): boolean {
  return Buffer.from(name.subarray(0, 8)).toString("latin1") === "trusted.";
}

export const removexattr: Operation = function* (serving, scope) {
  const inode = yield* serving.inode(scope);
  const name = serving.request.nameAt(0);
  yield* removeAttribute(name)(serving.core, inode)(scope.task);
  return 0;
};
