/** What stat, statfs and readdir answer: shaped as Node's own. */
import type * as nodeFs from "node:fs";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { isDirect } from "./access.ts";
import { readAttributes } from "./attributes.ts";
import type { VolumeCore } from "./core.ts";
import type { InodeReference } from "./inode-reference.ts";
import type { FileType, InodeInfo, SpaceInfo, Time } from "../iomap/contract.ts";

/** The type in a mode. */
export const TYPE_BITS: Record<FileType, number> = {
  fifo: 0o010000,
  "character-device": 0o020000,
  directory: 0o040000,
  "block-device": 0o060000,
  file: 0o100000,
  symlink: 0o120000,
  socket: 0o140000,
};

function millisecondsOf(time: Time): number {
  return time.seconds * 1000 + time.nanoseconds / 1e6;
}

/** A device number as Linux packs it for programs. */
function deviceNumberOf(major: number, minor: number): number {
  const low = ((major & 0xfff) * 2 ** 8 + (minor & 0xff)) % 2 ** 32;
  return low + Math.floor(minor / 2 ** 8) * 2 ** 20 + Math.floor(major / 2 ** 12) * 2 ** 44;
}

export interface ExactTimes {
  readonly access: Time;
  readonly modify: Time;
  readonly change: Time;
  readonly birth: Time;
}

/** A file's attributes. Times are kept to the nanosecond in `times`; Dates and `...Ms` are rounded. */
export class Stats implements Record<keyof nodeFs.Stats, unknown> {
  /** 0: volumes have no device number. */
  readonly dev = 0;
  readonly ino: number;
  /** Type and permission bits. */
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  /** The project that its space is counted for (chattr -p); 0 without one. */
  readonly project: number;
  readonly rdev: number;
  /** Bytes. */
  readonly size: number;
  readonly blksize: number;
  /** Space used, in units of 512 bytes. */
  readonly blocks: number;
  readonly atimeMs: number;
  readonly mtimeMs: number;
  readonly ctimeMs: number;
  readonly birthtimeMs: number;
  /** Tells this file from earlier ones with the same number. */
  readonly generation: number;
  /** Whether the file is reached directly now, as statx(2) tells it by STATX_ATTR_DAX. */
  readonly dax: boolean;
  /** The flag on the volume (chattr +x), which decides where the mount leaves it to each file. */
  readonly daxFlag: boolean;
  readonly #info: InodeInfo;

  constructor(info: InodeInfo, blockSize: number, isDirect: boolean) {
    this.#info = info;
    this.ino = info.ino;
    this.mode = TYPE_BITS[info.type] | info.mode;
    this.nlink = info.linkCount;
    this.uid = info.uid;
    this.gid = info.gid;
    this.project = info.project;
    this.rdev = deviceNumberOf(info.deviceMajor, info.deviceMinor);
    this.size = info.size;
    this.blksize = blockSize;
    this.blocks = info.sectors;
    this.atimeMs = millisecondsOf(info.accessTime);
    this.mtimeMs = millisecondsOf(info.modifyTime);
    this.ctimeMs = millisecondsOf(info.changeTime);
    this.birthtimeMs = millisecondsOf(info.birthTime);
    this.generation = info.generation;
    this.dax = isDirect;
    this.daxFlag = info.dax;
  }

  get type(): FileType {
    return this.#info.type;
  }

  /** The two numbers of a device; 0 otherwise. */
  get device(): { readonly major: number; readonly minor: number } {
    return { major: this.#info.deviceMajor, minor: this.#info.deviceMinor };
  }

  get atime(): Date {
    return new Date(this.atimeMs);
  }

  get mtime(): Date {
    return new Date(this.mtimeMs);
  }

  get ctime(): Date {
    return new Date(this.ctimeMs);
  }

  get birthtime(): Date {
    return new Date(this.birthtimeMs);
  }

  /** The times exactly: seconds since 1970 and nanoseconds. */
  get times(): ExactTimes {
    const { accessTime, modifyTime, changeTime, birthTime } = this.#info;
    return { access: accessTime, modify: modifyTime, change: changeTime, birth: birthTime };
  }

  isFile(): boolean {
    return this.#info.type === "file";
  }

  isDirectory(): boolean {
    return this.#info.type === "directory";
  }

  isSymbolicLink(): boolean {
    return this.#info.type === "symlink";
  }

  isFIFO(): boolean {
    return this.#info.type === "fifo";
  }

  isSocket(): boolean {
    return this.#info.type === "socket";
  }

  isCharacterDevice(): boolean {
    return this.#info.type === "character-device";
  }

  isBlockDevice(): boolean {
    return this.#info.type === "block-device";
  }
}

/** As `readAttributes`, in Node's shape. */
export function* readStats(task: Task, core: VolumeCore, inode: InodeReference): Sleeps<Stats> {
  const info = yield* readAttributes(task, core, inode);
  return new Stats(info, core.driver.blockSize, isDirect(core.dax, inode));
}

/** A name in a directory. */
export class DirectoryEntry {
  readonly name: string;
  /** The name as it is stored: names need not be UTF-8. */
  readonly nameBytes: Uint8Array;
  /** The directory it is in, as the caller named it. */
  readonly parentPath: string;
  readonly ino: number;
  readonly type: FileType;

  constructor(nameBytes: Uint8Array, parentPath: string, ino: number, type: FileType) {
    this.nameBytes = nameBytes;
    this.name = textOfName(nameBytes);
    this.parentPath = parentPath;
    this.ino = ino;
    this.type = type;
  }

  isFile(): boolean {
    return this.type === "file";
  }

  isDirectory(): boolean {
    return this.type === "directory";
  }

  isSymbolicLink(): boolean {
    return this.type === "symlink";
  }

  isFIFO(): boolean {
    return this.type === "fifo";
  }

  isSocket(): boolean {
    return this.type === "socket";
  }

  isCharacterDevice(): boolean {
    return this.type === "character-device";
  }

  isBlockDevice(): boolean {
    return this.type === "block-device";
  }
}

/** Of this thread: a buffer made anew for a name costs more than the text. */
const scratch = Buffer.alloc(256);

export function textOfName(name: Uint8Array): string {
  if (name.length <= scratch.length) {
    scratch.set(name);
    return scratch.toString("utf8", 0, name.length);
  }
  return Buffer.from(name.buffer, name.byteOffset, name.length).toString("utf8");
}

/** A volume's space, in blocks of `bsize` bytes. */
export interface VolumeSpace {
  /** The magic number of the format, as statfs(2) gives it; 0 where it has none. */
  readonly type: number;
  readonly bsize: number;
  readonly blocks: number;
  readonly bfree: number;
  /** Without what is reserved for root. */
  readonly bavail: number;
  readonly files: number;
  readonly ffree: number;
}

const EXT_MAGIC = 0xef53;

export function volumeSpaceOf(type: string, info: SpaceInfo): VolumeSpace {
  return {
    type: type.startsWith("ext") ? EXT_MAGIC : 0,
    bsize: info.blockSize,
    blocks: info.blocks,
    bfree: info.blocksFree,
    bavail: info.blocksAvailable,
    files: info.inodes,
    ffree: info.inodesFree,
  };
}
