/** Which driver serves a device, and its objects in each thread. */
import { HoldfastError } from "../base/errors.ts";
import { timeNow } from "../dax/dax.ts";
import type { HealingDevice } from "../dax/poison.ts";
import type { Device } from "../device/index.ts";
import {
  ExtDriver,
  ExtVolume,
  isSuperblock,
  parseSuperblock,
  SUPERBLOCK_BYTE,
  SUPERBLOCK_SIZE,
  type SuperblockFacts,
} from "../drivers/ext/index.ts";
import { RamDriver } from "../drivers/ram/index.ts";
import { RawDriver } from "../drivers/raw/index.ts";
import type { FilesystemDriver } from "../iomap/contract.ts";
import type { MetadataCache } from "../metadata/cache.ts";
import type { Thread } from "../sync/thread.ts";

/** What every thread needs to make its driver object. Plain data. */
export type DriverFacts =
  | { readonly type: "ext4"; readonly blockSize: number; readonly facts: SuperblockFacts }
  | { readonly type: "ram" | "raw"; readonly blockSize: number };

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

function readBytes(device: Device, at: number, length: number): Uint8Array | null {
  if (at + length > device.size) return null;
  const bytes = new Uint8Array(length);
  device.copyOut(at, bytes);
  return bytes;
}

/**
 * Which driver a device is for, from its superblock. Changes nothing.
 * Throws: EINVAL naming what was found instead; EOPNOTSUPP naming the feature; CorruptionError.
 */
export function recognise(device: Device): DriverFacts {
  const superblock = readBytes(device, SUPERBLOCK_BYTE, SUPERBLOCK_SIZE);
  if (superblock !== null && isSuperblock(superblock)) {
    const facts = parseSuperblock(superblock, device.exactSize);
    return { type: "ext4", blockSize: facts.blockSize, facts };
  }
  throw new HoldfastError(
    "EINVAL",
    `'${device.path}' holds no ext2, ext3 or ext4 volume, but ${describe(device)}`,
    { syscall: "mount", path: device.path },
  );
}

function describe(device: Device): string {
  for (const { at, magic, name } of OTHERS) {
    const bytes = readBytes(device, at, magic.length);
    if (bytes !== null && Buffer.from(bytes).toString("latin1") === magic) return name;
  }
  const start = readBytes(device, 0, Math.min(device.size, 2 ** 16));
  if (start?.every((byte) => byte === 0)) return "zeroes; make a volume with mkfs.ext4";
  const magic = readBytes(device, SUPERBLOCK_BYTE + 0x38, 2);
  const found =
    magic === null ? "no bytes" : `0x${magic[1]!.toString(16)}${magic[0]!.toString(16)}`;
  return `something unknown (${found} where the magic number 0xef53 belongs)`;
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
  if (facts.type === "ext4") return new ExtDriver(new ExtVolume(facts.facts, cache, healing));
  if (facts.type === "raw") return new RawDriver(device.size);
  return create
    ? RamDriver.create(thread, healing, device.size, timeNow())
    : RamDriver.attach(thread, healing);
}
