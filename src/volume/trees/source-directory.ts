/** A path of the system's as a source: with all below it, in the order of the names' bytes. */
import {
  type BigIntStats,
  closeSync,
  constants,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  realpathSync,
} from "node:fs";
import { fromSystem } from "../../base/errors.ts";
import { dataRuns, hostAttributes } from "../../device/index.ts";
import type { FileType, Time } from "../../iomap/contract.ts";
import { PERMISSIONS } from "../mode-bits.ts";
import { attempt, READ_ALL, type ReadOptions, type Source, type SourceEntry } from "./source.ts";

const NANOSECONDS = 1_000_000_000n;

export class DirectorySource implements Source {
  readonly path: string;
  readonly #root: Buffer;
  /** The file that is read: the last entry's. */
  #fd = -1;
  /** The first names of files that have several, by device and inode number. */
  readonly #linked = new Map<string, readonly Uint8Array[]>();

  readonly #options: ReadOptions;

  constructor(path: string, options: ReadOptions = READ_ALL) {
    this.path = path;
    this.#options = options;
    const whole = called("realpath", Buffer.from(path), () => realpathIf(options.follow, path));
    this.#root = Buffer.from(whole);
  }

  *entries(): Iterable<SourceEntry> {
    this.#linked.clear();
    yield* this.#walk([]);
  }

  *#walk(names: readonly Uint8Array[]): Generator<SourceEntry> {
    const path = this.#pathOf(names);
    const { onError } = this.#options;
    const stats = attempt(onError, names, () => lstatOf(path));
    const entry =
      stats === null ? null : attempt(onError, names, () => this.#entryOf(names, path, stats));
    if (stats === null || entry === null) return;
    yield entry;
    this.#closeFile();
    if (!stats.isDirectory()) return;
    const inside = attempt(onError, names, () =>
      called("readdir", path, () => readdirSync(path, { encoding: "buffer" })),
    );
    for (const name of inside?.sort(Buffer.compare) ?? []) yield* this.#walk([...names, name]);
  }

  #pathOf(names: readonly Uint8Array[]): Buffer {
    const parts: Uint8Array[] = [this.#root];
    for (const name of names) parts.push(SLASH, name);
    return Buffer.concat(parts);
  }

  #entryOf(names: readonly Uint8Array[], path: Buffer, stats: BigIntStats): SourceEntry {
    const type = typeOf(stats);
    const isFile = type === "file";
    const key = `${stats.dev}:${stats.ino}`;
    const isLinked = this.#options.links && stats.nlink > 1n && type !== "directory";
    const linkTo = isLinked ? (this.#linked.get(key) ?? null) : null;
    if (isLinked && linkTo === null) this.#linked.set(key, names);
    if (isFile && linkTo === null) this.#open(path);
    const size = isFile ? Number(stats.size) : 0;
    // To read a file is to change when it was read: taking that over would make each volume another.
    const modifyTime = timeOf(stats.mtimeNs);
    return {
      names,
      type,
      mode: Number(stats.mode) & PERMISSIONS,
      uid: Number(stats.uid),
      gid: Number(stats.gid),
      accessTime: modifyTime,
      modifyTime,
      size,
      ...deviceOf(stats.rdev),
      target: type === "symlink" ? readlinkSync(path, { encoding: "buffer" }) : null,
      linkTo,
      data: isFile && linkTo === null ? dataRuns(this.#fd, size) : [],
      attributes: linkTo === null ? called("lgetxattr", path, () => hostAttributes(path)) : [],
    };
  }

  #open(path: Buffer): void {
    this.#closeFile();
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    this.#fd = called("open", path, () => openSync(path, flags));
  }

  #closeFile(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }

  read(at: number, target: Uint8Array): number {
    return called("read", this.#root, () => readSync(this.#fd, target, 0, target.length, at));
  }

  [Symbol.dispose](): void {
    this.#closeFile();
  }
}

const SLASH = Buffer.from("/");

function realpathIf(follow: boolean, path: string): string {
  return follow ? realpathSync(path) : path;
}

function lstatOf(path: Buffer): BigIntStats {
  return called("lstat", path, () => lstatSync(path, { bigint: true }));
}

function called<T>(syscall: string, path: Buffer, run: () => T): T {
  try {
    return run();
  } catch (error) {
    const what = `${syscall} of '${path.toString("utf8")}' failed, which is to go into the volume`;
    throw fromSystem(error, what, { syscall });
  }
}

function typeOf(stats: BigIntStats): FileType {
  if (stats.isFile()) return "file";
  if (stats.isDirectory()) return "directory";
  if (stats.isSymbolicLink()) return "symlink";
  if (stats.isFIFO()) return "fifo";
  if (stats.isSocket()) return "socket";
  return stats.isBlockDevice() ? "block-device" : "character-device";
}

function timeOf(nanoseconds: bigint): Time {
  const rest = ((nanoseconds % NANOSECONDS) + NANOSECONDS) % NANOSECONDS;
  return { seconds: Number((nanoseconds - rest) / NANOSECONDS), nanoseconds: Number(rest) };
}

/** Source: gnu_dev_major(3). */
function deviceOf(rdev: bigint): { deviceMajor: number; deviceMinor: number } {
  return {
    deviceMajor: Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn)),
    deviceMinor: Number((rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n)),
  };
}
