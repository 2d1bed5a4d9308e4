/**
 * A quota file: how much space and how many inodes each user, group or project has. It is a hidden inode's content
 * (the feature quota), of blocks of 1 KiB whatever the volume's blocks have:
 *
 *     block 0:  magic | version | grace times | flags | blocks in use | free block | leaf with room
 *     block 1:  the root of a tree of four levels, each for one byte of the id, the highest first
 *     a node:   256 block numbers; 0: no ids that begin so
 *     a leaf:   next with room | previous | entries | 14 entries of 72 bytes
 *
 * Rules. (1) Blocks in use are those below `blocks`; free ones among them are a list by their `nextFree`.
 *        (2) Leaves with room are a list in both directions. A full leaf is on none.
 *        (3) An entry of zeroes is free. So the entry of id 0 has a time of 1 where it would be all zeroes.
 *        (4) What is counted is metadata: it is changed in the transaction that changes the inode.
 *
 * Entries that count nothing any more stay (the kernel takes them out when it next uses them). Limits are kept and
 * not looked at. Nothing here sleeps. Locks: to look, whatever keeps transactions away; to change, an open one.
 *
 * Source: Linux fs/quota/quotaio_v2.h and quota_tree.h, the structures; revision 1.
 */
import type { Ino } from "../../../base/quantities.ts";
import { struct, u16, u32, u64 } from "../../../base/struct.ts";
import { NO_SEAL, type Transaction } from "../../../metadata/transaction.ts";
import { appendFileBlock, readFileBlock } from "../maps/file-blocks.ts";
import { DiskInode, MODE_FILE, MODE_TYPE_MASK } from "../format.ts";
import { editInode, inodeMode, inodeSize, readRaw, setInodeSize } from "../inodes/inode.ts";
import type { ExtVolume, Located } from "../volume.ts";

/** The head of the file: the kernel's v2_disk_dqheader, and v2_disk_dqinfo behind it. */
export const DiskQuotaHead = struct(
  "v2_disk_dqinfo",
  { endian: "little", size: 32 },
  {
    magic: u32(0),
    version: u32(4),
    blockGraceSeconds: u32(8),
    inodeGraceSeconds: u32(12),
    flags: u32(16),
    blocks: u32(20),
    freeBlock: u32(24), // 0: none
    freeEntry: u32(28), // a leaf with room; 0: none
  },
);

export const DiskQuotaLeaf = struct(
  "qt_disk_dqdbheader",
  { endian: "little", size: 16 },
  { nextFree: u32(0), previousFree: u32(4), entries: u16(8), padding0: u16(10), padding1: u32(12) },
);

export const DiskQuotaEntry = struct(
  "v2r1_disk_dqblk",
  { endian: "little", size: 72 },
  {
    id: u32(0),
    padding: u32(4),
    inodesHardLimit: u64(8),
    inodesSoftLimit: u64(16),
    inodes: u64(24),
    spaceHardLimit: u64(32), // KiB
    spaceSoftLimit: u64(40),
    space: u64(48), // bytes
    spaceTime: u64(56),
    inodesTime: u64(64),
  },
);

/** What ids are; the superblock's fields have this order. */
export const QUOTA_KINDS = ["user", "group", "project"] as const;
export type QuotaKind = (typeof QUOTA_KINDS)[number];

const MAGIC: Readonly<Record<QuotaKind, number>> = {
  user: 0xd9c01f11,
  group: 0xd9c01927,
  project: 0xd9c03f14,
};
const VERSION = 1;
const BLOCK_SIZE = 1024;
const ROOT_BLOCK = 1;
const DEPTH = 4;
const NODE_SLOTS = 256;
const LEAF_HEAD_SIZE = DiskQuotaLeaf.structure.size;
const ENTRY_SIZE = DiskQuotaEntry.structure.size;
const LEAF_ENTRIES = Math.floor((BLOCK_SIZE - LEAF_HEAD_SIZE) / ENTRY_SIZE);
const NODE = { name: "quota tree" };

/** Space in bytes. */
export interface Usage {
  readonly space: number;
  readonly inodes: number;
}

const GRACE_SECONDS = 7 * 24 * 60 * 60;

/** The bytes of a file that counts something for id 0 and nothing else: a leaf, and the branch that leads to it. */
export function newQuotaFile(kind: QuotaKind, { space, inodes }: Usage): Uint8Array {
  const leaf = ROOT_BLOCK + DEPTH;
  const bytes = new Uint8Array((leaf + 1) * BLOCK_SIZE);
  const view = new DataView(bytes.buffer);
  DiskQuotaHead.magic.set(view, 0, MAGIC[kind]);
  DiskQuotaHead.version.set(view, 0, VERSION);
  DiskQuotaHead.blockGraceSeconds.set(view, 0, GRACE_SECONDS);
  DiskQuotaHead.inodeGraceSeconds.set(view, 0, GRACE_SECONDS);
  DiskQuotaHead.blocks.set(view, 0, leaf + 1);
  DiskQuotaHead.freeEntry.set(view, 0, leaf);
  for (let node = ROOT_BLOCK; node < leaf; node++)
    view.setUint32(node * BLOCK_SIZE, node + 1, true);
  DiskQuotaLeaf.entries.set(view, leaf * BLOCK_SIZE, 1);
  const entry = leaf * BLOCK_SIZE + LEAF_HEAD_SIZE;
  DiskQuotaEntry.inodes.set(view, entry, inodes);
  DiskQuotaEntry.space.set(view, entry, space);
  return bytes;
}

export class QuotaFile {
  readonly kind: QuotaKind;
  readonly ino: Ino;
  readonly #volume: ExtVolume;

  constructor(volume: ExtVolume, ino: Ino, kind: QuotaKind) {
    this.kind = kind;
    this.ino = ino;
    this.#volume = volume;
  }

  /** The head, checked. Throws: CorruptionError. */
  head(): Located {
    const raw = readRaw(this.#volume, this.ino);
    const mode = inodeMode(raw);
    if ((mode & MODE_TYPE_MASK) !== MODE_FILE) {
      const expected = `expected a regular file, as inode ${this.ino} has the ${this.kind} quotas`;
      throw this.#volume.damage(raw, DiskInode.structure, "i_mode", mode, expected);
    }
    const size = inodeSize(raw);
    const head = this.#read(0);
    const expect = (field: "magic" | "version", right: number) => {
      const value = DiskQuotaHead[field].get(head.block.view, head.at);
      if (value !== right) this.#damage(head, `dqh_${field}`, value, `expected ${right}`);
    };
    expect("magic", MAGIC[this.kind]);
    expect("version", VERSION);
    const blocks = DiskQuotaHead.blocks.get(head.block.view, head.at);
    const blocksMax = Math.floor(size / BLOCK_SIZE);
    if (blocks <= ROOT_BLOCK || blocks > blocksMax) {
      const expected = `expected ${ROOT_BLOCK + 1} to ${blocksMax}, as the file is long`;
      this.#damage(head, "dqi_blocks", blocks, expected);
    }
    const lists = [
      ["dqi_free_blk", DiskQuotaHead.freeBlock],
      ["dqi_free_entry", DiskQuotaHead.freeEntry],
    ] as const;
    for (const [name, field] of lists) {
      const index = field.get(head.block.view, head.at);
      if (index >= blocks) this.#damage(head, name, index, `expected less than ${blocks}`);
    }
    return head;
  }

  /** What is counted for an id; null: nothing is. Throws: CorruptionError. */
  usageOf(id: number): Usage | null {
    const entry = this.#find(id);
    return entry === null ? null : usageAt(entry);
  }

  /** All entries, by id. Throws: CorruptionError; those before were given. */
  *entries(): Generator<Usage & { readonly id: number; readonly where: Located }, void, void> {
    const blocks = this.#blocks(this.head());
    yield* this.#entriesBelow(ROOT_BLOCK, 0, blocks, new Set(), new Set());
  }

  *#entriesBelow(
    index: number,
    depth: number,
    blocks: number,
    nodes: Set<number>,
    leaves: Set<number>,
  ): Generator<Usage & { readonly id: number; readonly where: Located }, void, void> {
    for (let slot = 0; slot < NODE_SLOTS; slot++) {
      const child = this.#childAt(index, slot, blocks);
      if (child === 0) continue;
      if (depth < DEPTH - 1) {
        const key = child * DEPTH + depth;
        if (nodes.has(key)) continue; // so that it ends on any bytes
        nodes.add(key);
        yield* this.#entriesBelow(child, depth + 1, blocks, nodes, leaves);
      } else if (!leaves.has(child)) {
        // Several ids lie in one leaf.
        leaves.add(child);
        yield* this.#entriesOf(child);
      }
    }
  }

  *#entriesOf(leaf: number): Generator<Usage & { readonly id: number; readonly where: Located }> {
    for (let place = 0; place < LEAF_ENTRIES; place++) {
      const where = this.#entry(leaf, place);
      if (isFree(where)) continue;
      yield { id: DiskQuotaEntry.id.get(where.block.view, where.at), where, ...usageAt(where) };
    }
  }

  /**
   * Adds to what is counted for an id, or takes from it; less than nothing becomes nothing.
   * Throws: ENOSPC where the id is new; CorruptionError.
   */
  change(transaction: Transaction, id: number, { space, inodes }: Usage): void {
    let entry = this.#find(id);
    if (entry === null) {
      if (space <= 0 && inodes <= 0) return;
      entry = this.#insert(transaction, id);
    }
    const { at } = entry;
    const { view } = transaction.edit(entry.block, NO_SEAL);
    const before = usageAt(entry);
    DiskQuotaEntry.space.set(view, at, Math.max(before.space + space, 0));
    DiskQuotaEntry.inodes.set(view, at, Math.max(before.inodes + inodes, 0));
    if (isFree(entry)) DiskQuotaEntry.inodesTime.set(view, at, 1); // rule 3
  }

  #blocks({ block, at }: Located): number {
    return DiskQuotaHead.blocks.get(block.view, at);
  }

  #damage(where: Located, field: string, value: number, expected: string): never {
    const whose = `${expected} (in the ${this.kind} quotas, inode ${this.ino})`;
    throw this.#volume.damage(where, NODE, field, value, whose);
  }

  /** Block `index` of the file, which has so many. */
  #read(index: number): Located {
    const { blockSize } = this.#volume;
    const byte = index * BLOCK_SIZE;
    const block = readFileBlock(this.#volume, this.ino, Math.floor(byte / blockSize), () => {});
    return { block, at: byte % blockSize };
  }

  #slot(node: number, slot: number): Located {
    const { block, at } = this.#read(node);
    return { block, at: at + slot * 4 };
  }

  #entry(leaf: number, place: number): Located {
    const { block, at } = this.#read(leaf);
    return { block, at: at + LEAF_HEAD_SIZE + place * ENTRY_SIZE };
  }

  /** The block that a node names, or 0. */
  #childAt(node: number, slot: number, blocks: number): number {
    const where = this.#slot(node, slot);
    const child = where.block.view.getUint32(where.at, true);
    if (child !== 0) this.#assertBlock(where, "block", child, blocks);
    return child;
  }

  #assertBlock(where: Located, field: string, index: number, blocks: number): void {
    if (index >= ROOT_BLOCK && index < blocks) return;
    this.#damage(where, field, index, `expected ${ROOT_BLOCK} to ${blocks - 1}`);
  }

  /** The block that a node names for an id, or 0. `way`: the nodes up to this one, the last. */
  #step(way: number[], id: number, blocks: number): number {
    const node = way.at(-1)!;
    const slot = slotOf(id, way.length - 1);
    const child = this.#childAt(node, slot, blocks);
    if (way.includes(child)) {
      this.#damage(
        this.#slot(node, slot),
        "block",
        child,
        "on the way to which the tree is already",
      );
    }
    return child;
  }

  #find(id: number): Located | null {
    const blocks = this.#blocks(this.head());
    const way = [ROOT_BLOCK];
    while (way.length <= DEPTH) {
      const child = this.#step(way, id, blocks);
      if (child === 0) return null;
      way.push(child);
    }
    const index = way.at(-1)!;
    for (let place = 0; place < LEAF_ENTRIES; place++) {
      const entry = this.#entry(index, place);
      const { view } = entry.block;
      if (DiskQuotaEntry.id.get(view, entry.at) === id && !isFree(entry)) return entry;
    }
    this.#damage(this.#read(index), "dqb_id", id, "to which the tree leads, in one of the entries");
  }

  /** A free entry becomes that of an id, and the tree leads to it. */
  #insert(transaction: Transaction, id: number): Located {
    const { leaf, entry } = this.#takeEntry(transaction);
    DiskQuotaEntry.id.set(entry.block.view, entry.at, id);
    const way = [ROOT_BLOCK];
    while (way.length <= DEPTH) {
      let child = this.#step(way, id, this.#blocks(this.head()));
      if (child === 0) {
        child = way.length === DEPTH ? leaf : this.#takeBlock(transaction);
        const { block, at } = this.#slot(way.at(-1)!, slotOf(id, way.length - 1));
        transaction.edit(block, NO_SEAL).view.setUint32(at, child, true);
      }
      way.push(child);
    }
    return entry;
  }

  #takeEntry(transaction: Transaction): { leaf: number; entry: Located } {
    const head = this.head();
    const { view } = transaction.edit(head.block, NO_SEAL);
    let leaf = DiskQuotaHead.freeEntry.get(view, head.at);
    if (leaf === 0) {
      leaf = this.#takeBlock(transaction);
      DiskQuotaHead.freeEntry.set(view, head.at, leaf);
    }
    const { block, at } = this.#read(leaf);
    transaction.edit(block, NO_SEAL);
    const entries = DiskQuotaLeaf.entries.get(block.view, at);
    for (let place = 0; place < LEAF_ENTRIES; place++) {
      const entry = this.#entry(leaf, place);
      if (!isFree(entry)) continue;
      if (entries + 1 >= LEAF_ENTRIES) this.#unlink(transaction, head, { block, at });
      DiskQuotaLeaf.entries.set(block.view, at, entries + 1);
      return { leaf, entry };
    }
    this.#damage({ block, at }, "dqdh_entries", entries, "but all places of the leaf are taken");
  }

  /** Takes a leaf off the list of those with room, whose first it is. */
  #unlink(transaction: Transaction, head: Located, leaf: Located): void {
    const next = DiskQuotaLeaf.nextFree.get(leaf.block.view, leaf.at);
    DiskQuotaHead.freeEntry.set(head.block.view, head.at, next);
    DiskQuotaLeaf.nextFree.set(leaf.block.view, leaf.at, 0);
    DiskQuotaLeaf.previousFree.set(leaf.block.view, leaf.at, 0);
    if (next === 0) return;
    this.#assertBlock(leaf, "dqdh_next_free", next, this.#blocks(head));
    const { block, at } = this.#read(next);
    DiskQuotaLeaf.previousFree.set(transaction.edit(block, NO_SEAL).view, at, 0);
  }

  /** A block of zeroes: a free one, else a new one at the end. */
  #takeBlock(transaction: Transaction): number {
    const head = this.head();
    const { view } = transaction.edit(head.block, NO_SEAL);
    const blocks = this.#blocks(head);
    let index = DiskQuotaHead.freeBlock.get(view, head.at);
    if (index !== 0) {
      const free = this.#read(index);
      const next = DiskQuotaLeaf.nextFree.get(free.block.view, free.at);
      DiskQuotaHead.freeBlock.set(view, head.at, next);
    } else {
      index = blocks;
      this.#grow(transaction, blocks + 1);
      DiskQuotaHead.blocks.set(view, head.at, blocks + 1);
    }
    const { block, at } = this.#read(index);
    transaction.edit(block, NO_SEAL).bytes.fill(0, at, at + BLOCK_SIZE);
    return index;
  }

  /** Makes the file so many blocks long, at least. */
  #grow(transaction: Transaction, blocks: number): void {
    const { blockSize } = this.#volume;
    const size = blocks * BLOCK_SIZE;
    const raw = editInode(this.#volume, transaction, this.ino);
    if (size > Math.ceil(inodeSize(raw) / blockSize) * blockSize) {
      appendFileBlock(this.#volume, transaction, this.ino, NO_SEAL);
    }
    setInodeSize(raw, Math.max(inodeSize(raw), size));
  }
}

function slotOf(id: number, depth: number): number {
  return (id >>> (8 * (DEPTH - 1 - depth))) & 0xff;
}

function usageAt({ block, at }: Located): Usage {
  const { view } = block;
  return { space: DiskQuotaEntry.space.get(view, at), inodes: DiskQuotaEntry.inodes.get(view, at) };
}

function isFree({ block, at }: Located): boolean {
  for (let byte = at; byte < at + ENTRY_SIZE; byte += 4) {
    if (block.view.getUint32(byte, true) !== 0) return false;
  }
  return true;
}
