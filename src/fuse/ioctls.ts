/**
 * IOCTL: the flags of inodes, for lsattr and chattr, and FITRIM, for fstrim. Who may change which flags, the kernel checks, as
 * for filesystems of its own: it asks for those that there are first.
 */
import { ERRNO, HoldfastError } from "../base/errors.ts";
import type { Sleeps } from "../sync/sleep.ts";
import { readAttributes } from "../volume/attributes.ts";
import { trimSync } from "../volume/discard.ts";
import { changeFlags, readFlags } from "../volume/inode-flags.ts";
import type { InodeReference } from "../volume/inode-reference.ts";
import type { Scope } from "../volume/paths.ts";
import { BODY } from "./messages.ts";
import { ExtendedFlags, IoctlIn, IoctlOut, TrimRange } from "./protocol.ts";
import type { Operation, Serving } from "./serving.ts";

/** Of linux/fs.h. Of the first two the kernel passes 4 bytes, whatever their numbers say. */
const FS_IOC_GETFLAGS = 0x80086601;
const FS_IOC_SETFLAGS = 0x40086602;
const FS_IOC_FSGETXATTR = 0x801c581f;
const FS_IOC_FSSETXATTR = 0x401c5820;
const FITRIM = 0xc0185879;

const FLAGS_SIZE = 4;

/** Flags by both of their numbers: of GETFLAGS, and of FSGETXATTR. */
const EXTENDED: readonly (readonly [flag: number, extended: number])[] = [
  [0x8, 0x20], // synchronous
  [0x10, 0x8], // immutable
  [0x20, 0x10], // append-only
  [0x40, 0x80], // no dump
  [0x80, 0x40], // no access time
  [0x2000000, 0x8000], // dax
  [0x20000000, 0x200], // project inheritance
];

function extendedOf(flags: number): number {
  let extended = 0;
  for (const [flag, bit] of EXTENDED) if ((flags & flag) !== 0) extended |= bit;
  return extended;
}

/** `flags`, but those that have another number have what `extended` says. Throws: EOPNOTSUPP. */
function flagsOf(extended: number, flags: number): number {
  let [result, rest] = [flags, extended];
  for (const [flag, bit] of EXTENDED) {
    result = (extended & bit) === 0 ? result & ~flag : result | flag;
    rest &= ~bit;
  }
  if (rest === 0) return result;
  throw new HoldfastError("EOPNOTSUPP", `there are no flags 0x${(rest >>> 0).toString(16)}`);
}

/** The answer is so many bytes, behind its own structure. */
function answerOf(
  { reply }: Serving,
  size: number,
): { readonly at: number; readonly length: number } {
  const { structure } = IoctlOut;
  reply.clear(reply.body, structure.size + size);
  return { at: reply.body + structure.size, length: structure.size + size };
}

/** Whether a request is for FITRIM, which is no operation on the volume, but many: see `trim`. */
export function isTrim({ request }: Serving): boolean {
  return IoctlIn.command.get(request.view, BODY) === FITRIM;
}

/**
 * FITRIM: discards free space, which may last. A signal to the program ends it: what was discarded is.
 * Throws: EPERM for others than root; EINTR; EINVAL, EROFS, EOPNOTSUPP, EIO.
 */
export function trim(serving: Serving): number {
  const { request, reply, core, mount } = serving;
  const { view } = request;
  if (request.uid !== 0) throw new HoldfastError("EPERM", "free space is discarded by root alone");
  const at = BODY + IoctlIn.structure.size;
  // The largest of all says: to the end.
  const length = TrimRange.length.get(view, at);
  const discarded = trimSync(
    core,
    { syscall: "ioctl" },
    {
      start: Math.min(TrimRange.start.get(view, at), Number.MAX_SAFE_INTEGER),
      ...(Number.isSafeInteger(length) ? { length } : {}),
      minimum: Math.min(TrimRange.minimum.get(view, at), Number.MAX_SAFE_INTEGER),
      onProgress() {
        if (!mount.isOver && !mount.isInterrupted(request.uniqueLow, request.uniqueHigh)) return;
        throw new HoldfastError("EINTR", "the discarding was interrupted");
      },
    },
  );
  const answer = answerOf(serving, TrimRange.structure.size);
  TrimRange.length.set(reply.view, answer.at, discarded);
  return answer.length;
}

export const ioctl: Operation = function* (serving, scope) {
  const { request, reply, core } = serving;
  const command = IoctlIn.command.get(request.view, BODY);
  const inode = yield* serving.inode(scope);
  switch (command) {
    case FS_IOC_GETFLAGS: {
      const flags = yield* readFlags(scope.task, core, inode);
      const { at, length } = answerOf(serving, FLAGS_SIZE);
      reply.view.setUint32(at, flags, true);
      return length;
    }
    case FS_IOC_FSGETXATTR: {
      const flags = yield* readFlags(scope.task, core, inode);
      const { project } = yield* readAttributes(scope.task, core, inode);
      const { at, length } = answerOf(serving, ExtendedFlags.structure.size);
      ExtendedFlags.flags.set(reply.view, at, extendedOf(flags));
      ExtendedFlags.project.set(reply.view, at, project);
      return length;
    }
    case FS_IOC_SETFLAGS: {
      const flags = request.view.getUint32(BODY + IoctlIn.structure.size, true);
      yield* changeFlags(scope.task, core, inode, flags);
      serving.noteChange();
      serving.outdated = serving.nodes.nodeOf(inode.ino);
      return answerOf(serving, 0).length;
    }
    case FS_IOC_FSSETXATTR:
      yield* setExtended(serving, scope, inode);
      serving.noteChange();
      serving.outdated = serving.nodes.nodeOf(inode.ino);
      return answerOf(serving, 0).length;
    default:
      return -ERRNO.ENOTTY;
  }
};

function* setExtended(
  { core, request }: Serving,
  scope: Scope,
  inode: InodeReference,
): Sleeps<void> {
  const { view } = request;
  const at = BODY + IoctlIn.structure.size;
  const { project } = yield* readAttributes(scope.task, core, inode);
  const asked = ExtendedFlags.project.get(view, at);
  if (asked !== project) {
    const what = `the project stays ${project}: changing it to ${asked} is not done`;
    throw new HoldfastError("EOPNOTSUPP", what);
  }
  if (ExtendedFlags.extentSize.get(view, at) !== 0) {
    throw new HoldfastError("EOPNOTSUPP", "ext has no extent size hints");
  }
  const before = yield* readFlags(scope.task, core, inode);
  yield* changeFlags(scope.task, core, inode, flagsOf(ExtendedFlags.flags.get(view, at), before));
}
