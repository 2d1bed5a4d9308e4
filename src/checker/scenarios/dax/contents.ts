/** What a file holds after each operation on it, one thread alone: against the plain model (model.ts). */
import type { Sleeps } from "../../../sync/sleep.ts";
import type { Scenario, Self } from "../../scenario.ts";
import type { VolumeShared, WindowSpec } from "../../world/build.ts";
import type { Volume } from "../../world/volume.ts";
import { ModelledFile } from "./model.ts";
import { type VolumeStory, volumeStory } from "./play.ts";

type Program = (file: ModelledFile, volume: Volume, self: Self) => Sleeps<void>;

interface ContentStory extends Omit<VolumeStory, "actors" | "files" | "explore"> {
  /** The file's pages at first. */
  readonly pages: string;
  readonly program: Program;
}

/** One actor, which does to file A what the program says. */
function contentStory({ pages, program, ...story }: ContentStory): Scenario<VolumeShared, Volume> {
  return volumeStory({
    ...story,
    files: [{ name: "A", pages }],
    actors: {
      *user(volume, self) {
        const file = new ModelledFile(volume, self);
        yield* file.check();
        yield* program(file, volume, self);
      },
    },
    explore: { strategy: "reduced" },
  });
}

/** Truncates down and up, in the middle of a page and at its end. */
function* truncates(file: ModelledFile): Sleeps<void> {
  yield* file.truncate(7);
  yield* file.storeIfShown(3, "S");
  yield* file.truncate(10);
  yield* file.truncate(10);
  yield* file.write(8, "B");
  yield* file.truncate(4);
  yield* file.truncate(5);
  yield* file.write(4, "C");
  yield* file.truncate(6);
  yield* file.truncate(1);
  yield* file.truncate(2);
  yield* file.truncate(0);
  yield* file.truncate(3);
}

/** Punches and zeroes: within a page, whole pages, parts at both ends, holes, past the end. */
function* clears(file: ModelledFile): Sleeps<void> {
  yield* file.punch(1, 2);
  yield* file.punch(4, 5);
  yield* file.punch(9, 10);
  yield* file.punch(6, 8);
  yield* file.punch(3, 11);
  yield* file.write(3, "BBBBBBBB");
  yield* file.zero(7, 8, true);
  yield* file.zero(3, 11, true);
  yield* file.write(6, "C");
  yield* file.zero(5, 14, true);
  yield* file.zero(4, 6, false);
  yield* file.zero(13, 17, false);
  yield* file.write(16, "D");
  yield* file.storeIfShown(8, "S");
  yield* file.zero(16, 18, false);
  yield* file.punch(12, 20);
  yield* file.zero(15, 20, true);
  yield* file.truncate(0);
}

/** Writes: in a block, in a hole, in unwritten blocks, across all of them, past the end. */
function* writes(file: ModelledFile): Sleeps<void> {
  yield* file.write(1, "BB");
  yield* file.write(2, "C");
  file.letTimePass();
  yield* file.write(2, "D");
  yield* file.write(5, "EEEE");
  yield* file.write("append", "F");
  yield* file.write("append", "G");
  yield* file.write("append", "HH");
  yield* file.storeIfShown(6, "S");
  yield* file.write(file.model.size + 3, "I");
  yield* file.write(file.model.size, "J");
  yield* file.write(0, "KKKKKKKK");
}

/** Preallocates: over blocks and holes, with the size and without. */
function* allocates(file: ModelledFile): Sleeps<void> {
  yield* file.allocate(1, 5, false);
  yield* file.write(3, "B");
  yield* file.truncate(7);
  yield* file.storeIfShown(3, "S");
  yield* file.allocate(6, 9, false);
  yield* file.write(8, "C");
  yield* file.allocate(9, 12, true);
  yield* file.storeIfShown(4, "S");
  yield* file.truncate(9);
  yield* file.allocate(14, 16, true);
  yield* file.truncate(9);
  yield* file.allocate(9, 12, true);
  yield* file.allocate(14, 16, true);
  yield* file.truncate(10);
  yield* file.write(11, "D");
  yield* file.truncate(11);
  yield* file.allocate(10, 14, false);
  yield* file.truncate(0);
}

/** Cuts pages out and puts holes in, at the beginning, in the middle, before the end. */
function* shifts(file: ModelledFile): Sleeps<void> {
  yield* file.insert(2, 2);
  yield* file.write(2, "B");
  yield* file.insert(0, 4);
  yield* file.collapse(4, 6);
  yield* file.collapse(0, 2);
  yield* file.truncate(file.model.size - 1);
  yield* file.insert(4, 2);
  yield* file.collapse(2, 6);
  yield* file.truncate(0);
}

/** Who looks at the file. */
interface Look {
  readonly name: string;
  readonly how: string;
  readonly faults: boolean;
  readonly windows: readonly WindowSpec[];
  readonly cachePages?: number;
}

const shown = [0, 1, 2, 3];
const READS: Look = { name: "", how: "", faults: true, windows: [] };
const WINDOWS: Look = {
  name: "-shown",
  how: " Three windows show parts of it, and the same is found there.",
  faults: true,
  windows: [
    { file: "A", first: 0, pages: 9, writable: true, shown },
    { file: "A", first: 2, pages: 2, writable: false },
    { file: "A", first: 3, pages: 7, writable: true, shown: [3] },
  ],
};
const POPULATED: Look = {
  name: "-populated",
  how: " Two windows show parts of it where touches cannot fault, and the same is found there.",
  faults: false,
  windows: [
    { file: "A", first: 0, pages: 9, writable: false },
    { file: "A", first: 2, pages: 2, writable: false },
  ],
};

const COPIED: Look = {
  ...WINDOWS,
  name: "-copied",
  how: ` It is a copied file.${WINDOWS.how}`,
  cachePages: 24,
};

interface Contents {
  readonly name: string;
  /** What is done to the file. */
  readonly what: string;
  readonly from: string;
  readonly pages: string;
  readonly program: Program;
}

function contents(story: Contents, { how, name, ...look }: Look): Scenario<VolumeShared, Volume> {
  return contentStory({
    ...look,
    name: `dax-contents-${story.name}${name}`,
    about:
      `One thread alone: a file is ${story.what}. After each step its bytes, its size, its blocks ` +
      `and its times are what a plain model of it says.${how}`,
    from: story.from,
    blocks: 24,
    pages: story.pages,
    program: story.program,
  });
}

const TRUNCATE: Contents = {
  name: "truncate",
  what: "truncated down and up, in the middle of pages and at their ends",
  from: "ftruncate(2): what is new reads as zeroes",
  pages: "##=.#",
  program: truncates,
};

export const truncated = contents(TRUNCATE, READS);
export const truncatedShown = contents(TRUNCATE, WINDOWS);
export const truncatedPopulated = contents(TRUNCATE, POPULATED);
export const truncatedCopied = contents(TRUNCATE, COPIED);

const CLEAR: Contents = {
  name: "clear",
  what: "punched and zeroed: within a page, across several, in holes and past the end",
  from: "fallocate(2), FALLOC_FL_PUNCH_HOLE and FALLOC_FL_ZERO_RANGE",
  pages: "###=.u#",
  program: clears,
};

export const cleared = contents(CLEAR, READS);
export const clearedShown = contents(CLEAR, WINDOWS);
export const clearedPopulated = contents(CLEAR, POPULATED);
export const clearedCopied = contents(CLEAR, COPIED);

const WRITE: Contents = {
  name: "write",
  what: "written: blocks, holes and unwritten blocks, in it, across its end and past it",
  from: "dax_iomap_rw; write(2)",
  pages: "#.u=",
  program: writes,
};

export const written = contents(WRITE, READS);
export const writtenShown = contents(WRITE, WINDOWS);
export const writtenPopulated = contents(WRITE, POPULATED);
export const writtenCopied = contents(WRITE, COPIED);

const ALLOCATE: Contents = {
  name: "allocate",
  what: "preallocated, with its size and without, over what has blocks already and past the end",
  from: "fallocate(2) without a mode",
  pages: "#..#",
  program: allocates,
};

export const allocated = contents(ALLOCATE, READS);
export const allocatedShown = contents(ALLOCATE, WINDOWS);
export const allocatedPopulated = contents(ALLOCATE, POPULATED);
export const allocatedCopied = contents(ALLOCATE, COPIED);

const SHIFT: Contents = {
  name: "shift",
  what: "cut and widened, at its beginning and in its middle",
  from: "fallocate(2), FALLOC_FL_COLLAPSE_RANGE and FALLOC_FL_INSERT_RANGE",
  pages: "#=.#u#",
  program: shifts,
};

export const shifted = contents(SHIFT, READS);
export const shiftedShown = contents(SHIFT, WINDOWS);
export const shiftedPopulated = contents(SHIFT, POPULATED);
export const shiftedCopied = contents(SHIFT, COPIED);
