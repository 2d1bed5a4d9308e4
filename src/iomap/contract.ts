/**
 * What a filesystem driver provides: where a file's bytes lie, and its names and attributes.
 *
 * A driver never sleeps and takes no lock. Its callers hold the locks and open the transactions:
 *
 * - `extentAt`, `readInode`: called optimistically, under the inode's layout sequence or a
 *   transaction. They may run while another thread changes the same blocks, so they must end on any
 *   bytes whatever (as they must on a damaged image); the caller throws away what a torn read gave.
 * - `lookup`, `readDirectory`: the directory's io lock is held, shared at least.
 * - Everything with a `transaction` argument: the volume's one transaction is open in this thread
 *   and the inodes' io locks are held exclusively (for `allocate` in a fault: the map lock, shared).
 *   When it throws, the caller aborts the transaction and every edit is undone.
 *
 * No fact lives in a driver's JavaScript objects: each thread attaches its own driver object to the
 * same volume, and whatever is cached in one must be recognisable as stale.
 */
import type { BlockUse } from "../base/block-use.ts";
import type { Ino } from "../base/quantities.ts";
import type { Transaction } from "../metadata/transaction.ts";

/** What holds a range of a file. `start` and `length` are bytes, multiples of the block size. */
export type Extent = { readonly start: number; readonly length: number } & (
  | { readonly kind: "hole" }
  | {
      /** No block: the bytes from `start` on are a copy of these, zeroes behind them (InodeInfo.isInline). */
      readonly kind: "inline";
      readonly bytes: Uint8Array;
    }
  | {
      readonly kind: "mapped" | "unwritten";
      /** First byte on the device. */
      readonly address: number;
      /**
       * Another file may own these blocks, too, or another part of this one: `unshare` before writing.
       * False is sure, and stays so while the file's io or map lock is held.
       */
      readonly shared: boolean;
    }
);

export type FileType =
  | "file"
  | "directory"
  | "symlink"
  | "character-device"
  | "block-device"
  | "fifo"
  | "socket";

/** A time as filesystems keep it. `seconds` may be negative. */
export interface Time {
  readonly seconds: number;
  readonly nanoseconds: number;
}

export interface InodeInfo {
  readonly ino: Ino;
  /** Tells this file from earlier ones with the same number. */
  readonly generation: number;
  readonly type: FileType;
  /** Permission bits, set-id and sticky: the low 12 bits of the mode. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** The project that its space is counted for; 0 without one. */
  readonly project: number;
  readonly linkCount: number;
  /** Bytes. */
  readonly size: number;
  /** Space used, in units of 512 bytes, as stat counts it. */
  readonly sectors: number;
  readonly accessTime: Time;
  readonly modifyTime: Time;
  readonly changeTime: Time;
  readonly birthTime: Time;
  /** Of devices; 0 otherwise. */
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  /** Set where writing is refused by the inode itself: immutable or append-only, by name. */
  readonly restriction: string | null;
  /** The flag that asks for direct access, where the mount leaves that to each file. */
  readonly dax: boolean;
  /**
   * Of a file: its blocks can be allocated unwritten, made unwritten and moved within it. False where the
   * format has a pointer for each block and no more: then these throw EOPNOTSUPP.
   */
  readonly hasExtents: boolean;
  /**
   * Of a file: its content lies in the inode. It is copied, whatever the flag for direct access says, and is moved
   * out before anything of it is changed (`moveOutOfInode`). No file comes to be so while it is mounted here.
   */
  readonly isInline: boolean;
}

export interface DirectoryEntry {
  readonly name: Uint8Array;
  readonly ino: Ino;
  /** null where the format does not store it in the entry. */
  readonly type: FileType | null;
  /** A listing that begins here begins with it; names of one hash have one and the same. */
  readonly cursor: number;
}

/** Of `InodeFlags`: reading sets no time of access. */
export const FLAG_NO_ACCESS_TIME = 0x80;

/** Flags of inodes, by their numbers in FS_IOC_GETFLAGS. */
export interface InodeFlags {
  /** Throws: CorruptionError. */
  get(ino: Ino): number;
  /** Gives an inode these, as far as its type can have them. Throws: EOPNOTSUPP for a change that is not kept to. */
  set(transaction: Transaction, ino: Ino, flags: number): void;
}

export interface AttributeChange {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly accessTime?: Time;
  readonly modifyTime?: Time;
  readonly changeTime?: Time;
  /** Of files and directories. */
  readonly dax?: boolean;
}

export interface NewInode {
  readonly type: FileType;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly time: Time;
  /** As `InodeInfo.dax`; of files and directories. */
  readonly dax?: boolean;
  readonly deviceMajor?: number | undefined;
  readonly deviceMinor?: number | undefined;
  /** A symlink's target. */
  readonly target?: Uint8Array | undefined;
}

export interface SpaceInfo {
  readonly blockSize: number;
  readonly blocks: number;
  readonly blocksFree: number;
  /** Of these, what anybody may use: the rest is kept back for some (`FilesystemDriver.actFor`). */
  readonly blocksAvailable: number;
  readonly inodes: number;
  readonly inodesFree: number;
  readonly nameLengthMax: number;
}

/** Who does something. */
export interface User {
  readonly uid: number;
  /** All groups that the user is in. */
  readonly gids: readonly number[];
}

/** The half of a driver that places file data: all that direct access needs. */
export interface IomapDriver {
  readonly blockSize: number;
  /**
   * The extent that covers `byte`, cut at `limit` (both multiples of the block size; Infinity cuts nothing).
   * Past the last extent it is a hole up to `limit`. As long as possible: neighbours that continue each other on
   * the device come back as one.
   * Throws: CorruptionError.
   */
  extentAt(ino: Ino, byte: number, limit: number): Extent;
  /**
   * Makes [start, start + length) backed by blocks, and returns the extent at `start`, which may be
   * shorter than asked (then call again from its end). In mode "write" what was a hole or unwritten
   * becomes mapped, and reads as zeroes: the driver zeroes the new blocks on the device before any
   * reader can find them. In mode "preallocate" holes become unwritten; nothing else changes.
   * Large allocations are placed so that 2 MiB of the file lie in 2 MiB of the device, aligned,
   * where free space allows.
   * Throws: ENOSPC with nothing changed by this call, EFBIG, CorruptionError; EOPNOTSUPP for "preallocate"
   * where the file has no extents (InodeInfo.hasExtents).
   */
  allocate(
    transaction: Transaction,
    ino: Ino,
    start: number,
    length: number,
    mode: "write" | "preallocate",
  ): Extent;
  /**
   * Removes the blocks of [start, end) and frees them; `end` may be Infinity. Bounded work: returns
   * false when more is left, and is then called again in a new transaction. Works from the end down,
   * so that what is left is always a whole file.
   */
  removeExtents(transaction: Transaction, ino: Ino, start: number, end: number): boolean;
  /**
   * Turns [start, end), where mapped, into unwritten extents. Bounded like removeExtents.
   * Throws: ENOSPC; EOPNOTSUPP where the file has no extents.
   */
  unwriteExtents(transaction: Transaction, ino: Ino, start: number, end: number): boolean;
  /**
   * Moves all extents at or after `start` by `distance` bytes (negative: collapse, into a range
   * that is already a hole; positive: insert). Bounded? No: one transaction, so that a file is never
   * half shifted. Throws: EFBIG, EINVAL, ENOSPC; EOPNOTSUPP where the file has no extents.
   */
  shiftExtents(transaction: Transaction, ino: Ino, start: number, distance: number): void;
  setSize(transaction: Transaction, ino: Ino, size: number): void;
  /**
   * The reverse mapping: who has the blocks that are searched for, every file and place of it, and every
   * structure. A search of the whole volume may be how they are found, so it goes by parts: `cursor` is 0
   * at first, and that of the answer continues, null at the end. A part is bounded: of ext4 one group's inode
   * table and about as many blocks of extents. Nothing of it stays in the cache. What is damaged is passed over.
   * Locks: as with a transaction; what one part finds was so at once. Throws: EIO when the device is gone.
   */
  ownersOf(transaction: Transaction, search: OwnerSearch, cursor: number): OwnersFound;
  /** The same of one inode alone, and whole: none where it is not in use. */
  ownedBy(transaction: Transaction, search: OwnerSearch, ino: Ino): BlockOwner[];
  /** Sharing of blocks between files; null where the format has none. */
  readonly sharing: BlockSharing | null;
}

/** What owners are looked for: bytes of the device, whole blocks. */
export interface OwnerSearch {
  readonly address: number;
  readonly length: number;
  /** Whether bytes of the device must not be read: the storage has lost them. */
  isLost(address: number, length: number): boolean;
}

/** Who has a run of blocks: `length` bytes at `address` on the device. */
export interface BlockOwner {
  readonly address: number;
  readonly length: number;
  readonly use: BlockUse;
  /** Null: the volume's own. */
  readonly ino: Ino | null;
  /** The byte in the file; of "data" and "unwritten", else null. */
  readonly start: number | null;
  /** The block group whose structure it is; null without one. */
  readonly group: number | null;
}

export interface OwnersFound {
  readonly owners: BlockOwner[];
  readonly cursor: number | null;
}

/** A name in a directory, whether anything has it or not. */
export interface EntryPlace {
  readonly directory: Ino;
  readonly name: Uint8Array;
}

/** A place in a file. `start` is bytes, a multiple of the block size. */
export interface FilePlace {
  readonly ino: Ino;
  readonly start: number;
}

/**
 * The part of a driver that lets several files own the same blocks. How many own a block is known inside
 * a transaction only: outside, a count may be that of one which is undone later. So an extent keeps to
 * itself whether it may be shared: `reflink` says so in both files, and only `unshare` or `reclaim`
 * of a file takes it back there.
 */
export interface BlockSharing {
  /**
   * Gives the mapped blocks of `length` bytes from `from` on to `to` as well, where there must be holes.
   * Holes and unwritten extents stay holes there. The two ranges do not overlap.
   * Throws: ENOSPC, ENOENT, CorruptionError.
   */
  reflink(transaction: Transaction, from: FilePlace, to: FilePlace, length: number): void;
  /**
   * Makes the blocks from `place` on the file's alone: what others own, too, is copied to new blocks,
   * the rest only ceases to count as shared. Returns the mapped extent there, not shared, which may be
   * shorter than asked (then call again from its end).
   * Throws: ENOSPC with nothing changed by this call, CorruptionError.
   */
  unshare(transaction: Transaction, place: FilePlace, length: number): Extent;
  /**
   * As `unshare`, but copies nothing: blocks that others own, too, stay so, and the extent that is
   * returned says it.
   */
  reclaim(transaction: Transaction, place: FilePlace, length: number): Extent;
  /** Blocks that have several owners now: for figures. */
  sharedBlocks(): number;
}

/** Bytes in the name of an extended attribute, its prefix included, at most: XATTR_NAME_MAX of Linux. */
export const ATTRIBUTE_NAME_BYTES_MAX = 255;

/**
 * Extended attributes: values under names of 1 to 255 bytes, prefix included ("user.comment"). The values of
 * "system.posix_acl_access" and "system.posix_acl_default" are sound access control lists in the form of
 * iomap/posix-acl.ts, however they are stored. Who may see or change which is the caller's to say.
 * All throw: CorruptionError; EOPNOTSUPP, EINVAL for a name that the format has no place for.
 */
export interface ExtendedAttributes {
  /** Locks: as `readInode`. Null: there is none. */
  get(ino: Ino, name: Uint8Array): Uint8Array | null;
  /** Names, in no order. Locks: as `readInode`. */
  list(ino: Ino): Uint8Array[];
  /** Throws: ENOSPC, also where the value is too large for the format; EINVAL for an unsound list. */
  set(transaction: Transaction, ino: Ino, name: Uint8Array, value: Uint8Array): void;
  /** Whether there was one. */
  remove(transaction: Transaction, ino: Ino, name: Uint8Array): boolean;
  /**
   * Whether there are values that no inode has any more, which `set`, `remove` or `freeInode` have left, to be freed in
   * transactions of their own. Locks: none; what is read while another thread frees them may be wrong.
   * `everywhere`: also those that another mount has left, wherever it noted them, which takes longer.
   */
  hasUnused(everywhere: boolean): boolean;
  /** Frees some of them, if there are any: bounded. `everywhere`: as for `hasUnused`. */
  freeUnused(transaction: Transaction, everywhere: boolean): void;
}

/** A step of making a volume larger: what the driver needs to make it, and bytes of the volume when it is made. */
export interface GrowthStep {
  readonly size: number;
}

/** A volume that is being made larger, by this thread alone, until the disposal. */
export interface GrowthRun extends Disposable {
  /** Bytes that the volume comes to have: at most those asked for. The device must have them before `prepare`. */
  readonly size: number;
  /**
   * Stores what belongs to the blocks of the next step to the device; null: the volume is as large as it is to be.
   * Locks: none. Throws: ENOSPC where the host is full, EIO; CorruptionError.
   */
  prepare(): GrowthStep | null;
  /** Makes the step's blocks part of the volume, for all threads. Throws: EOVERFLOW; CorruptionError. */
  apply(transaction: Transaction, step: GrowthStep): void;
  /**
   * Brings a part of the copies up to date that repair programs use: when all steps are durable. False: there is none
   * left. Locks: the transaction. Throws: ENOSPC where the host is full, EIO; CorruptionError.
   */
  copy(): boolean;
}

/** Making a mounted volume larger. */
export interface VolumeGrowth {
  /** Bytes of the volume now. */
  readonly size: number;
  /**
   * The block that is to go home when all others are on the medium, since it tells of a size that its home does not
   * tell of yet; null: none. Locks: none. Throws: EIO.
   */
  readonly lastHome: number | null;
  /**
   * Makes this thread the one that makes the volume larger. Throws: EBUSY naming who does; EINVAL for less than the
   * volume has; EFBIG for more than the format has room for; EOPNOTSUPP.
   */
  begin(bytes: number): GrowthRun;
}

/** What of the free space to discard, in bytes of the device. */
export interface DiscardRange {
  readonly start: number;
  readonly end: number;
  /** Shorter runs of free blocks are left alone. */
  readonly minimum: number;
}

/** A part of the work was done: so many bytes were discarded; `cursor` continues, null at the end. */
export interface DiscardedPart {
  readonly bytes: number;
  readonly cursor: number | null;
}

/**
 * Telling the device which blocks hold nothing. What is told so is free, in the eyes of a crash as well, and is nobody's
 * to take while the transaction is open. Whole pages only. Bounded parts: `cursor` is 0 at first.
 * All throw: CorruptionError for a structure of the volume that is called free; EOPNOTSUPP naming the device; EIO.
 * Sleep: in the device.
 */
export interface Discarding {
  /** Of all free space. The cursor is the device byte up to which it is done. */
  discardFree(transaction: Transaction, range: DiscardRange, cursor: number): DiscardedPart;
  /** Of what was freed since the mount, and is durably free, where `discardsFreed`. */
  discardFreed(transaction: Transaction, cursor: number): DiscardedPart;
  /** Whether freed blocks are discarded in time. */
  readonly discardsFreed: boolean;
  /** Freed blocks are not discarded any more: the device has failed to. */
  endDiscards(): void;
}

/** In use; or left in order, or with damage that was met. */
export type VolumeCondition = "in use" | "clean" | "damaged";

/** A whole driver: data placement, names, attributes and the life of inodes. */
export interface FilesystemDriver extends IomapDriver {
  readonly type: string;
  readonly rootIno: Ino;
  /** Why the volume can only be read, or null. */
  readonly readOnlyReason: string | null;
  /** Volume label and uuid, for people; "" where there is none. */
  readonly label: string;
  readonly uuid: string;

  /** Null where the format has none. */
  readonly extendedAttributes: ExtendedAttributes | null;
  /** Null where the format has none, or none that programs may set. */
  readonly inodeFlags: InodeFlags | null;
  /** Null where a volume keeps its size. */
  readonly growth: VolumeGrowth | null;
  /** Null where free space is not discarded. */
  readonly discarding: Discarding | null;

  /** Throws: CorruptionError; ENOENT when the inode is not in use. */
  readInode(ino: Ino): InodeInfo;
  /** `restriction` and `linkCount` of an inode that is in use, as `readInode` tells them. Throw: CorruptionError. */
  restrictionOf(ino: Ino): string | null;
  linkCountOf(ino: Ino): number;
  readLink(ino: Ino): Uint8Array;
  lookup(directory: Ino, name: Uint8Array): { ino: Ino; type: FileType | null } | null;
  /**
   * Entries from `cursor` (0 at first) on, "." and ".." included, at most `limit`; `cursor` of the
   * answer continues, null at the end. A name present all along is given exactly once. The bytes of names are
   * the caller's, but for those of "." and "..".
   */
  readDirectory(
    directory: Ino,
    cursor: number,
    limit: number,
  ): { entries: DirectoryEntry[]; cursor: number | null };

  /** A new inode under a new name. Throws: EEXIST, ENOSPC, ENAMETOOLONG, EMLINK. */
  create(transaction: Transaction, directory: Ino, name: Uint8Array, inode: NewInode): Ino;
  /** Another name for `ino`; lifts it from the orphan list if it is there. */
  link(transaction: Transaction, directory: Ino, name: Uint8Array, ino: Ino, time: Time): void;
  /**
   * Removes a name. The inode's link count falls; at zero the inode goes to the orphan list and
   * keeps its blocks until `freeInode`. For a directory (which must be empty: ENOTEMPTY) both its
   * links and its parent's count are dropped.
   */
  unlink(transaction: Transaction, directory: Ino, name: Uint8Array, time: Time): Ino;
  /** As rename(2), replacing what has the new name; returns the inode that lost it, or null. */
  rename(transaction: Transaction, from: EntryPlace, to: EntryPlace, time: Time): Ino | null;
  /**
   * Two names, of two inodes of any types, change places. Throws: ENOENT; EMLINK, EINVAL for "." and "..", and when a
   * directory would go into itself; EXDEV as `rename`.
   */
  exchange(transaction: Transaction, one: EntryPlace, other: EntryPlace, time: Time): void;
  setAttributes(transaction: Transaction, ino: Ino, change: AttributeChange): void;
  /**
   * Gives the content of an inline file a block; nothing happens to others. `allocate` does so as well: what a page
   * cache holds of the file stays right. Throws: ENOSPC, CorruptionError.
   */
  moveOutOfInode(transaction: Transaction, ino: Ino): void;
  /**
   * Nobody uses the inode any more: what a driver keeps so that its file can grow well is of no use. Somebody may use it
   * again by now, so nothing else may depend on it. Locks: the inode table's guard at most; takes none. Sleeps: never.
   */
  noteUnused(ino: Ino): void;
  /** Inode and its extended attributes back to the free pool; its extents are gone already. */
  freeInode(transaction: Transaction, ino: Ino): void;
  /**
   * Inodes to be seen to before a clean close, or when the next mount begins: without a name, and still holding
   * space; or with one, and being cut.
   */
  orphans(): Ino[];
  /** Takes an inode off that list. */
  removeOrphan(transaction: Transaction, ino: Ino): void;

  spaceInfo(): SpaceInfo;
  /**
   * For whom this object takes blocks from now on: a format may keep some back for the superuser. Before that, for the
   * superuser.
   */
  actFor(user: User): void;
  /**
   * First change of a mount: the superblock says "in use". Its counts are those that the last unmount has left, or
   * are taken anew where there was none; each transaction keeps them right.
   */
  markInUse(transaction: Transaction): void;
  /** Times up to date in the superblock, which says how the volume is; its counts taken anew when it is left. */
  updateSuperblock(
    transaction: Transaction,
    now: { readonly state: VolumeCondition; readonly time: Time },
  ): void;
}
