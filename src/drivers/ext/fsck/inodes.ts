/** The check's second pass: every inode in use, by the tables. */
import type { Ino } from "../../../base/quantities.ts";
import type { IntegerField } from "../../../base/struct.ts";
import {
  COMPATIBLE,
  CONTENT_BYTE,
  CONTENT_SIZE,
  DiskInode,
  DiskSuperblock,
  GROUP_INODE_UNINIT,
  INCOMPATIBLE,
  INO_BAD_BLOCKS,
  INO_RESIZE,
  INODE_APPEND_ONLY,
  INODE_CASEFOLD,
  INODE_ENCRYPTED,
  INODE_EXTENTS,
  INODE_IMMUTABLE,
  INODE_INDEXED_DIRECTORY,
  INODE_INLINE_DATA,
  INODE_SIZE_OLD,
  INODE_VALUE,
  INODE_VERITY,
  MODE_FILE,
  MODE_TYPE_MASK,
  READ_ONLY,
} from "../format.ts";
import {
  attributeBlock,
  extraSize,
  hasMap,
  inodeFlags,
  inodeMode,
  inodeSectors,
  inodeSize,
  isSlotUsed,
  isTargetInInode,
  linkCount,
  type RawInode,
  typeOfMode,
  verifyInode,
} from "../inodes/inode.ts";
import { codeOfType } from "../directories/names.ts";
import {
  type AttributesInside,
  checkAttributeBlock,
  checkAttributesInside,
  checkAttributeUses,
} from "./attributes.ts";
import { NEEDS_NO_NAME, TYPE_BAD, TYPE_DIRECTORY, TYPE_FILE, TYPE_SYMLINK } from "./census.ts";
import type { Check, Steps } from "./check.ts";
import { type ContentSeen, walkContent } from "./content.ts";
import { checkReserved, isEmpty, isIdleIno, isReservedIno } from "./reserved.ts";
import { checkResizeInode } from "./resize-inode.ts";
import { tellShares } from "./shares.ts";

/** Bits of the second word of a time that its seconds go on in. */
const EPOCH_BITS = 3;

export function* checkInodes(check: Check): Steps {
  const { volume, groups } = check;
  const { inodesPerGroup } = volume.facts;
  const perBlock = volume.blockSize / volume.facts.inodeSize;
  for (let group = 0; group < groups.length; group++) {
    const { inodeTable, flags, unusedInodes } = groups[group]!;
    if (inodeTable === null) {
      const text = "not checked: inodes of groups whose table cannot be found";
      check.findings.notice("inode-tables", text);
      continue;
    }
    const isUnused = (flags & GROUP_INODE_UNINIT) !== 0;
    const used = isUnused ? 0 : inodesPerGroup - Math.min(unusedInodes, inodesPerGroup);
    for (let slot = 0; slot < used; slot++) {
      if (slot % 1024 === 0) yield { pass: "inodes", done: group, total: groups.length };
      const tableBlock = inodeTable + Math.floor(slot / perBlock);
      const block = check.attempt(() => check.reader.read(tableBlock, () => {}));
      if (block === null) break;
      const raw = { block, at: (slot % perBlock) * volume.facts.inodeSize };
      const ino = (group * inodesPerGroup + slot + 1) as Ino;
      check.about = { ino };
      checkInode(check, raw, ino);
    }
  }
  check.about = {};
  checkAttributeUses(check);
  yield* tellShares(check);
}

/** One inode, as it is checked. */
export class InodeCheck {
  readonly check: Check;
  readonly raw: RawInode;
  readonly ino: Ino;
  readonly deviceByte: number;

  constructor(check: Check, raw: RawInode, ino: Ino) {
    this.check = check;
    this.raw = raw;
    this.ino = ino;
    this.deviceByte = check.volume.byteOf(raw.block.block, raw.at);
  }

  /** A field that is wrong. */
  tell(
    code: Parameters<Check["tell"]>[0],
    field: string,
    value: number | string,
    expected: string | number,
  ): void {
    const { ino, deviceByte } = this;
    const wanted = typeof expected === "number" ? `expected ${expected}` : expected;
    this.check.tell(code, {
      structure: DiskInode.structure.name,
      ino,
      field,
      value,
      expected,
      deviceByte,
      text: `inode ${ino}: ${field} is ${value}, ${wanted}`,
    });
  }
}

function checkInode(check: Check, raw: RawInode, ino: Ino): void {
  const { volume, census } = check;
  const inode = new InodeCheck(check, raw, ino);
  const isReserved = isReservedIno(check, ino);
  const links = linkCount(raw);
  const isOrphan = check.orphans.has(ino);
  // The reserved ones have checksums whether they are used or not.
  if (volume.metadataChecksums && (isSlotUsed(raw) || (isReserved && !isBlank(inode)))) {
    check.attempt(() => verifyInode(volume, raw, ino));
  }
  if (links === 0 && !isOrphan && !isReserved) {
    checkFree(inode);
    return;
  }
  const type = isReserved ? TYPE_FILE : typeOf(inode);
  const isNameless = isOrphan && links === 0;
  const isValue = (inodeFlags(raw) & INODE_VALUE) !== 0;
  const needsNoName = isReserved || isNameless || isValue;
  const mayBeValue = (volume.features.incompatible & INCOMPATIBLE.ea_inode) !== 0;
  if (isValue && mayBeValue && type === TYPE_FILE && !isReserved && links > 1) {
    inode.tell("link-count", "i_links_count", links, 1);
  }
  census.types.set(ino, needsNoName ? type | NEEDS_NO_NAME : type);
  census.links.set(ino, links);
  if (isSlotUsed(raw)) census.inodesUsed++;
  if (type === TYPE_DIRECTORY) census.directories++;
  if (isOrphan) tellOrphan(inode, links);
  if (isReserved) {
    tellOrphanNumber(inode, DiskInode.deletionTime.get(raw.block.view, raw.at));
    checkReserved(inode);
  } else checkFields(inode, type, { isOrphan, isNamed: !needsNoName });
  if (!isIdleIno(check, ino)) checkContent(inode, type, isOrphan);
}

/** What a mount goes on with is no error. */
function tellOrphan(inode: InodeCheck, links: number): void {
  const { check } = inode;
  if (check.isReplayed) {
    const text =
      "inodes were deleted, or cut off, while they were open; the next mount finishes that";
    check.findings.notice("orphans", text);
    return;
  }
  const expected = "but it is on the list of orphans and still has its space";
  inode.tell("orphan-inode", "i_links_count", links, expected);
}

function isBlank({ raw, check }: InodeCheck): boolean {
  const { block, at } = raw;
  return block.bytes.subarray(at, at + check.volume.facts.inodeSize).every((byte) => byte === 0);
}

function checkFree(inode: InodeCheck): void {
  const { block, at } = inode.raw;
  const deleted = DiskInode.deletionTime.get(block.view, at);
  if (deleted === 0 && inodeMode(inode.raw) !== 0) {
    inode.tell("inode-deletion-time", "i_dtime", 0, "but the inode has a type and no links");
  }
  tellOrphanNumber(inode, deleted);
}

/** No clock says so early a time: it is the number of the next orphan. */
function tellOrphanNumber(inode: InodeCheck, deleted: number): void {
  if (deleted === 0 || deleted >= inode.check.volume.facts.inodes) return;
  inode.tell("inode-deletion-time", "i_dtime", deleted, "which is a place on the list of orphans");
}

/** The type, as directory entries number it. */
function typeOf(inode: InodeCheck): number {
  const mode = inodeMode(inode.raw);
  const type = typeOfMode(mode);
  if (type !== null) return codeOfType[type];
  inode.tell("inode-mode", "i_mode", mode, "expected a type of file");
  return TYPE_BAD;
}

function checkFields(
  inode: InodeCheck,
  type: number,
  { isOrphan, isNamed }: { readonly isOrphan: boolean; readonly isNamed: boolean },
): void {
  const { raw, check } = inode;
  const { view } = raw.block;
  const { features } = check.volume.facts;
  const deleted = DiskInode.deletionTime.get(view, raw.at);
  if (deleted !== 0 && !isOrphan) {
    inode.tell("inode-deletion-time", "i_dtime", deleted, "expected 0, as the inode is in use");
  }
  const expectZero = (field: IntegerField, name: string, when: string) => {
    if (!isNamed) return; // e2fsck tells it of a name
    const value = field.get(view, raw.at);
    if (value !== 0) inode.tell("inode-field", name, value, `expected 0 ${when}`);
  };
  expectZero(DiskInode.fragmentAddress, "i_faddr", "as there are no fragments");
  const has = (word: number, bit: number) => (word & bit) !== 0;
  if (!has(features.readOnly, READ_ONLY.huge_file)) {
    expectZero(DiskInode.blocksHigh, "i_blocks_hi", "without huge_file");
  }
  if (!has(features.incompatible, INCOMPATIBLE["64bit"])) {
    expectZero(DiskInode.attributeBlockHigh, "i_file_acl_hi", "without 64bit");
  }
  checkExtraSize(inode);
  checkFlags(inode, type);
}

function checkExtraSize(inode: InodeCheck): void {
  const { raw, check } = inode;
  const room = check.volume.facts.inodeSize - INODE_SIZE_OLD;
  if (room === 0) return;
  const { view } = raw.block;
  const extra = DiskInode.extraSize.get(view, raw.at);
  if (extra !== 0 && (extra < 4 || extra > room || extra % 4 !== 0)) {
    inode.tell("inode-field", "i_extra_isize", extra, `expected a multiple of 4 up to ${room}`);
    return;
  }
  const times = [
    ["i_ctime_extra", DiskInode.changeTime, DiskInode.changeTimeExtra],
    ["i_mtime_extra", DiskInode.modifyTime, DiskInode.modifyTimeExtra],
    ["i_atime_extra", DiskInode.accessTime, DiskInode.accessTimeExtra],
    ["i_crtime_extra", DiskInode.birthTime, DiskInode.birthTimeExtra],
  ] as const;
  const end = INODE_SIZE_OLD + extraSize(check.volume, raw);
  for (const [name, low, high] of times) {
    if (high.offset + high.size > end) continue;
    const bits = high.get(view, raw.at);
    // Written by systems that put times before 1970 into the last epoch there is.
    if ((bits & EPOCH_BITS) === EPOCH_BITS && low.get(view, raw.at) < 0) {
      inode.tell("inode-field", name, bits, "expected another epoch for a time before 1970");
    }
  }
}

function checkFlags(inode: InodeCheck, type: number): void {
  const { raw, check } = inode;
  const { features } = check.volume.facts;
  const flags = inodeFlags(raw);
  const tellFlags = (why: string) =>
    inode.tell("inode-flags", "i_flags", `0x${flags.toString(16)}`, why);
  const isSpecial = type > TYPE_DIRECTORY && type < TYPE_SYMLINK;
  if ((flags & INODE_EXTENTS) !== 0 && (features.incompatible & INCOMPATIBLE.extents) === 0) {
    tellFlags("which says extents on a volume without them");
  }
  if ((flags & INODE_INLINE_DATA) !== 0) {
    if ((features.incompatible & INCOMPATIBLE.inline_data) === 0) {
      tellFlags("which says inline data on a volume without it");
    } else if ((flags & INODE_EXTENTS) !== 0) tellFlags("which says inline data and extents");
  }
  if ((flags & INODE_INDEXED_DIRECTORY) !== 0) {
    const isAllowed = (features.compatible & COMPATIBLE.directoryIndex) !== 0;
    if (type !== TYPE_DIRECTORY) tellFlags("which says indexed, of what is no directory");
    else if (!isAllowed) tellFlags("which says indexed on a volume without dir_index");
  }
  const others = [
    [INODE_ENCRYPTED, features.incompatible & INCOMPATIBLE.encrypt, "encrypted"],
    [INODE_CASEFOLD, features.incompatible & INCOMPATIBLE.casefold, "that names ignore case"],
  ] as const;
  for (const [flag, feature, what] of others) {
    if ((flags & flag) !== 0 && feature === 0)
      tellFlags(`which says ${what} on a volume without it`);
  }
  if (isSpecial && (flags & INODE_EXTENTS) !== 0) {
    tellFlags("which says extents, of what has no blocks");
  }
  if (!isSpecial && type !== TYPE_SYMLINK) return;
  if ((flags & (INODE_IMMUTABLE | INODE_APPEND_ONLY)) !== 0) {
    tellFlags("which says immutable or append-only, of what is not written");
  }
}

/** The map, and what hangs on it: size, blocks in use, attributes. */
function checkContent(inode: InodeCheck, type: number, isOrphan: boolean): void {
  const { raw, ino, check } = inode;
  const inside = checkAttributesInside(inode);
  const outside = checkAttributeBlock(inode, attributeBlock(check.volume, raw));
  const attributeBlocks = (inside?.valueBlocks ?? 0) + outside.blocks;
  const values = (inside?.values ?? 0) + outside.values;
  checkLarge(inode);
  if (ino === INO_RESIZE && !isEmpty(raw)) {
    checkResizeInode(inode);
    return;
  }
  const isReserved = isReservedIno(check, ino);
  const isInside = (inodeFlags(raw) & INODE_INLINE_DATA) !== 0;
  if (isInside && !isReserved) {
    checkInline(inode, type, inside, attributeBlocks);
    check.census.usage.add(inode, attributeBlocks, 1 + values);
    return;
  }
  // Of a reserved inode that is not used the kernel looks at no block; the bad ones have no type.
  const isUnused = inodeMode(raw) === 0 && ino !== INO_BAD_BLOCKS;
  const hasNone = isReserved && (isUnused || isInside || isEmpty(raw));
  const isMapped = hasMap(raw) && !hasNone;
  const seen = isMapped ? walkContent(inode, type) : null;
  const blocks = (seen?.blocks ?? 0) + attributeBlocks;
  if (ino !== INO_BAD_BLOCKS) checkBlockCount(inode, blocks);
  check.census.usage.add(inode, blocks, 1 + values);
  // Of an orphan with links a part was to be cut off.
  if (!isOrphan) checkSize(inode, type, seen);
}

function checkBlockCount(inode: InodeCheck, blocks: number): void {
  const { volume } = inode.check;
  const sectors = blocks * (volume.blockSize / 512);
  const said = inodeSectors(volume, inode.raw);
  if (said !== sectors) inode.tell("inode-blocks", "i_blocks", said, sectors);
}

function checkSize(inode: InodeCheck, type: number, seen: ContentSeen | null): void {
  const { raw, check } = inode;
  const { blockSize } = check.volume;
  const size = inodeSize(raw);
  if (type === TYPE_DIRECTORY) checkDirectorySize(inode, size, seen);
  else if (type === TYPE_SYMLINK) checkTarget(inode, size, seen);
  else if (type === TYPE_FILE) {
    // The last block that was written may begin where the file ends, as an interrupted write leaves it.
    const least = ((seen?.writtenEnd ?? 0) - 1) * blockSize;
    const isVerity = (inodeFlags(raw) & INODE_VERITY) !== 0;
    if (size < least && !isVerity) {
      inode.tell(
        "inode-size",
        "i_size",
        size,
        `expected at least ${least}, as blocks up to there were written`,
      );
    }
    const most = sizeMax(inode);
    if (size > most) inode.tell("inode-size", "i_size", size, `expected at most ${most}`);
  } else if (type !== TYPE_BAD && size !== 0) {
    inode.tell("inode-size", "i_size", size, "expected 0, as there is no content");
  }
}

/** Files of 2 GiB or more want a feature, so that old readers stay away. */
function checkLarge(inode: InodeCheck): void {
  const { features } = inode.check.volume;
  const size = inodeSize(inode.raw);
  if ((features.readOnly & READ_ONLY.large_file) !== 0 || size < 2 ** 31) return;
  if ((inodeMode(inode.raw) & MODE_TYPE_MASK) !== MODE_FILE) return;
  inode.tell("inode-size", "i_size", size, "expected less than 2 GiB without large_file");
}

/** The largest size of a file: what its map can name. */
function sizeMax({ raw, check }: InodeCheck): number {
  const { blockSize } = check.volume;
  if ((inodeFlags(raw) & INODE_EXTENTS) !== 0) return 2 ** 32 * blockSize - 1;
  const pointers = blockSize / 4;
  return (12 + pointers + pointers ** 2 + pointers ** 3) * blockSize;
}

function checkDirectorySize(inode: InodeCheck, size: number, seen: ContentSeen | null): void {
  const { check } = inode;
  const right = (seen?.mappedEnd ?? 0) * check.volume.blockSize;
  const ahead = DiskSuperblock.preallocateDirectoryBlocks.get(check.superblock, 0);
  const isPreallocated = right > size && right - size <= ahead * check.volume.blockSize;
  if (size === 0 || (size !== right && !isPreallocated)) {
    inode.tell("inode-size", "i_size", size, `expected ${right}, where the directory's blocks end`);
  }
}

/** A symlink's target ends with the first zero byte, exactly at its size. */
function checkTarget(inode: InodeCheck, size: number, seen: ContentSeen | null): void {
  const { raw, check } = inode;
  if ((inodeFlags(raw) & INODE_ENCRYPTED) !== 0) return;
  let bytes: Uint8Array;
  if (isTargetInInode(raw)) {
    const start = raw.at + CONTENT_BYTE;
    bytes = raw.block.bytes.subarray(start, start + CONTENT_SIZE);
  } else {
    const first = seen?.firstBlock ?? null;
    const block = first === null ? null : check.attempt(() => check.reader.read(first, () => {}));
    if (block === null) {
      inode.tell("symlink-target", "i_size", size, "but the target's block is missing");
      return;
    }
    bytes = block.bytes;
  }
  const length = bytes.indexOf(0);
  if (length !== size || size === 0) {
    const found = length < 0 ? "has no end" : `has ${length} bytes`;
    inode.tell("symlink-target", "i_size", size, `but the target ${found}`);
  }
}

/** Content in the inode itself. A file may be longer: zeroes follow. Of symlinks no block is counted, as by e2fsck. */
function checkInline(
  inode: InodeCheck,
  type: number,
  inside: AttributesInside | null,
  attributeBlocks: number,
): void {
  const { raw } = inode;
  const { bytes } = raw.block;
  const dataSize = inside?.dataSize ?? -1;
  if (inside === null || dataSize < 0) {
    inode.tell("inline-data", "system.data", "missing", "but the inode keeps its data inside");
    return;
  }
  if (type !== TYPE_SYMLINK) checkBlockCount(inode, attributeBlocks);
  const size = inodeSize(raw);
  const kept = CONTENT_SIZE + dataSize;
  if (type === TYPE_DIRECTORY && size !== kept) inode.tell("inline-data", "i_size", size, kept);
  if (type !== TYPE_SYMLINK) return;
  const start = raw.at + CONTENT_BYTE;
  const { dataAt } = inside;
  const parts = [bytes.subarray(start, start + CONTENT_SIZE)];
  if (dataSize > 0) parts.push(bytes.subarray(dataAt, dataAt + dataSize));
  const content = Buffer.concat(parts);
  const end = content.indexOf(0);
  const length = end < 0 ? content.length : end;
  if (length !== size || size === 0) {
    inode.tell("symlink-target", "i_size", size, `but the target has ${length} bytes`);
  }
}
