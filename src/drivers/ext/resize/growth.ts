/**
 * Making a mounted volume larger, in steps of one transaction each: after each of them the volume is whole, and as large
 * as it says.
 *
 * What belongs to a step's new groups (empty inode tables, bitmaps, room for copies) is stored to the device before its
 * transaction is open, where nobody looks: these blocks are no part of the volume yet. A journal persists the whole
 * device before it makes a transaction durable (metadata/journal.ts, rule 3), so they are on the medium when the
 * volume has them.
 */
import type { GrowthRun, GrowthStep, VolumeGrowth } from "../../../iomap/contract.ts";
import { NO_SEAL, type Transaction } from "../../../metadata/transaction.ts";
import { invariant } from "../../../base/invariant.ts";
import { DiskSuperblock, INCOMPATIBLE, setPair } from "../format.ts";
import type { Geometry } from "../mkfs/geometry.ts";
import { GroupImages } from "../mkfs/group-images.ts";
import { Layout } from "../mkfs/layout.ts";
import { clearBits } from "../space/bitmaps.ts";
import { addToCount, changeBlockBitmap } from "../space/group-bitmaps.ts";
import { descriptorBlock, firstBlockOfGroup, headBlocks, readGroup } from "../space/groups.ts";
import { getTotal, setTotal } from "../space/totals.ts";
import { haveSameSize, type SuperblockFacts } from "../superblock.ts";
import { editSuperblock, type ExtVolume, readSuperblock } from "../volume.ts";
import { copyPart, copyParts } from "./copies.ts";
import { planBlocks, planStep, withLastGroupFull } from "./plan.ts";
import { changeResizeInode } from "./resize-inode.ts";

const UNUSED = { inodes: 0, directories: 0 };

/** A step that was prepared: from the volume as it was to so many blocks. */
interface Step extends GrowthStep {
  readonly from: SuperblockFacts;
  readonly blocks: number;
  /** Null: the last group has more blocks. */
  readonly groups: NewGroups | null;
}

/** Groups that are to be added, on the device already but for their descriptors. */
interface NewGroups {
  readonly geometry: Geometry;
  readonly descriptors: Uint8Array;
  readonly freeBlocks: number;
  readonly structureBlocks: number;
}

export class ExtGrowth implements VolumeGrowth {
  readonly #volume: ExtVolume;

  constructor(volume: ExtVolume) {
    this.#volume = volume;
  }

  get size(): number {
    return this.#volume.facts.blocks * this.#volume.blockSize;
  }

  get lastHome(): number | null {
    const { storage, blockSize } = this.#volume;
    const { block, at } = readSuperblock(this.#volume);
    const home = new Uint8Array(blockSize);
    storage?.copyOut(block.block * blockSize, home);
    return haveSameSize(block.bytes, home, at) ? null : block.block;
  }

  begin(bytes: number): GrowthRun {
    const { size } = this.#volume;
    invariant(size !== null, "a volume that is only looked at is made larger");
    const claim = size.claim();
    try {
      return new Run(this.#volume, bytes, claim);
    } catch (error) {
      claim[Symbol.dispose]();
      throw error;
    }
  }
}

class Run implements GrowthRun {
  readonly size: number;
  readonly #volume: ExtVolume;
  readonly #claim: Disposable;
  /** The volume as it was at the beginning. */
  readonly #first: SuperblockFacts;
  /** Blocks, in the end. */
  readonly #target: number;
  readonly #flexGroups: number;
  #copied = 0;

  constructor(volume: ExtVolume, bytes: number, claim: Disposable) {
    this.#volume = volume;
    this.#claim = claim;
    this.#first = volume.facts;
    this.#target = planBlocks(volume.facts, bytes);
    this.size = this.#target * volume.blockSize;
    const { block, at } = readSuperblock(volume);
    const isFlexible = (volume.facts.features.incompatible & INCOMPATIBLE.flex_bg) !== 0;
    this.#flexGroups = isFlexible ? 2 ** DiskSuperblock.logGroupsPerFlex.get(block.view, at) : 1;
  }

  [Symbol.dispose](): void {
    this.#claim[Symbol.dispose]();
  }

  prepare(): Step | null {
    const { facts, blockSize } = this.#volume;
    if (facts.blocks >= this.#target) return null;
    const full = withLastGroupFull(facts, this.#target);
    if (full > facts.blocks) {
      return { from: facts, blocks: full, size: full * blockSize, groups: null };
    }
    const geometry = planStep(facts, this.#target, this.#flexGroups);
    const groups = this.#makeGroups(facts, geometry);
    const { blocks } = geometry;
    return { from: facts, blocks, size: blocks * blockSize, groups };
  }

  /** Stores what belongs to new groups, but for their descriptors. Throws: ENOSPC, EIO. */
  #makeGroups(facts: SuperblockFacts, geometry: Geometry): NewGroups {
    const { storage, device, blockSize } = this.#volume;
    const layout = new Layout(geometry, facts.groups);
    const images = new GroupImages({ ...facts, geometry }, layout, true);
    for (let group = facts.groups; group < geometry.groups; group++) {
      const at = { facts: geometry };
      const head = firstBlockOfGroup(at, group) * blockSize;
      storage!.clear(head, headBlocks(at, group) * blockSize);
      const table = layout.inodeTables[group - facts.groups]! * blockSize;
      storage!.clear(table, geometry.tableBlocks * blockSize);
      for (const { block, bytes } of images.describe(group, UNUSED)) {
        device.copyIn(block * blockSize, bytes);
      }
    }
    const { descriptors, freeBlocks } = images;
    return { geometry, descriptors, freeBlocks, structureBlocks: layout.structureBlocks };
  }

  apply(transaction: Transaction, { from, blocks, groups }: Step): void {
    const volume = this.#volume;
    invariant(volume.facts === from, "a volume has changed its size while it was made larger");
    volume.size!.beginChange(transaction);
    if (groups === null) this.#extendLastGroup(transaction, from, blocks);
    else {
      changeResizeInode(volume, transaction, from, groups.geometry);
      this.#addDescriptors(transaction, from, groups);
    }
    this.#changeSuperblock(transaction, from, blocks, groups);
  }

  #extendLastGroup(transaction: Transaction, from: SuperblockFacts, blocks: number): void {
    const group = from.groups - 1;
    const first = firstBlockOfGroup(this.#volume, group);
    changeBlockBitmap(this.#volume, transaction, group, (bitmap) => {
      clearBits(bitmap.words, from.blocks - first, blocks - first);
      addToCount(this.#volume, bitmap, "freeBlocks", blocks - from.blocks);
    });
  }

  #addDescriptors(
    transaction: Transaction,
    from: SuperblockFacts,
    { geometry, descriptors }: NewGroups,
  ): void {
    const { descriptorsPerBlock, descriptorSize, groups } = geometry;
    const slot = from.groups % descriptorsPerBlock;
    const index = (from.groups - slot) / descriptorsPerBlock;
    const block =
      slot === 0
        ? transaction.create(descriptorBlock({ facts: geometry }, index), NO_SEAL)
        : transaction.edit(readGroup(this.#volume, from.groups - 1).block, NO_SEAL);
    const length = (groups - from.groups) * descriptorSize;
    block.bytes.set(descriptors.subarray(0, length), slot * descriptorSize);
  }

  #changeSuperblock(
    transaction: Transaction,
    from: SuperblockFacts,
    blocks: number,
    groups: NewGroups | null,
  ): void {
    const { block, at } = editSuperblock(this.#volume, transaction);
    const { view } = block;
    const { blocksCountLow, blocksCountHigh } = DiskSuperblock;
    const { reservedBlocksCountLow, reservedBlocksCountHigh } = DiskSuperblock;
    setPair(view, at, blocksCountLow, blocksCountHigh, blocks);
    // The same part of the volume as before.
    const first = this.#first;
    const reserved = Math.floor((first.reservedBlocks * blocks) / first.blocks);
    setPair(view, at, reservedBlocksCountLow, reservedBlocksCountHigh, reserved);
    if (groups === null) return;
    const { geometry, freeBlocks, structureBlocks } = groups;
    const { features, reservedGdtBlocks, firstMetaGroup, inodes } = geometry;
    DiskSuperblock.inodesCount.set(view, at, inodes);
    const add = (name: "freeBlocks" | "freeInodes", more: number) =>
      setTotal(view, at, name, getTotal(view, at, name) + more);
    add("freeBlocks", freeBlocks);
    add("freeInodes", inodes - from.inodes);
    const overhead = DiskSuperblock.overheadBlocks.get(view, at);
    if (overhead > 0) DiskSuperblock.overheadBlocks.set(view, at, overhead + structureBlocks);
    DiskSuperblock.reservedGdtBlocks.set(view, at, reservedGdtBlocks);
    DiskSuperblock.firstMetaGroup.set(view, at, firstMetaGroup);
    const { featuresCompatible, featuresIncompatible } = DiskSuperblock;
    featuresCompatible.set(view, at, features.compatible);
    // needs_recovery is kept as it is now.
    const others = featuresIncompatible.get(view, at) & INCOMPATIBLE.needs_recovery;
    const kept = features.incompatible & ~INCOMPATIBLE.needs_recovery;
    featuresIncompatible.set(view, at, (kept | others) >>> 0);
  }

  copy(): boolean {
    if (this.#copied === copyParts(this.#volume)) return false;
    copyPart(this.#volume, this.#copied);
    this.#copied++;
    return true;
  }
}
