/** Flags of inodes as programs see and set them (chattr). Their numbers are those on the disk. */
import { HoldfastError } from "../../../base/errors.ts";
import type { Ino } from "../../../base/quantities.ts";
import { FLAG_NO_ACCESS_TIME, type InodeFlags } from "../../../iomap/contract.ts";
import type { Transaction } from "../../../metadata/transaction.ts";
import {
  INODE_APPEND_ONLY,
  INODE_DAX,
  INODE_IMMUTABLE,
  INODE_PROJECT_INHERIT,
  MODE_DIRECTORY,
  MODE_FILE,
  MODE_TYPE_MASK,
  READ_ONLY,
} from "../format.ts";
import type { ExtVolume } from "../volume.ts";
import { editInode, inodeFlags, inodeMode, readRaw, setInodeFlags } from "./inode.ts";

const SECURE_DELETION = 0x1;
const UNDELETE = 0x2;
const COMPRESS = 0x4;
const NO_DUMP = 0x40;
const NO_TAIL = 0x8000;
const TOP_DIRECTORY = 0x20000;
/** The Linux kernel tells programs of these, and lets them try to change those. */
const VISIBLE = 0x725b_dfff;
const MODIFIABLE = 0x624b_c0ff;

/** What is kept for whom it concerns, and what is kept to: not S and D (synchronous), j (data in the journal), e (extents). */
const OF_ALL = NO_DUMP | FLAG_NO_ACCESS_TIME;
const OF_FILES =
  OF_ALL |
  SECURE_DELETION |
  UNDELETE |
  COMPRESS |
  NO_TAIL |
  INODE_IMMUTABLE |
  INODE_APPEND_ONLY |
  INODE_DAX;
const OF_DIRECTORIES = OF_FILES | TOP_DIRECTORY | INODE_PROJECT_INHERIT;

export class ExtInodeFlags implements InodeFlags {
  readonly #volume: ExtVolume;

  constructor(volume: ExtVolume) {
    this.#volume = volume;
  }

  get(ino: Ino): number {
    return inodeFlags(readRaw(this.#volume, ino)) & VISIBLE;
  }

  set(transaction: Transaction, ino: Ino, flags: number): void {
    const volume = this.#volume;
    const raw = readRaw(volume, ino);
    const before = inodeFlags(raw);
    const changed = (flags ^ before) & MODIFIABLE;
    const refused = changed & ~this.#ofType(inodeMode(raw) & MODE_TYPE_MASK);
    if (refused !== 0) {
      const what = `the flags 0x${refused.toString(16)} are not kept to here, so they are not changed`;
      throw new HoldfastError("EOPNOTSUPP", what);
    }
    if (changed !== 0) setInodeFlags(editInode(volume, transaction, ino), before ^ changed);
  }

  /** What inodes of a type may have changed. */
  #ofType(type: number): number {
    if (type === MODE_FILE) return OF_FILES;
    if (type !== MODE_DIRECTORY) return OF_ALL;
    const hasProjects = (this.#volume.features.readOnly & READ_ONLY.project) !== 0;
    return hasProjects ? OF_DIRECTORIES : OF_DIRECTORIES & ~INODE_PROJECT_INHERIT;
  }
}
