/**
 * An opened volume: the superblock's facts, the metadata cache and the device. What can go stale in it is what
 * changes when the volume grows: its facts, and where its own structures lie. Who asks for them gets them anew
 * then (resize/volume-size.ts).
 */
import { CorruptionError, HoldfastError } from "../../base/errors.ts";
import type { Ino } from "../../base/quantities.ts";
import type { MetadataBlock, MetadataCache } from "../../metadata/cache.ts";
import type { Transaction } from "../../metadata/transaction.ts";
import { superblockChecksum } from "./checksums.ts";
import { DiskSuperblock, SUPERBLOCK_BYTE, SUPERBLOCK_SIZE } from "./format.ts";
import {
  type Features,
  regrownFacts,
  type SuperblockFacts,
  verifySuperblockChecksum,
} from "./superblock.ts";
import type { NameSearches } from "./directories/name-searches.ts";
import { OrphanOrder } from "./inodes/orphan-order.ts";
import type { PendingFrees } from "./space/pending-frees.ts";
import { FullGroups } from "./space/full-groups.ts";
import { findZones, moreZones, overlapsZone, type ZoneFacts } from "./space/zones.ts";
import type { GrowthRooms } from "./space/growth-rooms.ts";
import type { VolumeSize } from "./resize/volume-size.ts";

/** What the driver asks of the device itself: file data is stored there, never through the cache. */
export interface DataDevice {
  readonly size: number;
  zero(at: number, length: number): void;
  /** Into what was zeroed for its new owner. */
  copyIn(at: number, source: Uint8Array): void;
}

/** What the driver asks of the device where it changes the volume. Throw: ENOSPC where the host is full. */
export interface Storage {
  /** Sees to it that a range of bytes can be stored to. */
  reserve(at: number, length: number): void;
  /** Makes a range read as zeroes, wherever it does not already as a hole of an image. */
  clear(at: number, length: number): void;
  copyOut(at: number, target: Uint8Array): void;
}

/** A structure inside a cached metadata block, at byte `at` of it. */
export interface Located {
  readonly block: MetadataBlock;
  readonly at: number;
}

/**
 * Kinds of checksums that blocks have, with what they are told at an edit: of inodes and groups the number of the block's
 * first one, each being a part; of blocks of a file what the inode's checksums start from.
 */
export const SEAL = {
  superblock: 1,
  groups: 2,
  inodes: 3,
  names: 4,
  indexRoot: 5,
  indexNode: 6,
  extents: 7,
  attributes: 8,
  orphans: 9,
} as const;

/** Counts whose the space and the inodes of a volume are (quotas.ts). All throw: ENOSPC, CorruptionError. */
export interface UsageCounter {
  /** Files that one change changes, a block of each where the owner is known. */
  readonly fileCount: number;
  /** An inode has so many bytes more, and is so many inodes; negative: fewer. */
  change(
    transaction: Transaction,
    ino: Ino,
    raw: Located,
    usage: { readonly space: number; readonly inodes: number },
  ): void;
  /** An inode, whose attributes are still there, is being freed: it uses nothing any more. */
  remove(transaction: Transaction, ino: Ino, raw: Located): void;
  /** An inode that was not counted uses what it has. */
  add(transaction: Transaction, ino: Ino, raw: Located): void;
  /** `change` gives an inode that is being edited another owner. */
  changeOwner(transaction: Transaction, ino: Ino, raw: Located, change: () => void): void;
}

/** The storage below ranges of bytes. */
export interface Storage {
  /** Sees to it that a range can be stored to. Throws: ENOSPC. */
  reserve(at: number, length: number): void;
  /** A range of whole pages holds nothing any more. Throws: EOPNOTSUPP, EIO. */
  release(at: number, length: number): void;
}

/** What the driver reads metadata by: the cache, or who looks at much that is not to stay there (owners.ts). */
export type BlockReader = Pick<MetadataCache, "read">;

export class ExtVolume {
  readonly cache: BlockReader;
  readonly device: DataDevice;
  readonly features: Features;
  readonly blockSize: number;
  readonly metadataChecksums: boolean;
  readonly checksumSeed: number;
  readonly hashSeed: Uint32Array;
  readonly hashVersionDefault: number;
  readonly hashUnsigned: boolean;
  /** Where there is a journal: what was freed and cannot be taken yet. */
  pendingFrees: PendingFrees | null = null;
  /** Where transactions change it: room for files to grow. */
  growthRooms: GrowthRooms | null = null;
  /** Where transactions change it: this thread's last searches for names. */
  nameSearches: NameSearches | null = null;
  /** What this thread knows of the order of the list of orphans. */
  readonly orphanOrder = new OrphanOrder();
  /** Where there are quotas, and the volume is not only looked at. */
  usage: UsageCounter | null = null;
  /** Whether blocks may be taken that are reserved (space/free-blocks.ts). */
  usesReserved = true;
  /** Where the volume is written: what is below its bytes. */
  storage: Storage | null = null;
  /** Where it may grow meanwhile: the size that it has now. */
  size: VolumeSize | null = null;
  /** First block of each group's inode table, 0 where not read yet. */
  inodeTables: Float64Array;
  fullGroups: FullGroups;
  #facts: SuperblockFacts;
  #zones: ZoneFacts | null;
  /** Groups whose structures are in the zones. */
  #zonedGroups: number;

  /** `zones`: where the volume's own structures lie, if somebody has looked already. */
  constructor(
    facts: SuperblockFacts,
    cache: BlockReader,
    device: DataDevice,
    zones: ZoneFacts | null = null,
  ) {
    this.#facts = facts;
    this.cache = cache;
    this.device = device;
    this.features = facts.features;
    this.blockSize = facts.blockSize;
    this.metadataChecksums = facts.metadataChecksums;
    this.checksumSeed = facts.checksumSeed;
    this.hashSeed = facts.hashSeed;
    this.hashVersionDefault = facts.hashVersionDefault;
    this.hashUnsigned = facts.hashUnsigned;
    this.inodeTables = new Float64Array(facts.groups);
    this.fullGroups = new FullGroups(facts.groups);
    this.#zones = zones;
    this.#zonedGroups = facts.groups;
  }

  /** The superblock's facts; those of the volume's size and groups as they are now. */
  get facts(): SuperblockFacts {
    if (this.size?.hasChanged === true) this.#followSize(this.size);
    return this.#facts;
  }

  /** The volume has another size, or is being given one: then all stays as it was. */
  #followSize(size: VolumeSize): void {
    const facts = size.readAnew(this.#readFacts);
    if (facts === undefined || facts.blocks === this.#facts.blocks) return;
    const tables = new Float64Array(facts.groups);
    tables.set(this.inodeTables);
    this.#facts = facts;
    this.inodeTables = tables;
    this.fullGroups = new FullGroups(facts.groups);
  }

  readonly #readFacts = (): SuperblockFacts => {
    const { block, at } = readSuperblock(this);
    const superblock = block.bytes.slice(at, at + SUPERBLOCK_SIZE);
    return regrownFacts(this.#facts, superblock, this.device.size);
  };

  /** The same volume, whose metadata is read by another reader. */
  readBy(reader: BlockReader): ExtVolume {
    return new ExtVolume(this.facts, reader, this.device, this.zones);
  }

  /** Where the volume's own structures lie. The first time, reads every group descriptor. Throws: CorruptionError. */
  get zones(): ZoneFacts {
    const { groups } = this.facts;
    if (this.#zones === null) this.#zones = findZones(this);
    else if (this.#zonedGroups < groups) {
      this.#zones = moreZones(this, this.#zones, this.#zonedGroups);
    }
    this.#zonedGroups = groups;
    return this.#zones;
  }

  /** Whether these blocks can belong to a file: on the device, and not the volume's own. */
  isOwnable(start: number, count: number): boolean {
    if (!(start > this.facts.firstDataBlock && start + count <= this.facts.blocks)) return false;
    return !overlapsZone(this.zones, start, start + count);
  }

  /** The device byte of byte `at` of a block. */
  byteOf(block: number, at = 0): number {
    return block * this.blockSize + at;
  }

  /** Damage in a structure that lies at byte `at` of `block`. */
  damage(
    where: Located,
    structure: { readonly name: string },
    field: string,
    value: number | string,
    expected: string,
  ): CorruptionError {
    const deviceByte = this.byteOf(where.block.block, where.at);
    return new CorruptionError({ structure: structure.name, field, value, expected, deviceByte });
  }
}

/** Damage: block `block` cannot belong to a file, but something claims it. */
export function unownableBlock(volume: ExtVolume, block: number, claim: string): CorruptionError {
  return new CorruptionError({
    structure: "block",
    field: "block number",
    value: block,
    expected: `which ${claim}, but lies outside the volume or in its own structures`,
    deviceByte: volume.byteOf(block),
  });
}

/** The superblock in its cached block. */
export function readSuperblock(volume: ExtVolume): Located {
  const { blockSize } = volume;
  const at = SUPERBLOCK_BYTE % blockSize;
  const block = volume.cache.read(Math.floor(SUPERBLOCK_BYTE / blockSize), (filled) => {
    if (volume.metadataChecksums) {
      verifySuperblockChecksum(filled.bytes.subarray(at, at + SUPERBLOCK_SIZE));
    }
  });
  return { block, at };
}

/** The superblock, to be changed in `transaction`. */
export function editSuperblock(volume: ExtVolume, transaction: Transaction): Located {
  const located = readSuperblock(volume);
  transaction.edit(located.block, SEAL.superblock);
  return located;
}

export function sealSuperblock({ bytes, view }: MetadataBlock): void {
  const at = SUPERBLOCK_BYTE % bytes.length;
  const superblock = bytes.subarray(at, at + SUPERBLOCK_SIZE);
  DiskSuperblock.checksum.set(view, at, superblockChecksum(superblock));
}

export function noSpace(what: string): HoldfastError {
  return new HoldfastError("ENOSPC", `no free ${what} on the volume; delete files or grow it`);
}
