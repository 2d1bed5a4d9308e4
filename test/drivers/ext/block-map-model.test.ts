// Files with block pointers beside a model of them: what was last written into each block that has one. Any
// order of writes and removals, from direct pointers to triply indirect ones, some of them aborted or on a
// full volume, must leave both the same, and a volume that e2fsck has nothing to say about.

import fc from "fast-check";
import { expect, test } from "vitest";
import type { Ino } from "../../../src/base/quantities.ts";
import type { Transaction } from "../../../src/metadata/transaction.ts";
import { e2fsckClean, mkfsExt4, temporaryDirectory } from "../../support/tools.ts";
import { DirectoryImage, newInode, rootIno } from "./directory-image.ts";

const RUNS = Number(process.env["RUNS"] ?? 15);
const FILES = 2;

interface Step {
  readonly do: "write" | "comb" | "remove" | "cut" | "abort";
  readonly file: number;
  /** Which of the places where another level of pointers begins, and how far from it. */
  readonly border: number;
  readonly distance: number;
  readonly count: number;
}

const anyStep: fc.Arbitrary<Step> = fc.record({
  do: fc.constantFrom("write", "write", "comb", "comb", "remove", "remove", "cut", "abort"),
  file: fc.nat(FILES - 1),
  border: fc.nat(6),
  distance: fc.oneof(fc.integer({ min: -20, max: 20 }), fc.integer({ min: -600, max: 1500 })),
  count: fc.oneof(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 700 })),
});

/** Where levels begin, a block of pointers ends deep in one, and the file itself. */
function borders(blockSize: number): number[] {
  const each = blockSize / 4;
  const triple = 12 + each + each ** 2;
  const end = Math.min(triple + each ** 3, 2 ** 32 / (blockSize / 512) - each ** 2 - 2 * each);
  return [0, 12, 12 + each, 12 + each + 7 * each, triple, triple + each ** 2, end - 1500];
}

class Files {
  readonly image: DirectoryImage;
  readonly inos: Ino[] = [];
  readonly blocks: Map<number, number>[] = [];
  readonly size: number;
  readonly #borders: readonly number[];
  #tag = 0;

  /** `room`: leaves only so many blocks free. */
  constructor(image: DirectoryImage, room = Infinity) {
    this.image = image;
    this.size = image.driver.blockSize;
    this.#borders = borders(this.size);
    for (let file = 0; file < FILES; file++) {
      this.inos.push(image.create(rootIno, `file-${file}`, newInode("file")));
      this.blocks.push(new Map());
    }
    if (room < Infinity) this.#fill(room);
  }

  #fill(room: number): void {
    const ino = this.image.create(rootIno, "filler", newInode("file"));
    for (let at = 0; ; ) {
      const length = (this.image.driver.spaceInfo().blocksFree - room) * this.size;
      if (length <= 0) break;
      const extent = this.image.change((transaction) =>
        this.image.driver.allocate(transaction, ino, at, length, "write"),
      );
      at += extent.length;
      this.image.change((transaction) => this.image.driver.setSize(transaction, ino, at));
    }
  }

  /**
   * Takes a step, which may find the volume full, or the file; then it has changed nothing, or only its
   * start.
   */
  take(step: Step): void {
    const { file, count } = step;
    const from = Math.max(0, this.#borders[step.border]! + step.distance);
    const free = this.image.driver.spaceInfo().blocksFree;
    try {
      if (step.do === "write") this.#write(file, from, count);
      if (step.do === "comb") {
        for (let at = from; at < from + count; at += 2) this.#write(file, at, 1);
      }
      if (step.do === "remove") this.#remove(file, from, from + count);
      if (step.do === "cut") this.#remove(file, from, Infinity);
      if (step.do === "abort") {
        this.#abort(file, from, count);
        expect(this.image.driver.spaceInfo().blocksFree).toBe(free);
      }
    } catch (error) {
      // The last border is near the end that a file can have.
      const { code } = error as { code?: string };
      if (code !== "ENOSPC" && !(code === "EFBIG" && step.border === 6)) throw error;
    }
    this.check(file);
  }

  #write(file: number, from: number, count: number): void {
    const { driver, bytes } = this.image;
    const blocks = this.blocks[file]!;
    for (let at = from; at < from + count; ) {
      const [start, length] = [at * this.size, (from + count - at) * this.size];
      const extent = this.image.change((transaction) =>
        driver.allocate(transaction, this.inos[file]!, start, length, "write"),
      );
      expect(extent).toMatchObject({ start, kind: "mapped" });
      expect(extent.length).toBeLessThanOrEqual(length);
      if (extent.kind !== "mapped") return;
      for (let byte = 0; byte < extent.length; byte += this.size, at++) {
        const word = extent.address + byte;
        const isZero = bytes.subarray(word, word + this.size).every((value) => value === 0);
        expect([at, isZero]).toEqual([at, !blocks.has(at)]);
        bytes.writeUInt32LE(++this.#tag, word);
        blocks.set(at, this.#tag);
      }
    }
  }

  #remove(file: number, from: number, to: number): void {
    const { driver } = this.image;
    const [start, end] = [from * this.size, to * this.size];
    const remove = (transaction: Transaction): boolean =>
      driver.removeExtents(transaction, this.inos[file]!, start, end);
    while (!this.image.change(remove));
    const blocks = this.blocks[file]!;
    for (const at of blocks.keys()) if (at >= from && at < to) blocks.delete(at);
  }

  /** Changes much in one transaction and gives it up: nothing of it may be seen. */
  #abort(file: number, from: number, count: number): void {
    const { driver } = this.image;
    const ino = this.inos[file]!;
    const work = (transaction: Transaction) => {
      driver.removeExtents(transaction, ino, 0, Infinity);
      driver.allocate(transaction, ino, from * this.size, count * this.size, "write");
      throw new Error("given up");
    };
    // What was removed may have been given back and zeroed: such blocks are zero from now on.
    expect(() => this.image.change(work)).toThrow(/given up|ENOSPC/);
    for (const [at, tag] of this.#found(file)) {
      if (tag !== 0) continue;
      const extent = driver.extentAt(ino, at * this.size, (at + 1) * this.size);
      if (extent.kind !== "mapped") continue;
      this.image.bytes.writeUInt32LE(++this.#tag, extent.address);
      this.blocks[file]!.set(at, this.#tag);
    }
  }

  /** All blocks of a file, with what is in them. */
  #found(file: number): [at: number, tag: number][] {
    const found: [number, number][] = [];
    const end = this.#borders.at(-1)! + 10_000;
    for (let at = 0; at < end; ) {
      const [start, limit] = [at * this.size, end * this.size];
      const extent = this.image.driver.extentAt(this.inos[file]!, start, limit);
      expect(extent.start).toBe(start);
      expect(extent.length).toBeGreaterThan(0);
      expect(extent.kind === "unwritten").toBe(false);
      if (extent.kind === "mapped") {
        for (let byte = 0; byte < extent.length; byte += this.size) {
          const tag = this.image.bytes.readUInt32LE(extent.address + byte);
          found.push([at + byte / this.size, tag]);
        }
      }
      at += extent.length / this.size;
    }
    return found;
  }

  check(file: number): void {
    const expected = [...this.blocks[file]!].sort(([a], [b]) => a - b);
    expect(this.#found(file)).toEqual(expected);
  }

  /** Sets the sizes, and takes everything out of the second file. */
  finish(): void {
    this.check(0);
    this.#remove(1, 0, Infinity);
    expect(this.image.driver.readInode(this.inos[1]!).sectors).toBe(0);
    for (const [file, blocks] of this.blocks.entries()) {
      const size = (Math.max(-1, ...blocks.keys()) + 1) * this.size;
      this.image.change((transaction) =>
        this.image.driver.setSize(transaction, this.inos[file]!, size),
      );
    }
  }
}

function play(path: string, args: readonly string[], steps: readonly Step[], room?: number): void {
  mkfsExt4(path, 24 << 20, [...args, "-N", "64"]);
  const image = new DirectoryImage(path, 2 ** 27);
  try {
    const files = new Files(image, room);
    for (const step of steps) files.take(step);
    files.finish();
  } finally {
    image.close();
  }
  const { clean, output } = e2fsckClean(path);
  expect(clean, output).toBe(true);
}

test.each([
  ["ext2", 1024],
  ["ext2", 2048],
  ["ext2", 4096],
  ["ext3", 1024],
  ["ext3", 4096],
])("any order of changes agrees with a model: %s, blocks of %i bytes", (type, blockSize) => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  fc.assert(
    fc.property(fc.array(anyStep, { minLength: 5, maxLength: 30 }), (steps) =>
      play(path, ["-t", type, "-b", String(blockSize)], steps),
    ),
    { numRuns: RUNS },
  );
});

test.each([1024, 4096])(
  "a nearly full volume says ENOSPC, and agrees with the model still: blocks of %i bytes",
  (blockSize) => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    fc.assert(
      fc.property(
        fc.array(anyStep, { minLength: 5, maxLength: 30 }),
        fc.integer({ min: 0, max: 400 }),
        (steps, room) => play(path, ["-t", "ext2", "-b", String(blockSize)], steps, room),
      ),
      { numRuns: RUNS },
    );
  },
);

/** The borders by their place in the list, and the blocks of pointers that a file's first block there takes. */
const LEVELS = [
  [0, 0],
  [1, 1],
  [2, 2],
  [4, 3],
] as const;

test.each(LEVELS)("the last free block is given, and then none: border %i", (border, nodes) => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  for (let room = 0; room <= nodes + 2; room++) {
    mkfsExt4(path, 4 << 20, ["-t", "ext2", "-b", "1024", "-N", "64"]);
    const image = new DirectoryImage(path, 2 ** 26);
    const files = new Files(image, room);
    const left = image.driver.spaceInfo().blocksFree;
    expect(left).toBeLessThanOrEqual(room);
    files.take({ do: "write", file: 0, border, distance: 0, count: 2 });
    const used = left > nodes ? nodes + Math.min(2, left - nodes) : 0;
    expect(image.driver.spaceInfo().blocksFree).toBe(left - used);
    files.finish();
    image.close();
    const { clean, output } = e2fsckClean(path);
    expect(clean, output).toBe(true);
  }
});
