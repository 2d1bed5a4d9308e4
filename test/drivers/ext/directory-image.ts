// An ext4 image file opened for directory tests: held in memory, changed through transactions as a
// mounted volume is, and written back when it is closed.

import { readFileSync, writeFileSync } from "node:fs";
import { expect } from "vitest";
import type { Ino } from "../../../src/base/quantities.ts";
import { ExtDriver } from "../../../src/drivers/ext/driver.ts";
import { parseSuperblock } from "../../../src/drivers/ext/superblock.ts";
import { sealBlocksOf } from "../../../src/drivers/ext/seals.ts";
import { createGrowthRooms, GrowthRooms } from "../../../src/drivers/ext/space/growth-rooms.ts";
import { ExtVolume } from "../../../src/drivers/ext/volume.ts";
import type { DirectoryEntry, FileType, NewInode } from "../../../src/iomap/contract.ts";
import { MetadataCache } from "../../../src/metadata/cache.ts";
import {
  beginTransaction,
  createTransactionArea,
  type Transaction,
} from "../../../src/metadata/transaction.ts";
import { Region } from "../../../src/sync/region.ts";
import { runBlocking } from "../../../src/sync/runners.ts";
import { Thread } from "../../../src/sync/thread.ts";
import { e2fsckClean, mkfsExt4, temporaryDirectory } from "../../support/tools.ts";

type Listing = ReturnType<ExtDriver["readDirectory"]>;

export const rootIno = 2 as Ino;
export const someTime = { seconds: 1_700_000_000, nanoseconds: 123_456_789 };

/** The bytes of a name given as text of one character per byte. */
export function bytesOf(name: string): Uint8Array {
  return Uint8Array.from(Buffer.from(name, "latin1"));
}

export function textOf(name: Uint8Array): string {
  return Buffer.from(name).toString("latin1");
}

export function newInode(type: FileType, more: Partial<NewInode> = {}): NewInode {
  return { type, mode: 0o755, uid: 0, gid: 0, time: someTime, ...more };
}

/** What `work` throws, or null. */
export function errorOf(work: () => unknown): { code?: string; message: string } | null {
  try {
    work();
    return null;
  } catch (error) {
    return error as Error;
  }
}

export class DirectoryImage {
  readonly bytes: Buffer;
  readonly volume: ExtVolume;
  readonly driver: ExtDriver;
  readonly thread: Thread;
  readonly cache: MetadataCache;
  readonly #path: string;

  constructor(path: string, regionBytes = 2 ** 29) {
    this.#path = path;
    const bytes = readFileSync(path);
    this.bytes = bytes;
    const device = {
      size: bytes.length,
      copyOut: (at: number, target: Uint8Array) =>
        target.set(bytes.subarray(at, at + target.length)),
      copyIn: (at: number, source: Uint8Array) => bytes.set(source, at),
      persistAll: () => {},
      assertPresent: () => {},
      zero: (at: number, length: number) => bytes.fill(0, at, at + length),
    };
    this.thread = Thread.join(Region.create(regionBytes));
    createTransactionArea(this.thread);
    createGrowthRooms(this.thread);
    const facts = parseSuperblock(bytes.subarray(1024, 2048), bytes.length);
    this.cache = MetadataCache.create(this.thread, device, facts.blockSize);
    this.volume = new ExtVolume(facts, this.cache, device);
    sealBlocksOf(this.volume, this.cache);
    this.volume.growthRooms = new GrowthRooms(this.thread, facts.blockSize);
    this.driver = new ExtDriver(this.volume);
    this.change((transaction) => this.driver.markInUse(transaction));
  }

  /** Runs `work` in a transaction, which is undone when it throws. */
  change<T>(work: (transaction: Transaction) => T): T {
    const { cache } = this;
    return runBlocking(this.thread, function* (task) {
      using transaction = yield* beginTransaction(task, cache);
      const result = work(transaction);
      transaction.commit();
      return result;
    });
  }

  create(directory: Ino, name: string, inode: NewInode): Ino {
    return this.change((transaction) =>
      this.driver.create(transaction, directory, bytesOf(name), inode),
    );
  }

  link(directory: Ino, name: string, ino: Ino): void {
    this.change((transaction) =>
      this.driver.link(transaction, directory, bytesOf(name), ino, someTime),
    );
  }

  /** Removes a name, and the inode too if that was its last one. */
  unlink(directory: Ino, name: string): void {
    const ino = this.change((transaction) =>
      this.driver.unlink(transaction, directory, bytesOf(name), someTime),
    );
    this.reclaim(ino);
  }

  rename(from: Ino, name: string, to: Ino, newName: string): void {
    const loser = this.change((transaction) =>
      this.driver.rename(
        transaction,
        { directory: from, name: bytesOf(name) },
        { directory: to, name: bytesOf(newName) },
        someTime,
      ),
    );
    if (loser !== null) this.reclaim(loser);
  }

  /** Frees an inode that has no name left. */
  reclaim(ino: Ino): void {
    if (this.driver.readInode(ino).linkCount > 0) return;
    while (!this.change((transaction) => this.driver.removeExtents(transaction, ino, 0, Infinity)));
    this.change((transaction) => this.driver.freeInode(transaction, ino));
    this.freeUnused();
  }

  /** Frees values of attributes that no inode has any more. */
  freeUnused(): void {
    const { extendedAttributes } = this.driver;
    while (extendedAttributes.hasUnused(true)) {
      this.change((transaction) => extendedAttributes.freeUnused(transaction, true));
    }
  }

  find(directory: Ino, name: string): { ino: Ino; type: FileType | null } | null {
    return this.driver.lookup(directory, bytesOf(name));
  }

  /** All entries of a directory, in pieces of `limit`; `between` runs after each piece. */
  list(directory: Ino, limit = 1000, between: () => void = () => {}): DirectoryEntry[] {
    const all: DirectoryEntry[] = [];
    let cursor: number | null = 0;
    while (cursor !== null) {
      const piece: Listing = this.driver.readDirectory(directory, cursor, limit);
      all.push(...piece.entries);
      cursor = piece.cursor;
      between();
    }
    return all;
  }

  /** Names but "." and "..", sorted. */
  names(directory: Ino, limit = 1000): string[] {
    return this.list(directory, limit)
      .map(({ name }) => textOf(name))
      .filter((name) => name !== "." && name !== "..")
      .sort();
  }

  /** Writes the image to its file, as a clean one. */
  save(): void {
    this.change((transaction) =>
      this.driver.updateSuperblock(transaction, { state: "clean", time: someTime }),
    );
    this.cache.flush();
    writeFileSync(this.#path, this.bytes);
  }

  /** Writes the image back to its file, for good. */
  close(): void {
    this.save();
    this.thread.leave();
  }
}

/** Works on a volume, and has e2fsck look at what is left. */
export function useImage(path: string, work: (image: DirectoryImage) => void): void {
  const image = new DirectoryImage(path, 2 ** 28);
  try {
    work(image);
  } finally {
    image.close();
  }
  const { clean, output } = e2fsckClean(path);
  expect(clean, output).toBe(true);
}

/** As `useImage`, of a volume that mke2fs makes; `prepare` works on it before. */
export function withImage(
  size: number,
  options: readonly string[],
  work: (image: DirectoryImage, path: string) => void,
  prepare: (path: string) => void = () => {},
): void {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  mkfsExt4(path, size, options);
  prepare(path);
  useImage(path, (image) => work(image, path));
}
