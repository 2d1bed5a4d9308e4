/**
 * The ram filesystem: the smallest driver there can be, for tests and as an example. Its metadata is
 * words in the shared region; its data lies on a device, as any driver's does.
 */
import { HoldfastError } from "../../base/errors.ts";
import type { Ino } from "../../base/quantities.ts";
import type {
  AttributeChange,
  BlockOwner,
  DirectoryEntry,
  EntryPlace,
  Extent,
  FileType,
  FilesystemDriver,
  InodeInfo,
  NewInode,
  OwnerSearch,
  OwnersFound,
  SpaceInfo,
  Time,
} from "../../iomap/contract.ts";
import type { Transaction } from "../../metadata/transaction.ts";
import { store } from "../../sync/atomics.ts";
import type { Thread } from "../../sync/thread.ts";
import {
  allocate,
  extentAt,
  removeExtents,
  shiftExtents,
  unwriteExtents,
  type FillingDevice,
} from "./extents.ts";
import {
  BLOCK_SIZE,
  createTables,
  Header,
  Inode,
  INODE_WORDS,
  NAME_MAX,
  Node,
  ROOT_INO,
  Tables,
} from "./layout.ts";
import { ownedBy, ownersOf } from "./owners.ts";
import { RamSharing } from "./sharing.ts";

const TYPE_BITS: Record<FileType, number> = {
  fifo: 0x1000,
  "character-device": 0x2000,
  directory: 0x4000,
  "block-device": 0x6000,
  file: 0x8000,
  symlink: 0xa000,
  socket: 0xc000,
};
const TYPE_OF = new Map(
  (Object.entries(TYPE_BITS) as [FileType, number][]).map(([type, bits]) => [bits, type]),
);
const encoder = new TextEncoder();
const DOT = encoder.encode(".");
const DOT_DOT = encoder.encode("..");

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

export class RamDriver implements FilesystemDriver {
  readonly type = "ram";
  readonly rootIno = ROOT_INO as Ino;
  readonly blockSize = BLOCK_SIZE;
  readonly readOnlyReason = null;
  readonly label = "";
  readonly uuid = "";
  readonly sharing: RamSharing;
  readonly extendedAttributes = null;
  readonly growth = null;
  readonly inodeFlags = null;
  readonly discarding = null;
  readonly #tables: Tables;
  readonly #device: FillingDevice;

  private constructor(thread: Thread, device: FillingDevice) {
    this.#tables = new Tables(thread);
    this.#device = device;
    this.sharing = new RamSharing(this.#tables, device);
  }

  /** A new, empty filesystem on a device of `deviceBytes`. */
  static create(thread: Thread, device: FillingDevice, deviceBytes: number, time: Time): RamDriver {
    createTables(thread, Math.floor(deviceBytes / BLOCK_SIZE));
    const driver = new RamDriver(thread, device);
    const root = driver.#tables.inodeRecord(ROOT_INO);
    store(thread.words, root + Inode.mode, TYPE_BITS.directory | 0o755);
    store(thread.words, root + Inode.links, 2);
    for (const word of [Inode.accessTime, Inode.modifyTime, Inode.changeTime, Inode.birthTime]) {
      store(thread.words, root + word, time.seconds | 0);
      store(thread.words, root + word + 1, Math.floor(time.seconds / 2 ** 32));
      store(thread.words, root + word + 2, time.nanoseconds);
    }
    return driver;
  }

  static attach(thread: Thread, device: FillingDevice): RamDriver {
    return new RamDriver(thread, device);
  }

  extentAt(ino: Ino, byte: number, limit: number): Extent {
    return extentAt(this.#tables, ino, byte, limit);
  }

  allocate(
    transaction: Transaction,
    ino: Ino,
    start: number,
    length: number,
    mode: "write" | "preallocate",
  ): Extent {
    return allocate(this.#tables, this.#device, transaction, ino, start, length, mode);
  }

  removeExtents(transaction: Transaction, ino: Ino, start: number, end: number): boolean {
    // Of directories and symlinks the nodes are names, which go with the inode.
    if (this.readInode(ino).type !== "file") return true;
    return removeExtents(this.#tables, transaction, ino, start, end);
  }

  unwriteExtents(transaction: Transaction, ino: Ino, start: number, end: number): boolean {
    unwriteExtents(this.#tables, transaction, ino, start, end);
    return true;
  }

  shiftExtents(transaction: Transaction, ino: Ino, start: number, distance: number): void {
    shiftExtents(this.#tables, transaction, ino, start, distance);
  }

  setSize(transaction: Transaction, ino: Ino, size: number): void {
    const inode = this.#tables.inode(ino);
    transaction.setWord(inode + Inode.sizeLow, size | 0);
    transaction.setWord(inode + Inode.sizeHigh, Math.floor(size / 2 ** 32));
  }

  /** All in one part. */
  ownersOf(_transaction: Transaction, search: OwnerSearch): OwnersFound {
    return { owners: ownersOf(this.#tables, search), cursor: null };
  }

  ownedBy(_transaction: Transaction, search: OwnerSearch, ino: Ino): BlockOwner[] {
    return ownedBy(this.#tables, search, ino, this.#tables.inodeRecord(ino));
  }

  restrictionOf(ino: Ino): string | null {
    return this.readInode(ino).restriction;
  }

  linkCountOf(ino: Ino): number {
    return this.readInode(ino).linkCount;
  }

  readInode(ino: Ino): InodeInfo {
    const tables = this.#tables;
    const inode = tables.inode(ino);
    const mode = tables.get(inode + Inode.mode);
    return {
      ino,
      generation: tables.get(inode + Inode.generation),
      type: TYPE_OF.get(mode & 0xf000) ?? "file",
      mode: mode & 0o7777,
      uid: tables.unsigned(inode + Inode.uid),
      gid: tables.unsigned(inode + Inode.gid),
      project: 0,
      linkCount: tables.get(inode + Inode.links),
      size: tables.get(inode + Inode.sizeHigh) * 2 ** 32 + tables.unsigned(inode + Inode.sizeLow),
      sectors: tables.get(inode + Inode.blocks) * (BLOCK_SIZE / 512),
      accessTime: this.#time(inode + Inode.accessTime),
      modifyTime: this.#time(inode + Inode.modifyTime),
      changeTime: this.#time(inode + Inode.changeTime),
      birthTime: this.#time(inode + Inode.birthTime),
      deviceMajor: tables.get(inode + Inode.deviceMajor),
      deviceMinor: tables.get(inode + Inode.deviceMinor),
      restriction: null,
      dax: tables.get(inode + Inode.dax) !== 0,
      hasExtents: true,
      isInline: false,
    };
  }

  #time(word: number): Time {
    const tables = this.#tables;
    return {
      seconds: tables.get(word + 1) * 2 ** 32 + tables.unsigned(word),
      nanoseconds: tables.get(word + 2),
    };
  }

  #setTime(transaction: Transaction, word: number, time: Time): void {
    transaction.setWord(word, time.seconds | 0);
    transaction.setWord(word + 1, Math.floor(time.seconds / 2 ** 32));
    transaction.setWord(word + 2, time.nanoseconds);
  }

  readLink(ino: Ino): Uint8Array {
    const tables = this.#tables;
    return tables.bytes(tables.get(tables.inode(ino) + Inode.nodes));
  }

  /** The link word that leads to a name's node, or 0. */
  #find(directory: Ino, name: Uint8Array): number {
    const tables = this.#tables;
    let link = tables.inode(directory) + Inode.nodes;
    for (let node = tables.get(link); node !== 0; node = tables.get(link)) {
      if (tables.get(node + Node.b) === name.length && sameBytes(tables.bytes(node), name)) {
        return link;
      }
      link = node + Node.next;
    }
    return 0;
  }

  lookup(directory: Ino, name: Uint8Array): { ino: Ino; type: FileType | null } | null {
    const link = this.#find(directory, name);
    if (link === 0) return null;
    const ino = this.#tables.get(this.#tables.get(link) + Node.a) as Ino;
    return { ino, type: this.readInode(ino).type };
  }

  /**
   * The cursor counts entries, so it holds only while nobody changes the directory: the caller keeps
   * the directory's lock over a whole walk.
   */
  readDirectory(
    directory: Ino,
    cursor: number,
    limit: number,
  ): { entries: DirectoryEntry[]; cursor: number | null } {
    const tables = this.#tables;
    const entries: DirectoryEntry[] = [];
    let skip = cursor;
    let node = tables.get(tables.inode(directory) + Inode.nodes);
    for (; node !== 0; node = tables.get(node + Node.next)) {
      if (skip-- > 0) continue;
      if (entries.length === limit) return { entries, cursor: cursor + limit };
      const ino = tables.get(node + Node.a) as Ino;
      const place = cursor + entries.length;
      entries.push({
        name: tables.bytes(node),
        ino,
        type: this.readInode(ino).type,
        cursor: place,
      });
    }
    return { entries, cursor: null };
  }

  #addName(transaction: Transaction, directory: Ino, name: Uint8Array, ino: number): void {
    if (name.length > NAME_MAX) {
      throw new HoldfastError("ENAMETOOLONG", `a name of ${name.length} bytes; 255 at most`);
    }
    if (this.#find(directory, name) !== 0) throw new HoldfastError("EEXIST", "the name exists");
    const tables = this.#tables;
    const node = tables.takeNode(transaction);
    transaction.setWord(node + Node.a, ino);
    tables.setBytes(transaction, node, name);
    // After "." and "..", or first: new names in front of old ones.
    let link = tables.inode(directory) + Inode.nodes;
    for (let skip = 0; skip < 2 && tables.get(link) !== 0; skip++) link = tables.get(link);
    transaction.setWord(node + Node.next, tables.get(link));
    transaction.setWord(link, node);
  }

  create(transaction: Transaction, directory: Ino, name: Uint8Array, made: NewInode): Ino {
    const tables = this.#tables;
    const ino = tables.findFreeInode() as Ino;
    const inode = tables.inodeRecord(ino);
    for (let word = 1; word < INODE_WORDS; word++) transaction.setWord(inode + word, 0);
    transaction.setWord(inode + Inode.mode, TYPE_BITS[made.type] | made.mode);
    transaction.setWord(inode + Inode.uid, made.uid);
    transaction.setWord(inode + Inode.gid, made.gid);
    transaction.setWord(inode + Inode.links, made.type === "directory" ? 2 : 1);
    transaction.setWord(inode + Inode.deviceMajor, made.deviceMajor ?? 0);
    transaction.setWord(inode + Inode.deviceMinor, made.deviceMinor ?? 0);
    transaction.setWord(inode + Inode.dax, made.dax ? 1 : 0);
    tables.add(transaction, tables.header + Header.generation, 1);
    transaction.setWord(inode + Inode.generation, tables.get(tables.header + Header.generation));
    for (const word of [Inode.accessTime, Inode.modifyTime, Inode.changeTime, Inode.birthTime]) {
      this.#setTime(transaction, inode + word, made.time);
    }
    tables.add(transaction, tables.header + Header.inodesFree, -1);
    this.#addName(transaction, directory, name, ino);
    if (made.type === "directory") {
      this.#addName(transaction, ino, DOT_DOT, directory);
      this.#addName(transaction, ino, DOT, ino);
      tables.add(transaction, tables.inode(directory) + Inode.links, 1);
    }
    if (made.target !== undefined) this.#setTarget(transaction, inode, made.target);
    this.#touch(transaction, directory, made.time);
    return ino;
  }

  #setTarget(transaction: Transaction, inode: number, target: Uint8Array): void {
    if (target.length > NAME_MAX) {
      throw new HoldfastError("ENAMETOOLONG", `a target of ${target.length} bytes; 255 at most`);
    }
    const node = this.#tables.takeNode(transaction);
    this.#tables.setBytes(transaction, node, target);
    transaction.setWord(inode + Inode.nodes, node);
    transaction.setWord(inode + Inode.sizeLow, target.length);
  }

  #touch(transaction: Transaction, ino: Ino, time: Time): void {
    const inode = this.#tables.inode(ino);
    this.#setTime(transaction, inode + Inode.modifyTime, time);
    this.#setTime(transaction, inode + Inode.changeTime, time);
  }

  link(transaction: Transaction, directory: Ino, name: Uint8Array, ino: Ino, time: Time): void {
    const tables = this.#tables;
    const inode = tables.inode(ino);
    this.#addName(transaction, directory, name, ino);
    if (tables.get(inode + Inode.links) === 0) this.removeOrphan(transaction, ino);
    tables.add(transaction, inode + Inode.links, 1);
    this.#setTime(transaction, inode + Inode.changeTime, time);
    this.#touch(transaction, directory, time);
  }

  unlink(transaction: Transaction, directory: Ino, name: Uint8Array, time: Time): Ino {
    const tables = this.#tables;
    const link = this.#find(directory, name);
    if (link === 0) throw new HoldfastError("ENOENT", "no such name");
    const ino = tables.get(tables.get(link) + Node.a) as Ino;
    this.#assertRemovable(ino, name);
    this.#removeName(transaction, link);
    this.#dropLinks(transaction, directory, ino, time);
    this.#touch(transaction, directory, time);
    return ino;
  }

  #assertRemovable(ino: Ino, name: Uint8Array): void {
    if (sameBytes(name, DOT) || sameBytes(name, DOT_DOT)) {
      throw new HoldfastError("EINVAL", '"." and ".." are not removed by name');
    }
    if (this.readInode(ino).type !== "directory") return;
    if (this.readDirectory(ino, 0, 3).entries.length > 2) {
      throw new HoldfastError("ENOTEMPTY", "the directory is not empty");
    }
  }

  #removeName(transaction: Transaction, link: number): void {
    const tables = this.#tables;
    const node = tables.get(link);
    transaction.setWord(link, tables.get(node + Node.next));
    tables.giveNode(transaction, node);
  }

  #dropLinks(transaction: Transaction, directory: Ino, ino: Ino, time: Time): void {
    const tables = this.#tables;
    const inode = tables.inode(ino);
    const isDirectory = this.readInode(ino).type === "directory";
    if (isDirectory) tables.add(transaction, tables.inode(directory) + Inode.links, -1);
    tables.add(transaction, inode + Inode.links, isDirectory ? -2 : -1);
    this.#setTime(transaction, inode + Inode.changeTime, time);
    if (tables.get(inode + Inode.links) > 0) return;
    transaction.setWord(inode + Inode.nextOrphan, tables.get(tables.header + Header.orphans));
    transaction.setWord(tables.header + Header.orphans, ino);
  }

  removeOrphan(transaction: Transaction, ino: Ino): void {
    const tables = this.#tables;
    let link = tables.header + Header.orphans;
    while (tables.get(link) !== 0) {
      const next = tables.inodeRecord(tables.get(link)) + Inode.nextOrphan;
      if (tables.get(link) === ino) {
        transaction.setWord(link, tables.get(next));
        return;
      }
      link = next;
    }
  }

  rename(transaction: Transaction, from: EntryPlace, to: EntryPlace, time: Time): Ino | null {
    const moved = this.lookup(from.directory, from.name);
    if (moved === null) throw new HoldfastError("ENOENT", "no such name");
    const target = this.lookup(to.directory, to.name);
    if (target?.ino === moved.ino) return null;
    const isDirectory = moved.type === "directory";
    if (target !== null) {
      if (isDirectory && target.type !== "directory") {
        throw new HoldfastError("ENOTDIR", "a directory cannot replace what is not one");
      }
      if (!isDirectory && target.type === "directory") {
        throw new HoldfastError("EISDIR", "only a directory can replace a directory");
      }
      this.unlink(transaction, to.directory, to.name, time);
    }
    this.#removeName(transaction, this.#find(from.directory, from.name));
    this.#addName(transaction, to.directory, to.name, moved.ino);
    if (isDirectory && from.directory !== to.directory) {
      const tables = this.#tables;
      const up = tables.get(this.#find(moved.ino, DOT_DOT));
      transaction.setWord(up + Node.a, to.directory);
      tables.add(transaction, tables.inode(from.directory) + Inode.links, -1);
      tables.add(transaction, tables.inode(to.directory) + Inode.links, 1);
    }
    this.#setTime(transaction, this.#tables.inode(moved.ino) + Inode.changeTime, time);
    this.#touch(transaction, from.directory, time);
    this.#touch(transaction, to.directory, time);
    return target?.ino ?? null;
  }

  exchange(transaction: Transaction, one: EntryPlace, other: EntryPlace, time: Time): void {
    const tables = this.#tables;
    const places = [one, other].map(({ directory, name }) => {
      const found = this.lookup(directory, name);
      if (found === null) throw new HoldfastError("ENOENT", "no such name");
      return { ...found, directory, node: tables.get(this.#find(directory, name)) };
    });
    for (const [index, { directory, node, ino }] of places.entries()) {
      const from = places[1 - index]!;
      transaction.setWord(node + Node.a, from.ino);
      this.#setTime(transaction, tables.inode(ino) + Inode.changeTime, time);
      this.#touch(transaction, directory, time);
      if (from.type !== "directory" || from.directory === directory) continue;
      transaction.setWord(tables.get(this.#find(from.ino, DOT_DOT)) + Node.a, directory);
      tables.add(transaction, tables.inode(from.directory) + Inode.links, -1);
      tables.add(transaction, tables.inode(directory) + Inode.links, 1);
    }
  }

  setAttributes(transaction: Transaction, ino: Ino, change: AttributeChange): void {
    const inode = this.#tables.inode(ino);
    const mode = this.#tables.get(inode + Inode.mode);
    if (change.mode !== undefined) {
      transaction.setWord(inode + Inode.mode, (mode & 0xf000) | (change.mode & 0o7777));
    }
    if (change.dax !== undefined) transaction.setWord(inode + Inode.dax, change.dax ? 1 : 0);
    if (change.uid !== undefined) transaction.setWord(inode + Inode.uid, change.uid | 0);
    if (change.gid !== undefined) transaction.setWord(inode + Inode.gid, change.gid | 0);
    for (const name of ["accessTime", "modifyTime", "changeTime"] as const) {
      const time = change[name];
      if (time !== undefined) this.#setTime(transaction, inode + Inode[name], time);
    }
  }

  /** No file is inline. */
  moveOutOfInode(): void {}

  noteUnused(): void {}

  actFor(): void {}

  freeInode(transaction: Transaction, ino: Ino): void {
    const tables = this.#tables;
    const inode = tables.inode(ino);
    this.removeOrphan(transaction, ino);
    for (let node = tables.get(inode + Inode.nodes); node !== 0; ) {
      const next = tables.get(node + Node.next);
      tables.giveNode(transaction, node);
      node = next;
    }
    transaction.setWord(inode + Inode.nodes, 0);
    transaction.setWord(inode + Inode.mode, 0);
    tables.add(transaction, tables.header + Header.inodesFree, 1);
  }

  orphans(): Ino[] {
    const tables = this.#tables;
    const found: Ino[] = [];
    let ino = tables.get(tables.header + Header.orphans);
    while (ino !== 0) {
      found.push(ino as Ino);
      ino = tables.get(tables.inodeRecord(ino) + Inode.nextOrphan);
    }
    return found;
  }

  spaceInfo(): SpaceInfo {
    const tables = this.#tables;
    const blocksFree = tables.get(tables.header + Header.blocksFree);
    return {
      blockSize: BLOCK_SIZE,
      blocks: tables.get(tables.header + Header.blocks),
      blocksFree,
      blocksAvailable: blocksFree,
      inodes: tables.get(tables.header + Header.inodes),
      inodesFree: tables.get(tables.header + Header.inodesFree),
      nameLengthMax: NAME_MAX,
    };
  }

  /** Nothing outlives the region, so there is nothing to say. */
  markInUse(): void {}
  updateSuperblock(): void {}
}
