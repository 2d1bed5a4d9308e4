// Where every kind of metadata lies in an undamaged ext image. Written apart from the driver, from the
// kernel's description of the format (Documentation/filesystems/ext4), so that the two cannot share a
// mistake. Only what mke2fs makes of filled-image.ts is understood.

export const KINDS = [
  "superblock",
  "group descriptor",
  "block bitmap",
  "inode bitmap",
  "inode",
  "extent block",
  "indirect block",
  "directory block",
  "hash tree root",
  "hash tree node",
  "symlink block",
  "attribute block",
] as const;

export type Kind = (typeof KINDS)[number];

/** One structure on the image. */
export interface Place {
  readonly kind: Kind;
  readonly byte: number;
  readonly length: number;
  /** The inodes whose data or names this structure decides; null: any. */
  readonly owner: number | null;
  /** Where fields begin that a program would believe: offsets in the structure, with their sizes. */
  readonly fields: readonly Field[];
}

export interface Field {
  readonly offset: number;
  readonly size: 1 | 2 | 4 | 8;
}

const field = (offset: number, size: Field["size"]): Field => ({ offset, size });
const every = (from: number, to: number, step: Field["size"]): Field[] =>
  Array.from({ length: Math.max(0, Math.floor((to - from) / step)) }, (_, index) =>
    field(from + index * step, step),
  );

const SUPERBLOCK_FIELDS: readonly Field[] = [
  ...every(0x0, 0x34, 4),
  field(0x38, 2),
  field(0x3a, 2),
  field(0x4c, 4),
  field(0x54, 4),
  field(0x58, 2),
  field(0x5c, 4),
  field(0x60, 4),
  field(0x64, 4),
  field(0xce, 2),
  field(0xe0, 4),
  field(0xe8, 4),
  field(0xfc, 1),
  field(0xfe, 2),
  field(0x104, 4),
  field(0x150, 4),
  field(0x154, 4),
  field(0x158, 4),
  field(0x15c, 2),
  field(0x15e, 2),
  field(0x160, 4),
  field(0x174, 1),
  field(0x175, 1),
  field(0x24c, 4),
  field(0x270, 4),
];

const GROUP_FIELDS: readonly Field[] = [
  ...every(0, 12, 4),
  ...every(12, 32, 2),
  ...every(32, 64, 2),
];

/** The inode's own fields, then the extent tree's root or whatever lies in its place. */
const INODE_FIELDS: readonly Field[] = [
  field(0x0, 2),
  field(0x4, 4),
  field(0x14, 4),
  field(0x1a, 2),
  field(0x1c, 4),
  field(0x20, 4),
  ...every(0x28, 0x34, 2),
  ...every(0x34, 0x64, 2),
  field(0x64, 4),
  field(0x68, 4),
  field(0x6c, 4),
  field(0x74, 2),
  field(0x76, 2),
  field(0x80, 2),
  ...every(0x84, 0x98, 4),
];

/** What the inode of an attribute's value keeps in times and the version: its hash, and how often it is named. */
const VALUE_FIELDS: readonly Field[] = [field(0x8, 4), field(0xc, 4), field(0x24, 4)];

const INCOMPATIBLE_64BIT = 0x80;
const ROOT_INO = 2;
const INODE_FLAG_INDEXED = 0x1000;
const INODE_FLAG_EXTENTS = 0x80000;
const INODE_FLAG_VALUE = 0x200000;
const INODE_FLAG_INLINE = 0x10000000;
const TYPE_DIRECTORY = 0x4000;
const TYPE_FILE = 0x8000;
const TYPE_SYMLINK = 0xa000;

class Reader {
  readonly image: DataView;
  readonly places: Place[] = [];
  readonly blockSize: number;
  readonly #blocksPerGroup: number;
  readonly #inodesPerGroup: number;
  readonly #inodeSize: number;
  readonly #groups: number;
  readonly #descriptors: number;
  readonly #descriptorSize: number;

  constructor(bytes: Uint8Array) {
    this.image = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const at = (offset: number): number => this.image.getUint32(1024 + offset, true);
    this.blockSize = 1024 << at(0x18);
    this.#blocksPerGroup = at(0x20);
    this.#inodesPerGroup = at(0x28);
    this.#inodeSize = this.image.getUint16(1024 + 0x58, true);
    const firstBlock = at(0x14);
    this.#groups = Math.ceil((at(0x4) - firstBlock) / this.#blocksPerGroup);
    this.#descriptors = (firstBlock + 1) * this.blockSize;
    this.#descriptorSize = (at(0x60) & INCOMPATIBLE_64BIT) !== 0 ? 64 : 32;
  }

  add(kind: Kind, byte: number, length: number, owner: number | null, fields: readonly Field[]) {
    this.places.push({ kind, byte, length, owner, fields });
  }

  u32(byte: number): number {
    return this.image.getUint32(byte, true);
  }

  u16(byte: number): number {
    return this.image.getUint16(byte, true);
  }

  readAll(): Place[] {
    this.add("superblock", 1024, 1024, null, SUPERBLOCK_FIELDS);
    for (let group = 0; group < this.#groups; group++) this.#readGroup(group);
    return this.places;
  }

  #readGroup(group: number): void {
    const size = this.#descriptorSize;
    const descriptor = this.#descriptors + group * size;
    const fields = GROUP_FIELDS.filter(({ offset }) => offset < size);
    this.add("group descriptor", descriptor, size, null, fields);
    const [bitmapBytes, inodeBytes] = [this.#blocksPerGroup / 8, this.#inodesPerGroup / 8];
    const inodeBitmap = this.u32(descriptor + 4) * this.blockSize;
    const blockBitmap = this.u32(descriptor) * this.blockSize;
    this.add("block bitmap", blockBitmap, bitmapBytes, null, every(0, bitmapBytes, 4));
    this.add("inode bitmap", inodeBitmap, inodeBytes, null, every(0, inodeBytes, 4));
    const isUninitialised = (this.u16(descriptor + 0x12) & 1) !== 0;
    if (isUninitialised) return;
    const table = this.u32(descriptor + 8) * this.blockSize;
    for (let slot = 0; slot < this.#inodesPerGroup; slot++) {
      const isUsed = (this.image.getUint8(inodeBitmap + (slot >> 3)) >> (slot & 7)) & 1;
      const ino = group * this.#inodesPerGroup + slot + 1;
      // The reserved inodes below 11 are never looked at, but for the root.
      if (isUsed === 1 && (ino === ROOT_INO || ino >= 11)) {
        this.#readInode(table + slot * this.#inodeSize, ino);
      }
    }
  }

  #readInode(at: number, ino: number): void {
    this.add("inode", at, this.#inodeSize, ino, this.#inodeFields(at));
    const attributes = this.u32(at + 0x68);
    if (attributes !== 0) {
      const fields = [...every(0, 20, 4), ...every(32, 64, 2), field(48, 4)];
      const byte = attributes * this.blockSize;
      this.add("attribute block", byte, this.blockSize, ino, fields);
    }
    const type = this.u16(at) & 0xf000;
    const flags = this.u32(at + 0x20);
    const isLongLink = type === TYPE_SYMLINK && this.u32(at + 4) >= 60;
    if (type !== TYPE_FILE && type !== TYPE_DIRECTORY && !isLongLink) return;
    if ((flags & INODE_FLAG_INLINE) !== 0) return;
    const hasTree = (flags & INODE_FLAG_EXTENTS) !== 0;
    const blocks = hasTree ? this.#readTree(at + 0x28, ino) : this.#readPointers(at + 0x28, ino);
    if (type === TYPE_DIRECTORY) {
      for (const { file, device } of blocks) this.#readDirectory(ino, flags, file, device);
    } else if (type === TYPE_SYMLINK) {
      const size = this.u32(at + 4);
      for (const { device } of blocks) {
        this.add("symlink block", device * this.blockSize, size, ino, every(0, size, 4));
      }
    }
  }

  /** Of what keeps its content inside, and of all that has attributes inside, those are fields as well. */
  #inodeFields(at: number): Field[] {
    const flags = this.u32(at + 0x20);
    const fields = [...INODE_FIELDS];
    if ((flags & INODE_FLAG_VALUE) !== 0) fields.push(...VALUE_FIELDS);
    const isInline = (flags & INODE_FLAG_INLINE) !== 0;
    const start = 128 + (this.#inodeSize > 128 ? this.u16(at + 0x80) : 0);
    if (isInline) fields.push(...every(start, this.#inodeSize, 2));
    return fields;
  }

  /** The blocks below an extent tree's node; nodes that are blocks become places. */
  #readTree(node: number, ino: number): { file: number; device: number }[] {
    const [entries, depth] = [this.u16(node + 2), this.u16(node + 6)];
    const blocks: { file: number; device: number }[] = [];
    for (let entry = node + 12; entry < node + 12 * (entries + 1); entry += 12) {
      if (depth > 0) {
        const below = this.u32(entry + 4) * this.blockSize;
        const used = 12 * (this.u16(below + 2) + 1);
        const fields = [...every(0, 12, 2), ...every(12, used, 2)];
        this.add("extent block", below, used, ino, fields);
        blocks.push(...this.#readTree(below, ino));
      } else {
        const length = this.u16(entry + 4) % 32768;
        const [file, device] = [this.u32(entry), this.u32(entry + 8)];
        for (let block = 0; block < length; block++) {
          blocks.push({ file: file + block, device: device + block });
        }
      }
    }
    return blocks;
  }

  /** The blocks that an inode's 15 pointers lead to; blocks of pointers become places. */
  #readPointers(content: number, ino: number): { file: number; device: number }[] {
    const blocks: { file: number; device: number }[] = [];
    const each = this.blockSize / 4;
    let file = 0;
    const follow = (at: number, level: number): void => {
      const device = this.u32(at);
      if (device === 0) file += each ** level;
      else if (level === 0) blocks.push({ file: file++, device });
      else {
        const below = device * this.blockSize;
        this.add("indirect block", below, this.blockSize, ino, every(0, this.blockSize, 4));
        for (let pointer = 0; pointer < each; pointer++) follow(below + 4 * pointer, level - 1);
      }
    };
    for (let pointer = 0; pointer < 15; pointer++) {
      follow(content + 4 * pointer, Math.max(0, pointer - 11));
    }
    return blocks;
  }

  #readDirectory(ino: number, flags: number, file: number, device: number): void {
    const byte = device * this.blockSize;
    if (file === 0 && (flags & INODE_FLAG_INDEXED) !== 0) {
      const used = 32 + 8 * this.u16(byte + 34);
      const fields = [...every(0, 40, 2), field(28, 1), field(29, 1), field(30, 1)];
      this.add("hash tree root", byte, used, ino, [...fields, ...every(36, used, 4)]);
      return;
    }
    const isNode = this.u32(byte) === 0 && this.u16(byte + 4) === this.blockSize;
    if (isNode && (flags & INODE_FLAG_INDEXED) !== 0) {
      const used = 8 + 8 * this.u16(byte + 10);
      this.add("hash tree node", byte, used, ino, [...every(0, 12, 2), ...every(12, used, 4)]);
      return;
    }
    const fields: Field[] = [];
    for (let entry = 0; entry < this.blockSize; entry += this.u16(byte + entry + 4)) {
      fields.push(field(entry, 4), field(entry + 4, 2), field(entry + 6, 1), field(entry + 7, 1));
    }
    this.add("directory block", byte, this.blockSize, ino, fields);
  }
}

/** Every structure of the image that something depends on, in the order of KINDS within a group. */
export function findPlaces(image: Uint8Array): Place[] {
  return new Reader(image).readAll();
}
