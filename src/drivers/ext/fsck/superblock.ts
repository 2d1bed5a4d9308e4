/** The check's first pass: the superblock, and the places that the group descriptors name. */
import { CorruptionError, HoldfastError } from "../../../base/errors.ts";
import { DEVICE_BYTES_MAX } from "../../../base/quantities.ts";
import { superblockChecksum } from "../checksums.ts";
import {
  COMPATIBLE,
  DiskGroup,
  DiskSuperblock,
  getPair,
  GROUP_BLOCK_UNINIT,
  GROUP_INODE_UNINIT,
  INCOMPATIBLE,
  INODE_SIZE_OLD,
  READ_ONLY,
  STATE_CLEAN,
  STATE_ERRORS,
  SUPERBLOCK_BYTE,
  SUPERBLOCK_SIZE,
} from "../format.ts";
import {
  blocksInGroup,
  descriptorBlock,
  firstBlockOfGroup,
  getGroup,
  groupFlags,
  headBlocks,
  inodeTableBlocks,
  readGroup,
  verifyDescriptor,
} from "../space/groups.ts";
import { isSlotUsed, readRaw } from "../inodes/inode.ts";
import { listOrphans } from "../inodes/orphans.ts";
import { isSuperblock, parseSuperblock, type SuperblockFacts, viewOf } from "../superblock.ts";
import type { Located } from "../volume.ts";
import type { Check, Steps } from "./check.ts";
import type { Findings } from "./findings.ts";
import { readOrphanFile } from "./orphan-file.ts";
import type { CheckedDevice } from "./reader.ts";

/** What a group's descriptor says. */
export interface GroupRecord {
  /** First block of the inode table; null where it cannot be. */
  readonly inodeTable: number | null;
  readonly hasBlockBitmap: boolean;
  readonly hasInodeBitmap: boolean;
  readonly flags: number;
  /** Inodes at the end of the table that were never used. */
  readonly unusedInodes: number;
}

/** Features whose structures are known here, if not all that they mean. */
const INCOMPATIBLE_KNOWN =
  Object.values(INCOMPATIBLE).reduce((all, bit) => all | bit, 0) &
  ~(INCOMPATIBLE.compression | INCOMPATIBLE.journal_dev | INCOMPATIBLE.dirdata);

/** All that e2fsprogs knows; those that COMPATIBLE does not list have no structures. */
const COMPATIBLE_KNOWN = 0x1e3f;
const READ_ONLY_KNOWN =
  Object.values(READ_ONLY).reduce((all, bit) => all | bit, 0) &
  ~(READ_ONLY.btree_dir | READ_ONLY.snapshot | READ_ONLY.replica);

const { structure } = DiskSuperblock;

export interface OpenedSuperblock {
  readonly facts: SuperblockFacts;
  readonly view: DataView;
}

/** The superblock, or a copy of it where it cannot be used; or why there is none to work with. */
export function openSuperblock(
  device: CheckedDevice,
  findings: Findings,
): OpenedSuperblock | string {
  const first = readAt(device, SUPERBLOCK_BYTE);
  if (first === null) return "it is too small to hold a volume";
  const tried = tryParse(first, device, findings);
  if (typeof tried !== "string") return unknownFeatures(tried.facts) ?? tried;
  for (const byte of copyPlaces()) {
    const bytes = readAt(device, byte);
    if (bytes === null || !isSuperblock(bytes)) continue;
    const copy = tryParse(bytes, device, null);
    if (typeof copy === "string" || copyPlace(copy.facts.blockSize) !== byte) continue;
    findings.add("superblock-unusable", {
      structure: structure.name,
      deviceByte: SUPERBLOCK_BYTE,
      text: `the superblock cannot be used; what follows relies on its copy at device byte ${byte}`,
    });
    return copy;
  }
  return tried;
}

/** Why a volume with features that nobody knows is not checked: who can say what they change? */
function unknownFeatures({ features }: SuperblockFacts): string | null {
  const compatible = (features.compatible & ~COMPATIBLE_KNOWN) >>> 0;
  const readOnly = (features.readOnly & ~READ_ONLY_KNOWN) >>> 0;
  if (compatible === 0 && readOnly === 0) return null;
  const bits = [
    [compatible, "compatible"],
    [readOnly, "read-only compatible"],
  ] as const;
  const named = bits
    .filter(([word]) => word !== 0)
    .map(([word, name]) => `0x${word.toString(16)} (${name})`);
  return `the volume uses features that are not known: ${named.join(", ")}`;
}

/** Where the first copy lies, by the blocks' size, if groups are as large as they can be. */
function copyPlace(blockSize: number): number {
  return (8 * blockSize + (blockSize === 1024 ? 1 : 0)) * blockSize;
}

function copyPlaces(): number[] {
  return [1024, 2048, 4096].map(copyPlace);
}

function readAt(device: CheckedDevice, byte: number): Uint8Array | null {
  if (byte + SUPERBLOCK_SIZE > device.size) return null;
  const bytes = new Uint8Array(SUPERBLOCK_SIZE);
  device.copyOut(byte, bytes);
  return bytes;
}

/** Parses a superblock, past a wrong checksum and a device that is too short. `findings`: null for a copy. */
function tryParse(
  bytes: Uint8Array,
  device: CheckedDevice,
  findings: Findings | null,
): OpenedSuperblock | string {
  const view = viewOf(bytes);
  let deviceSize = device.size;
  for (;;) {
    try {
      const facts = parseSuperblock(bytes, deviceSize, true, INCOMPATIBLE_KNOWN);
      return { facts, view };
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      if (!(error instanceof CorruptionError)) return error.message.replace(/^\w+: /, "");
      const { field, value } = error.damage;
      const isShort = field === "s_blocks_count" && Number(value) * 1024 > deviceSize;
      if (isShort && deviceSize < DEVICE_BYTES_MAX) {
        deviceSize = DEVICE_BYTES_MAX;
        findings?.add("device-short", {
          structure: structure.name,
          field,
          value: Number(value),
          deviceByte: SUPERBLOCK_BYTE,
          text: `the volume has ${value} blocks, but its device only ${device.size} bytes`,
        });
        continue;
      }
      findings?.addDamage(error.damage, {});
      if (findings === null || field !== "s_checksum") return "its superblock is damaged";
      DiskSuperblock.checksum.set(view, 0, superblockChecksum(bytes));
    }
  }
}

/** What the superblock says of the volume's state, and fields that only a check asks about. */
export function tellStates(check: Check): void {
  const { findings, superblock: view, volume } = check;
  const { features } = volume.facts;
  if ((features.incompatible & INCOMPATIBLE.needs_recovery) !== 0 && !check.isReplayed) {
    const text = "the journal has not been replayed; what is checked is the volume without it";
    findings.notice("journal-not-replayed", text);
  }
  const state = DiskSuperblock.state.get(view, 0);
  if ((state & STATE_ERRORS) !== 0) {
    findings.notice("errors-noted", "whoever used the volume noted errors in its superblock");
  }
  if ((state & STATE_CLEAN) === 0 && !check.isReplayed) {
    findings.notice("not-unmounted", "the volume was not unmounted cleanly, or is in use");
  }
  checkSuperblockFields(check);
  noteUnchecked(check);
  check.orphans = readOrphans(check);
}

function checkSuperblockFields({ superblock: view, volume, findings }: Check): void {
  const { facts } = volume;
  const tellField = (field: string, value: number | string, expected: string) =>
    findings.add("superblock-field", {
      structure: structure.name,
      field,
      value,
      expected,
      deviceByte: SUPERBLOCK_BYTE,
    });
  const { reservedBlocksCountLow, reservedBlocksCountHigh } = DiskSuperblock;
  const reserved =
    (facts.features.incompatible & INCOMPATIBLE["64bit"]) !== 0
      ? getPair(view, 0, reservedBlocksCountLow, reservedBlocksCountHigh)
      : reservedBlocksCountLow.get(view, 0);
  if (reserved > facts.blocks / 2) {
    tellField("s_r_blocks_count", reserved, `expected at most half of ${facts.blocks}`);
  }
  const isBigalloc = facts.clusterBlocks > 1;
  const logCluster = DiskSuperblock.logClusterSize.get(view, 0);
  const logBlock = DiskSuperblock.logBlockSize.get(view, 0);
  if (!isBigalloc && logCluster !== logBlock) {
    tellField("s_log_cluster_size", logCluster, `expected ${logBlock}, as s_log_block_size`);
  }
  const perGroup = DiskSuperblock.clustersPerGroup.get(view, 0);
  const perGroupRight = facts.blocksPerGroup / facts.clusterBlocks;
  if (perGroup !== perGroupRight) {
    tellField("s_clusters_per_group", perGroup, `expected ${perGroupRight}`);
  }
  const flexMax = 31;
  const logFlex = DiskSuperblock.logGroupsPerFlex.get(view, 0);
  if (logFlex > flexMax) {
    tellField("s_log_groups_per_flex", logFlex, `expected at most ${flexMax}`);
  }
  const room = facts.inodeSize - INODE_SIZE_OLD;
  const sizes = [
    ["s_min_extra_isize", DiskSuperblock.extraInodeSizeMin.get(view, 0)],
    ["s_want_extra_isize", DiskSuperblock.extraInodeSizeWanted.get(view, 0)],
  ] as const;
  for (const [field, size] of sizes) {
    if (size > room || size % 4 !== 0) {
      tellField(field, size, `expected a multiple of 4 up to ${room}`);
    }
  }
  const hasResizeInode = (facts.features.compatible & COMPATIBLE.resizeInode) !== 0;
  if (!hasResizeInode && facts.reservedGdtBlocks !== 0) {
    const expected = "expected 0 without resize_inode";
    tellField("s_reserved_gdt_blocks", facts.reservedGdtBlocks, expected);
  }
  const quotas = [
    ["s_usr_quota_inum", DiskSuperblock.userQuotaIno],
    ["s_grp_quota_inum", DiskSuperblock.groupQuotaIno],
    ["s_prj_quota_inum", DiskSuperblock.projectQuotaIno],
  ] as const;
  for (const [name, field] of quotas) {
    const ino = field.get(view, 0);
    if (ino > facts.inodes) tellField(name, ino, `expected at most ${facts.inodes}`);
  }
  const hasJournal = (facts.features.compatible & COMPATIBLE.hasJournal) !== 0;
  if (!hasJournal && facts.journalIno !== 0) {
    tellField("s_journal_inum", facts.journalIno, "expected 0 without has_journal");
  }
  const { offset, size } = DiskSuperblock.journalUuid;
  const isElsewhere = new Uint8Array(view.buffer, view.byteOffset + offset, size).some(
    (byte) => byte !== 0,
  );
  if (hasJournal && facts.journalIno !== 0 && isElsewhere) {
    tellField("s_journal_uuid", "set", "expected zeroes, as the journal is not on another device");
  }
}

/** Says what the volume has that nobody looks at. */
function noteUnchecked({ findings, volume }: Check): void {
  const { incompatible, readOnly } = volume.facts.features;
  const note = (has: number, code: string, text: string) => {
    if (has !== 0) findings.notice(code, `not checked: ${text}`);
  };
  note(incompatible & INCOMPATIBLE.mmp, "mmp", "the block of multiple mount protection");
  note(readOnly & READ_ONLY.verity, "verity", "the trees of hashes behind verity files");
  note(
    incompatible & (INCOMPATIBLE.encrypt | INCOMPATIBLE.casefold),
    "hashes",
    "encrypted names, and hashes of names in directories that are encrypted or ignore case",
  );
  note(
    readOnly & READ_ONLY.bigalloc,
    "clusters",
    "whether two files share a cluster by mistake where the blocks differ",
  );
  note(readOnly & READ_ONLY.shared_blocks, "shared-blocks", "which files may share blocks");
}

/** The inodes on the list of orphans, or in the orphan file, that are in use. */
function readOrphans(check: Check): ReadonlySet<number> {
  const tellList = (deviceByte: number | undefined, text: string) =>
    check.tell("orphan-list", {
      structure: structure.name,
      field: "s_last_orphan",
      deviceByte: deviceByte ?? SUPERBLOCK_BYTE,
      text: `the list of orphans: ${text}`,
    });
  const orphans = new Set<number>();
  try {
    for (const ino of listOrphans(check.volume)) {
      if (isSlotUsed(readRaw(check.volume, ino))) orphans.add(ino);
      else tellList(undefined, `it names inode ${ino}, which is not in use`);
    }
  } catch (error) {
    if (!(error instanceof CorruptionError)) throw error;
    const { field, value, expected, deviceByte } = error.damage;
    tellList(deviceByte, `${field} is ${value}, ${expected}`);
  }
  readOrphanFile(check, orphans);
  return orphans;
}

/** Checks every descriptor, and notes the blocks that the groups have for themselves. */
export function* checkGroups(check: Check): Steps {
  const { volume } = check;
  const { groups } = volume.facts;
  for (let group = 0; group < groups; group++) {
    if (group % 256 === 0) yield { pass: "groups", done: group, total: groups };
    check.about = { group };
    check.groups.push(checkGroup(check, group));
  }
  check.about = {};
  const mmpBlock = DiskSuperblock.multipleMountBlock.get(check.superblock, 0);
  if ((volume.features.incompatible & INCOMPATIBLE.mmp) !== 0 && mmpBlock < volume.facts.blocks) {
    addStructure(check, mmpBlock, 1, "mmp block");
  }
}

const NOTHING: GroupRecord = {
  inodeTable: null,
  hasBlockBitmap: false,
  hasInodeBitmap: false,
  flags: 0,
  unusedInodes: 0,
};

function checkGroup(check: Check, group: number): GroupRecord {
  const { volume } = check;
  const first = firstBlockOfGroup(volume, group);
  addStructure(
    check,
    first,
    Math.min(headBlocks(volume, group), blocksInGroup(volume, group)),
    "superblock and descriptors",
  );
  const perBlock = volume.blockSize / volume.facts.descriptorSize;
  const index = Math.floor(group / perBlock);
  const isThere = check.attempt(() => check.reader.read(descriptorBlock(volume, index), () => {}));
  const descriptor = isThere && check.attempt(() => readGroup(volume, group));
  if (descriptor === null) return NOTHING;
  const isSound = check.attempt(() => {
    verifyDescriptor(volume, descriptor, group);
    return true;
  });
  if (!volume.facts.groupChecksums) checkNeverUsed(check, descriptor, group);
  const tableBlocks = inodeTableBlocks(volume);
  const hasBlockBitmap = checkPlace(check, descriptor, group, "blockBitmap", 1);
  const hasInodeBitmap = checkPlace(check, descriptor, group, "inodeBitmap", 1);
  const hasTable = checkPlace(check, descriptor, group, "inodeTable", tableBlocks);
  return {
    inodeTable: hasTable ? getGroup(volume, descriptor, "inodeTable") : null,
    hasBlockBitmap,
    hasInodeBitmap,
    // What a damaged descriptor says of what was never used is not relied on.
    flags: isSound === null ? 0 : groupFlags(volume, descriptor),
    unusedInodes:
      isSound === null || !volume.facts.groupChecksums
        ? 0
        : getGroup(volume, descriptor, "unusedInodes"),
  };
}

/** Without checksums of groups nothing may be taken for never used. */
function checkNeverUsed(check: Check, descriptor: Located, group: number): void {
  const { view } = descriptor.block;
  const flags = DiskGroup.flags.get(view, descriptor.at);
  const unused = getGroup(check.volume, descriptor, "unusedInodes");
  const isUninitialized = (flags & (GROUP_INODE_UNINIT | GROUP_BLOCK_UNINIT)) !== 0;
  if (!isUninitialized && unused === 0) return;
  check.tell("group-field", {
    structure: DiskGroup.structure.name,
    group,
    field: isUninitialized ? "bg_flags" : "bg_itable_unused",
    value: isUninitialized ? flags : unused,
    expected: 0,
    deviceByte: check.volume.byteOf(descriptor.block.block, descriptor.at),
    text: `group ${group}: something is marked as never used, which a volume without group checksums cannot say`,
  });
}

const PLACES = {
  blockBitmap: ["bg_block_bitmap", "block bitmap"],
  inodeBitmap: ["bg_inode_bitmap", "inode bitmap"],
  inodeTable: ["bg_inode_table", "inode table"],
} as const;

/** Notes the blocks of one of a group's structures; false where they cannot be its. */
function checkPlace(
  check: Check,
  descriptor: Located,
  group: number,
  name: keyof typeof PLACES,
  count: number,
): boolean {
  const { volume } = check;
  const { blocks, firstDataBlock } = volume.facts;
  const start = getGroup(volume, descriptor, name);
  const [field, what] = PLACES[name];
  if (start <= firstDataBlock || start + count > blocks) return false; // verifyDescriptor has told
  const isFlexible = (volume.features.incompatible & INCOMPATIBLE.flex_bg) !== 0;
  const first = firstBlockOfGroup(volume, group);
  const end = first + blocksInGroup(volume, group);
  if (!isFlexible && (start < first || start + count > end)) {
    check.tell("group-field", {
      structure: DiskGroup.structure.name,
      group,
      field,
      value: start,
      expected: `expected blocks ${first} to ${end - count}, in group ${group} itself`,
      deviceByte: volume.byteOf(descriptor.block.block, descriptor.at),
    });
  }
  addStructure(check, start, count, what, group);
  return true;
}

function addStructure(
  check: Check,
  start: number,
  count: number,
  what: string,
  group?: number,
): void {
  const { census, volume } = check;
  if (count === 0) return;
  census.blocks.add(start, count, (sharedStart, sharedCount) => {
    // Structures may share a cluster.
    if (volume.facts.clusterBlocks > 1) return;
    check.tell("structures-overlap", {
      structure: what,
      group: group ?? null,
      block: sharedStart,
      text: `the ${what} of group ${group ?? "0"} lies on ${sharedCount} blocks from ${sharedStart} on that hold another structure`,
    });
  });
}
