/** Which driver serves a device, and its objects in each thread. */
import { HoldfastError } from "../base/errors.ts";
import { timeNow } from "../dax/dax.ts";
import type { HealingDevice } from "../dax/poison.ts";
import type { Device } from "../device/index.ts";
import {
  beginJournal,
  createGrowthRooms,
  createPendingFrees,
  createVolumeSize,
  ExtDriver,
  ExtVolume,
  findJournal,
  GrowthRooms,
  isSuperblock,
  Jbd2Log,
  type JournalFacts,
  NameSearches,
  mayHaveInline,
  parseSuperblock,
  PendingFrees,
  Recovery,
  sealBlocksOf,
  SUPERBLOCK_BYTE,
  SUPERBLOCK_SIZE,
  type SuperblockFacts,
  type ExtType,
  VolumeSize,
  whyReadOnly,
  withOwnFeatures,
  type ZoneFacts,
} from "../drivers/ext/index.ts";
import { RamDriver } from "../drivers/ram/index.ts";
import { RawDriver } from "../drivers/raw/index.ts";
import type { FilesystemDriver } from "../iomap/contract.ts";
import type { MetadataCache } from "../metadata/cache.ts";
import type { TransactionLog } from "../metadata/journal.ts";
import { transactionsCommitted } from "../metadata/transaction.ts";
import type { Thread } from "../sync/thread.ts";

/** What every thread needs to make its driver object. Plain data. */
export type DriverFacts = ExtFacts | { readonly type: "ram" | "raw"; readonly blockSize: number };

export interface ExtFacts {
  readonly type: "ext";
  readonly blockSize: number;
  readonly facts: SuperblockFacts;
  /** As this mount writes it; null: there is none, or it is not written. */
  readonly journal: JournalFacts | null;
  /** The journal's first transaction of this mount. */
  readonly sequence: number;
  /** Where the volume's own structures lie; null: nobody has looked yet. */
  readonly zones: ZoneFacts | null;
}

/** What else a device may hold: how it is told, and its name. */
const OTHERS: readonly { readonly at: number; readonly magic: string; readonly name: string }[] = [
  { at: 0, magic: "XFSB", name: "an XFS volume" },
  { at: 0x10040, magic: "_BHRfS_M", name: "a btrfs volume" },
  { at: 1024, magic: "\x10\x20\xf5\xf2", name: "an F2FS volume" },
  { at: 3, magic: "NTFS    ", name: "an NTFS volume" },
  { at: 3, magic: "EXFAT   ", name: "an exFAT volume" },
  { at: 54, magic: "FAT1", name: "a FAT volume" },
  { at: 82, magic: "FAT32", name: "a FAT32 volume" },
  { at: 0, magic: "hsqs", name: "a squashfs image" },
  { at: 0x8001, magic: "CD001", name: "an ISO 9660 image" },
  { at: 0, magic: "LUKS\xba\xbe", name: "an encrypted (LUKS) volume" },
  { at: 4086, magic: "SWAPSPACE2", name: "swap space" },
  { at: 512, magic: "EFI PART", name: "a partition table (GPT); give one partition's device" },
  { at: 0, magic: "QFI\xfb", name: "a qcow2 image; convert it to a raw one" },
  { at: 0, magic: "\x1f\x8b", name: "gzip-compressed data; decompress it" },
  { at: 0, magic: "\x28\xb5\x2f\xfd", name: "zstd-compressed data; decompress it" },
  {
    at: 510,
    magic: "\x55\xaa",
    name: "a partition table or boot sector; give one partition's device",
  },
];

/** What can be looked at: a device, or one that is to be made anew. */
type Readable = Pick<Device, "size" | "copyOut">;

function readBytes(device: Readable, at: number, length: number): Uint8Array | null {
  if (at + length > device.size) return null;
  const bytes = new Uint8Array(length);
  device.copyOut(at, bytes);
  return bytes;
}

/** What a device holds. */
export interface Recognised {
  readonly facts: ExtFacts;
  /** Why it can only be read, or null. */
  readonly readOnlyReason: string | null;
}

/**
 * Which driver a device is for, from its superblock; and the volume in order, as its journal says: on the
 * device, or, where that is read-only, in this process's view of it. `type`: what it must be.
 * Throws: EINVAL naming what was found instead; EOPNOTSUPP naming the feature; CorruptionError. The device is
 * unchanged then.
 */
export function recognise(device: Device, type?: ExtType): Recognised {
  const facts = readFacts(device);
  assertType(device, facts.type, type);
  const { readOnlyReason } = facts;
  if (!facts.hasJournal) {
    return { facts: extFacts(facts, null, 0), readOnlyReason: whyReadOnly(facts, device) };
  }
  const journal = findJournal(facts, device);
  const isEmpty = !facts.needsRecovery || journal.state.start === 0;
  if (isEmpty) {
    const own = ownJournal(journal.facts, facts, device);
    return {
      facts: { ...extFacts(facts, own, journal.state.sequence), zones: journal.zones },
      readOnlyReason: whyReadOnly(facts, device) ?? journal.readOnlyReason,
    };
  }
  const recovery = new Recovery(facts, journal, device, device.exactSize);
  const reason = journal.readOnlyReason ?? recovery.readOnlyReason;
  // What can only be read is opened again for reading, and recovered then.
  if ((readOnlyReason ?? reason) !== null && !device.readOnly) {
    return { facts: extFacts(facts, null, 0), readOnlyReason: readOnlyReason ?? reason };
  }
  if (device.readOnly) recovery.inMemory(viewOf(device));
  else recovery.onDevice(device, () => device.persistAll());
  // What was recovered may be a volume that has grown.
  const recovered = readFacts(device);
  const own = ownJournal(journal.facts, recovered, device);
  return {
    facts: extFacts(recovered, own, recovery.sequence),
    readOnlyReason: whyReadOnly(recovered, device) ?? reason,
  };
}

/** The journal as this mount writes it: of blocks of all that the volume may come to have meanwhile. */
function ownJournal(found: JournalFacts, facts: SuperblockFacts, device: Device): JournalFacts {
  const volumeBlocks = Math.floor(device.capacity / facts.blockSize);
  return withOwnFeatures(
    { ...found, volumeBlocks: Math.max(found.volumeBlocks, volumeBlocks) },
    facts,
  );
}

/** Throws: EINVAL when the volume is of another type than the one asked for. */
function assertType(device: Device, found: ExtType, asked: ExtType | undefined): void {
  if (asked === undefined || found === asked) return;
  throw new HoldfastError(
    "EINVAL",
    `'${device.path}' holds an ${found} volume, but options.type asks for ${asked}; leave it out, or say ${found}`,
    { syscall: "mount", path: device.path },
  );
}

function extFacts(
  facts: SuperblockFacts,
  journal: JournalFacts | null,
  sequence: number,
): ExtFacts {
  return { type: "ext", blockSize: facts.blockSize, facts, journal, sequence, zones: null };
}

/** A read-only device, of which this process's own view is changed. */
function viewOf(device: Device) {
  return {
    copyOut: (at: number, target: Uint8Array) => device.copyOut(at, target),
    copyIn: (at: number, source: Uint8Array) => device.changeView(at, source),
  };
}

function readFacts(device: Device): SuperblockFacts {
  const superblock = readBytes(device, SUPERBLOCK_BYTE, SUPERBLOCK_SIZE);
  if (superblock !== null && isSuperblock(superblock)) {
    return parseSuperblock(superblock, device.exactSize);
  }
  throw new HoldfastError(
    "EINVAL",
    `'${device.path}' holds no ext2, ext3 or ext4 volume, but ${describe(device)}`,
    { syscall: "mount", path: device.path },
  );
}

/** What else than ext a device holds, in words, or null where it is nothing known. */
function otherContent(device: Readable): string | null {
  for (const { at, magic, name } of OTHERS) {
    const bytes = readBytes(device, at, magic.length);
    if (bytes !== null && Buffer.from(bytes).toString("latin1") === magic) return name;
  }
  return null;
}

/** What a device holds, in words, or null where it is nothing known. Changes nothing; throws EIO. */
export function contentOf(device: Readable): string | null {
  const superblock = readBytes(device, SUPERBLOCK_BYTE, SUPERBLOCK_SIZE);
  if (superblock !== null && isSuperblock(superblock)) return "an ext2, ext3 or ext4 volume";
  return otherContent(device)?.split(";")[0] ?? null;
}

function describe(device: Device): string {
  const other = otherContent(device);
  if (other !== null) return other;
  const start = readBytes(device, 0, Math.min(device.size, 2 ** 16));
  if (start?.every((byte) => byte === 0)) return "zeroes; make a volume with mkfs()";
  const magic = readBytes(device, SUPERBLOCK_BYTE + 0x38, 2);
  const found =
    magic === null ? "no bytes" : `0x${magic[1]!.toString(16)}${magic[0]!.toString(16)}`;
  return `something unknown (${found} where the magic number 0xef53 belongs)`;
}

/** The log that this thread writes to, where the volume has a journal; else null. */
export function makeLog(facts: DriverFacts, device: Device): TransactionLog | null {
  if (facts.type !== "ext" || facts.journal === null) return null;
  return new Jbd2Log(facts.journal, device, () => device.persistAll());
}

/** The journal is empty and about to be written, from now on with this driver's features. */
export function prepareLog(facts: DriverFacts, device: Device): void {
  if (facts.type !== "ext" || facts.journal === null) return;
  beginJournal(facts.journal, device, facts.sequence);
}

function makeExtDriver(
  { facts, blockSize, zones }: ExtFacts,
  cache: MetadataCache,
  device: Device,
  healing: HealingDevice,
): ExtDriver {
  const data = {
    get size() {
      return device.size;
    },
    zero: (at: number, length: number) => healing.zero(at, length),
    copyIn: (at: number, source: Uint8Array) => device.copyIn(at, source),
  };
  const volume = new ExtVolume(facts, cache, data, zones);
  volume.nameSearches = new NameSearches(() => transactionsCommitted(cache.thread));
  volume.storage = device;
  volume.size = new VolumeSize(cache.thread);
  sealBlocksOf(volume, cache);
  volume.growthRooms = new GrowthRooms(cache.thread, blockSize);
  if (cache.journal !== null) volume.pendingFrees = new PendingFrees(cache.journal, blockSize);
  return new ExtDriver(volume);
}

/**
 * Makes what a driver keeps in a new region, for a device that may come to have `capacity` bytes. `discards`: freed
 * blocks are discarded in time.
 */
export function createDriverArea(
  facts: DriverFacts,
  thread: Thread,
  capacity: number,
  discards: boolean,
): void {
  if (facts.type !== "ext") return;
  const { groups, blockSize, blocksPerGroup } = facts.facts;
  const groupsMax = Math.max(groups, Math.ceil(capacity / (blockSize * blocksPerGroup)));
  createPendingFrees(thread, groupsMax, discards);
  createVolumeSize(thread);
  createGrowthRooms(thread);
}

/** Whether files of the volume may be inline (InodeInfo.isInline). */
export function hasInline(facts: DriverFacts): boolean {
  return facts.type === "ext" && mayHaveInline(facts.facts);
}

/** A thread's driver object. `create`: for a new ram volume, its root directory. */
export function makeDriver(
  facts: DriverFacts,
  thread: Thread,
  device: Device,
  healing: HealingDevice,
  cache: MetadataCache,
  create: boolean,
): FilesystemDriver {
  if (facts.type === "ext") return makeExtDriver(facts, cache, device, healing);
  if (facts.type === "raw") return new RawDriver(device.size);
  return create
    ? RamDriver.create(thread, healing, device.size, timeNow())
    : RamDriver.attach(thread, healing);
}
