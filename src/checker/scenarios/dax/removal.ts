/** The device is removed, while it is read, written, shown, pinned and changed. */
import { HoldfastError } from "../../../base/errors.ts";
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { handleRemoval } from "../../../dax/device-removal.ts";
import { tryReadFile, tryWriteFile } from "../../../dax/file-io.ts";
import { pinRange, tryPinRange } from "../../../dax/pins.ts";
import { StateArea } from "../../../device/state.ts";
import {
  LeaseKind,
  LeaseState,
  recallWord,
  requestLease,
  returnLease,
} from "../../../layout/lease.ts";
import { add, load, store, wakeAll } from "../../../sync/atomics.ts";
import { Root } from "../../../sync/region.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import { holdFile } from "../../world/poison.ts";
import { removeDevice } from "../../world/removal.ts";
import type { Volume } from "../../world/volume.ts";
import { loads, mayFail, refused, truncate, volumeStory, writePages } from "./play.ts";

const removes = (volume: Volume, self: Self): Sleeps<boolean> => removeDevice(volume, self);

/** A word that nothing uses. */
const spareWord = (self: Self): number =>
  self.thread.region.root(Root.deviceState) + StateArea.names - 1;

/** The same, after which nobody can reach anything; and whoever has seen to it counts that. */
function* removesCounting(volume: Volume, self: Self): Sleeps<void> {
  if (yield* removes(volume, self)) {
    ensure(add(self.thread.words, spareWord(self), 1) === 0, "a removal is handled by two");
  }
  volume.ensureNothingShown("when a removal has returned");
}

/** Demands that an error says that the device was removed, and nothing else. */
function* toldAsGone(operation: () => Sleeps<unknown>): Sleeps<void> {
  try {
    yield* operation();
  } catch (error) {
    const { message } = error as Error;
    if (error instanceof HoldfastError) ensure(message === "EIO: the device was removed", message);
    throw error;
  }
}

/** Runs what may end because the device is gone, and only then. Returns whether it did. */
function* mayEndGone(
  volume: Volume,
  self: Self,
  operation: () => Sleeps<unknown>,
): Sleeps<boolean> {
  const failed = yield* mayFail(self, ["EIO"], () => toldAsGone(operation));
  ensure(!failed || volume.isGone(), "an operation ends as if the device were gone");
  return failed;
}

export const removalNone = volumeStory({
  name: "dax-removal-none",
  about:
    "A thread looks for a removal to be handled, as it does after each operation, and the device is there. " +
    "Nothing is taken away.",
  from: "device/state.ts, hasUnhandled",
  blocks: 1,
  files: [{ name: "A", pages: "#" }],
  windows: [{ file: "A", first: 0, pages: 1, writable: false, shown: [0] }],
  actors: {
    *user(volume, self) {
      const hold = (ino: number) => holdFile(volume, ino);
      const isHandler = yield* handleRemoval(self.task, volume.dax(self), hold);
      ensure(!isHandler, "the removal of a device that is there is handled");
      ensure(volume.windowShown(0) === "#", "a window has lost a page of a device that is there");
    },
  },
  explore: { strategy: "reduced" },
});

export const removalRead = volumeStory({
  name: "dax-removal-read",
  about:
    "A page is read while the device is removed. The reader gets the file, or EIO; never the zeroes that " +
    "take the place of what was mapped.",
  from: "issue 4, row 17; dax/device-removal.ts, rule 2",
  blocks: 2,
  files: [{ name: "A", pages: "#" }],
  actors: {
    *read(volume, self) {
      yield* mayEndGone(volume, self, function* () {
        const found = yield* volume.read(self, volume.file("A"), 0, 1);
        ensure(found === "A", `"${found}" is read`);
      });
      const target = new Uint8Array(PAGE_SIZE);
      const { mapping } = volume.file("A");
      const length = tryReadFile(volume.dax(self), mapping, target, 0);
      ensure(length < 0 || target[0] === "A".charCodeAt(0), "zeroes are read without waiting");
    },
    *remover(volume, self) {
      yield* removes(volume, self);
      const file = volume.file("A");
      yield* refused(self, "EIO", () => volume.read(self, file, 0, 1), "a read");
      const page = new Uint8Array(PAGE_SIZE);
      const dax = volume.dax(self);
      ensure(tryReadFile(dax, file.mapping, page, 0) < 0, "a read without waiting is not refused");
      ensure(
        tryWriteFile(dax, file.mapping, page, 0) < 0,
        "a write without waiting is not refused",
      );
    },
  },
  explore: { strategy: "bounded", preemptions: 2 },
});

export const removalFault = volumeStory({
  name: "dax-removal-fault",
  about:
    "A page is touched for the first time while the device is removed. Nothing of it stays mapped; " +
    "touches find the page lost.",
  from: "bug 20: MF_MEM_PRE_REMOVE, removal with live mappings; hazard H6",
  blocks: 3,
  files: [{ name: "A", pages: "==" }],
  windows: [{ file: "A", first: 0, pages: 2, writable: true }],
  actors: {
    touch: (volume, self) => loads(volume, self, 0, 0, ["A", "."]),
    *remover(volume, self) {
      yield* removes(volume, self);
      yield* loads(volume, self, 0, 1, ["."]);
      const lost = volume.lostIn(self, 0);
      ensure(lost?.removed, "the window does not say that the device was removed");
    },
  },
  explore: { strategy: "bounded", preemptions: 2 },
});

export const removalHole = volumeStory({
  name: "dax-removal-hole",
  about: "A hole is stored to for the first time while the device is removed.",
  from: "issue 4, row 17; dax/fault.ts",
  blocks: 1,
  files: [{ name: "A", pages: "." }],
  windows: [{ file: "A", first: 0, pages: 1, writable: true, shown: [0] }],
  actors: {
    store: (volume, self) => volume.store(self, 0, 0, "S"),
    remover: removes,
  },
  explore: { strategy: "bounded", preemptions: 2 },
});

export const removalMap = volumeStory({
  name: "dax-removal-map",
  about:
    "A file is mapped where windows cannot fault, while the device is removed: the window is refused, or " +
    "is found and shows nothing.",
  from: "issue 4, row 17; dax/map-window.ts, showFirst",
  blocks: 2,
  faults: false,
  files: [{ name: "A", pages: "=" }],
  actors: {
    *map(volume, self) {
      const file = volume.file("A");
      yield* mayEndGone(volume, self, () => volume.mapFile(self, file, 0, 1, false));
    },
    remover: removes,
  },
  explore: { strategy: "bounded", preemptions: 2 },
});

export const removalWrite = volumeStory({
  name: "dax-removal-write",
  about:
    "A hole is written where windows cannot fault, while the device is removed: the window over it is not " +
    "shown the new block afterwards.",
  from: "issue 4, row 17; dax/refresh.ts",
  blocks: 1,
  faults: false,
  files: [{ name: "A", pages: "." }],
  windows: [{ file: "A", first: 0, pages: 1, writable: false }],
  actors: {
    *write(volume, self) {
      yield* mayEndGone(volume, self, () => writePages(volume, self, "A", 0, 1, "B"));
    },
    remover: removes,
  },
  finally(volume) {
    if (!volume.isGone()) return;
    const lost = volume.lostIn(volume.actors[0]!, 0);
    ensure(lost?.removed, "a window that cannot fault does not say that the device was removed");
  },
  explore: { strategy: "bounded", preemptions: 2 },
});

/** Takes a pin, which is refused if the device was gone before. */
function* pins(volume: Volume, self: Self): Sleeps<void> {
  const { mapping } = volume.file("A");
  const dax = volume.dax(self);
  const wasGone = dax.pages.deviceState.isGone;
  yield* mayEndGone(volume, self, function* () {
    using pin = yield* pinRange(self.task, dax, mapping, 0, PAGE_SIZE, true);
    ensure(!wasGone, "a page of a device that is gone is pinned");
    const isGone = dax.pages.deviceState.isGone;
    ensure(!isGone || pin.poisonedRanges.length === 1, "a pin does not say that its page is lost");
  });
}

export const removalPin = volumeStory({
  name: "dax-removal-pin",
  about:
    "A page that is present is pinned while the device is removed. A pin that was there first says so; " +
    "afterwards the page is not pinned any more.",
  from: "hazard H6: memmap freed under references; dax/pins.ts, tryPinRange",
  blocks: 2,
  files: [{ name: "A", pages: "#" }],
  actors: {
    pin: pins,
    *remover(volume, self) {
      yield* removes(volume, self);
      const { mapping } = volume.file("A");
      const dax = volume.dax(self);
      const fast = tryPinRange(dax, mapping, 0, PAGE_SIZE, false);
      ensure(fast === null, "a page of a device that is gone is pinned without waiting");
      const slow = () => pinRange(self.task, dax, mapping, 0, PAGE_SIZE, false);
      yield* refused(self, "EIO", slow, "a pin");
    },
  },
  explore: { strategy: "bounded", preemptions: 2 },
});

export const removalBuffers = volumeStory({
  name: "dax-removal-buffers",
  about:
    "The device is removed while a pin is held. The pin gives no buffers any more: they would be zeroes of nobody.",
  from: "hazard H6; dax/pins.ts, Pin.buffers",
  blocks: 1,
  files: [{ name: "A", pages: "#" }],
  actors: {
    *holder(volume, self) {
      const { mapping } = volume.file("A");
      using pin = yield* pinRange(self.task, volume.dax(self), mapping, 0, PAGE_SIZE, true);
      ensure(pin.buffers.length === 1, "a pin has no buffers");
      yield* removes(volume, self);
      yield* refused(self, "EIO", function* () {
        ensure(pin.buffers.length === 0, "a pin gives buffers of a device that is gone");
      });
    },
  },
  explore: { strategy: "reduced" },
});

export const removalPinHole = volumeStory({
  name: "dax-removal-pin-hole",
  about: "A hole is pinned where windows cannot fault, while the device is removed.",
  from: "issue 4, row 17; dax/show.ts",
  blocks: 1,
  faults: false,
  files: [{ name: "A", pages: "." }],
  windows: [{ file: "A", first: 0, pages: 1, writable: false }],
  actors: { pin: pins, remover: removes },
  explore: { strategy: "bounded", preemptions: 2 },
});

export const removalTruncate = volumeStory({
  name: "dax-removal-truncate",
  about:
    "A file is truncated while the device is removed: as a whole, or not at all, and no block of it is " +
    "used twice.",
  from: "issue 4, row 17; generic/388: shutdown in the middle of a change (bug 26)",
  blocks: 2,
  files: [
    { name: "A", pages: "#" },
    { name: "B", pages: "." },
  ],
  windows: [{ file: "A", first: 0, pages: 1, writable: true, shown: [0] }],
  actors: {
    *change(volume, self) {
      yield* mayEndGone(volume, self, () => truncate(volume, self));
      yield* mayEndGone(volume, self, () => writePages(volume, self, "B", 0, 1));
    },
    remover: removes,
  },
  explore: { strategy: "bounded", preemptions: 2 },
});

export const removalPinned = volumeStory({
  name: "dax-removal-pinned",
  about:
    "A truncate waits for a pin that is held until it has ended, and a lease is kept until it is recalled, " +
    "when the device is removed: the truncate ends, and the lease's holder is told.",
  from: "issue 4, row 17; dax/device-removal.ts, takeAway",
  blocks: 2,
  files: [{ name: "A", pages: "##" }],
  actors: {
    *holder(volume, self) {
      const { mapping } = volume.file("A");
      const dax = volume.dax(self);
      yield* mayFail(self, ["EIO", "EINVAL"], function* () {
        using _pin = yield* pinRange(self.task, dax, mapping, PAGE_SIZE, PAGE_SIZE, true);
        while (load(self.thread.words, spareWord(self)) === 0) {
          yield { word: spareWord(self), expected: 0, what: () => "the truncate" };
        }
      });
      const request = { first: 0, last: 0, kind: LeaseKind.shared, graceMs: 1, returnsOwn: false };
      const lease = yield* requestLease(self.task, mapping, request);
      const word = recallWord(lease);
      // Granted after the removal it would be told by nobody: a program is refused then.
      while (
        !dax.pages.deviceState.isGone &&
        load(self.thread.words, word) === LeaseState.granted
      ) {
        yield { word, expected: LeaseState.granted, what: () => "the removal" };
      }
      returnLease(self.thread, lease);
    },
    *change(volume, self) {
      yield* mayEndGone(volume, self, () => truncate(volume, self, "A", PAGE_SIZE));
      store(self.thread.words, spareWord(self), 1);
      wakeAll(self.thread.words, spareWord(self));
    },
    remover: removes,
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const removalTwice = volumeStory({
  name: "dax-removal-twice",
  about:
    "Two threads report that the device is gone. One of them handles it, and neither returns before that " +
    "is done.",
  from: "device/state.ts, rule 4",
  blocks: 2,
  files: [{ name: "A", pages: "#" }],
  windows: [{ file: "A", first: 0, pages: 1, writable: true, shown: [0] }],
  actors: {
    remover: removesCounting,
    other: removesCounting,
  },
  finally: (volume) =>
    ensure(volume.content(0) === 0, "what was mapped of the device stays mapped"),
  explore: { strategy: "bounded", preemptions: 2 },
});

export const removalGivenUp = volumeStory({
  name: "dax-removal-given-up",
  about:
    "Whoever handles the removal fails, since the volume's mounter has ended and no file can be held. Who " +
    "waits for it tries next, and so does whoever comes later.",
  from: "dax/device-removal.ts, handleRemoval",
  blocks: 2,
  files: [{ name: "A", pages: "#" }],
  windows: [{ file: "A", first: 0, pages: 1, writable: true, shown: [0] }],
  actors: {
    *remover(volume, self) {
      const refuse = (): never => {
        throw new HoldfastError("EIO", "no file can be held");
      };
      yield* mayFail(self, ["EIO"], () => removeDevice(volume, self, refuse));
    },
    *other(volume, self) {
      yield* removes(volume, self);
      volume.ensureNothingShown("when a removal has returned");
    },
  },
  explore: { strategy: "bounded", preemptions: 2 },
});

export const removalKilled = volumeStory({
  name: "dax-removal-killed",
  about:
    "The thread that handles the removal dies on the way. Whoever waits for it, or ends an operation " +
    "next, handles it.",
  from: "device/state.ts, rule 4",
  blocks: 2,
  files: [{ name: "A", pages: "#" }],
  windows: [{ file: "A", first: 0, pages: 1, writable: true, shown: [0] }],
  actors: {
    remover: removes,
    *other(volume, self) {
      if (!volume.dax(self).pages.deviceState.isGone) return;
      yield* removes(volume, self);
      volume.ensureNothingShown("when a removal has returned");
    },
  },
  environment: { death: { kill: "remover" } },
  explore: { strategy: "bounded", preemptions: 1 },
});
