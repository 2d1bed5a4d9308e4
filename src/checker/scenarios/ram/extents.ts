/** The ram driver's extents: one thread's operations, each looked at from outside. */
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Scenario, scenario } from "../../scenario.ts";
import {
  buildExtents,
  DEVICE_BLOCKS,
  ExtentsFile,
  type ExtentsShared,
  FILE_PAGES,
} from "../../world/extents.ts";

function extentStory(
  story: Pick<Scenario, "name" | "about" | "from">,
  play: (file: ExtentsFile) => Sleeps<void>,
): Scenario<ExtentsShared, ExtentsFile> {
  return scenario({
    ...story,
    build: buildExtents,
    region: (shared: ExtentsShared) => shared.region,
    begin: (shared, [self]) => new ExtentsFile(shared, self!),
    actors: {
      *thread(file) {
        yield* file.make();
        yield* play(file);
      },
    },
    end() {},
  });
}

export const extents = extentStory(
  {
    name: "extents",
    about:
      "Blocks are given to a file and taken away, unwritten and moved, each first in vain. After each " +
      "the file has the blocks that it must have, and the others are free.",
    from: "drivers/ram/extents.ts; iomap/contract.ts",
  },
  function* play(file) {
    yield* file.change("three pages, one by one", (transaction) => {
      for (let page = 0; page < 3; page++) file.allocate(transaction, page, 1, "write");
      ensure(file.extents().length === 1, "what follows the last extent is not added to it");
    });
    yield* file.change("a page apart from them", (transaction) => {
      file.allocate(transaction, 10, 1, "write");
    });
    yield* file.change("unwritten pages after them, in blocks elsewhere", (transaction) => {
      file.allocate(transaction, 3, 2, "preallocate");
    });
    yield* file.change("an unwritten page, and a page after it", (transaction) => {
      file.allocate(transaction, 20, 1, "preallocate");
      file.allocate(transaction, 21, 1, "write");
      file.allocate(transaction, 22, 1, "preallocate");
      file.allocate(transaction, 23, 1, "preallocate");
    });
    yield* file.change("unwritten pages are asked for again", (transaction) => {
      file.allocate(transaction, 0, 24, "preallocate");
    });
    yield* file.change("a part of the unwritten pages is written", (transaction) => {
      file.allocate(transaction, 4, 1, "write");
      file.allocate(transaction, 22, 1, "write");
    });
    yield* file.change("a hole in the middle", (transaction) => file.remove(transaction, 1, 1));
    yield* file.change("blocks on both sides of others", (transaction) => {
      file.allocate(transaction, 40, 6, "write");
    });
    yield* file.change("the middle of an extent becomes unwritten", (transaction) => {
      file.unwrite(transaction, 42, 2);
    });
    yield* file.change("everything from there on moves", (transaction) => {
      file.shift(transaction, 43, 5);
    });
    yield* file.change("and back again", (transaction) => file.shift(transaction, 48, -5));
    yield* file.change("more than there is", (transaction) => {
      file.allocate(transaction, 0, DEVICE_BLOCKS + 10, "write");
    });
    yield* file.change("all is given back", (transaction) => {
      file.remove(transaction, 0, FILE_PAGES);
    });
    ensure(file.extents().length === 0, "an empty file has extents");
  },
);

export const extentsFarApart = extentStory(
  {
    name: "extents-far-apart",
    about:
      "Pages far apart are freed from the end, in as many calls as they need, and no extent is moved " +
      "beyond where files end.",
    from: "drivers/ram/extents.ts, removeExtents: a bounded number of blocks",
  },
  function* play(file) {
    yield* file.change("three pages", (transaction) => {
      for (const page of [200_000, 0, 70_000]) file.allocate(transaction, page, 1, "write");
    });
    yield* file.change("the first is freed", (transaction) => {
      const calls = file.remove(transaction, 0, 70_000);
      ensure(calls === 1, `one page is freed in ${calls} calls`);
      file.allocate(transaction, 0, 1, "write");
    });
    yield* file.refused("EFBIG", (transaction) => {
      file.shift(transaction, 70_000, 2 ** 32 - 200_000);
    });
    yield* file.change("all are freed", (transaction) => {
      const calls = file.remove(transaction, 0, 300_000);
      ensure(calls === 3, `three pages far apart are freed in ${calls} calls`);
    });
  },
);

export const extentsAtRandom = extentStory(
  {
    name: "extents-at-random",
    about: "As extents, with operations and ranges by numbers that look like chance.",
    from: "drivers/ram/extents.ts; iomap/contract.ts",
  },
  function* play(file) {
    let state = 1;
    const below = (limit: number): number => {
      state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
      return (state >>> 8) % limit;
    };
    for (let turn = 0; turn < 60; turn++) {
      const [first, count] = [below(FILE_PAGES - 20), 1 + below(20)];
      const mode = below(2) === 0 ? "write" : "preallocate";
      const what = below(8);
      yield* file.change(`turn ${turn}`, (transaction) => {
        if (what < 4) file.allocate(transaction, first, count, mode);
        else if (what < 5) file.unwrite(transaction, first, count);
        else if (what < 7) file.remove(transaction, first, count);
        else if (file.end + count <= FILE_PAGES) file.shift(transaction, first, count);
        else {
          file.remove(transaction, first, count);
          file.shift(transaction, first + count, -count);
        }
      });
    }
  },
);

export const extentsTorn = extentStory(
  {
    name: "extents-torn",
    about:
      "Whoever reads a file's extents without a lock may find their chain in any state, a circle too. " +
      "It comes to an end.",
    from: "drivers/ram/extents.ts, extentAt; metadata/sequence.ts: it must end",
  },
  function* play(file) {
    yield* file.change("two pages", (transaction) => {
      file.allocate(transaction, 0, 1, "write");
      file.allocate(transaction, 10, 1, "write");
    });
    ensure(file.findInCircle(20).kind === "hole", "a page is found that the file does not have");
  },
);
