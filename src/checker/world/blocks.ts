/** The driver's tables of a volume at the end of a schedule, looked at from outside: in the words themselves. */
import { PAGE_SIZE } from "../../base/quantities.ts";
import { ExtentFlag, Header, Inode, Node } from "../../drivers/ram/layout.ts";
import { ensure, ensureNoLeak } from "../scenario.ts";
import { LOST_BYTES } from "./device.ts";
import type { DriverTables } from "./driver-tables.ts";
import type { Volume } from "./volume.ts";

/** Every block is free, or files have it as often as its owners are counted; the counts agree. */
export function assertBlocks(volume: Volume, tables: DriverTables): void {
  const { words } = volume;
  const { header, bitmap } = tables;
  const { blocks } = volume.shared.spec;
  const owners = new Map<number, string>();
  const counts = new Map<number, number>();
  for (const file of volume.shared.files) {
    const { name, ino } = file;
    const inode = volume.inodeWord({ ino });
    const pages = Math.ceil(volume.sizeOf(file) / PAGE_SIZE);
    let count = 0;
    for (let node = words[inode + Inode.nodes]!; node !== 0; node = words[node + Node.next]!) {
      const end = words[node + Node.a]! + words[node + Node.b]!;
      ensureNoLeak(end <= pages, `file ${name} has blocks beyond its end`);
      for (let at = 0; at < words[node + Node.b]!; at++) {
        const block = words[node + Node.c]! + at;
        const flags = words[node + Node.d]!;
        const alone = (flags & ExtentFlag.shared) === 0;
        const other = owners.get(block);
        ensure(!alone || other === undefined, `block ${block} is file ${name}'s and ${other}'s`);
        ensure(
          !alone || tables.ownersCounted(block) === 1,
          `file ${name} has block ${block} for its own, which has several owners`,
        );
        owners.set(block, name);
        const lost = volume.content(block) === LOST_BYTES;
        ensure(
          !lost || volume.isBad(block),
          `block ${block} of file ${name} is lost and not listed`,
        );
        counts.set(block, (counts.get(block) ?? 0) + 1);
        count++;
      }
    }
    ensure(count === words[inode + Inode.blocks], `file ${name} counts its blocks wrong`);
  }
  let free = 0;
  let several = 0;
  for (const [block, count] of counts) {
    const counted = tables.ownersCounted(block);
    ensure(counted === count, `block ${block} has ${count} owners, and ${counted} are counted`);
    if (count > 1) several++;
  }
  const shared = words[header + Header.blocksShared];
  ensure(several === shared, `${several} blocks are shared, ${shared} are counted`);
  for (let block = 0; block < blocks; block++) {
    const used = ((words[bitmap + (block >>> 5)]! >>> (block & 31)) & 1) !== 0;
    if (!used) free++;
    ensureNoLeak(!used || owners.has(block), `block ${block} is in use, but no file has it`);
    ensure(used || !owners.has(block), `block ${block} of file ${owners.get(block)} is free`);
  }
  ensure(free === words[header + Header.blocksFree], "the free blocks are counted wrong");
}
