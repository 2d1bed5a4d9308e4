/** The blocks of one inode's content: where they lie, and who else has them. */
import type { CorruptionError } from "../../../base/errors.ts";
import type { Piece } from "../maps/file-map.ts";
import { type MapVisitor, walkMap } from "../maps/map-walk.ts";
import type { Located } from "../volume.ts";
import { TYPE_DIRECTORY, TYPE_SYMLINK } from "./census.ts";
import type { InodeCheck } from "./inodes.ts";

/** What a walk has seen. */
export interface ContentSeen {
  /** In use by the content and its map; whole clusters on a bigalloc volume. */
  readonly blocks: number;
  /** The file blocks behind the last that is mapped, and the last that was written. */
  readonly mappedEnd: number;
  readonly writtenEnd: number;
  /** On the device: the block of file block 0; null: a hole. */
  readonly firstBlock: number | null;
}

/** Walks the map of an inode, notes its blocks and tells what is wrong with them. */
export function walkContent(inode: InodeCheck, type: number): ContentSeen {
  const walk = new ContentWalk(inode, type);
  const { check, raw, ino } = inode;
  walkMap(check.volume, raw, ino, walk);
  return walk;
}

class ContentWalk implements MapVisitor, ContentSeen {
  blocks = 0;
  mappedEnd = 0;
  writtenEnd = 0;
  firstBlock: number | null = null;
  readonly #inode: InodeCheck;
  readonly #isMetadata: boolean;
  /** The content's last block so far: the next piece may begin in its cluster. */
  #lastBlock = -1;

  constructor(inode: InodeCheck, type: number) {
    this.#inode = inode;
    this.#isMetadata = type === TYPE_DIRECTORY || type === TYPE_SYMLINK;
  }

  mapBlock(block: number): void {
    const { check, ino } = this.#inode;
    if (!check.volume.isOwnable(block, 1)) {
      this.#tellPlace(block, 1, "its map");
      return;
    }
    this.blocks += check.volume.facts.clusterBlocks;
    check.census.own(ino, block, 1, "its map");
  }

  content({ start, count, fileBlock, isWritten }: Piece, where: Located): void {
    if (count === 0) return;
    const { check, ino } = this.#inode;
    const end = fileBlock + count;
    this.mappedEnd = Math.max(this.mappedEnd, end);
    if (isWritten) this.writtenEnd = Math.max(this.writtenEnd, end);
    else if (this.#isMetadata) this.#tellUnwritten(fileBlock, where);
    if (fileBlock === 0) this.firstBlock = start;
    if (!check.volume.isOwnable(start, count)) {
      this.#tellPlace(start, count, `file block ${fileBlock}`);
      return;
    }
    this.blocks += this.#clustersOf(start, count) * check.volume.facts.clusterBlocks;
    check.census.own(ino, start, count, `file block ${fileBlock}`, this.#lastBlock);
    this.#lastBlock = start + count - 1;
  }

  damage(error: CorruptionError): void {
    this.#inode.check.tellDamage(error);
  }

  /** Clusters that a piece has of its own. */
  #clustersOf(start: number, count: number): number {
    const { clusterBlocks } = this.#inode.check.volume.facts;
    const clusterOf = (block: number) => Math.floor(block / clusterBlocks);
    const clusters = clusterOf(start + count - 1) - clusterOf(start) + 1;
    const isShared = this.#lastBlock >= 0 && clusterOf(this.#lastBlock) === clusterOf(start);
    return isShared && clusterBlocks > 1 ? clusters - 1 : clusters;
  }

  #tellPlace(start: number, count: number, what: string): void {
    const { check, ino } = this.#inode;
    const { blocks, firstDataBlock } = check.volume.facts;
    const isOutside = start < firstDataBlock || start + count > blocks;
    const why = isOutside
      ? `outside the volume's ${blocks} blocks`
      : "in the volume's own structures";
    check.tell(isOutside ? "block-outside" : "block-in-structures", {
      structure: "block",
      ino,
      block: start,
      field: "blocks",
      value: count,
      deviceByte: this.#inode.deviceByte,
      text: `inode ${ino}, ${what}: ${count === 1 ? `block ${start} lies` : `blocks ${start} to ${start + count - 1} lie`} ${why}`,
    });
  }

  #tellUnwritten(fileBlock: number, { block, at }: Located): void {
    const { check, ino } = this.#inode;
    check.tell("extent-unwritten", {
      structure: "ext4_extent",
      ino,
      field: "ee_len",
      value: "unwritten",
      deviceByte: check.volume.byteOf(block.block, at),
      text: `inode ${ino}: file block ${fileBlock} was never written, but its content is metadata`,
    });
  }
}
