// Extended attributes beside a model of them, a Map for each inode: any order of sets and removals, some
// aborted or on a full volume, must leave both the same, and a volume that e2fsck has nothing to say about.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Ino } from "../../../src/base/quantities.ts";
import { e2fsckClean, mkfsExt4, temporaryDirectory } from "../../support/tools.ts";
import { bytesOf, DirectoryImage, errorOf, newInode, rootIno, textOf } from "./directory-image.ts";

const RUNS = Number(process.env["RUNS"] ?? 15);
const FILES = 3;

interface Step {
  readonly do: "set" | "remove" | "abort" | "delete";
  readonly file: number;
  readonly name: string;
  readonly value: Uint8Array;
}

const anyName = fc.oneof(
  fc.constantFrom("user.a", "user.b", "trusted.a", "security.selinux", "user.caf\xc3\xa9"),
  fc.nat(5).map((length) => `user.${"n".repeat(1 + length * 49)}`),
);

const anyStep: fc.Arbitrary<Step> = fc.record({
  do: fc.constantFrom("set", "set", "set", "set", "remove", "abort", "delete"),
  file: fc.nat(FILES - 1),
  name: anyName,
  value: fc.oneof(
    fc.uint8Array({ maxLength: 12 }),
    fc.uint8Array({ minLength: 13, maxLength: 150 }),
    fc.nat(5000).map((size) => new Uint8Array(size).fill(size)),
  ),
});

class Abort extends Error {}

class Files {
  readonly image: DirectoryImage;
  readonly inos: Ino[] = [];
  readonly models: Map<string, Uint8Array>[] = [];

  constructor(image: DirectoryImage) {
    this.image = image;
    for (let file = 0; file < FILES; file++) this.#make(file);
  }

  #make(file: number): void {
    this.inos[file] = this.image.create(rootIno, `file-${file}`, newInode("file"));
    this.models[file] = new Map();
  }

  take({ do: what, file, name, value }: Step): void {
    const { image } = this;
    const { extendedAttributes } = image.driver;
    const [ino, model] = [this.inos[file]!, this.models[file]!];
    if (what === "delete") {
      image.unlink(rootIno, `file-${file}`);
      this.#make(file);
    } else if (what === "remove") {
      const had = image.change((held) => extendedAttributes.remove(held, ino, bytesOf(name)));
      expect(had).toBe(model.delete(name));
    } else {
      const error = errorOf(() =>
        image.change((held) => {
          extendedAttributes.set(held, ino, bytesOf(name), value);
          if (what === "abort") throw new Abort();
        }),
      ) as { code?: string } | null;
      if (error === null) model.set(name, value);
      else if (!(error instanceof Abort)) expect(error.code).toBe("ENOSPC");
      // What fits into a block of its own is refused only beside others.
      if (error?.code === "ENOSPC" && model.size === 0) {
        expect(value.length + name.length).toBeGreaterThan(image.driver.blockSize - 64 - 5);
      }
    }
    this.compare(file);
  }

  compare(file: number): void {
    const { extendedAttributes } = this.image.driver;
    const [ino, model] = [this.inos[file]!, this.models[file]!];
    const names = extendedAttributes.list(ino).map(textOf);
    expect(names.toSorted()).toEqual([...model.keys()].toSorted());
    for (const [name, value] of model) {
      expect(extendedAttributes.get(ino, bytesOf(name))).toEqual(value);
    }
    expect(extendedAttributes.get(ino, bytesOf("user.absent"))).toBeNull();
  }
}

describe.each([
  [128, 1024],
  [128, 4096],
  [256, 1024],
  [256, 2048],
  [256, 4096],
  [512, 2048],
  [1024, 4096],
])("inodes of %i bytes, blocks of %i", (inodeSize, blockSize) => {
  test("sets and removals in any order agree with a Map, and e2fsck with the volume", () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    const run = (steps: readonly Step[]): void => {
      const options = ["-b", `${blockSize}`, "-I", `${inodeSize}`, "-N", "64", "-O", "^ext_attr"];
      mkfsExt4(path, 4 * 2 ** 20, options);
      const image = new DirectoryImage(path, 2 ** 26);
      const before = image.driver.spaceInfo();
      const files = new Files(image);
      for (const step of steps) files.take(step);
      for (let file = 0; file < FILES; file++) files.compare(file);
      image.close();
      const { clean, output } = e2fsckClean(path);
      expect(clean, output).toBe(true);
      const again = new DirectoryImage(path, 2 ** 26);
      for (const [file, model] of files.models.entries()) {
        for (const [name, value] of model) {
          const found = again.driver.extendedAttributes.get(files.inos[file]!, bytesOf(name));
          expect(found).toEqual(value);
        }
        again.unlink(rootIno, `file-${file}`);
      }
      const { blocksFree, inodesFree } = again.driver.spaceInfo();
      expect({ blocksFree, inodesFree }).toEqual({
        blocksFree: before.blocksFree,
        inodesFree: before.inodesFree,
      });
      again.close();
    };
    fc.assert(fc.property(fc.array(anyStep, { minLength: 20, maxLength: 60 }), run), {
      numRuns: RUNS,
      endOnFailure: true,
    });
  });
});
