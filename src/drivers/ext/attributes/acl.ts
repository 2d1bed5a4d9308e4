/**
 * Access control lists as they are stored: version 1, in which only entries that name a user or a group
 * have an id. Programs see version 2 (iomap/posix-acl.ts).
 *
 *     value: u32 version | entries: u16 tag, u16 permissions, and, of those two tags, u32 id
 *
 * Source: Linux Documentation/filesystems/ext4/attributes.rst, "POSIX ACLs".
 */
import { CorruptionError, HoldfastError } from "../../../base/errors.ts";
import type { Ino } from "../../../base/quantities.ts";
import {
  ACL_ID_NONE,
  type AclEntry,
  formatAcl,
  hasId,
  parseAcl,
  problemOf,
} from "../../../iomap/posix-acl.ts";

const VERSION = 1;
const HEADER_SIZE = 4;
const ENTRY_SIZE = 4;
const ID_SIZE = 4;

/** The stored form. Throws: EINVAL for what is no list, also for one without entries. */
export function storedAcl(value: Uint8Array): Uint8Array {
  const acl = parseAcl(value);
  if (acl === null) throw new HoldfastError("EINVAL", "an access control list has no entries");
  const named = acl.filter(({ tag }) => hasId(tag)).length;
  const view = new DataView(
    new ArrayBuffer(HEADER_SIZE + acl.length * ENTRY_SIZE + named * ID_SIZE),
  );
  view.setUint32(0, VERSION, true);
  let at = HEADER_SIZE;
  for (const { tag, permissions, id } of acl) {
    view.setUint16(at, tag, true);
    view.setUint16(at + 2, permissions, true);
    if (hasId(tag)) view.setUint32(at + ENTRY_SIZE, id, true);
    at += hasId(tag) ? ENTRY_SIZE + ID_SIZE : ENTRY_SIZE;
  }
  return new Uint8Array(view.buffer);
}

function damage(ino: Ino, field: string, value: number | string, expected: string) {
  const structure = `ext4_acl_header of inode ${ino}`;
  return new CorruptionError({ structure, field, value, expected });
}

/** The form that programs see. Throws: CorruptionError for what is no list. */
export function visibleAcl(ino: Ino, stored: Uint8Array): Uint8Array {
  const view = new DataView(stored.buffer, stored.byteOffset, stored.length);
  if (stored.length < HEADER_SIZE) throw damage(ino, "size", stored.length, "expected 4 or more");
  const version = view.getUint32(0, true);
  if (version !== VERSION) throw damage(ino, "a_version", version, `expected ${VERSION}`);
  const acl: AclEntry[] = [];
  for (let at = HEADER_SIZE; at < stored.length; ) {
    const tag = at + ENTRY_SIZE <= stored.length ? view.getUint16(at, true) : 0;
    const next = at + ENTRY_SIZE + (hasId(tag) ? ID_SIZE : 0);
    if (next > stored.length) throw damage(ino, "size", stored.length, "but its entries need more");
    const id = hasId(tag) ? view.getUint32(at + ENTRY_SIZE, true) : ACL_ID_NONE;
    acl.push({ tag, permissions: view.getUint16(at + 2, true), id });
    at = next;
  }
  const problem = problemOf(acl);
  if (problem !== null) throw damage(ino, "entries", acl.length, `but ${problem}`);
  return formatAcl(acl);
}
