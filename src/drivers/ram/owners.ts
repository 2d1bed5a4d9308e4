/** The reverse mapping of the ram filesystem: a search of every file's extents. It has no blocks of its own. */
import type { Ino } from "../../base/quantities.ts";
import type { BlockOwner, OwnerSearch } from "../../iomap/contract.ts";
import { BLOCK_SIZE, ExtentFlag, Inode, Node, type Tables } from "./layout.ts";

/** The type bits of a mode, and what they are of a file: of others the nodes are names. */
const TYPE_MASK = 0xf000;
const TYPE_FILE = 0x8000;

/** Who has blocks of the searched range, of all files. */
export function ownersOf(tables: Tables, search: OwnerSearch): BlockOwner[] {
  const owners: BlockOwner[] = [];
  tables.forEachInode((ino, inode) => {
    owners.push(...ownedBy(tables, search, ino as Ino, inode));
  });
  return owners;
}

/** What one inode has of the range, whose record is at word `inode`; nothing if it is not in use. */
export function ownedBy(
  tables: Tables,
  search: OwnerSearch,
  ino: Ino,
  inode: number,
): BlockOwner[] {
  if ((tables.get(inode + Inode.mode) & TYPE_MASK) !== TYPE_FILE) return [];
  const owners: BlockOwner[] = [];
  const first = search.address / BLOCK_SIZE;
  const end = first + search.length / BLOCK_SIZE;
  let node = tables.get(inode + Inode.nodes);
  for (; node !== 0; node = tables.get(node + Node.next)) {
    const device = tables.unsigned(node + Node.c);
    const from = Math.max(first, device);
    const to = Math.min(end, device + tables.get(node + Node.b));
    if (from >= to) continue;
    owners.push({
      address: from * BLOCK_SIZE,
      length: (to - from) * BLOCK_SIZE,
      use: tables.get(node + Node.d) & ExtentFlag.unwritten ? "unwritten" : "data",
      ino,
      start: (tables.unsigned(node + Node.a) + from - device) * BLOCK_SIZE,
      group: null,
    });
  }
  return owners;
}
