/**
 * Times of access, where a mount keeps them. The kernel sets none of a FUSE filesystem: who serves does, when he is asked
 * for content. What the kernel has cached it does not ask for; so where the next reading counts, it is told at the opening
 * to begin without what it has cached.
 */
import { HoldfastError } from "../base/errors.ts";
import { FLAG_NO_ACCESS_TIME, type InodeInfo, type Time } from "../iomap/contract.ts";
import type { Sleeps } from "../sync/sleep.ts";
import { readAttributes, setAccessTime } from "../volume/attributes.ts";
import { readFlags } from "../volume/inode-flags.ts";
import type { InodeReference } from "../volume/inode-reference.ts";
import type { Scope } from "../volume/paths.ts";
import type { Serving } from "./serving.ts";

const O_NOATIME = 0o1000000;
const DAY_SECONDS = 86_400;

/**
 * Whether reading an inode by an opening with these flags of open(2) sets its time now. Sleeps: while its attributes
 * change. Throws: CorruptionError.
 */
export function* isAccessDue(
  { core, options }: Serving,
  scope: Scope,
  inode: InodeReference,
  flags: number,
): Sleeps<boolean> {
  const { accessTimes, directoryAccessTimes } = options;
  if (accessTimes === "never" || core.readOnly || (flags & O_NOATIME) !== 0) return false;
  if (inode.isDirectory && !directoryAccessTimes) return false;
  const info = yield* readAttributes(scope.task, core, inode);
  if (accessTimes === "relative" && !isBehind(info)) return false;
  return ((yield* readFlags(scope.task, core, inode)) & FLAG_NO_ACCESS_TIME) === 0;
}

/** Source: mount(8), relatime. */
function isBehind({ accessTime, modifyTime, changeTime }: InodeInfo): boolean {
  return (
    !isLater(accessTime, modifyTime) ||
    !isLater(accessTime, changeTime) ||
    Date.now() / 1000 - accessTime.seconds >= DAY_SECONDS
  );
}

function isLater(a: Time, b: Time): boolean {
  return a.seconds > b.seconds || (a.seconds === b.seconds && a.nanoseconds > b.nanoseconds);
}

/**
 * An inode has been read: sets its time of access where that is due. Where it cannot be set the reading has been done
 * all the same. Locks: none may be held. Sleeps: for the inode's, and for transactions.
 */
export function* noteAccess(
  serving: Serving,
  scope: Scope,
  inode: InodeReference,
  flags: number,
): Sleeps<void> {
  try {
    if (!(yield* isAccessDue(serving, scope, inode, flags))) return;
    yield* setAccessTime(scope.task, serving.core, inode);
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
  }
}
