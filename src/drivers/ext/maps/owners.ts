/**
 * The reverse mapping: whose blocks are. Nothing on the disk tells, so it is a search of all inodes in use,
 * and what their extents or block pointers name, as debugfs does for `icheck`.
 *
 * Rules. (1) What is not cached is read into a copy that goes with the part of the search: the cache has
 *            no room for all metadata of a volume. (2) What the storage has lost is not read.
 *        (3) What is damaged is passed over (map-walk.ts).
 */
import { CorruptionError } from "../../../base/errors.ts";
import type { BlockUse } from "../../../base/block-use.ts";
import type { Ino } from "../../../base/quantities.ts";
import type { BlockOwner, OwnerSearch, OwnersFound } from "../../../iomap/contract.ts";
import type { MetadataBlock, MetadataCache } from "../../../metadata/cache.ts";
import type { Transaction } from "../../../metadata/transaction.ts";
import { findSet } from "../space/bitmaps.ts";
import { pointerAt, rootRows } from "./block-pointers.ts";
import { INO_RESIZE, INO_ROOT, MODE_DIRECTORY, MODE_SYMLINK, MODE_TYPE_MASK } from "../format.ts";
import { readInodeBitmap } from "../space/group-bitmaps.ts";
import {
  firstBlockOfGroup,
  getGroup,
  hasSuperblock,
  headBlocks,
  inodeTableBlocks,
  readGroup,
} from "../space/groups.ts";
import {
  attributeBlock,
  hasMap,
  inodeMode,
  isValueInode,
  linkCount,
  type RawInode,
  readRaw,
} from "../inodes/inode.ts";
import { walkMap } from "./map-walk.ts";
import type { BlockReader, ExtVolume } from "../volume.ts";

/** The row with the only pointer that the resize inode has: its two levels end at the reserved descriptors. */
const RESIZE_ROW = 2;

/** Reads for one part of a search (rules 1 and 2). */
class SearchReader implements BlockReader {
  readonly #cache: MetadataCache;
  readonly #search: OwnerSearch;
  readonly #copies = new Map<number, MetadataBlock>();

  constructor(cache: MetadataCache, search: OwnerSearch) {
    this.#cache = cache;
    this.#search = search;
  }

  /** Blocks that were not cached. */
  get copied(): number {
    return this.#copies.size;
  }

  read(block: number, verify: (block: MetadataBlock) => void): MetadataBlock {
    const known = this.#cache.readCached(block) ?? this.#copies.get(block);
    if (known !== undefined) return known;
    const { blockSize } = this.#cache;
    const deviceByte = block * blockSize;
    if (this.#search.isLost(deviceByte, blockSize)) {
      throw new CorruptionError({
        structure: "metadata block",
        field: "bytes",
        value: "lost",
        expected: "which the storage no longer has",
        deviceByte,
      });
    }
    const copy = this.#cache.readCopy(block, verify);
    this.#copies.set(block, copy);
    return copy;
  }
}

/** What is said of an owner beside its blocks. `startBlock`: in the file, of its content. */
interface Claim {
  readonly use: BlockUse;
  readonly ino?: Ino;
  readonly startBlock?: number;
  readonly group?: number;
}

/** Collects those owners that have blocks of the searched range. */
class Owners {
  readonly found: BlockOwner[] = [];
  readonly #first: number;
  readonly #end: number;
  readonly #blockSize: number;

  constructor({ address, length }: OwnerSearch, blockSize: number) {
    this.#first = address / blockSize;
    this.#end = this.#first + length / blockSize;
    this.#blockSize = blockSize;
  }

  add(start: number, count: number, { use, ino, startBlock, group }: Claim): void {
    const from = Math.max(start, this.#first);
    const to = Math.min(start + count, this.#end);
    if (from >= to) return;
    const owner: BlockOwner = {
      address: from * this.#blockSize,
      length: (to - from) * this.#blockSize,
      use,
      ino: ino ?? null,
      start: startBlock === undefined ? null : (startBlock + (from - start)) * this.#blockSize,
      group: group ?? null,
    };
    const last = this.found.at(-1);
    if (last !== undefined && continues(last, owner)) {
      this.found[this.found.length - 1] = { ...last, length: last.length + owner.length };
    } else this.found.push(owner);
  }
}

/** Whether the second is the rest of the first. */
function continues(first: BlockOwner, second: BlockOwner): boolean {
  const { length } = first;
  return (
    first.address + length === second.address &&
    first.use === second.use &&
    first.ino === second.ino &&
    first.group === second.group &&
    (first.start === null ? null : first.start + length) === second.start
  );
}

/** Runs what may meet damage; null then. */
function pastDamage<T>(look: () => T): T | null {
  try {
    return look();
  } catch (error) {
    if (error instanceof CorruptionError) return null;
    throw error;
  }
}

/** See IomapDriver.ownersOf. The cursor counts the inodes that were looked at, from the first on. */
export function ownersOf(
  volume: ExtVolume,
  transaction: Transaction,
  search: OwnerSearch,
  cursor: number,
): OwnersFound {
  const reader = new SearchReader(transaction.cache, search);
  const looked = volume.readBy(reader);
  const owners = new Owners(search, volume.blockSize);
  const { inodes, inodesPerGroup } = volume.facts;
  const group = Math.floor(cursor / inodesPerGroup);
  if (cursor % inodesPerGroup === 0) pastDamage(() => addStructures(looked, group, owners));
  const used = pastDamage(() => readInodeBitmap(looked, group));
  const blocksMax = 2 * inodeTableBlocks(volume);
  const end = (group + 1) * inodesPerGroup;
  let at = cursor;
  while (at < end && reader.copied <= blocksMax) {
    const slot = at % inodesPerGroup;
    const next = used === null ? slot : findSet(used, slot, inodesPerGroup);
    at += next - slot;
    if (at >= end) break;
    const ino = (at + 1) as Ino;
    // Where the bitmap is damaged, an inode that has a name is taken for used.
    pastDamage(() => addInode(looked, ino, owners, used === null));
    at++;
  }
  return { owners: owners.found, cursor: at < inodes ? at : null };
}

/** See IomapDriver.ownedBy. */
export function ownedBy(
  volume: ExtVolume,
  transaction: Transaction,
  search: OwnerSearch,
  ino: Ino,
): BlockOwner[] {
  const looked = volume.readBy(new SearchReader(transaction.cache, search));
  const owners = new Owners(search, volume.blockSize);
  pastDamage(() => {
    const { inodesPerGroup } = volume.facts;
    const slot = (ino - 1) % inodesPerGroup;
    const used = readInodeBitmap(looked, Math.floor((ino - 1) / inodesPerGroup));
    if (findSet(used, slot, slot + 1) === slot) addInode(looked, ino, owners);
  });
  return owners.found;
}

/** What a group has for itself, and of copies of the volume's. */
function addStructures(volume: ExtVolume, group: number, owners: Owners): void {
  const first = firstBlockOfGroup(volume, group);
  if (group === 0) owners.add(0, first, { use: "reserved" });
  const superblocks = hasSuperblock(volume, group) ? 1 : 0;
  owners.add(first, superblocks, { use: "superblock", group });
  const descriptors = headBlocks(volume, group) - superblocks;
  owners.add(first + superblocks, descriptors, { use: "group descriptors", group });
  const descriptor = readGroup(volume, group);
  const place = (name: "blockBitmap" | "inodeBitmap" | "inodeTable") =>
    getGroup(volume, descriptor, name);
  owners.add(place("blockBitmap"), 1, { use: "block bitmap", group });
  owners.add(place("inodeBitmap"), 1, { use: "inode bitmap", group });
  owners.add(place("inodeTable"), inodeTableBlocks(volume), { use: "inode table", group });
}

/** What an inode has. `ifNamed`: if it has a name. */
function addInode(volume: ExtVolume, ino: Ino, owners: Owners, ifNamed = false): void {
  const raw = readRaw(volume, ino);
  if (ifNamed && linkCount(raw) === 0) return;
  const attributes = attributeBlock(volume, raw);
  if (attributes !== 0) owners.add(attributes, 1, { use: "attributes", ino });
  if (hasMap(raw)) addContent(volume, raw, ino, owners);
}

/** Adds the blocks that an inode's content has. */
function addContent(volume: ExtVolume, raw: RawInode, ino: Ino, owners: Owners): void {
  const use = useOf(volume, raw, ino);
  const mapBlock = (block: number) => owners.add(block, 1, { use: "block map", ino });
  if (ino === INO_RESIZE) {
    // It keeps blocks for more descriptors: these lie with the others, in the groups' heads.
    const pointer = pointerAt(rootRows(volume, raw)[RESIZE_ROW]!, 0);
    if (pointer !== 0) mapBlock(pointer);
    return;
  }
  walkMap(volume, raw, ino, {
    mapBlock,
    content: ({ start, count, fileBlock, isWritten }) => {
      if (use !== null) owners.add(start, count, { use, ino });
      else {
        const ofFile = isWritten ? "data" : "unwritten";
        owners.add(start, count, { use: ofFile, ino, startBlock: fileBlock });
      }
    },
    damage: () => {},
  });
}

/** What all the blocks of an inode's content are; null: a file's, each as it is written or not. */
function useOf({ facts }: ExtVolume, raw: RawInode, ino: Ino): BlockUse | null {
  if (ino === facts.journalIno) return "journal";
  if (ino < facts.firstIno && ino !== INO_ROOT) return "reserved";
  if (isValueInode(raw)) return "attributes";
  const type = inodeMode(raw) & MODE_TYPE_MASK;
  if (type === MODE_DIRECTORY) return "directory";
  return type === MODE_SYMLINK ? "symlink" : null;
}
