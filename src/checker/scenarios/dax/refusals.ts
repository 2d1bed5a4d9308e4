/** What is refused, and changes nothing: ranges that cannot be, a volume that is read-only or full. */
import { CorruptionError } from "../../../base/errors.ts";
import { InvariantError } from "../../../base/invariant.ts";
import { DEVICE_BYTES_MAX, PAGE_SIZE } from "../../../base/quantities.ts";
import type { Dax } from "../../../dax/dax.ts";
import { tryWriteFile, writeFile } from "../../../dax/file-io.ts";
import {
  collapseRange,
  insertRange,
  preallocate,
  punchHole,
  truncateFile,
  zeroRange,
} from "../../../dax/layout-change.ts";
import { writeBack } from "../../../dax/write-back.ts";
import type { Mapping } from "../../../mapping/mapping.ts";
import type { Sleeps, Task } from "../../../sync/sleep.ts";
import { ensure } from "../../scenario.ts";
import { HALF, ModelledFile } from "./model.ts";
import { ensureShown, loads, punch, refused, volumeStory } from "./play.ts";

type Operation = (task: Task, dax: Dax, mapping: Mapping) => Sleeps<unknown>;
type Refused = readonly [code: string, what: string, operation: Operation];

const PAGE = PAGE_SIZE;
const MAX = DEVICE_BYTES_MAX;
const BYTES = new Uint8Array(PAGE).fill("W".charCodeAt(0));

const RANGES: readonly Refused[] = [
  ["EFBIG", "a truncate to too much", (t, d, m) => truncateFile(t, d, m, MAX + PAGE)],
  ["EFBIG", "a write too far", (t, d, m) => writeFile(t, d, m, BYTES, MAX)],
  ["EFBIG", "a punch too far", (t, d, m) => punchHole(t, d, m, PAGE, MAX)],
  ["EFBIG", "a zero too far", (t, d, m) => zeroRange(t, d, m, PAGE, MAX, true)],
  ["EFBIG", "a preallocation too far", (t, d, m) => preallocate(t, d, m, PAGE, MAX, true)],
  ["EFBIG", "an insertion of too much", (t, d, m) => insertRange(t, d, m, 2 * PAGE, MAX)],
  ["EINVAL", "an insertion at the end", (t, d, m) => insertRange(t, d, m, 3 * PAGE, PAGE)],
  ["EINVAL", "an insertion in a page", (t, d, m) => insertRange(t, d, m, HALF, PAGE)],
  ["EINVAL", "an insertion of a part", (t, d, m) => insertRange(t, d, m, PAGE, HALF)],
  ["EINVAL", "an insertion of nothing", (t, d, m) => insertRange(t, d, m, PAGE, 0)],
  ["EINVAL", "a collapse of the end", (t, d, m) => collapseRange(t, d, m, PAGE, 2 * PAGE)],
  ["EINVAL", "a collapse from within a page", (t, d, m) => collapseRange(t, d, m, HALF, PAGE)],
  ["EINVAL", "a collapse of a part", (t, d, m) => collapseRange(t, d, m, 0, HALF)],
  ["EINVAL", "a collapse of nothing", (t, d, m) => collapseRange(t, d, m, PAGE, 0)],
];

export const refusedRanges = volumeStory({
  name: "dax-refused-ranges",
  about:
    "Operations with ranges that end too far, that are no whole blocks or that reach the file's end " +
    "where they must not: each is refused, and the file is as it was.",
  from: "fallocate(2), EFBIG and EINVAL",
  blocks: 4,
  files: [{ name: "A", pages: "##." }],
  actors: {
    *user(volume, self) {
      const file = new ModelledFile(volume, self);
      const { mapping } = volume.file("A");
      for (const [code, what, operation] of RANGES) {
        yield* file.refuses(code, what, () => operation(self.task, volume.dax(self), mapping));
      }
    },
  },
  explore: { strategy: "reduced" },
});

const CHANGES: readonly Refused[] = [
  ["EROFS", "a truncate", (t, d, m) => truncateFile(t, d, m, HALF)],
  ["EROFS", "a truncate upwards", (t, d, m) => truncateFile(t, d, m, 4 * PAGE)],
  ["EROFS", "a write", (t, d, m) => writeFile(t, d, m, BYTES, 0)],
  ["EROFS", "a punch in a page", (t, d, m) => punchHole(t, d, m, HALF, HALF)],
  ["EROFS", "a zero in a page", (t, d, m) => zeroRange(t, d, m, HALF, HALF, true)],
  ["EROFS", "a preallocation", (t, d, m) => preallocate(t, d, m, PAGE, PAGE, true)],
  ["EROFS", "a collapse", (t, d, m) => collapseRange(t, d, m, 0, PAGE)],
  ["EROFS", "an insertion", (t, d, m) => insertRange(t, d, m, 0, PAGE)],
];

export const readOnly = volumeStory({
  name: "dax-read-only",
  about:
    "On a volume that is mounted read-only every change of a file is refused, also where it would " +
    "have changed bytes of a block in place only.",
  from: "dax/dax.ts, assertWritable",
  blocks: 4,
  readOnly: true,
  files: [{ name: "A", pages: "=." }],
  actors: {
    *user(volume, self) {
      const file = new ModelledFile(volume, self);
      const { mapping } = volume.file("A");
      for (const [code, what, operation] of CHANGES) {
        yield* file.refuses(code, what, () => operation(self.task, volume.dax(self), mapping));
      }
      file.timeIsSet();
      const written = tryWriteFile(volume.dax(self), mapping, BYTES, 0);
      ensure(written === -1, "a write that does not wait is done on a read-only volume");
      yield* file.check();
    },
  },
  explore: { strategy: "reduced" },
});

export const fullZero = volumeStory({
  name: "dax-full-zero",
  about:
    "A range of a block and a hole is zeroed on a full volume. It is refused for want of a block, and " +
    "the bytes before the hole are as they were.",
  from: "DESIGN.md 5.6, invariant 7: a failed operation changes nothing that a later one can see",
  blocks: 1,
  files: [{ name: "A", pages: "#." }],
  actors: {
    *user(volume, self) {
      const file = new ModelledFile(volume, self);
      const { mapping } = volume.file("A");
      yield* file.refuses("ENOSPC", "a zero with no block left", () =>
        zeroRange(self.task, volume.dax(self), mapping, 0, 2 * PAGE, true),
      );
    },
  },
  explore: { strategy: "reduced" },
});

export const fullZeroPopulated = volumeStory({
  name: "dax-full-zero-populated",
  about: "The same where touches cannot fault: the window shows the bytes as they were.",
  from: "DESIGN.md 5.6, invariant 7; dax/refresh.ts",
  blocks: 1,
  files: [{ name: "A", pages: "#." }],
  faults: false,
  windows: [{ file: "A", first: 0, pages: 2, writable: false }],
  actors: {
    *user(volume, self) {
      const { mapping } = volume.file("A");
      const zero = () => zeroRange(self.task, volume.dax(self), mapping, 0, 2 * PAGE, true);
      yield* refused(self, "ENOSPC", zero, "a zero with no block left");
      yield* loads(volume, self, 0, 0, ["A"]);
    },
  },
  explore: { strategy: "reduced" },
});

export const shortWrite = volumeStory({
  name: "dax-short-write",
  about:
    "A write of three pages that the device fails in its second one is refused. With one block left " +
    "what finds room is written, and told; with none left a write is refused. A write of nothing " +
    "does nothing.",
  from: "write(2), ENOSPC: fewer bytes than asked",
  blocks: 2,
  files: [{ name: "A", pages: "#.." }],
  actors: {
    *user(volume, self) {
      const file = new ModelledFile(volume, self);
      const { mapping } = volume.file("A");
      const dax = volume.dax(self);
      const bytes = new Uint8Array(3 * PAGE).fill("V".charCodeAt(0));
      volume.fail(self, "allocate");
      const write = () => writeFile(self.task, dax, mapping, bytes, 0);
      yield* refused(self, "EIO", write, "a write that the device has failed");
      volume.hand(self).device.failing.clear();
      file.model.write(0, "VV");
      yield* file.check();
      bytes.fill("W".charCodeAt(0));
      const written = yield* writeFile(self.task, dax, mapping, bytes, 0);
      ensure(written === 2 * PAGE, `${written} bytes are written; there is room for two pages`);
      file.model.write(0, "WWWW");
      yield* file.check();
      yield* file.refuses("ENOSPC", "a write with no block left", () =>
        writeFile(self.task, dax, mapping, BYTES, 2 * PAGE),
      );
      yield* writeBack(self.task, dax, mapping);
      yield* file.writeNothing(7);
    },
  },
  explore: { strategy: "reduced" },
});

/** A page that no break of the file can know of: no entry names it. */
export const canary = volumeStory({
  name: "dax-canary",
  about:
    "A page in use lies in a block of a file that has no entry for it, which only a fault of the core " +
    "could bring about. A punch of the block is refused, wherever in the punched range the page lies; " +
    "one beside it is not, nor one of a hole.",
  from: "DESIGN.md 5.6, invariant 1; Linux's dax_busy_page and its warnings",
  blocks: 6,
  files: [{ name: "A", pages: "====.=" }],
  actors: {
    *user(volume, self) {
      const file = volume.file("A");
      const { pages } = volume.dax(self);
      const block = volume.blockOf(file, 2);
      const page = pages.associate(block, 1, 1, 0, false);
      const attempts = [
        { first: 2, count: 1, isOver: true },
        { first: 1, count: 2, isOver: true },
        { first: 2, count: 4, isOver: true },
        { first: 3, count: 2, isOver: false },
        { first: 0, count: 2, isOver: false },
      ];
      for (const { first, count, isOver } of attempts) {
        let found = false;
        try {
          yield* punch(volume, self, first, count);
        } catch (error) {
          if (!(error instanceof InvariantError)) throw error;
          found = true;
        }
        const what = `a punch of ${count} pages from page ${first} on`;
        ensure(found === isOver, `${what} is ${found ? "" : "not "}refused`);
      }
      ensure(volume.blockOf(file, 2) === block, "the block of a page in use is freed");
      pages.disassociate(page, 1, 1);
      yield* punch(volume, self, 1, 2);
    },
  },
  finally: (volume) => ensureShown(volume, "A", [".....A"]),
  explore: { strategy: "reduced" },
});

export const claimedTwice = volumeStory({
  name: "dax-claimed-twice",
  about:
    "Blocks of a file are by the maps of a damaged volume another one's, too, or lie twice in it. Who comes to such a " +
    "page while it is in use is told of the damage. A page in use that is nobody's by its file's map is a fault of " +
    "the core.",
  from: "dax/claims.ts",
  blocks: 8,
  files: [
    { name: "A", pages: "===u" },
    { name: "B", pages: "##." },
  ],
  actors: {
    *user(volume, self) {
      const [a, b] = [volume.file("A"), volume.file("B")];
      const { pages, driver } = volume.dax(self);
      const own = volume.blockOf(b, 1);
      const foreign = volume.blockOf(a, 2);
      const wrong = pages.associate(foreign, 1, b.mapping, 0, false);
      const last = driver.extentAt(a.ino, 3 * PAGE, 4 * PAGE);
      const unwritten = last.kind === "unwritten" ? last.address / PAGE : 0;
      const early = pages.associate(unwritten, 1, a.mapping, 3, false);
      const attempts = [
        { what: "another file's page", block: own, file: a, index: 0, isDamage: true },
        { what: "the same page of another file", block: own, file: a, index: 1, isDamage: true },
        { what: "another page of its file", block: own, file: b, index: 0, isDamage: true },
        { what: "the page that it is", block: own, file: b, index: 1, isDamage: false },
        { what: "its file's by the map", block: foreign, file: a, index: 2, isDamage: false },
        { what: "written by another file", block: unwritten, file: b, index: 2, isDamage: false },
      ];
      for (const { what, block, file, index, isDamage } of attempts) {
        let found: unknown = null;
        try {
          pages.associate(block, 1, file.mapping, index, false);
        } catch (error) {
          found = error;
        }
        const isRight = isDamage
          ? found instanceof CorruptionError
          : found instanceof InvariantError;
        ensure(isRight, `a page in use becomes ${what}`);
      }
      pages.disassociate(early, 1, a.mapping);
      pages.disassociate(wrong, 1, b.mapping);
      yield* punch(volume, self, 1, 2);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["A..."]),
  explore: { strategy: "reduced" },
});
