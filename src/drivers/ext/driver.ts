/** The driver of ext2, ext3 and ext4: what the contract asks for, composed from the folders beside it. */
import { HoldfastError } from "../../base/errors.ts";
import { invariant } from "../../base/invariant.ts";
import type { Ino } from "../../base/quantities.ts";
import type {
  AttributeChange,
  BlockOwner,
  DirectoryEntry,
  EntryPlace,
  Extent,
  FilesystemDriver,
  FileType,
  InodeInfo,
  NewInode,
  OwnerSearch,
  OwnersFound,
  SpaceInfo,
  Time,
  User,
  VolumeCondition,
} from "../../iomap/contract.ts";
import type { Transaction } from "../../metadata/transaction.ts";
import { countFreeBlocks, mayUseReserved } from "./space/free-blocks.ts";
import { ExtAttributes } from "./attributes/attributes.ts";
import { lookupName } from "./directories/directory.ts";
import { DirectoryFile } from "./directories/directory-file.ts";
import {
  DiskInode,
  DiskSuperblock,
  INCOMPATIBLE,
  INO_ROOT,
  INODE_APPEND_ONLY,
  INODE_DAX,
  INODE_IMMUTABLE,
  MODE_PERMISSION_MASK,
  READ_ONLY,
  setPair,
  STATE_CLEAN,
  STATE_ERRORS,
} from "./format.ts";
import { isInline } from "./maps/inline-data.ts";
import { ExtDiscarding } from "./space/discarding.ts";
import { isInodeUsed } from "./space/group-bitmaps.ts";
import {
  deviceNumber,
  editInode,
  fileTypeOf,
  inodeFlags,
  inodeMode,
  inodeOwner,
  inodeProject,
  inodeSectors,
  inodeSize,
  inodeTime,
  isValueInode,
  linkCount,
  type RawInode,
  readRaw,
  setInodeFlags,
  setInodeTime,
  setOwner,
  setPermissions,
} from "./inodes/inode.ts";
import { extentAt, hasExtents } from "./maps/inode-map.ts";
import { freeInode } from "./inodes/inode-pool.ts";
import {
  addLink,
  createInode,
  exchangeLinks,
  readTarget,
  removeLink,
  renameLink,
} from "./directories/links.ts";
import { listDirectory } from "./directories/listing.ts";
import { NAME_LENGTH_MAX } from "./directories/names.ts";
import { inosInOrphanFile, usesOrphanFile } from "./inodes/orphan-file.ts";
import { findOrphans, removeOrphan } from "./inodes/orphans.ts";
import { ownedBy, ownersOf } from "./maps/owners.ts";
import {
  allocate,
  moveOutOfInode,
  removeExtents,
  setSize,
  shiftExtents,
  unwriteExtents,
} from "./maps/placement.ts";
import { isUnusedValue } from "./attributes/value-pool.ts";
import { ExtInodeFlags } from "./inodes/flags.ts";
import { usageCounterOf } from "./quotas/quotas.ts";
import { ExtGrowth } from "./resize/growth.ts";
import { formatUuid, type ExtType } from "./superblock.ts";
import { setTotal, sumOfGroups } from "./space/totals.ts";
import { editSuperblock, type ExtVolume, type Located } from "./volume.ts";

const SECTOR_SIZE = 512;

export class ExtDriver implements FilesystemDriver {
  readonly volume: ExtVolume;
  readonly type: ExtType;
  readonly rootIno = INO_ROOT as Ino;
  readonly blockSize: number;
  readonly readOnlyReason: string | null;
  readonly label: string;
  readonly uuid: string;
  readonly sharing = null;
  readonly extendedAttributes: ExtAttributes;
  readonly inodeFlags: ExtInodeFlags;
  readonly growth: ExtGrowth;
  readonly discarding: ExtDiscarding;

  constructor(volume: ExtVolume) {
    this.volume = volume;
    volume.usage = usageCounterOf(volume);
    this.type = volume.facts.type;
    this.blockSize = volume.blockSize;
    this.readOnlyReason = volume.facts.readOnlyReason;
    this.label = volume.facts.label;
    this.uuid = formatUuid(volume.facts.uuid);
    this.extendedAttributes = new ExtAttributes(volume);
    this.inodeFlags = new ExtInodeFlags(volume);
    this.growth = new ExtGrowth(volume);
    this.discarding = new ExtDiscarding(volume);
  }

  /** New files have extents. */
  get #hasExtents(): boolean {
    return (this.volume.features.incompatible & INCOMPATIBLE.extents) !== 0;
  }

  /** Bytes, which are whole blocks, as blocks. */
  #blocks(bytes: number): number {
    const blocks = bytes / this.blockSize;
    invariant(
      Number.isInteger(blocks) || bytes === Number.POSITIVE_INFINITY,
      () => `${bytes} bytes are not whole blocks`,
    );
    return blocks;
  }

  extentAt(ino: Ino, byte: number, limit: number): Extent {
    return extentAt(this.volume, ino, this.#blocks(byte), this.#blocks(limit));
  }

  allocate(
    transaction: Transaction,
    ino: Ino,
    start: number,
    length: number,
    mode: "write" | "preallocate",
  ): Extent {
    const [from, count] = [this.#blocks(start), this.#blocks(length)];
    return allocate(this.volume, transaction, ino, from, count, mode);
  }

  removeExtents(transaction: Transaction, ino: Ino, start: number, end: number): boolean {
    return removeExtents(this.volume, transaction, ino, this.#blocks(start), this.#blocks(end));
  }

  unwriteExtents(transaction: Transaction, ino: Ino, start: number, end: number): boolean {
    return unwriteExtents(this.volume, transaction, ino, this.#blocks(start), this.#blocks(end));
  }

  shiftExtents(transaction: Transaction, ino: Ino, start: number, distance: number): void {
    const [from, by] = [this.#blocks(start), this.#blocks(distance)];
    shiftExtents(this.volume, transaction, ino, from, by);
  }

  setSize(transaction: Transaction, ino: Ino, size: number): void {
    setSize(this.volume, transaction, ino, size);
  }

  ownersOf(transaction: Transaction, search: OwnerSearch, cursor: number): OwnersFound {
    return ownersOf(this.volume, transaction, search, cursor);
  }

  ownedBy(transaction: Transaction, search: OwnerSearch, ino: Ino): BlockOwner[] {
    return ownedBy(this.volume, transaction, search, ino);
  }

  readInode(ino: Ino): InodeInfo {
    const { volume } = this;
    const raw = readRaw(volume, ino);
    if (linkCount(raw) === 0 && !isInodeUsed(volume, ino)) {
      throw new HoldfastError("ENOENT", `inode ${ino} is not in use`);
    }
    const type = fileTypeOf(volume, raw);
    if (isValueInode(raw)) {
      const expected = `but the value of an extended attribute, which inode ${ino} holds, has no name`;
      throw volume.damage(raw, DiskInode.structure, "i_flags", inodeFlags(raw), expected);
    }
    const hasDevice = type === "character-device" || type === "block-device";
    const device = hasDevice ? deviceNumber(raw) : { major: 0, minor: 0 };
    const size = checkedSize(volume, raw);
    const isInside = isInline(volume, raw);
    // As the kernel says it: what has no blocks is taken for a hole by programs that copy.
    const isInlineFile = isInside && type === "file";
    const { uid, gid } = inodeOwner(raw);
    return {
      ino,
      generation: DiskInode.generation.get(raw.block.view, raw.at),
      type,
      mode: inodeMode(raw) & MODE_PERMISSION_MASK,
      uid,
      gid,
      project: inodeProject(volume, raw),
      linkCount: linkCount(raw),
      size,
      sectors: inodeSectors(volume, raw) + (isInlineFile ? Math.ceil(size / SECTOR_SIZE) : 0),
      accessTime: inodeTime(volume, raw, "accessTime"),
      modifyTime: inodeTime(volume, raw, "modifyTime"),
      changeTime: inodeTime(volume, raw, "changeTime"),
      birthTime: inodeTime(volume, raw, "birthTime"),
      deviceMajor: device.major,
      deviceMinor: device.minor,
      restriction: restrictionOf(raw),
      dax: (inodeFlags(raw) & INODE_DAX) !== 0,
      hasExtents: isInside ? this.#hasExtents : hasExtents(raw),
      isInline: isInlineFile,
    };
  }

  restrictionOf(ino: Ino): string | null {
    return restrictionOf(readRaw(this.volume, ino));
  }

  linkCountOf(ino: Ino): number {
    return linkCount(readRaw(this.volume, ino));
  }

  readLink(ino: Ino): Uint8Array {
    return readTarget(this.volume, ino);
  }

  lookup(directory: Ino, name: Uint8Array): { ino: Ino; type: FileType | null } | null {
    return lookupName(this.volume, directory, name);
  }

  readDirectory(
    directory: Ino,
    cursor: number,
    limit: number,
  ): { entries: DirectoryEntry[]; cursor: number | null } {
    return listDirectory(new DirectoryFile(this.volume, directory), cursor, limit);
  }

  create(transaction: Transaction, directory: Ino, name: Uint8Array, inode: NewInode): Ino {
    return createInode(this.volume, transaction, { directory, name }, inode);
  }

  link(transaction: Transaction, directory: Ino, name: Uint8Array, ino: Ino, time: Time): void {
    addLink(this.volume, transaction, { directory, name }, ino, time);
  }

  unlink(transaction: Transaction, directory: Ino, name: Uint8Array, time: Time): Ino {
    return removeLink(this.volume, transaction, { directory, name }, time);
  }

  rename(transaction: Transaction, from: EntryPlace, to: EntryPlace, time: Time): Ino | null {
    return renameLink(this.volume, transaction, from, to, time);
  }

  exchange(transaction: Transaction, one: EntryPlace, other: EntryPlace, time: Time): void {
    exchangeLinks(this.volume, transaction, one, other, time);
  }

  setAttributes(transaction: Transaction, ino: Ino, change: AttributeChange): void {
    const { volume } = this;
    const raw = editInode(volume, transaction, ino);
    if (change.mode !== undefined) setPermissions(raw, change.mode);
    if (change.dax !== undefined) {
      const others = inodeFlags(raw) & ~INODE_DAX;
      setInodeFlags(raw, change.dax ? others | INODE_DAX : others);
    }
    if (change.uid !== undefined || change.gid !== undefined) {
      this.#setOwner(transaction, ino, raw, change);
    }
    for (const name of ["accessTime", "modifyTime", "changeTime"] as const) {
      const time = change[name];
      if (time !== undefined) setInodeTime(volume, raw, name, time);
    }
  }

  moveOutOfInode(transaction: Transaction, ino: Ino): void {
    moveOutOfInode(this.volume, transaction, ino);
  }

  #setOwner(transaction: Transaction, ino: Ino, raw: RawInode, change: AttributeChange): void {
    const { uid, gid } = inodeOwner(raw);
    const set = () => setOwner(raw, change.uid ?? uid, change.gid ?? gid);
    const { usage } = this.volume;
    if (usage === null) set();
    else usage.changeOwner(transaction, ino, raw, set);
  }

  noteUnused(ino: Ino): void {
    this.volume.growthRooms?.drop(ino);
  }

  freeInode(transaction: Transaction, ino: Ino): void {
    freeInode(this.volume, transaction, ino);
  }

  orphans(): Ino[] {
    return findOrphans(this.volume).filter((ino) => !isUnusedValue(this.volume, ino));
  }

  removeOrphan(transaction: Transaction, ino: Ino): void {
    removeOrphan(this.volume, transaction, ino);
  }

  spaceInfo(): SpaceInfo {
    const { blockSize, facts } = this.volume;
    const blocksFree = countFreeBlocks(this.volume);
    return {
      blockSize,
      blocks: facts.blocks - facts.overheadBlocks,
      blocksFree,
      blocksAvailable: Math.max(blocksFree - facts.reservedBlocks, 0),
      inodes: facts.inodes,
      inodesFree: sumOfGroups(this.volume, "freeInodes"),
      nameLengthMax: NAME_LENGTH_MAX,
    };
  }

  actFor(user: User): void {
    this.volume.usesReserved = mayUseReserved(this.volume.facts, user);
  }

  markInUse(transaction: Transaction): void {
    const { block, at } = editSuperblock(this.volume, transaction);
    const { view } = block;
    // Others bring the totals up to date when they unmount only. From now on each transaction does.
    if (this.volume.facts.needsRecovery) setTotals(this.volume, { block, at });
    if (this.volume.facts.hasJournal) {
      setNeedsRecovery({ block, at }, true);
      if (usesOrphanFile(this.volume)) setOrphansPresent({ block, at }, true);
    } else {
      DiskSuperblock.state.set(view, at, DiskSuperblock.state.get(view, at) & ~STATE_CLEAN);
    }
    const mounts = DiskSuperblock.mountCount.get(view, at);
    DiskSuperblock.mountCount.set(view, at, Math.min(mounts + 1, 0xffff));
    const seconds = Math.floor(Date.now() / 1000);
    setPair(view, at, DiskSuperblock.mountTimeLow, DiskSuperblock.mountTimeHigh, seconds);
  }

  updateSuperblock(
    transaction: Transaction,
    now: { readonly state: VolumeCondition; readonly time: Time },
  ): void {
    const { volume } = this;
    const { block, at } = editSuperblock(volume, transaction);
    const { view } = block;
    const { writeTimeLow, writeTimeHigh, state } = DiskSuperblock;
    setPair(view, at, writeTimeLow, writeTimeHigh, Math.max(now.time.seconds, 0));
    if (now.state === "in use") return;
    setTotals(volume, { block, at });
    const condition = now.state === "clean" ? STATE_CLEAN : STATE_ERRORS;
    state.set(view, at, state.get(view, at) | condition);
    if (volume.facts.hasJournal) setNeedsRecovery({ block, at }, false);
    if (usesOrphanFile(volume)) {
      setOrphansPresent({ block, at }, inosInOrphanFile(volume).length > 0);
    }
  }
}

/** What is free on the whole volume, as the groups say it together. */
function setTotals(volume: ExtVolume, { block, at }: Located): void {
  for (const name of ["freeBlocks", "freeInodes"] as const) {
    setTotal(block.view, at, name, sumOfGroups(volume, name));
  }
}

/** Says in the superblock whether the journal may hold what has not reached the rest of the volume. */
function setNeedsRecovery({ block, at }: Located, needed: boolean): void {
  const { featuresIncompatible } = DiskSuperblock;
  const others = featuresIncompatible.get(block.view, at) & ~INCOMPATIBLE.needs_recovery;
  const features = needed ? others | INCOMPATIBLE.needs_recovery : others;
  featuresIncompatible.set(block.view, at, features >>> 0);
}

/** Says in the superblock whether the orphan file may name inodes. */
function setOrphansPresent({ block, at }: Located, present: boolean): void {
  const { featuresReadOnly } = DiskSuperblock;
  const others = featuresReadOnly.get(block.view, at) & ~READ_ONLY.orphan_present;
  featuresReadOnly.set(block.view, at, present ? others | READ_ONLY.orphan_present : others);
}

/** Throws: CorruptionError for a size that no file can have. */
function checkedSize(volume: ExtVolume, raw: RawInode): number {
  const size = inodeSize(raw);
  if (size <= Number.MAX_SAFE_INTEGER) return size;
  throw volume.damage(raw, DiskInode.structure, "i_size", size, "expected at most 2^53 - 1");
}

function restrictionOf(raw: RawInode): string | null {
  const flags = inodeFlags(raw);
  if ((flags & INODE_IMMUTABLE) !== 0) return "immutable";
  return (flags & INODE_APPEND_ONLY) !== 0 ? "append-only" : null;
}
