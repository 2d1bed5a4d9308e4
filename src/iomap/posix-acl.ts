/**
 * POSIX access control lists, in the form in which Linux shows them as extended attributes (version 2), and
 * how they go with permission bits. Drivers may store them in another form.
 *
 *     value: u32 version | entries of 8 bytes: u16 tag, u16 permissions, u32 id; little-endian
 *
 * Source: acl(5); Linux include/uapi/linux/posix_acl_xattr.h (numbers); behaviour of setxattr(2).
 */
import { HoldfastError } from "../base/errors.ts";

export const ACL_ACCESS = "system.posix_acl_access";
export const ACL_DEFAULT = "system.posix_acl_default";

export const TAG_USER_OBJECT = 0x1;
export const TAG_USER = 0x2;
export const TAG_GROUP_OBJECT = 0x4;
export const TAG_GROUP = 0x8;
export const TAG_MASK = 0x10;
export const TAG_OTHER = 0x20;

const TAGS = [TAG_USER_OBJECT, TAG_USER, TAG_GROUP_OBJECT, TAG_GROUP, TAG_MASK, TAG_OTHER];

/** The id of entries that name nobody. */
export const ACL_ID_NONE = 0xffffffff;

const VERSION = 2;
const HEADER_SIZE = 4;
const ENTRY_SIZE = 8;
const PERMISSIONS = 7;
const NAMES_NOBODY = "an entry names no user or group";

export interface AclEntry {
  /** One of `TAG_...`. */
  readonly tag: number;
  /** Read 4, write 2, execute 1. */
  readonly permissions: number;
  /** User or group of those two tags, else `ACL_ID_NONE`. */
  readonly id: number;
}

/** Where nothing else is said: sound, that is, in the order of tags, each object and "other" once. */
export type Acl = readonly AclEntry[];

function invalid(what: string): HoldfastError {
  return new HoldfastError("EINVAL", `not an access control list: ${what}`);
}

/** Whether entries of this tag name a user or a group. */
export function hasId(tag: number): boolean {
  return tag === TAG_USER || tag === TAG_GROUP;
}

/**
 * The entries that `value` holds, or null where there are none, which stands for no list. Whether they make a
 * sound list is for `assertSound` to say.
 * Throws: EINVAL for a malformed value, EOPNOTSUPP for another version.
 */
export function decodeAcl(value: Uint8Array): Acl | null {
  if (value.length === 0) return null;
  if (value.length < HEADER_SIZE) throw invalid(`it has ${value.length} bytes`);
  const view = new DataView(value.buffer, value.byteOffset, value.length);
  const version = view.getUint32(0, true);
  if (version !== VERSION) {
    throw new HoldfastError("EOPNOTSUPP", `access control lists have version 2, not ${version}`);
  }
  if ((value.length - HEADER_SIZE) % ENTRY_SIZE !== 0) {
    throw invalid(`${value.length} bytes are not ${HEADER_SIZE} and entries of ${ENTRY_SIZE}`);
  }
  const acl: AclEntry[] = [];
  for (let at = HEADER_SIZE; at < value.length; at += ENTRY_SIZE) {
    const tag = view.getUint16(at, true);
    if (!TAGS.includes(tag)) throw invalid(`an entry has tag ${tag}`);
    const id = hasId(tag) ? view.getUint32(at + 4, true) : ACL_ID_NONE;
    // Of a malformed value, as in Linux: no inode can have it, whatever lists it may have.
    if (hasId(tag) && id === ACL_ID_NONE) throw invalid(NAMES_NOBODY);
    acl.push({ tag, permissions: view.getUint16(at + 2, true), id });
  }
  return acl.length === 0 ? null : acl;
}

/** Throws: EINVAL for entries that are no list. */
export function assertSound(acl: Acl): void {
  const problem = problemOf(acl);
  if (problem !== null) throw invalid(problem);
}

/** The sound list that `value` holds, or null. Throws: as both. */
export function parseAcl(value: Uint8Array): Acl | null {
  const acl = decodeAcl(value);
  if (acl !== null) assertSound(acl);
  return acl;
}

export function formatAcl(acl: Acl): Uint8Array {
  const value = new Uint8Array(HEADER_SIZE + acl.length * ENTRY_SIZE);
  const view = new DataView(value.buffer);
  view.setUint32(0, VERSION, true);
  for (const [index, { tag, permissions, id }] of acl.entries()) {
    const at = HEADER_SIZE + index * ENTRY_SIZE;
    view.setUint16(at, tag, true);
    view.setUint16(at + 2, permissions, true);
    view.setUint32(at + 4, id, true);
  }
  return value;
}

/** What makes entries no sound list, or null. Named users and groups need a mask. */
export function problemOf(acl: Acl): string | null {
  const tags = acl.map(({ tag }) => tag);
  for (const { tag, permissions, id } of acl) {
    if ((permissions & ~PERMISSIONS) !== 0) return `permissions ${permissions} of an entry`;
    if (hasId(tag) && id === ACL_ID_NONE) return NAMES_NOBODY;
  }
  const ordered = tags.every((tag, index) => index === 0 || tags[index - 1]! <= tag);
  if (!ordered) return "its entries are not in the order of their tags";
  for (const tag of [TAG_USER_OBJECT, TAG_GROUP_OBJECT, TAG_OTHER]) {
    if (count(tags, tag) !== 1) return `${count(tags, tag)} entries with tag ${tag}, expected 1`;
  }
  if (count(tags, TAG_MASK) > 1) return "it has more than one mask";
  const named = count(tags, TAG_USER) + count(tags, TAG_GROUP);
  if (named > 0 && !tags.includes(TAG_MASK)) return "it names users or groups, but has no mask";
  const known = named + 3 + count(tags, TAG_MASK);
  return known === tags.length ? null : "an entry has an unknown tag";
}

function count(tags: readonly number[], wanted: number): number {
  return tags.filter((tag) => tag === wanted).length;
}

/** Whether permission bits say all that the list says. */
export function isMode(acl: Acl): boolean {
  return acl.length === 3;
}

/** How far a tag's permissions are shifted in the mode; null for entries that are not in it. */
function shiftOf(acl: Acl, tag: number): number | null {
  if (tag === TAG_USER_OBJECT) return 6;
  if (tag === TAG_OTHER) return 0;
  const group = acl.some((entry) => entry.tag === TAG_MASK) ? TAG_MASK : TAG_GROUP_OBJECT;
  return tag === group ? 3 : null;
}

/** The nine permission bits of a list: those of the group are the mask's, if there is one. */
export function modeOfAcl(acl: Acl): number {
  let mode = 0;
  for (const { tag, permissions } of acl) {
    const shift = shiftOf(acl, tag);
    if (shift !== null) mode |= permissions << shift;
  }
  return mode;
}

/** The list after chmod(2). */
export function aclWithMode(acl: Acl, mode: number): Acl {
  return acl.map((entry) => {
    const shift = shiftOf(acl, entry.tag);
    return shift === null ? entry : { ...entry, permissions: (mode >> shift) & PERMISSIONS };
  });
}

/** The access list that a new file with `mode` takes from its directory's default one. */
export function inheritedAcl(acl: Acl, mode: number): Acl {
  return aclWithMode(acl, mode & modeOfAcl(acl));
}
