/** What a pin is to its holder, and what cannot be pinned. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { Dax } from "../../../dax/dax.ts";
import { pinRange, pinRanges, tryPinRange } from "../../../dax/pins.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import type { Volume } from "../../world/volume.ts";
import { refused, volumeStory } from "./play.ts";
import { A_IN_B, AB } from "./sharing-play.ts";

const PAGE = PAGE_SIZE;

/** Demands that a pin is refused, by both ways to take it. */
function* pinRefused(
  volume: Volume,
  self: Self,
  code: string,
  [offset, length]: readonly [offset: number, length: number],
  write: boolean,
): Sleeps<void> {
  const { mapping } = volume.file("A");
  const dax = volume.dax(self);
  const what = `a pin of ${length} bytes at ${offset}`;
  ensure(tryPinRange(dax, mapping, offset, length, write) === null, `${what} does not wait`);
  const pin = () => pinRange(self.task, dax, mapping, offset, length, write);
  yield* refused(self, code, pin, what);
}

function ensureReleased(what: string, use: () => unknown): void {
  let code: unknown = "nothing";
  try {
    use();
  } catch (error) {
    code = (error as { code?: unknown }).code;
  }
  ensure(code === "EBADF", `${what} of a pin that was released gives ${code}`);
}

export const pinLife = volumeStory({
  name: "dax-pin-life",
  about:
    "A page that is present is pinned without waiting. Its buffers are the same whenever they are asked " +
    "for, it is verified, and it is released twice. After that it has neither buffers nor anything to " +
    "verify. Ranges of no bytes and beyond the file are refused; no ranges at all have no pins.",
  from: "dax/pins.ts, Pin",
  blocks: 4,
  files: [{ name: "A", pages: "#=." }],
  actors: {
    *user(volume, self) {
      const { mapping } = volume.file("A");
      const dax = volume.dax(self);
      for (const range of [
        [0, 0],
        [PAGE, 0],
        [PAGE, -PAGE],
        [2 * PAGE, 2 * PAGE],
      ] as const) {
        yield* pinRefused(volume, self, "EINVAL", range, false);
      }
      const none = yield* pinRanges(self.task, dax, []);
      ensure(none.length === 0, "of no ranges there is a pin");
      const pin = yield* pinRange(self.task, dax, mapping, 0, PAGE, true);
      const buffers = pin.buffers;
      ensure(buffers === pin.buffers, "the buffers of a pin are made anew");
      ensure(pin.verify(), "a held pin says that its pages are not the file's");
      pin.release();
      pin.release();
      const again = tryPinRange(dax, mapping, 0, PAGE, true);
      ensure(again !== null, "a page that is present is not pinned without waiting");
      again.release();
      ensureReleased("the buffers", () => again.buffers);
      ensureReleased("the verification", () => again.verify());
    },
  },
  explore: { strategy: "reduced" },
});

export const pinReadOnly = volumeStory({
  name: "dax-pin-read-only",
  about:
    "On a volume that is mounted read-only a page is pinned for reading, present or not, and never for " +
    "writing, present or not.",
  from: "dax/pins.ts, tryPinRange; dax/dax.ts, assertWritable",
  blocks: 4,
  readOnly: true,
  files: [{ name: "A", pages: "#=" }],
  actors: {
    *user(volume, self) {
      const { mapping } = volume.file("A");
      const dax = volume.dax(self);
      yield* pinRefused(volume, self, "EROFS", [0, PAGE], true);
      yield* pinRefused(volume, self, "EROFS", [PAGE, PAGE], true);
      for (const offset of [0, PAGE]) {
        using pin = yield* pinRange(self.task, dax, mapping, offset, PAGE, false);
        ensure(pin.verify(), "a held pin says that its pages are not the file's");
      }
      using present = tryPinRange(dax, mapping, 0, PAGE, false);
      ensure(present !== null, "a page that is present is not pinned without waiting");
    },
  },
  explore: { strategy: "reduced" },
});

export const pinReadOnlyShared = volumeStory({
  name: "dax-pin-read-only-shared",
  about: "A shared page is pinned for reading by a mount that only reads: it is not copied.",
  from: "dax/pins.ts, pinRange: nobody writes there",
  blocks: 2,
  files: AB,
  clones: [A_IN_B],
  actors: {
    *user(volume, self) {
      const file = volume.file("A");
      const fixed = new Dax({ ...volume.dax(self), readOnly: true });
      const pin = yield* pinRange(self.task, fixed, file.mapping, 0, PAGE, false);
      ensure(volume.io(self, file, pin, null) === "A", "a pin of a shared page reads another one");
      const isShared = volume.blockOf(file, 0) === volume.blockOf(volume.file("B"), 0);
      ensure(isShared, "a page is copied on a volume that is mounted read-only");
    },
  },
  explore: { strategy: "reduced" },
});

export const pinCopiedShared = volumeStory({
  name: "copied-pin-shared",
  about:
    "A page of a copied file, whose block another file owns, too, is pinned for reading on a full volume: the " +
    "page is in the cache, and its block needs no copy.",
  from: "dax/pins.ts, pinRange: pages of a copied file are nobody else's",
  blocks: 1,
  cachePages: 1,
  files: AB,
  clones: [A_IN_B],
  actors: {
    *user(volume, self) {
      const file = volume.file("A");
      const pin = yield* pinRange(self.task, volume.dax(self), file.mapping, 0, PAGE, false);
      ensure(volume.io(self, file, pin, null) === "A", "a pin of a shared page reads another one");
    },
  },
  explore: { strategy: "reduced" },
});

export const pinTooMuch = volumeStory({
  name: "copied-pin-too-much",
  about:
    "One of three pages of the cache is pinned, and three others are to be pinned at once. Room is found for two " +
    "of them again and again; the pin is refused in the end.",
  from: "dax/pins.ts, ROOM_TRIES_MAX; docs/protocol.md: ENOMEM",
  blocks: 4,
  cachePages: 3,
  files: [
    { name: "A", pages: "===" },
    { name: "B", pages: "=" },
  ],
  actors: {
    *user(volume, self) {
      const dax = volume.dax(self);
      using _pin = yield* pinRange(self.task, dax, volume.file("B").mapping, 0, PAGE, false);
      const { mapping } = volume.file("A");
      const all = () => pinRange(self.task, dax, mapping, 0, 3 * PAGE, false);
      yield* refused(self, "ENOMEM", all, "a pin of more than there is room for");
      (yield* pinRange(self.task, dax, mapping, 0, 2 * PAGE, false)).release();
    },
  },
  explore: { strategy: "reduced" },
});

export const pinRuns = volumeStory({
  name: "dax-pin-runs",
  about:
    "A file's blocks lie side by side but for the last one. The buffers of a pin are the device's runs: as few as " +
    "can be, each of one run.",
  from: "dax/pins.ts, Pin.buffers",
  blocks: 4,
  files: [
    { name: "A", pages: "##." },
    { name: "B", pages: "#" },
  ],
  explore: { strategy: "reduced" },
  actors: {
    *user(volume, self) {
      const { mapping } = volume.file("A");
      const { device } = volume.hand(self);
      using pin = yield* pinRange(self.task, volume.dax(self), mapping, 0, 3 * PAGE, true);
      const runs = pin.buffers.map((bytes) => `${device.addressOf(bytes)}+${bytes.length}`);
      const expected = `0+${2 * PAGE} ${3 * PAGE}+${PAGE}`;
      ensure(runs.join(" ") === expected, `the buffers are ${runs.join(" ")}, and not ${expected}`);
    },
  },
});
