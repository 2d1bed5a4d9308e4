// Names renamed within one directory: into room before, behind and inside the old record, into new blocks, and in
// the rename that makes the directory an indexed one.

import * as fc from "fast-check";
import { expect, test } from "vitest";
import { e2fsckClean, mkfsExt4, temporaryDirectory } from "../../support/tools.ts";
import { DirectoryImage, newInode, rootIno } from "./directory-image.ts";

/** Mostly short, so that a block has many, and room for one in between. */
const lengths = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 8, max: 20 }) },
  { weight: 1, arbitrary: fc.integer({ min: 20, max: 200 }) },
);
/** Which name, of those that are there, and how long the new one is. */
const renames = fc.array(fc.tuple(fc.nat(200), lengths), {
  minLength: 20,
  maxLength: 60,
});

test.for(["dir_index", "^dir_index"])(
  "each old name goes and each new one is there: %s",
  (feature) => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    mkfsExt4(path, 16 * 2 ** 20, ["-b", "1024", "-N", "8192", "-O", feature]);
    const image = new DirectoryImage(path);
    let runs = 0;
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), renames, (count, steps) => {
        const ino = image.create(rootIno, `d${runs++}`, newInode("directory"));
        const names = new Map<string, number>();
        for (let index = 0; index < count; index++) {
          const name = `${index}`.padEnd(4 + ((index * 37) % 16), "x");
          names.set(name, image.create(ino, name, newInode("file")));
        }
        for (const [step, [which, length]] of steps.entries()) {
          const [name, file] = [...names][which % names.size]!;
          const renamed = `r${step}-`.padEnd(length, "y");
          image.rename(ino, name, ino, renamed);
          names.delete(name);
          names.set(renamed, file);
          expect(image.find(ino, name)).toBe(null);
          expect(image.find(ino, renamed)?.ino).toBe(file);
        }
        const found = image.list(ino).map(({ name, ino: file }) => [`${Buffer.from(name)}`, file]);
        const expected = [[".", ino], ["..", rootIno], ...names];
        expect(found.sort()).toEqual(expected.sort());
      }),
      { numRuns: 100 },
    );
    image.close();
    const { clean, output } = e2fsckClean(path);
    expect(clean, output).toBe(true);
  },
);
