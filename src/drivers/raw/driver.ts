/**
 * The raw driver: a device without a filesystem, as device-dax shows it. Its volume has one directory
 * and in it one file, which is the device: the bytes of the file are those of the device, at the same
 * places, from the first to the end of the last whole page. Nothing of a filesystem is read or written.
 *
 * The layout never changes, so nothing here needs a transaction, and all calls that would change it, or
 * the names, are refused.
 */
import { HoldfastError } from "../../base/errors.ts";
import { type Ino, PAGE_SIZE } from "../../base/quantities.ts";
import type {
  AttributeChange,
  BlockOwner,
  DirectoryEntry,
  Extent,
  FileType,
  FilesystemDriver,
  InodeInfo,
  OwnerSearch,
  OwnersFound,
  SpaceInfo,
  Time,
} from "../../iomap/contract.ts";
import type { Transaction } from "../../metadata/transaction.ts";

const ROOT_INO = 1 as Ino;
const DEVICE_INO = 2 as Ino;
/** The name of the one file. */
export const DEVICE_NAME = "device";
const NAME_MAX = 255;
/** A device keeps no times. */
const NO_TIME: Time = { seconds: 0, nanoseconds: 0 };
const encoder = new TextEncoder();

const ENTRIES: readonly DirectoryEntry[] = [
  { name: encoder.encode("."), ino: ROOT_INO, type: "directory", cursor: 0 },
  { name: encoder.encode(".."), ino: ROOT_INO, type: "directory", cursor: 1 },
  { name: encoder.encode(DEVICE_NAME), ino: DEVICE_INO, type: "file", cursor: 2 },
];

export class RawDriver implements FilesystemDriver {
  readonly type = "raw";
  readonly rootIno = ROOT_INO;
  readonly blockSize = PAGE_SIZE;
  readonly readOnlyReason = null;
  readonly label = "";
  readonly uuid = "";
  readonly sharing = null;
  readonly extendedAttributes = null;
  readonly growth = null;
  readonly inodeFlags = null;
  readonly discarding = null;
  /** Bytes, whole pages. */
  readonly #size: number;

  constructor(deviceBytes: number) {
    this.#size = deviceBytes;
  }

  /** One extent, whatever the limit: so every aligned 2 MiB is found to be one of the device, too. */
  extentAt(_ino: Ino, byte: number, limit: number): Extent {
    if (byte >= this.#size) return { kind: "hole", start: byte, length: limit - byte };
    return { kind: "mapped", start: 0, length: this.#size, address: 0, shared: false };
  }

  /** All of the device is there already. Throws: ENOSPC beyond its end. */
  allocate(_transaction: Transaction, ino: Ino, start: number, length: number): Extent {
    if (start < this.#size) return this.extentAt(ino, start, start + length);
    throw new HoldfastError("ENOSPC", `the device ends at byte ${this.#size}`);
  }

  removeExtents(_transaction: Transaction, _ino: Ino, start: number): boolean {
    if (start >= this.#size) return true;
    throw this.#fixedLayout();
  }

  unwriteExtents(): boolean {
    throw this.#fixedLayout();
  }

  shiftExtents(): void {
    throw this.#fixedLayout();
  }

  setSize(_transaction: Transaction, _ino: Ino, size: number): void {
    if (size !== this.#size) throw this.#fixedLayout();
  }

  ownersOf(transaction: Transaction, search: OwnerSearch): OwnersFound {
    return { owners: this.ownedBy(transaction, search, DEVICE_INO), cursor: null };
  }

  ownedBy(_transaction: Transaction, { address, length }: OwnerSearch, ino: Ino): BlockOwner[] {
    const end = Math.min(address + length, this.#size);
    if (ino !== DEVICE_INO || address >= end) return [];
    return [{ address, length: end - address, use: "data", ino, start: address, group: null }];
  }

  #fixedLayout(): HoldfastError {
    return new HoldfastError(
      "EOPNOTSUPP",
      `a raw device has ${this.#size} bytes, each at its place; write to it instead`,
    );
  }

  restrictionOf(ino: Ino): string | null {
    return this.readInode(ino).restriction;
  }

  linkCountOf(ino: Ino): number {
    return this.readInode(ino).linkCount;
  }

  readInode(ino: Ino): InodeInfo {
    if (ino !== ROOT_INO && ino !== DEVICE_INO) {
      throw new HoldfastError("ENOENT", `a raw device has no inode ${ino}`);
    }
    const isRoot = ino === ROOT_INO;
    return {
      ino,
      generation: 0,
      type: isRoot ? "directory" : "file",
      mode: isRoot ? 0o755 : 0o600,
      uid: 0,
      gid: 0,
      project: 0,
      linkCount: isRoot ? 2 : 1,
      size: isRoot ? 0 : this.#size,
      sectors: isRoot ? 0 : this.#size / 512,
      accessTime: NO_TIME,
      modifyTime: NO_TIME,
      changeTime: NO_TIME,
      birthTime: NO_TIME,
      deviceMajor: 0,
      deviceMinor: 0,
      restriction: null,
      dax: false,
      hasExtents: true,
      isInline: false,
    };
  }

  /** Times are not kept. Throws: EOPNOTSUPP for what else there is. */
  setAttributes(_transaction: Transaction, _ino: Ino, change: AttributeChange): void {
    if (change.mode === undefined && change.uid === undefined && change.gid === undefined) return;
    throw new HoldfastError("EOPNOTSUPP", "a raw device keeps no attributes of files");
  }

  lookup(_directory: Ino, name: Uint8Array): { ino: Ino; type: FileType | null } | null {
    return ENTRIES.find((entry) => Buffer.compare(entry.name, name) === 0) ?? null;
  }

  readDirectory(
    _directory: Ino,
    cursor: number,
    limit: number,
  ): { entries: DirectoryEntry[]; cursor: number | null } {
    const end = cursor + limit;
    return {
      entries: ENTRIES.slice(cursor, end).map((entry) => ({ ...entry, name: entry.name.slice() })),
      cursor: end < ENTRIES.length ? end : null,
    };
  }

  readLink(ino: Ino): Uint8Array {
    throw new HoldfastError("EINVAL", `inode ${ino} of a raw device is no symlink`);
  }

  create(): Ino {
    throw fixedNames();
  }

  link(): void {
    throw fixedNames();
  }

  unlink(): Ino {
    throw fixedNames();
  }

  rename(): Ino | null {
    throw fixedNames();
  }

  exchange(): void {
    throw fixedNames();
  }

  moveOutOfInode(): void {}

  noteUnused(): void {}

  actFor(): void {}

  freeInode(): void {
    throw fixedNames();
  }

  orphans(): Ino[] {
    return [];
  }

  removeOrphan(): void {}

  spaceInfo(): SpaceInfo {
    return {
      blockSize: PAGE_SIZE,
      blocks: this.#size / PAGE_SIZE,
      blocksFree: 0,
      blocksAvailable: 0,
      inodes: 2,
      inodesFree: 0,
      nameLengthMax: NAME_MAX,
    };
  }

  /** There is no superblock. */
  markInUse(): void {}
  updateSuperblock(): void {}
}

function fixedNames(): HoldfastError {
  return new HoldfastError("EPERM", `a raw device has one file, /${DEVICE_NAME}, and no other`);
}
