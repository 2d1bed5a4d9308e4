/** What the face answers about files and the volume: Node's shapes, also in bigints. */
import type * as nodeFs from "node:fs";
import type { Time } from "../../iomap/contract.ts";
import type { Stats, VolumeSpace } from "../stats.ts";

const NANOSECONDS = 1_000_000_000n;

function nanosecondsOf({ seconds, nanoseconds }: Time): bigint {
  return BigInt(seconds) * NANOSECONDS + BigInt(nanoseconds);
}

/** As fs.BigIntStats. */
export class BigIntStats implements Record<keyof nodeFs.BigIntStats, unknown> {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly mode: bigint;
  readonly nlink: bigint;
  readonly uid: bigint;
  readonly gid: bigint;
  readonly rdev: bigint;
  readonly size: bigint;
  readonly blksize: bigint;
  readonly blocks: bigint;
  readonly atimeMs: bigint;
  readonly mtimeMs: bigint;
  readonly ctimeMs: bigint;
  readonly birthtimeMs: bigint;
  readonly atimeNs: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly birthtimeNs: bigint;
  readonly #stats: Stats;

  constructor(stats: Stats) {
    this.#stats = stats;
    this.dev = BigInt(stats.dev);
    this.ino = BigInt(stats.ino);
    this.mode = BigInt(stats.mode);
    this.nlink = BigInt(stats.nlink);
    this.uid = BigInt(stats.uid);
    this.gid = BigInt(stats.gid);
    this.rdev = BigInt(stats.rdev);
    this.size = BigInt(stats.size);
    this.blksize = BigInt(stats.blksize);
    this.blocks = BigInt(stats.blocks);
    const { access, modify, change, birth } = stats.times;
    this.atimeNs = nanosecondsOf(access);
    this.mtimeNs = nanosecondsOf(modify);
    this.ctimeNs = nanosecondsOf(change);
    this.birthtimeNs = nanosecondsOf(birth);
    this.atimeMs = this.atimeNs / 1_000_000n;
    this.mtimeMs = this.mtimeNs / 1_000_000n;
    this.ctimeMs = this.ctimeNs / 1_000_000n;
    this.birthtimeMs = this.birthtimeNs / 1_000_000n;
  }

  get atime(): Date {
    return this.#stats.atime;
  }

  get mtime(): Date {
    return this.#stats.mtime;
  }

  get ctime(): Date {
    return this.#stats.ctime;
  }

  get birthtime(): Date {
    return this.#stats.birthtime;
  }

  isFile(): boolean {
    return this.#stats.isFile();
  }

  isDirectory(): boolean {
    return this.#stats.isDirectory();
  }

  isSymbolicLink(): boolean {
    return this.#stats.isSymbolicLink();
  }

  isFIFO(): boolean {
    return this.#stats.isFIFO();
  }

  isSocket(): boolean {
    return this.#stats.isSocket();
  }

  isCharacterDevice(): boolean {
    return this.#stats.isCharacterDevice();
  }

  isBlockDevice(): boolean {
    return this.#stats.isBlockDevice();
  }
}

/** Whether an answer is wanted in bigints. */
export function wantsBigInt(options: unknown): boolean {
  return (options as { bigint?: unknown } | null | undefined)?.bigint === true;
}

export function statsFor(stats: Stats, options: unknown): Stats | BigIntStats {
  return wantsBigInt(options) ? new BigIntStats(stats) : stats;
}

type BigIntSpace = { readonly [Field in keyof VolumeSpace]: bigint };

export function spaceFor(space: VolumeSpace, options: unknown): VolumeSpace | BigIntSpace {
  if (!wantsBigInt(options)) return space;
  const entries = Object.entries(space).map(([field, value]) => [field, BigInt(value)]);
  return Object.fromEntries(entries) as BigIntSpace;
}
