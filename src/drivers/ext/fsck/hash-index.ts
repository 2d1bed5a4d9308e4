/** The check of a directory's hash index: see htree.ts for what it is. */
import type { MetadataBlock } from "../../../metadata/cache.ts";
import type { DirectoryFile } from "../directories/directory-file.ts";
import {
  assertRoot,
  childAt,
  countAt,
  DiskIndexRoot,
  hashAt,
  hashVersionOf,
  type IndexNode,
  NODE_ENTRIES_AT,
  ROOT_ENTRIES_AT,
  verifyNode,
  verifyRoot,
} from "../directories/htree.ts";
import { DiskEntry } from "../directories/names.ts";
import type { DirectoryCheck } from "./directories.ts";
import type { FindingCode } from "./findings.ts";

/** Checks an indexed directory by its index. False where the index cannot be used: nothing was checked then. */
export function checkIndex(directory: DirectoryCheck, file: DirectoryFile): boolean {
  const { check } = directory;
  const root = directory.read(0);
  if (root === null) return false;
  const isUsable = check.attempt(() => {
    assertRoot(file, root);
    countAt(file, root, ROOT_ENTRIES_AT);
    return true;
  });
  if (isUsable === null) return false;
  check.attempt(() => verifyRoot(file, root));
  directory.checkDotsForm(root, 0, 1);
  directory.checkDotsForm(root, DiskIndexRoot.parentIno.offset, 2);
  directory.noteDot(root, 0, DiskIndexRoot.dotIno.get(root.view, 0));
  const parentAt = DiskIndexRoot.parentIno.offset;
  directory.noteParent(root, parentAt, DiskIndexRoot.parentIno.get(root.view, 0));
  const walk = new IndexWalk(directory, file, hashVersionOf(file, root));
  const levels = DiskIndexRoot.indirectLevels.get(root.view, 0);
  walk.visit(root, ROOT_ENTRIES_AT, levels, 0, 2 ** 32);
  walk.checkRest();
  return true;
}

class IndexWalk {
  readonly #directory: DirectoryCheck;
  readonly #file: DirectoryFile;
  readonly #version: number;
  /** Blocks in file that the index leads to; each once, so that the walk ends. */
  readonly #seen = new Set<number>([0]);

  constructor(directory: DirectoryCheck, file: DirectoryFile, version: number) {
    this.#directory = directory;
    this.#file = file;
    this.#version = version;
  }

  #tell(code: FindingCode, block: MetadataBlock, field: string, value: number, expected: string) {
    const { check, ino } = this.#directory;
    check.tell(code, {
      structure: "dx_node",
      ino,
      block: block.block,
      field,
      value,
      expected,
      deviceByte: check.volume.byteOf(block.block),
      text: `directory inode ${ino}, its index in block ${block.block}: ${field} is ${value}, ${expected}`,
    });
  }

  /** A root or node with `levels` nodes between it and the leaves, for the hashes [least, end). */
  visit(block: MetadataBlock, entriesAt: number, levels: number, least: number, end: number): void {
    const { check } = this.#directory;
    const count = check.attempt(() => countAt(this.#file, block, entriesAt));
    if (count === null) return;
    const node: IndexNode = { block, entriesAt, count, slot: 0 };
    for (; node.slot < count; node.slot++) {
      const hash = node.slot === 0 ? least : hashAt(node, node.slot);
      if (hash < least || hash >= end) {
        this.#tell("index-node", block, "hash", hash, `expected ${least} to ${end - 1}`);
      }
      const next = node.slot + 1 < count ? hashAt(node, node.slot + 1) : end;
      const child = check.attempt(() => childAt(this.#file, node));
      // The lowest bit says that the last hash of the leaf before goes on.
      if (child !== null) this.#follow(block, child, levels, (hash & ~1) >>> 0, next);
    }
  }

  #follow(parent: MetadataBlock, child: number, levels: number, least: number, end: number): void {
    const directory = this.#directory;
    if (this.#seen.has(child)) {
      this.#tell("index-block", parent, "block", child, "which the index names twice");
      return;
    }
    const block = levels > 0 ? directory.read(child) : directory.readPassing(child);
    if (block === null) {
      this.#tell("index-block", parent, "block", child, "which the directory does not have");
      return;
    }
    this.#seen.add(child);
    if (levels > 0) {
      directory.check.attempt(() => verifyNode(this.#file, block));
      const nameLength = DiskEntry.nameLength.get(block.view, 0);
      if (nameLength !== 0) {
        this.#tell("index-node", block, "fake.name_len", nameLength, "expected 0 in a free record");
      }
      this.visit(block, NODE_ENTRIES_AT, levels - 1, least, end);
      return;
    }
    directory.forgetNames();
    const range = { file: this.#file, version: this.#version, least, end };
    directory.checkBlock(this.#file, block, false, range);
  }

  /** Blocks that the index does not lead to: their names are there, but nobody finds them. */
  checkRest(): void {
    for (const index of [...this.#directory.blocks.keys()].sort((a, b) => a - b)) {
      if (this.#seen.has(index)) continue;
      const block = this.#directory.readPassing(index);
      if (block === null) continue;
      this.#tell("index-block", block, "block in file", index, "to which the index does not lead");
      this.#directory.forgetNames();
      this.#directory.checkBlock(this.#file, block, false, null);
    }
  }
}
