/** What the words of a volume are called, for stories. */
import { Header, Inode, INODE_WORDS, Node, NODE_WORDS } from "../../drivers/ram/layout.ts";
import type { Pages } from "../../pages/pages.ts";
import { Root } from "../../sync/region.ts";
import type { Thread } from "../../sync/thread.ts";
import type { VolumeShared } from "./build.ts";
import { transactionWordName, wordName } from "./names.ts";
import { portWordName } from "./port.ts";

/** As much of the driver's tables of blocks as stories name. */
const TABLE_WORDS = 1024;

/** The name of a word, or null for one that belongs to nothing known. */
export function volumeWordName(
  shared: VolumeShared,
  thread: Thread,
  pages: Pages,
  word: number,
): string | null {
  const block = word - shared.device;
  if (block >= 0 && block < shared.spec.blocks) return `content of block ${block}`;
  if (block >= 0 && block < 2 * shared.spec.blocks) {
    return `persistent content of block ${block - shared.spec.blocks}`;
  }
  const mappings = shared.files.map(({ mapping }) => mapping);
  return (
    portWordName(shared.port, word) ??
    driverWordName(shared, word) ??
    transactionWordName(shared.region.root(Root.transaction), word) ??
    windowWordName(shared, word) ??
    wordName(thread, pages, mappings, word)
  );
}

function driverWordName({ region, files }: VolumeShared, word: number): string | null {
  const { words } = region;
  const header = region.root(Root.ram);
  const inodes = words[header + Header.inodeTable]!;
  for (const { name, ino } of files) {
    const offset = word - inodes - ino * INODE_WORDS;
    if (offset < 0 || offset >= INODE_WORDS) continue;
    return offset === Inode.nodes ? `extents of file ${name}` : `driver's inode of file ${name}`;
  }
  if (word >= header && word < header + 16) {
    return word === header + Header.blocksFree ? "free blocks" : "driver's header";
  }
  const inBitmap = word - words[header + Header.bitmap]!;
  if (inBitmap >= 0 && inBitmap < TABLE_WORDS) return "driver's bitmap";
  const block = word - words[header + Header.sharers]!;
  if (block >= 0 && block < TABLE_WORDS) return `further owners of block ${block}`;
  const inNodes = word - words[header + Header.nodeTable]!;
  const nodesUsed = words[header + Header.nodesUsed]!;
  if (inNodes < 0 || inNodes >= nodesUsed * NODE_WORDS) return null;
  const field: Readonly<Record<number, string>> = {
    [Node.next]: "next",
    [Node.a]: "first block",
    [Node.b]: "blocks",
    [Node.c]: "device block",
    [Node.d]: "flags",
  };
  const within = field[inNodes % NODE_WORDS] ?? "a word";
  return `extent ${Math.floor(inNodes / NODE_WORDS)}: ${within}`;
}

function windowWordName({ windows }: VolumeShared, word: number): string | null {
  for (const [index, { window }] of windows.entries()) {
    const offset = word - window;
    if (offset >= 0 && offset < 80) return `window ${index}: ${windowField(offset)}`;
  }
  return null;
}

function windowField(offset: number): string {
  if (offset >= 16) return "2 MiB shown";
  if (offset === 8) return "serial";
  return offset >= 9 && offset <= 11 ? "pages lost" : `word ${offset}`;
}
