// Room for files to grow: what the table remembers beside a model of it, how files that grow side by side come to lie, and
// that a volume gives its last block whatever room there is.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Ino } from "../../../src/base/quantities.ts";
import {
  createGrowthRooms,
  GrowthRooms,
  ROOMS_MAX,
} from "../../../src/drivers/ext/space/growth-rooms.ts";
import { Region } from "../../../src/sync/region.ts";
import { Thread } from "../../../src/sync/thread.ts";
import { e2fsckClean, mkfsExt4, temporaryDirectory } from "../../support/tools.ts";
import { DirectoryImage, errorOf, newInode, rootIno } from "./directory-image.ts";

const MIB = 2 ** 20;
const BLOCK_SIZE = 1024;
const BITS = BLOCK_SIZE * 8;

function withRooms(work: (rooms: GrowthRooms, other: GrowthRooms) => void): void {
  const thread = Thread.join(Region.create(2 ** 24));
  createGrowthRooms(thread);
  try {
    work(new GrowthRooms(thread, BLOCK_SIZE), new GrowthRooms(thread, BLOCK_SIZE));
  } finally {
    thread.leave();
  }
}

interface Room {
  readonly group: number;
  readonly from: number;
  readonly to: number;
}

const anyRoom: fc.Arbitrary<Room> = fc
  .tuple(fc.nat(2), fc.nat(BITS), fc.nat(300))
  .map(([group, from, length]) => ({ group, from, to: Math.min(BITS, from + length) }));

function bitsOf(words: Uint32Array): number[] {
  return Array.from({ length: BITS }, (_, bit) => bit).filter(
    (bit) => ((words[bit >>> 5]! >>> (bit & 31)) & 1) === 1,
  );
}

describe("the table", () => {
  const anyInode = (count: number) => fc.integer({ min: 1, max: count }) as fc.Arbitrary<Ino>;

  /** What `rooms` should say of each inode and group, as the model has it. */
  function expectAsModel(rooms: GrowthRooms, model: ReadonlyMap<number, Room>, ino: Ino): void {
    const others = [...model].filter(([each]) => each !== ino).map(([, room]) => room);
    const sum = others.reduce((blocks, { from, to }) => blocks + to - from, 0);
    expect(rooms.survey(ino)).toBe(sum);
    for (let group = 0; group < 3; group++) {
      const expected = new Set<number>([7]);
      for (const room of others) {
        if (room.group !== group) continue;
        for (let bit = room.from; bit < room.to; bit++) expected.add(bit);
      }
      const bitmap = new Uint32Array(BLOCK_SIZE / 4);
      bitmap[0] = 1 << 7;
      expect(bitsOf(rooms.mask(group, bitmap))).toEqual([...expected].sort((a, b) => a - b));
      expect(bitsOf(bitmap)).toEqual([7]);
    }
  }

  test("agrees with a model, whichever thread looks, while inodes are fewer than its ways", () => {
    const anyStep = fc.record({ ino: anyInode(8), room: fc.option(anyRoom, { freq: 3 }) });
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 30 }), (steps) => {
        withRooms((rooms, other) => {
          const model = new Map<number, Room>();
          for (const { ino, room } of steps) {
            if (room === null) rooms.drop(ino);
            else rooms.keep(ino, room.group, room.from, room.to);
            if (room === null || room.from >= room.to) model.delete(ino);
            else model.set(ino, room);
          }
          for (const ino of [1, 4, 99] as Ino[]) expectAsModel(other, model, ino);
          for (const [ino, { group, from, to }] of model) {
            for (const [bit, end] of [
              [from - 1, 0],
              [from, to],
              [to - 1, to],
              [to, 0],
            ] as const) {
              expect(other.endOf(ino as Ino, group, bit)).toBe(end);
              expect(other.endOf(ino as Ino, group + 1, bit)).toBe(0);
            }
          }
        });
      }),
      { numRuns: 60 },
    );
  });

  test("forgets rooms of those unused for longest when there are too many, and no other", () => {
    withRooms((rooms) => {
      const room = (ino: number) => rooms.endOf(ino as Ino, 0, ino % BITS) > 0;
      const count = 3 * ROOMS_MAX;
      for (let ino = 1; ino <= count; ino++) {
        rooms.keep(ino as Ino, 0, ino % BITS, (ino % BITS) + 1);
        // One that is used all the time stays.
        rooms.keep(1 as Ino, 0, 1, 2);
        expect(room(ino)).toBe(true);
      }
      expect(room(1)).toBe(true);
      const kept = Array.from({ length: count }, (_, index) => index + 1).filter(room);
      expect(rooms.survey(0)).toBe(kept.length);
      expect(kept.length).toBeGreaterThan(ROOMS_MAX / 2);
      expect(kept.length).toBeLessThanOrEqual(ROOMS_MAX);
      for (const ino of kept) rooms.drop(ino as Ino);
      expect(rooms.survey(0)).toBe(0);
    });
  });

  test("takes inodes of 32 bits", () => {
    withRooms((rooms) => {
      const ino = (2 ** 32 - 5) as Ino;
      rooms.keep(ino, 2, 10, 20);
      expect(rooms.endOf(ino, 2, 10)).toBe(20);
      expect(rooms.survey(ino)).toBe(0);
      expect(rooms.survey(1)).toBe(10);
      rooms.drop(ino);
      expect(rooms.endOf(ino, 2, 10)).toBe(0);
    });
  });
});

class Files {
  readonly image: DirectoryImage;
  readonly inos: Ino[];
  /** Blocks that each has at its start. */
  readonly blocks: number[];
  readonly size: number;

  constructor(image: DirectoryImage, count: number) {
    this.image = image;
    this.size = image.driver.blockSize;
    this.inos = Array.from({ length: count }, (_, index) =>
      image.create(rootIno, `file-${index}`, newInode("file")),
    );
    this.blocks = this.inos.map(() => 0);
  }

  append(file: number, count = 1): void {
    for (const end = this.blocks[file]! + count; this.blocks[file]! < end; ) {
      const [from, length] = [this.blocks[file]!, end - this.blocks[file]!];
      const { size } = this;
      const extent = this.image.change((transaction) => {
        const { driver } = this.image;
        const ino = this.inos[file]!;
        const made = driver.allocate(transaction, ino, from * size, length * size, "write");
        driver.setSize(transaction, ino, made.start + made.length);
        return made;
      });
      this.blocks[file] = (extent.start + extent.length) / size;
    }
  }

  cut(file: number, blocks: number): void {
    const { driver } = this.image;
    const from = Math.min(blocks, this.blocks[file]!);
    this.blocks[file] = from;
    const ino = this.inos[file]!;
    this.image.change((transaction) => driver.setSize(transaction, ino, from * this.size));
    const remove = () =>
      this.image.change((transaction) =>
        driver.removeExtents(transaction, ino, from * this.size, Infinity),
      );
    while (!remove());
  }

  /** A file's pieces, in blocks. Expects that they cover it. */
  pieces(file: number): { from: number; start: number; count: number }[] {
    const pieces = [];
    const end = this.blocks[file]! * this.size;
    for (let at = 0; at < end; ) {
      const extent = this.image.driver.extentAt(this.inos[file]!, at, end);
      if (extent.kind !== "mapped") throw new Error(`block ${at / this.size} is ${extent.kind}`);
      const [from, start] = [at / this.size, extent.address / this.size];
      pieces.push({ from, start, count: extent.length / this.size });
      at += extent.length;
    }
    return pieces;
  }

  /** Expects that no block is in two files. */
  expectApart(): void {
    const all = this.inos.flatMap((_, file) => this.pieces(file));
    all.sort((a, b) => a.start - b.start);
    for (const [index, { start }] of all.entries()) {
      const before = all[index - 1];
      if (before !== undefined) expect(before.start + before.count).toBeLessThanOrEqual(start);
    }
  }
}

function withFiles(
  bytes: number,
  options: readonly string[],
  count: number,
  work: (files: Files, rooms: GrowthRooms) => void,
): void {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  mkfsExt4(path, bytes, options);
  const image = new DirectoryImage(path, 2 ** 28);
  try {
    work(new Files(image, count), image.volume.growthRooms!);
  } finally {
    image.close();
  }
  const { clean, output } = e2fsckClean(path);
  expect(clean, output).toBe(true);
}

describe("files appended 4 KiB in turn", () => {
  test.each([
    [2, 8 * MIB],
    [8, 4 * MIB],
    [64, 4 * MIB],
  ])("%i of them lie in few pieces, which can be mapped by 2 MiB", (count, bytes) => {
    withFiles(512 * MIB, ["-b", "4096"], count, (files) => {
      const blocks = bytes / 4096;
      for (let block = 0; block < blocks; block++) {
        for (let file = 0; file < count; file++) files.append(file);
      }
      files.expectApart();
      let pieces = 0;
      let huge = 0;
      for (let file = 0; file < count; file++) {
        for (const { from, start, count: length } of files.pieces(file)) {
          pieces++;
          if ((start - from) % 512 !== 0) continue;
          const first = Math.ceil(from / 512);
          huge += Math.max(0, Math.floor((from + length) / 512) - first);
        }
      }
      // One for each doubling of 64 KiB.
      expect(pieces / count).toBeLessThan(Math.log2(blocks / 16) + 3);
      // All but the first.
      expect(huge).toBeGreaterThanOrEqual(count * (blocks / 512 - 1) * 0.95);
    });
  });

  test("and one alone lies in two, the second of which can be mapped by 2 MiB", () => {
    withFiles(256 * MIB, ["-b", "4096"], 1, (files) => {
      for (let block = 0; block < 4096; block++) files.append(0);
      const [first, second, ...more] = files.pieces(0);
      expect(more).toEqual([]);
      expect(first!.count).toBe(512);
      expect((second!.start - second!.from) % 512).toBe(0);
    });
  });

  test.each([["1024"], ["2048"]])("with blocks of %s as well, however they are named", (size) => {
    for (const features of ["extent", "^extent,^64bit,^has_journal"]) {
      withFiles(64 * MIB, ["-b", size, "-O", features], 3, (files) => {
        for (let block = 0; block < 2000; block++) for (const file of [0, 1, 2]) files.append(file);
        files.expectApart();
        for (const file of [0, 1, 2]) expect(files.pieces(file).length).toBeLessThan(16);
      });
    }
  });
});

test("small files that are made one after another lie side by side, as each gives its room back", () => {
  withFiles(64 * MIB, ["-b", "4096"], 200, (files) => {
    for (const [file, ino] of files.inos.entries()) {
      files.append(file, 1 + (file % 3));
      files.image.driver.noteUnused(ino);
    }
    const starts = files.inos.map((_, file) => files.pieces(file)[0]!.start);
    const used = files.blocks.reduce((sum, blocks) => sum + blocks, 0);
    expect(Math.max(...starts) - Math.min(...starts)).toBeLessThan(used + 3);
  });
});

test("a file that is cut or freed has no room any more", () => {
  withFiles(64 * MIB, ["-b", "4096"], 2, (files, rooms) => {
    const has = (file: number) => {
      const other = rooms.survey(files.inos[1 - file]!);
      return other > 0;
    };
    for (const file of [0, 1]) files.append(file);
    expect([has(0), has(1)]).toEqual([true, true]);
    files.cut(0, 0);
    expect([has(0), has(1)]).toEqual([false, true]);
    files.append(0, 3);
    expect([has(0), has(1)]).toEqual([true, true]);
    files.image.unlink(rootIno, "file-1");
    expect([has(0), has(1)]).toEqual([true, false]);
    files.blocks[1] = 0;
    files.inos[1] = files.image.create(rootIno, "file-1", newInode("file"));
  });
});

test("what a transaction took that was undone leaves a file in one piece", () => {
  withFiles(64 * MIB, ["-b", "4096"], 1, (files) => {
    const undone = new Error("undone");
    for (let block = 0; block < 100; block++) {
      files.append(0);
      const work = () =>
        files.image.change((transaction) => {
          const [ino, at] = [files.inos[0]!, (block + 1) * 4096];
          files.image.driver.allocate(transaction, ino, at, 4096 * 3, "write");
          throw undone;
        });
      if (block % 7 === 0) expect(errorOf(work)).toBe(undone);
    }
    expect(files.pieces(0)).toHaveLength(1);
  });
});

test("a volume gives every block, to the last one, while many files have room", () => {
  withFiles(64 * MIB, ["-b", "1024"], 60, (files, rooms) => {
    const { driver } = files.image;
    for (let block = 0; block < 100; block++) {
      for (const file of files.inos.keys()) if (file > 0) files.append(file);
    }
    expect(rooms.survey(0)).toBeGreaterThan(59 * 16);
    const fill = (file: number) => {
      for (;;) files.append(file, 1 << 20);
    };
    expect(errorOf(() => fill(0))?.code).toBe("ENOSPC");
    // What is left is for a node of the map of so fragmented a file.
    expect(driver.spaceInfo().blocksFree).toBeLessThanOrEqual(1);
    while (driver.spaceInfo().blocksFree > 0) files.append(1);
    for (const file of files.inos.keys()) {
      expect(errorOf(() => files.append(file))?.code).toBe("ENOSPC");
    }
    files.expectApart();
    files.cut(0, 0);
    for (let block = 0; block < 50; block++) {
      for (const file of files.inos.keys()) files.append(file);
    }
    files.expectApart();
  });
});

interface Step {
  readonly do: "append" | "cut" | "close" | "fill";
  readonly file: number;
  readonly count: number;
}

const anyStep: fc.Arbitrary<Step> = fc.record({
  do: fc.oneof(
    fc.constant("append" as const),
    fc.constantFrom("append" as const, "cut" as const, "close" as const, "fill" as const),
  ),
  file: fc.nat(5),
  count: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 1500 })),
});

describe.each([
  ["1024", 8 * MIB],
  ["4096", 16 * MIB],
])("with blocks of %s", (size, bytes) => {
  test("any order of growing, cutting and closing keeps files apart, and fails only where nothing is free", () => {
    fc.assert(
      fc.property(fc.array(anyStep, { minLength: 5, maxLength: 60 }), (steps) => {
        withFiles(bytes, ["-b", size, "-O", "^has_journal"], 6, (files) => {
          const { driver } = files.image;
          const total = driver.spaceInfo().blocksFree;
          for (const step of steps) {
            const { file, count } = step;
            const run = () => {
              if (step.do === "append") files.append(file, count);
              else if (step.do === "cut") files.cut(file, count);
              else if (step.do === "close") driver.noteUnused(files.inos[file]!);
              else for (;;) files.append(file, 1 << 20);
            };
            const failure = errorOf(run);
            if (step.do !== "fill" && failure === null) continue;
            expect(failure?.code).toBe("ENOSPC");
            // A block that none but a new node of the file's map could have, and that none behind it.
            expect(driver.spaceInfo().blocksFree).toBeLessThanOrEqual(1);
          }
          files.expectApart();
          const sectors = files.inos.map((ino) => driver.readInode(ino).sectors);
          const used = sectors.reduce((sum, each) => sum + each, 0) / (Number(size) / 512);
          expect(driver.spaceInfo().blocksFree).toBe(total - used);
        });
      }),
      { numRuns: 25 },
    );
  });
});
