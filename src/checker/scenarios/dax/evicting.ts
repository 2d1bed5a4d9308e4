/**
 * Touches that find the page cache full of pages that windows show: the pager leaves them unanswered, and the
 * evicting thread makes room.
 */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { pageCacheOf } from "../../../dax/copied.ts";
import { answerRequests } from "../../../dax/evict.ts";
import { pinRange } from "../../../dax/pins.ts";
import { MappingWord } from "../../../mapping/mapping.ts";
import { add, load, store } from "../../../sync/atomics.ts";
import { lockExclusive } from "../../../sync/lock.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { OWNER_DIED, Slot } from "../../../sync/thread.ts";
import { ensure, type Self } from "../../scenario.ts";
import type { Volume } from "../../world/volume.ts";
import { ensureCached, evicts } from "./copied-play.ts";
import { ensureShown, loads, sync, truncate, volumeStory } from "./play.ts";

/** Whoever touches: what it does, with an evicting thread beside it as long as that lives. */
function touching(play: (volume: Volume, self: Self) => Sleeps<void>) {
  return function* (volume: Volume, self: Self): Sleeps<void> {
    const { pager } = volume.hand(self);
    const evictor = volume.actors.find(({ name }) => name === "evictor")?.thread;
    pager.hasEvictor = () =>
      evictor !== undefined && (volume.words[evictor.base + Slot.liveness]! & OWNER_DIED) === 0;
    yield* play(volume, self);
    add(self.thread.words, volume.shared.told, 1);
    pageCacheOf(pager).wantRoom(); // wakes it, so that it sees that
  };
}

/** The evicting thread, until all who touch have done so. */
function* evicting(volume: Volume, self: Self): Sleeps<void> {
  const { words } = self.thread;
  const dax = volume.dax(self);
  const { wantedWord } = pageCacheOf(dax);
  const touchers = volume.actors.filter(({ name }) => name.startsWith("user")).length;
  for (;;) {
    const wanted = load(words, wantedWord);
    if (load(words, volume.shared.told) === touchers) return;
    if (yield* answerRequests(self.task, dax)) continue;
    yield { word: wantedWord, expected: wanted, what: () => "room to be wanted" };
  }
}

export const roomAsked = volumeStory({
  name: "room-asked",
  about:
    "A thread stores to one page after the other of a window, and the cache has room for one: each store " +
    "waits for the evicting thread, none is lost, and each page keeps what was stored.",
  from: "dax/evict.ts; shrink_folio_list: try_to_unmap of mapped folios",
  blocks: 2,
  cachePages: 1,
  files: [{ name: "A", pages: "==" }],
  windows: [{ file: "A", first: 0, pages: 2, writable: true, shown: [0] }],
  actors: {
    user: touching(function* (volume, self) {
      yield* volume.store(self, 0, 1, "T");
      yield* volume.store(self, 0, 0, "S");
      yield* loads(volume, self, 0, 1, ["T"]);
    }),
    evictor: evicting,
  },
  finally: (volume) => ensureShown(volume, "A", ["ST"]),
  explore: { strategy: "bounded", preemptions: 2 },
});

export const roomShared = volumeStory({
  name: "room-for-two",
  about:
    "Two threads touch a page each, and the cache has room for one page, which a third window's page has. Both " +
    "find the file, however often the room that was made for one is taken by the other.",
  from: "dax/evict.ts, rule 3; direct reclaim: the page that was freed is another's",
  blocks: 3,
  cachePages: 1,
  files: [{ name: "A", pages: "===" }],
  windows: [{ file: "A", first: 0, pages: 3, writable: true, shown: [2] }],
  actors: {
    user: touching((volume, self) => loads(volume, self, 0, 0, ["A"])),
    userToo: touching((volume, self) => volume.store(self, 0, 1, "T")),
    evictor: evicting,
  },
  finally: (volume) => ensureShown(volume, "A", ["ATA"]),
  explore: { strategy: "bounded", preemptions: 1 },
});

/** Pins a page for as long as it plays. */
function* pinning(
  volume: Volume,
  self: Self,
  page: number,
  play: () => Sleeps<void>,
): Sleeps<void> {
  const { mapping } = volume.file("A");
  const dax = volume.dax(self);
  const pin = yield* pinRange(self.task, dax, mapping, page * PAGE_SIZE, PAGE_SIZE, true);
  try {
    yield* play();
  } finally {
    pin.release();
  }
}

export const roomNotWanted = volumeStory({
  name: "room-not-wanted",
  about:
    "The evicting thread is asked twice, and answers both at once; asked by nobody it takes no page out of the cache.",
  from: "dax/evict.ts, answerRequests; kswapd sleeps until it is woken",
  blocks: 2,
  cachePages: 2,
  files: [{ name: "A", pages: "##" }],
  actors: {
    *evictor(volume, self) {
      const dax = volume.dax(self);
      const cache = pageCacheOf(dax);
      ensure(!(yield* answerRequests(self.task, dax)), "it answers although nobody has asked");
      ensureCached(volume, "A", "##");
      const requests = [cache.wantRoom(), cache.wantRoom()];
      ensure(yield* answerRequests(self.task, dax), "it does not answer");
      ensureCached(volume, "A", ".#");
      const answered = load(self.thread.words, cache.answeredWord);
      for (const request of requests) {
        ensure(cache.answerTo(request, answered) === true, "a request is not answered");
      }
      ensure(!(yield* answerRequests(self.task, dax)), "it answers once more");
      ensureCached(volume, "A", ".#");
    },
  },
  explore: { strategy: "reduced" },
});

export const roomBesideFill = volumeStory({
  name: "room-beside-a-fill",
  about:
    "Room is made while a page of the cache is being filled: where another one can go, nobody waits for that.",
  from: "dax/evict.ts, makeRoom; shrink_folio_list skips locked folios",
  blocks: 1,
  cachePages: 2,
  files: [{ name: "A", pages: "#" }],
  actors: {
    *user(volume, self) {
      const cache = pageCacheOf(volume.dax(self));
      const filled = cache.take();
      ensure(yield* evicts(volume, self), "no room is found");
      ensureCached(volume, "A", ".");
      cache.giveTaken(filled);
    },
  },
  explore: { strategy: "reduced" },
});

export const roomBeingFilled = volumeStory({
  name: "room-being-filled",
  about:
    "Room is made while the only page of the cache is being filled: that ends before anybody tries again.",
  from: "dax/evict.ts, makeRoom; folio_wait_locked",
  blocks: 1,
  cachePages: 1,
  files: [{ name: "A", pages: "=" }],
  actors: {
    filler(volume, self) {
      const cache = pageCacheOf(volume.dax(self));
      const filled = cache.take();
      store(self.thread.words, volume.shared.told, filled);
      cache.giveTaken(filled);
    },
    *evictor(volume, self) {
      const filled = load(self.thread.words, volume.shared.told);
      if (filled === 0) return;
      ensure(yield* evicts(volume, self), "no room is found");
      const cache = pageCacheOf(volume.dax(self));
      ensure(cache.isFree(filled), "room is said to be found, and the page is being filled");
    },
  },
});

export const roomPinned = volumeStory({
  name: "room-pinned",
  about:
    "A thread touches a page while it pins the only one that the cache has room for. Nobody waits for that pin: " +
    "the touch ends as a lost page, and when the pin is released the next one finds the file.",
  from: "dax/evict.ts, rule 2; pinned pages are not reclaimed",
  blocks: 2,
  cachePages: 1,
  files: [{ name: "A", pages: "==" }],
  windows: [{ file: "A", first: 0, pages: 2, writable: true }],
  actors: {
    user: touching(function* (volume, self) {
      yield* pinning(volume, self, 0, () => loads(volume, self, 0, 1, ["."]));
      yield* pinning(volume, self, 1, function* () {});
      yield* loads(volume, self, 0, 1, ["A"]);
    }),
    evictor: evicting,
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const roomAfterPin = volumeStory({
  name: "room-after-a-pin",
  about:
    "Room is asked for while a thread pins the only page of the cache, so there may be none. That one releases its " +
    "pin, and touches: it finds the file, since room is looked for after it asked.",
  from: "dax/evict.ts, rule 3",
  blocks: 2,
  cachePages: 1,
  files: [{ name: "A", pages: "==" }],
  windows: [{ file: "A", first: 0, pages: 2, writable: false }],
  actors: {
    user: touching(function* (volume, self) {
      yield* pinning(volume, self, 0, function* () {});
      yield* loads(volume, self, 0, 1, ["A"]);
    }),
    userToo: touching(function* () {}), // which asks
    evictor: evicting,
  },
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});

export const roomWithIoLock = volumeStory({
  name: "room-under-a-call",
  about:
    "A call that holds its file's io lock copies to a window of the same file, which has to wait for room. The " +
    "evicting thread needs no io lock, so both go on; a write-back goes on beside.",
  from: "dax/evict.ts, rule 1; generic_file_read_iter into a mapping of the same file",
  blocks: 2,
  cachePages: 1,
  files: [{ name: "A", pages: "==" }],
  windows: [{ file: "A", first: 0, pages: 2, writable: true, shown: [0] }],
  actors: {
    user: touching(function* (volume, self) {
      const { mapping, ino } = volume.file("A");
      using _io = yield* lockExclusive(self.task, mapping + MappingWord.ioLock, {
        rankName: "io",
        order: ino,
      });
      yield* volume.store(self, 0, 1, "T");
    }),
    evictor: evicting,
    sync: (volume, self) => sync(volume, self),
  },
  finally: (volume) => ensureShown(volume, "A", ["AT"]),
  explore: { strategy: "bounded", preemptions: 1 },
});

export const roomTruncate = volumeStory({
  name: "room-truncate",
  about:
    "A file is truncated while a touch of it waits for room, and the page that is to leave the cache is its own: " +
    "the touch finds the file, or a lost page.",
  from: "dax/evict.ts; truncate_inode_pages against reclaim of the same folio",
  blocks: 2,
  cachePages: 1,
  files: [{ name: "A", pages: "==" }],
  windows: [{ file: "A", first: 0, pages: 2, writable: true, shown: [0] }],
  actors: {
    user: touching((volume, self) => loads(volume, self, 0, 1, ["A", "."])),
    evictor: evicting,
    truncate: (volume, self) => truncate(volume, self),
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const roomClosed = volumeStory({
  name: "room-window-closed",
  about:
    "A window is closed while a touch of it waits for room: the touch goes on, with zeroes of nobody, and nothing " +
    "stays of its fault.",
  from: "dax/fault.ts: looked at again under the map lock; munmap beside a userfault",
  blocks: 2,
  cachePages: 1,
  files: [{ name: "A", pages: "==" }],
  windows: [{ file: "A", first: 0, pages: 2, writable: true, shown: [0] }],
  actors: {
    user: touching((volume, self) => loads(volume, self, 0, 1, ["A", "."])),
    evictor: evicting,
    *close(volume, self) {
      yield* volume.viewOf(self, 0).closeWith(self.task);
    },
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const roomEvictorKilled = volumeStory({
  name: "room-evictor-killed",
  about:
    "The evicting thread dies at any point while a touch waits for it: the touch ends, as a lost page at worst, and " +
    "what was stored before is kept.",
  from: "dax/evict.ts, askForRoom; dax/remove-pages.ts, finishRemoval",
  blocks: 2,
  cachePages: 1,
  files: [{ name: "A", pages: "==" }],
  windows: [{ file: "A", first: 0, pages: 2, writable: true, shown: [0] }],
  environment: { kill: { kill: "evictor" } },
  actors: {
    user: touching(function* (volume, self) {
      yield* volume.store(self, 0, 0, "S");
      yield* loads(volume, self, 0, 1, ["A", "."]);
      yield* pinning(volume, self, 1, function* () {});
      yield* loads(volume, self, 0, 1, ["A"]);
    }),
    evictor: evicting,
  },
  finally: (volume) => ensureShown(volume, "A", ["SA"]),
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});
