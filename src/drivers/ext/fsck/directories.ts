/** The check's third pass: every name of every directory. */
import type { Ino } from "../../../base/quantities.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import { DirectoryFile } from "../directories/directory-file.ts";
import {
  CONTENT_BYTE,
  CONTENT_SIZE,
  INCOMPATIBLE,
  INO_ROOT,
  INODE_CASEFOLD,
  INODE_ENCRYPTED,
  INODE_INLINE_DATA,
} from "../format.ts";
import type { NameHash } from "../directories/hash.ts";
import { hashIn, looksLikeNode } from "../directories/htree.ts";
import { inodeFlags, inodeSize, type RawInode, readRaw } from "../inodes/inode.ts";
import { walkMap } from "../maps/map-walk.ts";
import {
  DiskEntry,
  ENTRY_HEADER_SIZE,
  inoAt,
  isDots,
  nameAt,
  type NameFormat,
  recordLengthAt,
  verifyRecord,
} from "../directories/names.ts";
import { checkAttributesInside } from "./attributes.ts";
import { inodesOf, TYPE_BAD, TYPE_DIRECTORY } from "./census.ts";
import type { Check, Steps } from "./check.ts";
import type { FindingCode } from "./findings.ts";
import { checkIndex } from "./hash-index.ts";
import { InodeCheck } from "./inodes.ts";
import { isReservedIno } from "./reserved.ts";

/** Of the parent's number, which stands before the records of a directory inside its inode. */
const PARENT_SIZE = 4;
/** The type in a record that does not tell. */
const TYPE_UNTOLD = 0;
const NAME_LOST_FOUND = "lost+found";

export function* checkDirectories(check: Check): Steps {
  const total = check.census.directories;
  let done = 0;
  for (const ino of directoriesOf(check)) {
    if (done % 64 === 0) yield { pass: "directories", done, total };
    done++;
    check.about = { ino };
    check.attempt(() => checkDirectory(check, ino));
  }
  check.about = {};
}

/** The directories in use, by number; but those that were deleted while they were open: nothing leads there. */
export function* directoriesOf({ census, volume, orphans }: Check): Generator<Ino, void, void> {
  for (const ino of inodesOf(census, volume)) {
    const isDeleted = orphans.has(ino) && census.links.get(ino) === 0;
    if (census.isDirectory(ino) && !isDeleted) yield ino;
  }
}

/** The hashes that the index promises for a block: from `least` on, and below `end`. */
export interface HashRange {
  readonly file: DirectoryFile;
  readonly version: number;
  readonly least: number;
  readonly end: number;
}

/** One directory, as it is checked. */
export class DirectoryCheck {
  readonly check: Check;
  readonly ino: Ino;
  /** Records hold a type (the filetype feature). */
  readonly hasTypes: boolean;
  /** Blocks on the device by their place in the file. */
  readonly blocks: Map<number, number>;
  readonly isEncrypted: boolean;
  /** Hashes of names can be told. */
  readonly hasHashes: boolean;
  /** Names met: of the whole directory; of one leaf of its index those whose hash has come before. */
  readonly #names = new Set<string>();
  /** Of one leaf: by hash, where the first name with it lies. */
  readonly #placesByHash = new Map<number, number>();
  readonly #hash: NameHash = { major: 0, minor: 0 };

  constructor(check: Check, ino: Ino, raw: RawInode, blocks: Map<number, number>) {
    this.check = check;
    this.ino = ino;
    this.blocks = blocks;
    this.hasTypes = (check.volume.features.incompatible & INCOMPATIBLE.filetype) !== 0;
    this.isEncrypted = (inodeFlags(raw) & INODE_ENCRYPTED) !== 0;
    this.hasHashes = !this.isEncrypted && (inodeFlags(raw) & INODE_CASEFOLD) === 0;
  }

  /** Block `index`; null where there is none. */
  read(index: number): MetadataBlock | null {
    const block = this.blocks.get(index);
    if (block === undefined) return null;
    return this.check.attempt(() => this.check.reader.read(block, () => {}));
  }

  /** As `read`, of a block that nobody comes back to: it is good until the next call. */
  readPassing(index: number): MetadataBlock | null {
    const block = this.blocks.get(index);
    if (block === undefined) return null;
    return this.check.attempt(() => this.check.reader.readPassing(block));
  }

  tell(code: FindingCode, block: MetadataBlock, at: number, text: string): void {
    const { check, ino } = this;
    check.tell(code, {
      structure: DiskEntry.structure.name,
      ino,
      block: block.block,
      deviceByte: check.volume.byteOf(block.block, at),
      text: `directory inode ${ino}: ${text}`,
    });
  }

  /** Names that come from here on may be those of before, in another block. */
  forgetNames(): void {
    this.#names.clear();
    this.#placesByHash.clear();
  }

  /** A block of names, its checksum included. `range`: null where no index leads to it. */
  checkBlock(
    file: DirectoryFile,
    block: MetadataBlock,
    isFirst: boolean,
    range: HashRange | null,
  ): void {
    this.check.attempt(() => file.verifyTail(block));
    this.checkRecords(block, file, 0, isFirst, range);
  }

  /** Records that end at byte `entriesEnd` of a block. */
  formatUpTo(entriesEnd: number): NameFormat {
    const { blockSize, facts } = this.check.volume;
    const { hasTypes } = this;
    return { blockSize, entriesStart: 0, entriesEnd, hasTypes, inoMax: facts.inodes };
  }

  /** The records from byte `at` on, as far as they are a chain. */
  checkRecords(
    block: MetadataBlock,
    format: NameFormat,
    at: number,
    isFirst: boolean,
    range: HashRange | null,
  ): void {
    this.check.attempt(() => {
      for (let record = 0; at < format.entriesEnd; record++) {
        const length = recordLengthAt(block, format, at);
        if (isFirst && record < 2) this.#checkDots(block, at, record);
        else if (this.#isSound(block, format, at)) this.#checkName(block, format, at, range);
        at += length;
      }
    });
  }

  /** Whether a record is one of its own, with a name. */
  #isSound(block: MetadataBlock, format: NameFormat, at: number): boolean {
    const { check } = this;
    if (inoAt(block, at) === 0) return false;
    // What is encrypted may have any bytes.
    if (this.isEncrypted) return inoAt(block, at) <= format.inoMax;
    return check.attempt(() => verifyRecord(block, format, at)) !== null;
  }

  /** The first two records: "." and "..". */
  #checkDots(block: MetadataBlock, at: number, record: number): void {
    const name = textOf(nameAt(block, at));
    const wanted = record === 0 ? "." : "..";
    const ino = inoAt(block, at);
    if (name !== wanted) {
      this.tell("directory-dots", block, at, `record ${record} is '${name}', expected '${wanted}'`);
      return;
    }
    this.checkDotsForm(block, at, wanted.length);
    if (record === 0) this.noteDot(block, at, ino);
    else this.noteParent(block, at, ino);
  }

  /** "." and ".." end with a zero byte, as no other names do, and are directories. */
  checkDotsForm(block: MetadataBlock, at: number, nameLength: number): void {
    const name = ".".repeat(nameLength);
    const end = block.view.getUint8(at + ENTRY_HEADER_SIZE + nameLength);
    if (end !== 0) {
      const text = `'${name}' ends with byte ${end}, expected a zero byte`;
      this.tell("directory-dots", block, at, text);
    }
    const type = DiskEntry.type.get(block.view, at);
    if (this.hasTypes && type !== TYPE_UNTOLD && type !== TYPE_DIRECTORY) {
      this.tell("entry-type", block, at, `the type of '${name}' is not that of a directory`);
    }
  }

  noteDot(block: MetadataBlock, at: number, ino: number): void {
    if (ino === this.ino) this.check.census.addName(ino);
    else this.tell("directory-dots", block, at, `'.' leads to inode ${ino}, expected itself`);
  }

  noteParent(block: MetadataBlock, at: number, ino: number): void {
    const { census } = this.check;
    census.parents.set(this.ino, ino);
    if (census.isDirectory(ino)) census.addName(ino);
    else
      this.tell("directory-dots", block, at, `'..' leads to inode ${ino}, which is no directory`);
  }

  #checkName(block: MetadataBlock, format: NameFormat, at: number, range: HashRange | null): void {
    const { check, ino } = this;
    const bytes = nameAt(block, at);
    if (isDots(bytes) && !this.isEncrypted) {
      this.tell("directory-dots", block, at, `'${textOf(bytes)}' comes again among the names`);
      return;
    }
    const isHashed = range !== null && this.hasHashes;
    if (isHashed) this.#checkHash(block, at, range);
    if (isHashed ? this.#comesAgain(block, at, bytes) : this.#isKnown(bytes)) {
      this.tell("entry-duplicate", block, at, `the name '${textOf(bytes)}' comes twice`);
    }
    const target = inoAt(block, at);
    if (this.#checkTarget(block, at, target)) {
      check.census.addName(target);
      if (ino === INO_ROOT && latin1Of(bytes) === NAME_LOST_FOUND) {
        check.census.hasLostFound ||= check.census.isDirectory(target);
      }
      if (format.hasTypes) this.#checkType(block, at, target);
    }
  }

  /** Whether a name was noted before. Notes it. */
  #isKnown(name: Uint8Array): boolean {
    const key = latin1Of(name);
    const isKnown = this.#names.has(key);
    this.#names.add(key);
    return isKnown;
  }

  /** The same in a leaf, of the name that was just hashed. Only names of one hash are compared. */
  #comesAgain(block: MetadataBlock, at: number, name: Uint8Array): boolean {
    const { major } = this.#hash;
    const firstAt = this.#placesByHash.get(major);
    if (firstAt === undefined) {
      this.#placesByHash.set(major, at);
      return false;
    }
    this.#isKnown(nameAt(block, firstAt));
    return this.#isKnown(name);
  }

  #checkHash(block: MetadataBlock, at: number, { file, version, least, end }: HashRange): void {
    const nameLength = DiskEntry.nameLength.get(block.view, at);
    hashIn(file, version, block.bytes, at + ENTRY_HEADER_SIZE, nameLength, this.#hash);
    const { major } = this.#hash;
    if (major >= least && major < end) return;
    const name = textOf(nameAt(block, at));
    const range = `${least} to ${end - 1}`;
    this.tell("entry-hash", block, at, `'${name}' has the hash ${major} in a block for ${range}`);
  }

  /** Whether a name may stand for this inode; notes it where that is a directory. */
  #checkTarget(block: MetadataBlock, at: number, target: number): boolean {
    const { check, ino } = this;
    const tell = (code: FindingCode, what: string) =>
      this.tell(code, block, at, `'${textOf(nameAt(block, at))}' ${what}`);
    if (target === INO_ROOT || isReservedIno(check, target)) {
      tell("entry-inode", `stands for inode ${target}, which has no name`);
      return false;
    }
    const { census, groups } = check;
    if (census.typeOf(target) === 0) {
      const group = Math.floor((target - 1) / check.volume.facts.inodesPerGroup);
      if (groups[group]?.inodeTable === null) return false; // nobody could look
      tell("entry-unused", `stands for inode ${target}, which is not in use`);
      return false;
    }
    if (!census.isDirectory(target)) return true;
    const other = census.namedBy.get(target);
    if (other === 0) census.namedBy.set(target, ino);
    else {
      tell("directory-names", `is a second name of directory ${target}, which ${other} names`);
    }
    return true;
  }

  #checkType(block: MetadataBlock, at: number, target: number): void {
    const said = DiskEntry.type.get(block.view, at);
    const type = this.check.census.typeOf(target);
    if (said === type || said === TYPE_UNTOLD || type === TYPE_BAD) return;
    const name = textOf(nameAt(block, at));
    this.tell(
      "entry-type",
      block,
      at,
      `'${name}' says type ${said}, but inode ${target} has ${type}`,
    );
  }
}

/** Where a file's blocks lie, by their place in it and up to its size; what is damaged was told of before. */
export function blocksOf(check: Check, raw: RawInode, ino: Ino): Map<number, number> {
  const blocks = new Map<number, number>();
  const limit = Math.ceil(inodeSize(raw) / check.volume.blockSize);
  const blocksMax = check.volume.facts.blocks;
  walkMap(check.volume, raw, ino, {
    mapBlock: () => {},
    content: ({ fileBlock, start, count }) => {
      if (!check.volume.isOwnable(start, count)) return;
      for (let index = 0; index < Math.min(count, limit - fileBlock); index++) {
        if (blocks.size >= blocksMax) return;
        if (!blocks.has(fileBlock + index)) blocks.set(fileBlock + index, start + index);
      }
    },
    damage: () => {},
  });
  return blocks;
}

function latin1Of(name: Uint8Array): string {
  return Buffer.from(name.buffer, name.byteOffset, name.length).toString("latin1");
}

/** A name for a message: as text, with what cannot be shown escaped. */
export function textOf(name: Uint8Array): string {
  return JSON.stringify(new TextDecoder().decode(name)).slice(1, -1);
}

function checkDirectory(check: Check, ino: Ino): void {
  const raw = readRaw(check.volume, ino);
  if ((inodeFlags(raw) & INODE_INLINE_DATA) !== 0) {
    checkInlineDirectory(check, ino, raw);
    return;
  }
  const file = new DirectoryFile(check.volume, ino);
  const directory = new DirectoryCheck(check, ino, raw, blocksOf(check, raw, ino));
  checkHoles(directory);
  if (file.isIndexed && checkIndex(directory, file)) return;
  for (const index of [...directory.blocks.keys()].sort((a, b) => a - b)) {
    const block = directory.readPassing(index);
    if (block === null) continue;
    // An index that cannot be used is so many free records.
    const isOfIndex = index > 0 && file.isMarkedIndexed && looksLikeNode(file, block);
    if (!isOfIndex) directory.checkBlock(file, block, index === 0, null);
  }
}

function checkHoles({ blocks, check, ino }: DirectoryCheck): void {
  let next = 0;
  for (const index of [...blocks.keys()].sort((a, b) => a - b)) {
    if (index > next) {
      check.tell("directory-hole", {
        structure: `inode ${ino}`,
        ino,
        field: "blocks",
        value: next,
        text: `directory inode ${ino}: file blocks ${next} to ${index - 1} are missing`,
      });
    }
    next = index + 1;
  }
}

/**
 * A directory that is kept in its inode: four bytes say the parent, records follow up to the end of the
 * content's place, and go on in the value of an attribute.
 */
function checkInlineDirectory(check: Check, ino: Ino, raw: RawInode): void {
  const { block, at } = raw;
  const inside = checkAttributesInside(new InodeCheck(check, raw, ino));
  const directory = new DirectoryCheck(check, ino, raw, new Map());
  const start = at + CONTENT_BYTE;
  directory.noteDot(block, start, ino);
  directory.noteParent(block, start, block.view.getUint32(start, true));
  const end = start + CONTENT_SIZE;
  directory.checkRecords(block, directory.formatUpTo(end), start + PARENT_SIZE, false, null);
  if (inside === null || inside.dataSize <= 0) return;
  const { dataAt, dataSize } = inside;
  directory.checkRecords(block, directory.formatUpTo(dataAt + dataSize), dataAt, false, null);
}
