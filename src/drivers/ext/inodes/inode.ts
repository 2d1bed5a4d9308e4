/**
 * Inodes: finding them in the inode tables, reading and changing their fields.
 *
 * The checksums of all inodes in a block are verified when the block comes into the cache; those of
 * the inodes that were changed are written when it leaves it. Slots of unused inodes are not
 * checked: they hold whatever was left there.
 */
import { CorruptionError, HoldfastError } from "../../../base/errors.ts";
import type { Ino } from "../../../base/quantities.ts";
import type { IntegerField } from "../../../base/struct.ts";
import type { FileType, NewInode, Time } from "../../../iomap/contract.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import type { Transaction } from "../../../metadata/transaction.ts";
import { hasChecksumHigh, inodeChecksum, inodeSeed } from "../checksums.ts";
import { initializeRoot } from "../maps/extent-nodes.ts";
import {
  CONTENT_BYTE,
  CONTENT_SIZE,
  DiskInode,
  getPair,
  INCOMPATIBLE,
  INODE_DAX,
  INODE_EXTENTS,
  INODE_HUGE_FILE,
  INODE_INLINE_DATA,
  INODE_PROJECT_INHERIT,
  INODE_SIZE_OLD,
  INODE_VALUE,
  LINK_COUNT_MAX,
  MODE_BLOCK_DEVICE,
  MODE_CHARACTER_DEVICE,
  MODE_DIRECTORY,
  MODE_FIFO,
  MODE_FILE,
  MODE_PERMISSION_MASK,
  MODE_SOCKET,
  MODE_SYMLINK,
  MODE_TYPE_MASK,
  READ_ONLY,
  setPair,
} from "../format.ts";
import { inodeTableOf } from "../space/groups.ts";
import { type ExtVolume, type Located, SEAL } from "../volume.ts";

/** An inode in its cached block: its bytes start at byte `at` of the block. */
export type RawInode = Located;

const MODE_OF_TYPE = {
  file: MODE_FILE,
  directory: MODE_DIRECTORY,
  symlink: MODE_SYMLINK,
  "character-device": MODE_CHARACTER_DEVICE,
  "block-device": MODE_BLOCK_DEVICE,
  fifo: MODE_FIFO,
  socket: MODE_SOCKET,
} as const;

const TYPE_OF_MODE = new Map<number, FileType>(
  (Object.entries(MODE_OF_TYPE) as [FileType, number][]).map(([type, bits]) => [bits, type]),
);

const SECTORS_MAX = 2 ** 48;
const NANOSECONDS_MAX = 999_999_999;

/** The inode `ino`, to be read. Throws: CorruptionError. */
export function readRaw(volume: ExtVolume, ino: Ino): RawInode {
  const { inodesPerGroup, inodeSize, inodes } = volume.facts;
  if (!(ino >= 1 && ino <= inodes)) {
    throw new CorruptionError({
      structure: "inode",
      field: "inode number",
      value: ino,
      expected: `expected 1 to ${inodes}`,
    });
  }
  const group = Math.floor((ino - 1) / inodesPerGroup);
  const slot = (ino - 1) % inodesPerGroup;
  const perBlock = volume.blockSize / inodeSize;
  const slotInBlock = slot % perBlock;
  const tableBlock = inodeTableOf(volume, group) + (slot - slotInBlock) / perBlock;
  const block = volume.cache.read(tableBlock, (filled) => {
    if (volume.metadataChecksums) verifyInodes(volume, filled, ino - slotInBlock);
  });
  return { block, at: slotInBlock * inodeSize };
}

/** The inode `ino`, to be changed in `transaction`. Throws: CorruptionError. */
export function editInode(volume: ExtVolume, transaction: Transaction, ino: Ino): RawInode {
  const raw = readRaw(volume, ino);
  const slot = raw.at / volume.facts.inodeSize;
  transaction.edit(raw.block, SEAL.inodes, ino - slot, slot);
  return raw;
}

/** What the checksums of the inode's directory and extent blocks start from. */
export function inodeChecksumSeed(volume: ExtVolume, ino: Ino): number {
  const { block, at } = readRaw(volume, ino);
  return inodeSeed(volume.checksumSeed, ino, DiskInode.generation.get(block.view, at));
}

export function isSlotUsed({ block, at }: Located): boolean {
  return DiskInode.mode.get(block.view, at) !== 0 || DiskInode.linkCount.get(block.view, at) !== 0;
}

function checksumOf(volume: ExtVolume, { block, at }: Located, ino: number): number {
  const size = volume.facts.inodeSize;
  const seed = inodeSeed(volume.checksumSeed, ino, DiskInode.generation.get(block.view, at));
  const hasHigh = hasChecksumHigh(size, extraSize(volume, { block, at }));
  return inodeChecksum(seed, block.bytes.subarray(at, at + size), hasHigh);
}

/** Checks every used inode of a block of the inode table. Throws: CorruptionError. */
function verifyInodes(volume: ExtVolume, block: MetadataBlock, firstIno: number): void {
  const { inodeSize } = volume.facts;
  for (let at = 0; at < volume.blockSize; at += inodeSize) {
    const raw = { block, at };
    if (isSlotUsed(raw)) verifyInode(volume, raw, firstIno + at / inodeSize);
  }
}

/** Checks the checksum of an inode, on a volume that has them. Throws: CorruptionError. */
export function verifyInode(volume: ExtVolume, raw: RawInode, ino: number): void {
  const { block, at } = raw;
  const hasHigh = hasChecksumHigh(volume.facts.inodeSize, extraSize(volume, raw));
  const stored = hasHigh
    ? getPair(block.view, at, DiskInode.checksumLow, DiskInode.checksumHigh)
    : DiskInode.checksumLow.get(block.view, at);
  const computed = checksumOf(volume, raw, ino);
  if (stored === computed) return;
  const expected = `but the bytes of inode ${ino} give ${computed}`;
  throw volume.damage(raw, DiskInode.structure, "i_checksum", stored, expected);
}

/** Writes the checksums of inodes: `first` is the block's first one, and each has a bit of `parts`. */
export function sealInodes(
  volume: ExtVolume,
  block: MetadataBlock,
  first: number,
  parts: number,
): void {
  const { inodeSize } = volume.facts;
  for (let at = 0, slot = 0; at < volume.blockSize; at += inodeSize, slot++) {
    if ((parts & (1 << slot)) !== 0) sealInode(volume, { block, at }, first + slot);
  }
}

/**
 * Writes an inode's checksum, if it is in use or was: of those freed only the generation is left.
 * Slots never used stay blank.
 */
function sealInode(volume: ExtVolume, raw: RawInode, ino: number): void {
  const { block, at } = raw;
  if (!isSlotUsed(raw) && DiskInode.generation.get(block.view, at) === 0) return;
  const computed = checksumOf(volume, raw, ino);
  DiskInode.checksumLow.set(block.view, at, computed % 2 ** 16);
  if (hasChecksumHigh(volume.facts.inodeSize, extraSize(volume, raw))) {
    DiskInode.checksumHigh.set(block.view, at, Math.floor(computed / 2 ** 16));
  }
}

/** Bytes of fields after the first 128, never more than the inode has room for. */
export function extraSize(volume: ExtVolume, { block, at }: Located): number {
  const room = volume.facts.inodeSize - INODE_SIZE_OLD;
  return room === 0 ? 0 : Math.min(DiskInode.extraSize.get(block.view, at), room);
}

function hasField(volume: ExtVolume, raw: RawInode, field: IntegerField): boolean {
  return field.offset + field.size <= INODE_SIZE_OLD + extraSize(volume, raw);
}

export function inodeMode({ block, at }: RawInode): number {
  return DiskInode.mode.get(block.view, at);
}

/** The type that a mode names, or null. */
export function typeOfMode(mode: number): FileType | null {
  return TYPE_OF_MODE.get(mode & MODE_TYPE_MASK) ?? null;
}

/** Throws: CorruptionError when the mode names no type of file. */
export function fileTypeOf(volume: ExtVolume, raw: RawInode): FileType {
  const mode = inodeMode(raw);
  const type = typeOfMode(mode);
  if (type !== null) return type;
  throw volume.damage(raw, DiskInode.structure, "i_mode", mode, "expected a type of file");
}

export function isDirectory(raw: RawInode): boolean {
  return (inodeMode(raw) & MODE_TYPE_MASK) === MODE_DIRECTORY;
}

/** Whether the inode's blocks hold metadata, which goes through the cache, and not file data. */
export function isContentCached(raw: RawInode): boolean {
  return (inodeMode(raw) & MODE_TYPE_MASK) !== MODE_FILE || isValueInode(raw);
}

/** Whether the inode holds the value of an extended attribute. */
export function isValueInode(raw: RawInode): boolean {
  return (inodeFlags(raw) & INODE_VALUE) !== 0 && (inodeMode(raw) & MODE_TYPE_MASK) === MODE_FILE;
}

/** Whether a symlink's target lies in the inode itself, where other files have their map. */
export function isTargetInInode(raw: RawInode): boolean {
  return inodeSize(raw) < CONTENT_SIZE && (inodeFlags(raw) & INODE_EXTENTS) === 0;
}

/** Whether an inode has a map of blocks. (A reserved one without a type has.) */
export function hasMap(raw: RawInode): boolean {
  if ((inodeFlags(raw) & INODE_INLINE_DATA) !== 0) return false;
  const type = inodeMode(raw) & MODE_TYPE_MASK;
  if (type === MODE_SYMLINK) return !isTargetInInode(raw);
  return type === MODE_FILE || type === MODE_DIRECTORY || type === 0;
}

/** Bytes. At most 2^63 on disk; values above 2^53 are inexact. */
export function inodeSize({ block, at }: RawInode): number {
  return getPair(block.view, at, DiskInode.sizeLow, DiskInode.sizeHigh);
}

export function setInodeSize({ block, at }: RawInode, size: number): void {
  setPair(block.view, at, DiskInode.sizeLow, DiskInode.sizeHigh, size);
}

/** A directory with too many links to count says 1. */
export function linkCount({ block, at }: RawInode): number {
  return DiskInode.linkCount.get(block.view, at);
}

/**
 * Sets the number of links. A directory above 64,999 says 1 from then on, until it is removed.
 * Throws: EMLINK for anything else above 65,000.
 */
export function setLinkCount(volume: ExtVolume, raw: RawInode, count: number): void {
  const { block, at } = raw;
  if (isDirectory(raw) && (volume.features.readOnly & READ_ONLY.dir_nlink) !== 0) {
    const isUncounted = linkCount(raw) === 1;
    if (count > 0 && (isUncounted || count >= LINK_COUNT_MAX)) count = 1;
  }
  if (count > LINK_COUNT_MAX) {
    throw new HoldfastError("EMLINK", `an inode has at most ${LINK_COUNT_MAX} links`);
  }
  DiskInode.linkCount.set(block.view, at, count);
}

/** Space the inode uses, in sectors of 512 bytes, its index and attribute blocks included. */
export function inodeSectors(volume: ExtVolume, { block, at }: RawInode): number {
  if ((volume.features.readOnly & READ_ONLY.huge_file) === 0) {
    return DiskInode.blocksLow.get(block.view, at);
  }
  const count = getPair(block.view, at, DiskInode.blocksLow, DiskInode.blocksHigh);
  const inBlocks = (DiskInode.flags.get(block.view, at) & INODE_HUGE_FILE) !== 0;
  return inBlocks ? count * (volume.blockSize / 512) : count;
}

/** An inode that is being edited. */
export interface EditedInode {
  readonly volume: ExtVolume;
  readonly transaction: Transaction;
  readonly ino: Ino;
  readonly raw: RawInode;
}

/**
 * Adds `blocks` filesystem blocks (negative: takes away) to the space the inode uses, and its owner's.
 * Throws: EFBIG, ENOSPC; CorruptionError when less than nothing would be left.
 */
export function addInodeBlocks(inode: EditedInode, blocks: number): void {
  const { volume, transaction, ino, raw } = inode;
  setSectors(volume, raw, blocks);
  const space = blocks * volume.blockSize;
  volume.usage?.change(transaction, ino, raw, { space, inodes: 0 });
}

function setSectors(volume: ExtVolume, raw: RawInode, blocks: number): void {
  const { view } = raw.block;
  const { at } = raw;
  const sectorsPerBlock = volume.blockSize / 512;
  const before = inodeSectors(volume, raw);
  const sectors = before + blocks * sectorsPerBlock;
  if (sectors < 0) {
    const expected = `but ${-blocks} blocks are being freed`;
    throw volume.damage(raw, DiskInode.structure, "i_blocks", before, expected);
  }
  const flags = DiskInode.flags.get(view, at);
  if ((volume.features.readOnly & READ_ONLY.huge_file) === 0) {
    if (sectors >= 2 ** 32)
      throw new HoldfastError("EFBIG", "without huge_file a file ends at 2 TiB");
    DiskInode.blocksLow.set(view, at, sectors);
    return;
  }
  const inBlocks = sectors >= SECTORS_MAX;
  const count = inBlocks ? sectors / sectorsPerBlock : sectors;
  setPair(view, at, DiskInode.blocksLow, DiskInode.blocksHigh, count);
  const changed = inBlocks ? flags | INODE_HUGE_FILE : flags & ~INODE_HUGE_FILE;
  DiskInode.flags.set(view, at, changed >>> 0);
}

type TimeName = "accessTime" | "modifyTime" | "changeTime" | "birthTime";
interface TimeFields {
  readonly seconds: IntegerField;
  readonly extra: IntegerField;
}
const ACCESS_TIME = { seconds: DiskInode.accessTime, extra: DiskInode.accessTimeExtra };
const MODIFY_TIME = { seconds: DiskInode.modifyTime, extra: DiskInode.modifyTimeExtra };
const CHANGE_TIME = { seconds: DiskInode.changeTime, extra: DiskInode.changeTimeExtra };
const BIRTH_TIME = { seconds: DiskInode.birthTime, extra: DiskInode.birthTimeExtra };

/** Four names are more than a keyed load is compiled for. */
function timeFields(name: TimeName): TimeFields {
  switch (name) {
    case "accessTime":
      return ACCESS_TIME;
    case "modifyTime":
      return MODIFY_TIME;
    case "changeTime":
      return CHANGE_TIME;
    case "birthTime":
      return BIRTH_TIME;
  }
}

/** A time of an inode; one the inode has no room for is 1970. */
export function inodeTime(volume: ExtVolume, raw: RawInode, name: TimeName): Time {
  const { view } = raw.block;
  const fields = timeFields(name);
  if (!hasField(volume, raw, fields.seconds)) return { seconds: 0, nanoseconds: 0 };
  const seconds = fields.seconds.get(view, raw.at);
  if (!hasField(volume, raw, fields.extra)) return { seconds, nanoseconds: 0 };
  const extra = fields.extra.get(view, raw.at);
  return {
    seconds: seconds + (extra & 3) * 2 ** 32,
    nanoseconds: Math.min(extra >>> 2, NANOSECONDS_MAX),
  };
}

/** Sets a time; what does not fit becomes the nearest second that does, and the first and the last are whole: as in Linux. */
export function setInodeTime(volume: ExtVolume, raw: RawInode, name: TimeName, time: Time): void {
  const { view } = raw.block;
  const fields = timeFields(name);
  if (!hasField(volume, raw, fields.seconds)) return;
  const hasExtra = hasField(volume, raw, fields.extra);
  const most = (hasExtra ? 2 ** 34 : 2 ** 32) - 2 ** 31 - 1;
  const least = -(2 ** 31);
  const seconds = Math.max(least, Math.min(Math.floor(time.seconds), most));
  const low = seconds | 0;
  fields.seconds.set(view, raw.at, low);
  if (!hasExtra) return;
  const epoch = (seconds - low) / 2 ** 32;
  const isLimit = seconds === least || seconds === most;
  const nanoseconds = isLimit ? 0 : Math.min(Math.floor(time.nanoseconds), NANOSECONDS_MAX);
  fields.extra.set(view, raw.at, nanoseconds * 4 + epoch);
}

/** The inode's permission bits, set-id and sticky. */
export function setPermissions({ block, at }: RawInode, mode: number): void {
  const type = DiskInode.mode.get(block.view, at) & MODE_TYPE_MASK;
  DiskInode.mode.set(block.view, at, type | (mode & MODE_PERMISSION_MASK));
}

export function inodeOwner({ block, at }: RawInode): { uid: number; gid: number } {
  return {
    uid: getPair(block.view, at, DiskInode.uidLow, DiskInode.uidHigh),
    gid: getPair(block.view, at, DiskInode.gidLow, DiskInode.gidHigh),
  };
}

export function setOwner({ block, at }: RawInode, uid: number, gid: number): void {
  setPair(block.view, at, DiskInode.uidLow, DiskInode.uidHigh, uid);
  setPair(block.view, at, DiskInode.gidLow, DiskInode.gidHigh, gid);
}

/** The project that the inode's space is counted for; 0 where the volume has none, or the inode no room. */
export function inodeProject(volume: ExtVolume, raw: RawInode): number {
  if ((volume.features.readOnly & READ_ONLY.project) === 0) return 0;
  if (!hasField(volume, raw, DiskInode.projectId)) return 0;
  return DiskInode.projectId.get(raw.block.view, raw.at);
}

/**
 * Gives a new inode the project of the directory that it is made in, where that passes it on; a directory
 * passes it on then, too. Source: Linux fs/ext4/ialloc.c, __ext4_new_inode, in what it does.
 */
export function inheritProject(volume: ExtVolume, raw: RawInode, directory: RawInode): void {
  if ((inodeFlags(directory) & INODE_PROJECT_INHERIT) === 0) return;
  const project = inodeProject(volume, directory);
  if (hasField(volume, raw, DiskInode.projectId)) {
    DiskInode.projectId.set(raw.block.view, raw.at, project);
  }
  if (isDirectory(raw)) setInodeFlags(raw, inodeFlags(raw) | INODE_PROJECT_INHERIT);
}

/** Whether a directory takes no names of the inode: it passes a project on, and the inode has another. */
export function refusesProject(volume: ExtVolume, directory: RawInode, raw: RawInode): boolean {
  if ((inodeFlags(directory) & INODE_PROJECT_INHERIT) === 0) return false;
  return inodeProject(volume, directory) !== inodeProject(volume, raw);
}

/** The block of extended attributes outside the inode, or 0. */
export function attributeBlock(volume: ExtVolume, { block, at }: RawInode): number {
  const low = DiskInode.attributeBlockLow;
  if ((volume.features.incompatible & INCOMPATIBLE["64bit"]) === 0) return low.get(block.view, at);
  return DiskInode.attributeBlockHigh.get(block.view, at) * 2 ** 32 + low.get(block.view, at);
}

export function setAttributeBlock(volume: ExtVolume, { block, at }: RawInode, to: number): void {
  DiskInode.attributeBlockLow.set(block.view, at, to % 2 ** 32);
  if ((volume.features.incompatible & INCOMPATIBLE["64bit"]) === 0) return;
  DiskInode.attributeBlockHigh.set(block.view, at, Math.floor(to / 2 ** 32));
}

/** The flags of `flags`, those of `INODE_...`. */
export function inodeFlags({ block, at }: RawInode): number {
  return DiskInode.flags.get(block.view, at);
}

export function setInodeFlags({ block, at }: RawInode, flags: number): void {
  DiskInode.flags.set(block.view, at, flags >>> 0);
}

/**
 * Fills in an inode that `allocateInode` gave: size 0, one link (a directory: two), no blocks, all
 * times `time`, a generation no earlier file with this number had. Files, directories and symlinks
 * get an empty map, of extents if the volume has them; the target of a symlink that is short enough is then
 * stored in its place.
 */
export function initInode(
  volume: ExtVolume,
  transaction: Transaction,
  ino: Ino,
  inode: NewInode,
): RawInode {
  const raw = editInode(volume, transaction, ino);
  const { block, at } = raw;
  const generation = (DiskInode.generation.get(block.view, at) + 1) >>> 0;
  block.bytes.fill(0, at, at + volume.facts.inodeSize);
  DiskInode.generation.set(block.view, at, generation);
  if (volume.facts.inodeSize > INODE_SIZE_OLD) {
    DiskInode.extraSize.set(block.view, at, volume.facts.extraInodeSizeWanted);
  }
  const mode = MODE_OF_TYPE[inode.type] | (inode.mode & MODE_PERMISSION_MASK);
  DiskInode.mode.set(block.view, at, mode);
  DiskInode.linkCount.set(block.view, at, inode.type === "directory" ? 2 : 1);
  setOwner(raw, inode.uid, inode.gid);
  for (const name of ["accessTime", "modifyTime", "changeTime", "birthTime"] as const) {
    setInodeTime(volume, raw, name, inode.time);
  }
  if (inode.type === "file" || inode.type === "directory" || inode.type === "symlink") {
    const hasExtents = (volume.features.incompatible & INCOMPATIBLE.extents) !== 0;
    setInodeFlags(raw, (hasExtents ? INODE_EXTENTS : 0) | (inode.dax === true ? INODE_DAX : 0));
    if (hasExtents) initializeRoot(raw);
  } else if (inode.type === "character-device" || inode.type === "block-device") {
    setDeviceNumber(raw, inode.deviceMajor ?? 0, inode.deviceMinor ?? 0);
  }
  return raw;
}

/** A device number lies in the first word of the content if both halves are small, else the second. */
export function deviceNumber({ block, at }: RawInode): { major: number; minor: number } {
  const small = block.view.getUint32(at + CONTENT_BYTE, true);
  if (small !== 0) return { major: (small >>> 8) & 0xff, minor: small & 0xff };
  const word = block.view.getUint32(at + CONTENT_BYTE + 4, true);
  return { major: (word >>> 8) & 0xfff, minor: (word & 0xff) | ((word >>> 12) & 0xfff00) };
}

function setDeviceNumber({ block, at }: RawInode, major: number, minor: number): void {
  if (major < 256 && minor < 256) {
    block.view.setUint32(at + CONTENT_BYTE, (major << 8) | minor, true);
    return;
  }
  if (major > 0xfff || minor > 0xfffff) {
    throw new HoldfastError("EINVAL", `device number ${major}:${minor} does not fit in an inode`);
  }
  const word = ((minor & 0xff) | (major << 8) | ((minor & 0xfff00) << 12)) >>> 0;
  block.view.setUint32(at + CONTENT_BYTE + 4, word, true);
}
