/**
 * Access control lists beside permission bits: each change of one changes the other, so that both say the
 * same. Like permission bits they are kept, and not enforced.
 */
import type { Ino } from "../base/quantities.ts";
import type { FileType } from "../iomap/contract.ts";
import {
  ACL_ACCESS,
  ACL_DEFAULT,
  type Acl,
  aclWithMode,
  formatAcl,
  inheritedAcl,
  isMode,
  modeOfAcl,
  parseAcl,
} from "../iomap/posix-acl.ts";
import type { Transaction } from "../metadata/transaction.ts";
import type { VolumeCore } from "./core.ts";

const RIGHTS = 0o777;

export const ACL_ACCESS_NAME = Buffer.from(ACL_ACCESS);
export const ACL_DEFAULT_NAME = Buffer.from(ACL_DEFAULT);

/** An inode's list, or null. Throws: CorruptionError. */
function readAcl(core: VolumeCore, ino: Ino, name: Uint8Array): Acl | null {
  const value = core.driver.extendedAttributes?.get(ino, name) ?? null;
  return value === null ? null : parseAcl(value);
}

/** After chmod(2): the access list says what the mode says. Locks: the inode, exclusively. */
export function chmodAcl(core: VolumeCore, transaction: Transaction, ino: Ino, mode: number): void {
  const acl = readAcl(core, ino, ACL_ACCESS_NAME);
  if (acl === null) return;
  const changed = formatAcl(aclWithMode(acl, mode));
  core.driver.extendedAttributes?.set(transaction, ino, ACL_ACCESS_NAME, changed);
}

/**
 * Makes `acl` an inode's access list, and returns the mode that goes with it. One that says no more than a
 * mode is not kept. Locks: the inode, exclusively. Throws: ENOSPC, CorruptionError.
 */
export function setAccessAcl(
  core: VolumeCore,
  transaction: Transaction,
  ino: Ino,
  mode: number,
  acl: Acl,
): number {
  const attributes = core.driver.extendedAttributes;
  if (isMode(acl)) attributes?.remove(transaction, ino, ACL_ACCESS_NAME);
  else attributes?.set(transaction, ino, ACL_ACCESS_NAME, formatAcl(acl));
  return (mode & ~RIGHTS) | modeOfAcl(acl);
}

/** What a new inode gets by its directory's default list. */
export interface Inheritance {
  readonly mode: number;
  /** Null: the mode says all of it. */
  readonly access: Acl | null;
  /** Of a directory: the same default list again. */
  readonly default: Acl | null;
}

/**
 * The mode, and the lists, of a new inode in `directory`: by the directory's default list, or, without one,
 * by `umask`. Locks: the directory, exclusively. Throws: CorruptionError.
 */
export function inheritance(
  core: VolumeCore,
  directory: Ino,
  type: FileType,
  mode: number,
  umask: number,
): Inheritance {
  if (type === "symlink") return { mode, access: null, default: null };
  const acl = readAcl(core, directory, ACL_DEFAULT_NAME);
  if (acl === null) return { mode: mode & ~umask, access: null, default: null };
  const access = inheritedAcl(acl, mode);
  return {
    mode: (mode & ~RIGHTS) | modeOfAcl(access),
    access: isMode(access) ? null : access,
    default: type === "directory" ? acl : null,
  };
}

/** Gives a new inode the lists it inherits. Throws: ENOSPC. */
export function inherit(
  core: VolumeCore,
  transaction: Transaction,
  ino: Ino,
  { access, default: initial }: Inheritance,
): void {
  const attributes = core.driver.extendedAttributes;
  if (initial !== null) attributes?.set(transaction, ino, ACL_DEFAULT_NAME, formatAcl(initial));
  if (access !== null) attributes?.set(transaction, ino, ACL_ACCESS_NAME, formatAcl(access));
}
