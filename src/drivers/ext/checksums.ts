/**
 * The checksums of ext4's structures. With metadata_csum each is a CRC32C that starts from the
 * volume's seed; with the older uninit_bg only group descriptors have one, a CRC16.
 *
 * All functions are plain sums over bytes: they read no device and change nothing.
 * Source: Linux Documentation/filesystems/ext4/checksums.rst.
 */
import { crc32c } from "../../base/checksum.ts";
import {
  DiskAttributeHeader,
  DiskExtentHeader,
  DiskGroup,
  DiskInode,
  DiskSuperblock,
  EXTENT_ENTRY_SIZE,
  INODE_SIZE_OLD,
} from "./format.ts";

const crc32cTable = makeTable(0x82f63b78);
const crc16Table = makeTable(0xa001);

function makeTable(polynomial: number): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, byte) => {
    let register = byte;
    for (let bit = 0; bit < 8; bit++) {
      register = register & 1 ? (register >>> 1) ^ polynomial : register >>> 1;
    }
    return register;
  });
}

/** The CRC32C register after the low `count` bytes of `value`: for numbers, where a call is dear. */
export function crc32cNumber(register: number, value: number, count: number): number {
  for (let i = 0; i < count; i++) {
    register = (register >>> 8) ^ crc32cTable[(register ^ value) & 0xff]!;
    value >>>= 8;
  }
  return register >>> 0;
}

function crc16(register: number, bytes: Uint8Array): number {
  for (const byte of bytes) register = (register >>> 8) ^ crc16Table[(register ^ byte) & 0xff]!;
  return register;
}

/** What a volume's checksums start from, unless its superblock stores a seed. */
export function checksumSeedOf(uuid: Uint8Array): number {
  return crc32c(0xffffffff, uuid);
}

/** Of the 1,024 bytes of a superblock. */
export function superblockChecksum(superblock: Uint8Array): number {
  return crc32c(0xffffffff, superblock.subarray(0, DiskSuperblock.checksum.offset));
}

/** Of one group descriptor, on a volume with metadata_csum. 16 bits. */
export function groupChecksum(seed: number, group: number, descriptor: Uint8Array): number {
  const { offset, size } = DiskGroup.checksum;
  let register = crc32cNumber(seed, group, 4);
  register = crc32c(register, descriptor.subarray(0, offset));
  register = crc32cNumber(register, 0, size);
  if (offset + size < descriptor.length) {
    register = crc32c(register, descriptor.subarray(offset + size));
  }
  return register & 0xffff;
}

/** Of one group descriptor, on a volume with uninit_bg and without metadata_csum. 16 bits. */
export function groupChecksumOld(uuid: Uint8Array, group: number, descriptor: Uint8Array): number {
  const { offset, size } = DiskGroup.checksum;
  let register = crc16(0xffff, uuid);
  register = crc16(register, Uint8Array.of(group, group >>> 8, group >>> 16, group >>> 24));
  register = crc16(register, descriptor.subarray(0, offset));
  return crc16(register, descriptor.subarray(offset + size));
}

/** Of the first `bits` bits of a bitmap. 32 bits; narrow descriptors keep the low 16. */
export function bitmapChecksum(seed: number, bitmap: Uint8Array, bits: number): number {
  return crc32c(seed, bitmap.subarray(0, Math.ceil(bits / 8)));
}

/** What the checksums of an inode, and of its directory and extent blocks, start from. */
export function inodeSeed(seed: number, ino: number, generation: number): number {
  return crc32cNumber(crc32cNumber(seed, ino, 4), generation, 4);
}

/**
 * Of an inode, given all its bytes. 32 bits, or 16 where the inode has no room for the high half.
 */
export function inodeChecksum(seed: number, inode: Uint8Array, hasHigh: boolean): number {
  const low = DiskInode.checksumLow;
  const high = DiskInode.checksumHigh;
  let register = crc32c(seed, inode.subarray(0, low.offset));
  register = crc32cNumber(register, 0, low.size);
  const lowEnd = low.offset + low.size;
  if (!hasHigh) return crc32c(register, inode.subarray(lowEnd)) & 0xffff;
  register = crc32c(register, inode.subarray(lowEnd, high.offset));
  register = crc32cNumber(register, 0, high.size);
  return crc32c(register, inode.subarray(high.offset + high.size));
}

/** Whether an inode of `size` bytes with `extraSize` has room for the checksum's high half. */
export function hasChecksumHigh(size: number, extraSize: number): boolean {
  const end = DiskInode.checksumHigh.offset + DiskInode.checksumHigh.size;
  return size > INODE_SIZE_OLD && INODE_SIZE_OLD + extraSize >= end;
}

/** Where the checksum of an extent node lies in its block: after the last place for an entry. */
export function extentTailByte(entriesMax: number): number {
  return DiskExtentHeader.structure.size + entriesMax * EXTENT_ENTRY_SIZE;
}

/** Of an extent node that is a block; `seed` is the inode's. */
export function extentChecksum(seed: number, node: Uint8Array, entriesMax: number): number {
  return crc32c(seed, node.subarray(0, extentTailByte(entriesMax)));
}

/** Of a block of extended attributes. */
export function attributeChecksum(seed: number, block: number, bytes: Uint8Array): number {
  const { offset, size } = DiskAttributeHeader.checksum;
  let register = crc32cNumber(seed, block % 2 ** 32, 4);
  register = crc32cNumber(register, Math.floor(block / 2 ** 32), 4);
  register = crc32c(register, bytes.subarray(0, offset));
  register = crc32cNumber(register, 0, size);
  return crc32c(register, bytes.subarray(offset + size));
}
