/** What a pin is to its holder, and what cannot be pinned. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { pinRange, tryPinRange } from "../../../dax/pins.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import type { Volume } from "../../world/volume.ts";
import { refused, volumeStory } from "./play.ts";

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
    "verify. Ranges of no bytes and beyond the file are refused.",
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
