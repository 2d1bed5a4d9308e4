/** Page records: chunks of them that come and go with the pages in use. */
import { HoldfastError } from "../../../base/errors.ts";
import { InvariantError } from "../../../base/invariant.ts";
import { HUGE_PAGES } from "../../../base/quantities.ts";
import { add, load } from "../../../sync/atomics.ts";
import { ensure, type Plot, type Scenario, scenario } from "../../scenario.ts";
import { playedIn } from "../../world/plots.ts";
import { buildRecords, type Owned, Records, type RecordsShared } from "../../world/records.ts";

/** Two files, by their mappings. */
const FILE = 1000;
const OTHER = 2000;

function page(chunk: number, within: number, index = within): Owned {
  return { device: chunk * HUGE_PAGES + within, count: 1, owner: FILE, index };
}

function folio(chunk: number): Owned {
  return { device: chunk * HUGE_PAGES, count: HUGE_PAGES, owner: FILE, index: HUGE_PAGES };
}

interface Story extends Plot<RecordsShared, Records> {
  /** Of the device, of 2 MiB each. */
  readonly chunks: number;
  /** Pages that have an owner all the time. */
  readonly kept?: readonly Owned[];
  /** Pages that have got one by the end. */
  readonly given?: readonly Owned[];
}

function recordStory({ chunks, kept, given, ...plot }: Story): Scenario<RecordsShared, Records> {
  return playedIn(
    {
      build: (actors) => buildRecords(actors, chunks, kept),
      begin: (shared, actors) => new Records(shared, actors),
      end: (records) => records.end(given),
    },
    plot,
  );
}

const CHUNKS = 24;

export const pageRecords = recordStory({
  name: "page-records",
  about:
    "Pages all over a device get owners until no records are left, which is said and changes nothing. " +
    "A chunk whose last page is free is used again for another part of the device.",
  from: "pages/pages.ts: records follow use; DESIGN.md 5.1",
  chunks: CHUNKS,
  actors: {
    one(records, self) {
      const pages = records.pages(self);
      const owned: Owned[] = [];
      for (let chunk = 1; chunk < CHUNKS; chunk++) owned.push(page(chunk, chunk, 7));
      owned.push(page(0, 1, 2 ** 32 - 1));
      const taken = owned.map((each) => records.give(self, each));
      for (const { device, index } of owned) {
        const found = pages.find(device);
        ensure(found !== null, `page ${device} of the device has no record`);
        ensure(pages.devicePage(found) === device, `the record of page ${device} is another's`);
        ensure(pages.index(found) === index, `page ${device} of the device has another index`);
        ensure(!pages.isFree(device - 1, 3), `page ${device} of the device counts as free`);
        ensure(pages.isFree(device + 1, 2), `a page near page ${device} counts as in use`);
      }
      ensure(pages.chunksInUse() === CHUNKS, "the chunks in use are counted wrong");
      for (const [at, record] of taken.entries()) records.take(self, record, owned[at]!);
    },
  },
});

/** The code with which something fails; "" when it does not. */
function codeOf(operation: () => unknown): string {
  try {
    operation();
    return "";
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    return error.code;
  }
}

/** What a region of 16 MiB can afford. */
const CHUNKS_AFFORDED = 256;

export const pageRecordsFull = scenario({
  ...recordStory({
    name: "page-records-full",
    about:
      "The region affords fewer records than the device has pages. Who finds none left gets an error " +
      "and nothing has changed; where a chunk is given back, the next one gets it.",
    from: "invariant 5.6 (7); DESIGN.md 2 (4)",
    chunks: CHUNKS_AFFORDED + 8,
    actors: {
      one(records, self) {
        const pages = records.pages(self);
        for (let chunk = 0; chunk < CHUNKS_AFFORDED; chunk++) {
          pages.associate(chunk * HUGE_PAGES, 1, FILE, chunk, false);
        }
        const beyond = page(CHUNKS_AFFORDED + 1, 256);
        const gives = () => pages.associate(beyond.device, 1, FILE, 0, false);
        ensure(codeOf(gives) === "ENOMEM", "a page has got an owner, with no record left");
        const shares = () => records.share(self, beyond.device, 0);
        ensure(codeOf(shares) === "ENOMEM", "a page is shared, with no record left");
        ensure(
          load(self.thread.words, records.entryWord(0)) === 0,
          "an entry names a page that has no record",
        );
        ensure(pages.find(beyond.device) === null, "a page without a record has one");
        ensure(pages.isFree(beyond.device, 1), "a page that got no owner is not free");
        pages.disassociate(pages.find(9 * HUGE_PAGES)!, 1, FILE);
        ensure(pages.find(9 * HUGE_PAGES) === null, "a chunk without a page in use is kept");
        const got = pages.associate(beyond.device, 1, FILE, 0, false);
        ensure(pages.devicePage(got) === beyond.device, "a chunk used again is of its old place");
        ensure(pages.chunksInUse() === CHUNKS_AFFORDED, "the chunks in use are counted wrong");
        pages.disassociate(got, 1, FILE);
        for (let chunk = 0; chunk < CHUNKS_AFFORDED; chunk++) {
          const found = pages.find(chunk * HUGE_PAGES);
          if (chunk !== 9) pages.disassociate(found!, 1, FILE);
        }
        ensure(pages.chunksInUse() === 0, "page records of nobody are in use");
      },
    },
  }),
  end: () => {},
});

export const pageFolio = recordStory({
  name: "page-folio",
  about:
    "A folio of 2 MiB gets its owner, loses it, and its place is used for three pages. All of it is " +
    "in use as long as it has an owner, and nothing of it afterwards.",
  from: "bugs 1 and 16, of compound pages: fs/dax: properly refcount; DESIGN.md 5.1",
  chunks: 3,
  kept: [folio(2)],
  actors: {
    one(records, self) {
      const pages = records.pages(self);
      const whole = records.give(self, folio(1));
      ensure(!pages.isFree(HUGE_PAGES + 100, 1), "the middle of a folio counts as free");
      ensure(!pages.isFree(0, 3 * HUGE_PAGES), "a range with a folio in it counts as free");
      ensure(pages.isFree(0, HUGE_PAGES), "the pages before a folio count as in use");
      records.take(self, whole, folio(1));
      ensure(pages.isFree(HUGE_PAGES, HUGE_PAGES), "a folio that was given back is in use");
      const three = { ...page(1, 5), count: 3 };
      const record = records.give(self, three);
      ensure(!pages.isHuge(pages.find(HUGE_PAGES + 5)!), "a page is a folio");
      ensure(pages.isFree(HUGE_PAGES, 5), "the pages before three in use count as in use");
      ensure(!pages.isFree(HUGE_PAGES + 7, 1), "the last of three pages counts as free");
      ensure(pages.isFree(HUGE_PAGES + 8, 504), "the pages after three in use count as in use");
      records.take(self, record, three);
      ensure(pages.find(HUGE_PAGES) === null, "pages that were given back together are in use");
      const single = records.give(self, page(1, 0));
      ensure(pages.isFree(HUGE_PAGES + 1, 511), "the pages after a single one count as in use");
      records.take(self, single, page(1, 0));
    },
  },
});

/** Whether a call breaks an invariant of the core. */
function isRefused(call: () => void): boolean {
  try {
    call();
    return false;
  } catch (error) {
    if (!(error instanceof InvariantError)) throw error;
    return true;
  }
}

export const pageCanaries = scenario({
  ...recordStory({
    name: "page-canaries",
    about:
      "A page does not get an owner while it has one or is pinned, does not lose it while it is " +
      "pinned, and is not released more often than pinned: each is noticed.",
    from: "pages/pages.ts, invariants 1 to 3; Linux's dax_busy_page and its warnings",
    chunks: 1,
    kept: [page(0, 9)],
    actors: {
      one(records, self) {
        const pages = records.pages(self);
        const { words } = self.thread;
        const note = self.thread.entryLocks.take();
        const give = () => pages.associate(5, 1, FILE, 0, false);
        const got = give();
        ensure(isRefused(give), "a page gets an owner while it has one");
        ensure(
          isRefused(() => pages.disassociate(got, 1, OTHER)),
          "a page loses another's owner",
        );
        ensure(
          isRefused(() => pages.releaseNoting(got, note, 0)),
          "a page is released more than pinned",
        );
        ensure(load(words, pages.pinWord(got)) === -1, "a release is not counted");
        ensure(
          isRefused(() => pages.disassociate(got, 1, FILE)),
          "a pinned page loses its owner",
        );
        ensure(pages.owner(got) === FILE, "a page has lost its owner");
        pages.takeBack(got, 1, FILE);
        ensure(!pages.isFree(5, 1), "a pinned page without an owner counts as free");
        ensure(isRefused(give), "a pinned page gets an owner");
      },
    },
  }),
  end: () => {},
});

export const pageClaimedTwice = recordStory({
  name: "page-claimed-twice",
  about:
    "By the damage of a volume a page in use is to be another file's as well, the third of four: who comes second is " +
    "told, and has got none of them. Where it is no damage it is noticed, as ever.",
  from: "pages/pages.ts, judgeBy",
  chunks: 1,
  actors: {
    one(records, self) {
      const pages = records.pages(self);
      const owned = page(0, 9);
      const record = records.give(self, owned);
      const give = () => pages.associate(7, 4, OTHER, 1, false);
      const ensureLeft = () => {
        ensure(pages.isFree(7, 2) && pages.isFree(10, 1), "a page has an owner who was refused");
        const whose = pages.ownerOf(9);
        ensure(whose?.owner === FILE && whose.index === 9, "a page is another's");
      };
      pages.judgeBy((devicePage, has, wants) => {
        ensure(devicePage === 9, "another page is claimed twice");
        ensure(has.owner === FILE && has.index === 9, "another file has the page");
        ensure(wants.owner === OTHER && wants.index === 3, "another file wants the page");
        return new HoldfastError("EUCLEAN", "a page is claimed twice");
      });
      ensure(codeOf(give) === "EUCLEAN", "a page that is claimed twice has two owners");
      ensureLeft();
      pages.judgeBy(() => null);
      ensure(isRefused(give), "a page gets an owner while it has one");
      ensureLeft();
      // A pin of nobody's page is no damage, whatever the maps say.
      pages.judgeBy(() => new HoldfastError("EUCLEAN", "a page of nobody is claimed"));
      add(self.thread.words, pages.pinWord(pages.find(10)!), 1);
      ensure(
        isRefused(() => pages.associate(10, 1, OTHER, 4, false)),
        "a pinned page gets an owner",
      );
      add(self.thread.words, pages.pinWord(pages.find(10)!), -1);
      records.take(self, record, owned);
      ensure(pages.find(9) === null, "pages of nobody are counted as in use");
    },
  },
});

export const pageSharedByTwo = recordStory({
  name: "page-shared-by-two",
  about:
    "A page where a folio was gets a second entry that names it, and is left by both. Pins that are held " +
    "through the other entry are nothing to the one that goes first; the last one does not go while the page " +
    "is pinned.",
  from: "pages/pages.ts, invariants 3 and 5",
  chunks: 2,
  kept: [page(0, 9)],
  actors: {
    one(records, self) {
      const pages = records.pages(self);
      const { words } = self.thread;
      records.take(self, records.give(self, folio(1)), folio(1));
      const shared = records.share(self, HUGE_PAGES, 0);
      ensure(!pages.isHuge(shared), "a shared page is a folio");
      ensure(records.share(self, HUGE_PAGES, 1) === shared, "a shared page has two records");
      ensure(pages.sharers(shared) === 2, "the entries of a page are counted wrong");
      add(words, pages.pinWord(shared), 1);
      records.leave(self, 0);
      ensure(pages.sharers(shared) === 1, "an entry that has gone is counted");
      ensure(
        isRefused(() => records.leave(self, 1)),
        "a pinned page loses its last owner",
      );
      ensure(
        pages.sharers(shared) === 1 && load(words, records.entryWord(1)) === shared + 1,
        "an entry that was not to go has gone",
      );
      const own = pages.find(9)!;
      ensure(
        isRefused(() => pages.leave(own, records.entryWord(1))),
        "a page with one owner is left as a shared one",
      );
      ensure(pages.owner(own) === FILE, "a page has lost its owner to who had none of it");
      ensure(load(words, records.entryWord(1)) === shared + 1, "another page's entry has gone");
      add(words, pages.pinWord(shared), -1);
      records.leave(self, 1);
      ensure(pages.find(HUGE_PAGES) === null, "a page that nobody names is in use");
    },
  },
});

export const pageLeft = recordStory({
  name: "page-left",
  about:
    "One of several owners of device pages asks whether it may let go of them. It may not where a page is its " +
    "alone, or is pinned and nobody's; it may where nothing is known of the pages.",
  from: "pages/pages.ts, isLeft",
  chunks: 3,
  kept: [page(0, 0), page(1, 2)],
  actors: {
    one(records, self) {
      const pages = records.pages(self);
      const isLeft = (device: number, count = 1): boolean => pages.isLeft(device, count, FILE);
      ensure(!isLeft(0), "a page is left that is the owner's alone");
      ensure(isLeft(2 * HUGE_PAGES, 9), "pages without a record are not left");
      ensure(isLeft(HUGE_PAGES, 2) && !isLeft(HUGE_PAGES, 3), "a range is not looked at as it is");
      ensure(isLeft(HUGE_PAGES + 3, 2), "pages without an owner are not left");
      records.share(self, HUGE_PAGES + 3, 0);
      ensure(isLeft(HUGE_PAGES + 3), "a page that others name is not left");
      records.leave(self, 0);
      const free = pages.pinWord(pages.find(HUGE_PAGES + 4)!);
      add(self.thread.words, free, 1);
      ensure(!isLeft(HUGE_PAGES + 4), "a page is left that is pinned, and nobody's");
      add(self.thread.words, free, -1);
    },
  },
});

export const pageShareDeath = recordStory({
  name: "page-share-death",
  about:
    "A thread dies at any point while an entry comes to name a page, or ceases to; another one does the same " +
    "with a page near it. The pages in use are counted as they are, and no chunk is lost.",
  from: "pages/pages.ts, invariant 5; several-processes.md: what a dead holder leaves is repaired",
  chunks: 2,
  kept: [page(0, 0)],
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    dying(records, self) {
      records.share(self, HUGE_PAGES + 3, 0);
      records.leave(self, 0);
    },
    other(records, self) {
      records.share(self, HUGE_PAGES + 4, 1);
      records.leave(self, 1);
    },
  },
  environment: { death: { kill: "dying" } },
});

export const pageTakenBackBeside = recordStory({
  name: "page-taken-back-beside",
  about:
    "A page that a dead thread was about to give up is taken back, while another thread uses a page of the same " +
    "2 MiB of the device. The pages in use are counted as they are.",
  from: "pages/pages.ts, invariant 2: owner and index change within the guard",
  chunks: 2,
  kept: [page(0, 0)],
  given: [page(1, 6)],
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    reaper(records, self) {
      const pages = records.pages(self);
      pages.takeBack(pages.associate(HUGE_PAGES + 3, 1, OTHER, 3, false), 1, OTHER);
    },
    user: (records, self) => {
      records.give(self, page(1, 6));
    },
  },
});

export const pageAwaited = recordStory({
  name: "page-awaited",
  about:
    "A page is pinned by one thread and by another, each for a moment, and a third one waits for its " +
    "pins. It sleeps for those that it has seen, and not when they are gone.",
  from: "pages/pages.ts, invariant 4; sync/sleep.ts, rule 1",
  chunks: 1,
  kept: [page(0, 0)],
  explore: { strategy: "reduced" },
  actors: {
    one: (records, self) => records.pinOnce(self, 0),
    other: (records, self) => records.pinOnce(self, 0),
    waiter: (records, self) => records.waitForPins(self, 0),
  },
});

export const pageChunkShared = recordStory({
  name: "page-chunk-shared",
  about:
    "Two threads give pages of the same 2 MiB of a device their owner and take it again. The records " +
    "are there as long as one of the pages is in use, once, and go with the last one.",
  from: "pages/pages.ts, invariant 2; counts lost to races, hazard H3",
  chunks: 2,
  explore: { strategy: "bounded", preemptions: 3 },
  actors: {
    a: (records, self) => records.giveAndTake(self, page(1, 3)),
    b: (records, self) => records.giveAndTake(self, page(1, 4)),
  },
});

export const pageChunksReused = recordStory({
  name: "page-chunks-reused",
  about:
    "Two threads use pages in different parts of a device, one after another. A chunk of records is " +
    "given to one of them at a time, and none is lost.",
  from: "pages/pages.ts: the free chunks' list",
  chunks: 3,
  kept: [page(0, 0)],
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    a(records, self) {
      records.giveAndTake(self, page(1, 3));
      records.giveAndTake(self, page(2, 3));
    },
    b: (records, self) => records.giveAndTake(self, page(2, 4)),
  },
});

export const pageChunkDeath = recordStory({
  name: "page-chunk-death",
  about:
    "A thread dies at any point while it gives a page its owner or takes it away, with the records of " +
    "that part of the device made for it. Another one uses pages there and elsewhere. What the dead " +
    "thread was about is taken back, the counts are worked out again, no chunk is lost.",
  from: "several-processes.md: what a dead holder leaves is repaired; DESIGN.md 2 (4)",
  chunks: 4,
  kept: [page(0, 0), folio(3)],
  given: [page(1, 4)],
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    dying: (records, self) => records.giveAndTake(self, page(1, 3)),
    other(records, self) {
      records.giveAndTake(self, page(2, 5));
      records.give(self, page(1, 4));
    },
  },
  environment: { death: { kill: "dying" } },
});

export const pageDeathAfterUse = recordStory({
  name: "page-death-after-use",
  about:
    "A thread gives up a page and dies before it has said so. Meanwhile another file has the page: " +
    "the dead thread's page is taken back, the other file's is not.",
  from: "pages/pages.ts, takeBack: what has another owner is left alone",
  chunks: 2,
  kept: [page(1, 9)],
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    dying: (records, self) => records.giveAndTake(self, page(1, 3)),
    other(records, self) {
      if (!records.isFreed(self, page(1, 3).device)) return;
      const again = { ...page(1, 3), owner: OTHER };
      const record = records.give(self, again);
      const pages = records.pages(self);
      self.thread.reap();
      const found = pages.find(again.device);
      ensure(found !== null && pages.owner(found) === OTHER, "a page has lost its new owner");
      records.take(self, record, again);
    },
  },
  environment: { death: { kill: "dying" } },
});

export const pageChunkTakenBack = recordStory({
  name: "page-chunk-taken-back",
  about:
    "A thread dies at any point while it gives three pages their owner or takes it away. One thread " +
    "takes back what it was about while another one uses a page of the same 2 MiB of the device.",
  from: "pages/pages.ts, invariant 2; several-processes.md: repairs run beside the living",
  chunks: 2,
  kept: [page(0, 0)],
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    dying: (records, self) => records.giveAndTake(self, { ...page(1, 3), count: 3 }),
    reaper: (records, self) => records.reap(self),
    user: (records, self) => records.giveAndTake(self, page(1, 6)),
  },
  environment: { death: { kill: "dying" } },
});
