/** The list of pages whose bytes are lost: joined, cut, full, asked, and left by the dead. */
import { Area, BadPages, type PageRun, Range, RANGE_WORDS } from "../../../pages/bad-pages.ts";
import { add, load, store } from "../../../sync/atomics.ts";
import { type Region, Root } from "../../../sync/region.ts";
import { Slot, slotOfHolder } from "../../../sync/thread.ts";
import { ensure, type Plot, type Scenario, type Self } from "../../scenario.ts";
import { threadWordName } from "../../world/locks.ts";
import { badPageWordName } from "../../world/names.ts";
import { playedIn } from "../../world/plots.ts";
import { isDead, regionWithThreads, threadAt } from "../../world/threads.ts";

interface ListShared {
  readonly region: Region;
  /** Words: whether page LOST has been lost since it was last written; HANDLED. */
  readonly truth: number;
}

/** The list in one schedule. */
class BadList {
  readonly actors: readonly Self[];
  readonly truth: number;
  readonly #lists: readonly BadPages[];
  readonly #end: (list: BadList) => void;

  constructor({ truth }: ListShared, actors: readonly Self[], end: (list: BadList) => void) {
    this.truth = truth;
    this.actors = actors;
    this.#lists = actors.map(({ thread }) => new BadPages(thread));
    this.#end = end;
  }

  of(self: Self): BadPages {
    return this.#lists[this.actors.indexOf(self)]!;
  }

  /** Runs alone, when all actors have ended. */
  end(): void {
    this.#end(this);
  }

  nameOf(word: number): string | null {
    const area = this.actors[0]!.thread.region.root(Root.failure);
    return badPageWordName(word - area) ?? threadWordName(this.actors, word);
  }

  /** The ranges as they stand in the list. */
  get ranges(): { first: number; handler: number }[] {
    const { region, words } = this.actors[0]!.thread;
    const area = region.root(Root.failure);
    const ranges: { first: number; handler: number }[] = [];
    for (let index = 0; index < load(words, area + Area.count); index++) {
      const range = area + Area.table + index * RANGE_WORDS;
      const [first, handler] = [
        load(words, range + Range.first),
        load(words, range + Range.handler),
      ];
      ranges.push({ first, handler });
    }
    return ranges;
  }

  /** The first pages of ranges whose handler has died, or died where it may have been forgotten. */
  get abandonedReports(): number[] {
    const dead = this.actors.filter(({ thread }) => isDead(thread));
    const isAbandoned = (handler: number): boolean =>
      handler < 0 || dead.some(({ thread }) => thread.holder === handler);
    return this.ranges.filter(({ handler }) => isAbandoned(handler)).map(({ first }) => first);
  }

  /** The list of an actor who lives. */
  get survivors(): BadPages {
    return this.of(this.actors.find(({ thread }) => !isDead(thread))!);
  }
}

interface Story extends Plot<ListShared, BadList> {
  /** Lists what is listed before. */
  readonly listed?: (bad: BadPages) => void;
  readonly finally?: (list: BadList) => void;
}

function listStory({ listed, finally: last, ...plot }: Story): Scenario<ListShared, BadList> {
  return playedIn(
    {
      build(actors): ListShared {
        const { region } = regionWithThreads(actors);
        // Where the slot of a thread -1 would be, something looks as if that one lived.
        const slot = region.slotBase(slotOfHolder(-1));
        region.allocatePages(slot);
        store(region.words, slot + Slot.state, -1);
        const bad = BadPages.create(threadAt(region, 0));
        listed?.(bad);
        return { region, truth: region.allocatePages(1) };
      },
      begin: (shared, actors) => new BadList(shared, actors, last ?? (() => {})),
    },
    plot,
  );
}

function shown(runs: readonly PageRun[]): string {
  return runs.map(({ first, last }) => `${first}-${last}`).join(" ");
}

function ensureListed(bad: BadPages, expected: string): void {
  const found = shown(bad.list());
  ensure(found === expected, `the list is "${found}", and not "${expected}"`);
}

const PAGES = 24;

/** What the list is held to, page by page. */
class PlainList {
  readonly #pages: ({ report: number; told: boolean } | null)[] = new Array(PAGES).fill(null);

  /** Ranges are as long as can be. */
  runs(): PageRun[] {
    const runs: PageRun[] = [];
    for (let first = 0; first < PAGES; first++) {
      let end = first;
      while (end < PAGES && this.#pages[end] !== null) end++;
      if (end > first) runs.push({ first, last: end - 1 });
      first = end;
    }
    return runs;
  }

  #overlapping(first: number, last: number): PageRun[] {
    return this.runs().filter((run) => run.first <= last && run.last >= first);
  }

  add(first: number, last: number, report: number): PageRun {
    this.#pages.fill({ report, told: false }, first, last + 1);
    const run = this.#overlapping(first, last)[0]!;
    this.#pages.fill({ report, told: false }, run.first, run.last + 1);
    return run;
  }

  find(first: number, last: number): PageRun | null {
    const run = this.#overlapping(first, last)[0];
    if (run === undefined) return null;
    return { first: Math.max(first, run.first), last: Math.min(last, run.last) };
  }

  clear(first: number, last: number, report: number): boolean {
    let cleared = true;
    for (const run of this.#overlapping(first, last)) {
      if (this.#pages[run.first]!.report > report) cleared = false;
      else this.#pages.fill(null, Math.max(first, run.first), Math.min(last, run.last) + 1);
    }
    return cleared;
  }

  takeUntold(first: number, last: number): boolean {
    const untold = this.#overlapping(first, last).filter((run) => !this.#pages[run.first]!.told);
    for (const run of untold) {
      const { report } = this.#pages[run.first]!;
      this.#pages.fill({ report, told: true }, run.first, run.last + 1);
    }
    return untold.length > 0;
  }
}

export const badPagesAtRandom = listStory({
  name: "bad-pages-at-random",
  about:
    "Pages are lost, overwritten, told of and looked for, by numbers that look like chance: the list says what " +
    "a plain one does.",
  from: "pages/bad-pages.ts",
  explore: { strategy: "reduced" },
  actors: {
    one(list, self) {
      const bad = list.of(self);
      const plain = new PlainList();
      let state = 1;
      const below = (limit: number): number => {
        state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
        return (state >>> 8) % limit;
      };
      for (let turn = 0; turn < 400; turn++) {
        const first = below(PAGES);
        const last = Math.min(PAGES - 1, first + below(4));
        const what = below(8);
        const told = `turn ${turn}, pages ${first} to ${last}`;
        if (what < 3) {
          const added = bad.add(first, last);
          ensure(shown([added]) === shown([plain.add(first, last, added.report)]), told);
          ensure(added.report === bad.lastReport, `${told}: another report is the last one`);
        } else if (what < 6) {
          const report = bad.lastReport - below(4);
          ensure(bad.clear(first, last, report) === plain.clear(first, last, report), told);
        } else {
          ensure(bad.takeUntold(first, last) === plain.takeUntold(first, last), told);
        }
        const [found, expected] = [bad.find(first, last), plain.find(first, last)];
        ensure(shown(found ? [found] : []) === shown(expected ? [expected] : []), told);
        ensureListed(bad, shown(plain.runs()));
        ensure(!bad.hasAbandoned, "a report is abandoned, and nobody has died");
      }
    },
  },
});

/** Ranges that there is room for: half of them from reports, the others from cutting. */
const REPORTED = 120;
const APART = 16;

export const badPagesFull = listStory({
  name: "bad-pages-full",
  about:
    "As many pages are lost, far from one another, as there is room for. What is lost then widens the range that " +
    "is nearest; and a range that cannot be cut stays.",
  from: "pages/bad-pages.ts: with no room, too much is listed",
  explore: { strategy: "reduced" },
  actors: {
    one(list, self) {
      const bad = list.of(self);
      for (let at = 1; at <= REPORTED; at++) bad.add(at * APART, at * APART + 6);
      ensure(bad.list().length === REPORTED, "ranges are joined that do not touch");
      bad.add(5 * APART + 8, 5 * APART + 8);
      bad.add(7 * APART - 3, 7 * APART - 3);
      bad.add(0, 0);
      const wide = bad.list().filter(({ first, last }) => last - first !== 6);
      ensure(shown(wide) === "0-22 80-88 109-118", `the ranges ${shown(wide)} are wider`);
      const report = bad.lastReport;
      for (let at = 1; at <= REPORTED; at++) {
        ensure(bad.clear(at * APART + 3, at * APART + 3, report), "there is no room to cut");
      }
      ensure(bad.list().length === 2 * REPORTED, "halves are lost");
      ensure(!bad.clear(2 * APART + 1, 2 * APART + 1, report), "a range is cut into no room");
      ensure(bad.find(2 * APART + 1, 2 * APART + 1) !== null, "a page that is not cleared goes");
    },
  },
});

export const badPagesAsked = listStory({
  name: "bad-pages-asked",
  about:
    "A page is overwritten while another thread looks for pages, and tells of the one that goes. Pages that were " +
    "never lost are not found, the other lost ones always; and what is told of one range is not noted of another.",
  from: "pages/bad-pages.ts: ranges move when one goes",
  explore: { strategy: "bounded", preemptions: 2 },
  listed(bad) {
    bad.add(10, 12);
    bad.add(2, 3);
  },
  actors: {
    write(list, self) {
      const bad = list.of(self);
      ensure(bad.clear(10, 12, bad.lastReport), "a page that is overwritten stays listed");
    },
    asker: [
      (list, self) => list.of(self).hasAbandoned,
      (list, self) => ensure(list.of(self).find(5, 9) === null, "a healthy page is found"),
      (list, self) => ensure(list.of(self).find(2, 2) !== null, "a lost page is not found"),
      (list, self) => {
        const found = shown(list.of(self).list());
        ensure(found === "2-3 10-12" || found === "2-3", `the list is "${found}"`);
      },
      (list, self) => list.of(self).takeUntold(10, 12),
      (list, self) => list.of(self).noteHandled(1),
    ],
  },
  finally(list) {
    ensureListed(list.survivors, "2-3");
    const [range] = list.ranges;
    ensure(range!.handler !== 0, "a report is noted as handled that is not");
    ensure(list.survivors.takeUntold(2, 2), "nobody tells of a lost page");
  },
});

const LOST = 1;
/** Of higher number than what was in its place in the list. */
const FAR = 30;
/** Behind the truth: 1 when the report is about to be noted as handled, 2 when it is. */
const HANDLED = 1;

export const badPagesReporterDies = listStory({
  name: "bad-pages-reporter-dies",
  about:
    "A thread dies while it reports a page between two others, and one far away, or while the first one is " +
    "overwritten. What was listed stays so, and the page, too, if it has been listed and not been overwritten since.",
  from: "pages/bad-pages.ts, invariants 1 and 3",
  explore: { strategy: "bounded", preemptions: 2 },
  listed(bad) {
    for (const page of [LOST - 1, LOST + 1, 8, 20]) {
      bad.noteHandled(bad.add(page, page).report);
      bad.takeUntold(page, page);
    }
    bad.clear(20, 20, bad.lastReport);
  },
  actors: {
    report(list, self) {
      store(self.thread.words, list.truth, 1);
      list.of(self).noteHandled(list.of(self).add(FAR, FAR).report);
      const { report } = list.of(self).add(LOST, LOST);
      store(self.thread.words, list.truth + HANDLED, 1);
      list.of(self).noteHandled(report);
      store(self.thread.words, list.truth + HANDLED, 2);
      load(self.thread.words, list.truth); // to die before
    },
    write(list, self) {
      const bad = list.of(self);
      const report = bad.lastReport;
      store(self.thread.words, list.truth, 0);
      const isLost = bad.find(LOST, LOST) !== null && load(self.thread.words, list.truth) === 1;
      bad.clear(LOST, LOST, report);
      ensure(!isLost || bad.find(LOST, LOST) !== null, "a page is lost, and not listed any more");
    },
  },
  environment: { death: { kill: "report" } },
  finally(list) {
    const bad = list.survivors;
    for (const page of [LOST - 1, LOST + 1, 8]) {
      ensure(bad.find(page, page) !== null, `page ${page} is listed no more`);
    }
    const isListed = bad.find(LOST, LOST) !== null;
    ensure(!isListed || bad.takeUntold(LOST, LOST), "nobody tells of a lost page");
    for (const run of bad.list()) ensure(run.first <= run.last, `a range of ${shown([run])}`);
    const handled = load(list.actors[0]!.thread.words, list.truth + HANDLED);
    ensure(!isListed || handled > 0 || bad.hasAbandoned, "a report is listed, and nobody's");
    ensure(handled < 2 || !bad.hasAbandoned, "a report that is handled is abandoned");
    const left = list.abandonedReports;
    for (let taken = bad.takeAbandoned(); taken !== null; taken = bad.takeAbandoned()) {
      const at = left.indexOf(taken.first);
      ensure(at >= 0, `page ${taken.first} is handled, which nobody had abandoned`);
      left.splice(at, 1);
      bad.noteHandled(taken.report);
    }
    ensure(left.length === 0, `pages from ${left.join(", ")} on are handled by nobody`);
  },
});

function take(list: BadList, self: Self): void {
  if (list.of(self).takeAbandoned() === null) return;
  ensure(add(self.thread.words, list.truth, 1) === 0, "one report is handled by two threads");
}

export const badPagesTaken = listStory({
  name: "bad-pages-taken",
  about:
    "The thread that handles a report dies. Two others find that, and one of them takes the report over.",
  from: "pages/bad-pages.ts, takeAbandoned",
  explore: { strategy: "bounded", preemptions: 2 },
  listed: (bad) => bad.add(3, 3), // by the first actor's thread
  actors: {
    reporter: (list, self) => load(self.thread.words, list.truth),
    one: take,
    other: take,
  },
  environment: { death: { kill: "reporter" } },
});
