/**
 * Bad pages: device pages whose bytes are lost (poisoned), as ranges in shared memory.
 *
 * Area, in words: 0 guard | 1 ranges | 2 reports so far | 8.. ranges, RANGE_WORDS each
 * Range: 0 first page | 1 last page | 2 number of the report | 3 a write-back has told of it
 * | 4 who handles the report, 0 when that is done, ABANDONED when it may not be
 *
 * Invariants. (1) Whoever dies inside the guard leaves too much listed, never too little: a range grows
 *                 before another one goes, and one that is cut gets its second half first. All ranges are
 *                 reports anew then.
 *             (2) A report is listed before its handler looks for owners of the pages, and whoever makes
 *                 a page reachable looks here after it has an owner: one of the two sees the other.
 *             (3) What overwrites a page clears it last, and only of reports from before it began: who
 *                 reads meanwhile stays out, and a report that comes meanwhile stays.
 *
 * With no room for another range the nearest one is widened over the new one. As long as nothing is bad,
 * a look costs one load.
 */
import { load, loadUnsigned, store } from "../sync/atomics.ts";
import { enterGuard, leaveGuard } from "../sync/guard.ts";
import { Root } from "../sync/region.ts";
import type { Thread } from "../sync/thread.ts";

/** Words of the area, and of a range: also for stories. */
export const Area = { guard: 0, count: 1, reports: 2, table: 8 } as const;
export const Range = { first: 0, last: 1, report: 2, told: 3, handler: 4 } as const;
export const RANGE_WORDS = 8;
const ABANDONED = -1;
/** Ranges that reports can make; as many again can come from cutting them. */
const REPORTED_MAX = 120;
const RANGES_MAX = 2 * REPORTED_MAX;

/** Device pages [first, last]. */
export interface PageRun {
  readonly first: number;
  readonly last: number;
}

/** A report that is listed, with what it was joined with. */
export interface PoisonReport extends PageRun {
  readonly report: number;
}

export class BadPages {
  readonly #thread: Thread;
  readonly #area: number;

  constructor(thread: Thread) {
    this.#thread = thread;
    this.#area = thread.region.root(Root.failure);
  }

  static create(thread: Thread): BadPages {
    const { region } = thread;
    region.setRoot(Root.failure, region.allocatePages(Area.table + RANGES_MAX * RANGE_WORDS));
    return new BadPages(thread);
  }

  /** Whether any page is bad. */
  get any(): boolean {
    return load(this.#thread.words, this.#area + Area.count) !== 0;
  }

  /** The number of the last report: what `clear` is to be given, read before what it clears is written. */
  get lastReport(): number {
    return load(this.#thread.words, this.#area + Area.reports);
  }

  /**
   * Lists a report of pages [first, last], which this thread is to handle. Returns what is listed, with
   * what touches it: more than was reported, where there is no room.
   */
  add(first: number, last: number): PoisonReport {
    const { words } = this.#thread;
    this.#enter();
    const listed = this.#join(first, last) ?? this.#append(first, last) ?? this.#widen(first, last);
    this.#renew(listed, this.#thread.holder);
    const report = { ...this.#runOf(listed), report: load(words, listed + Range.report) };
    this.#leave();
    return report;
  }

  /** Notes that a report's owners have been found and told. */
  noteHandled(report: number): void {
    const { words } = this.#thread;
    this.#enter();
    this.#forEach((range) => {
      if (load(words, range + Range.report) === report) store(words, range + Range.handler, 0);
    });
    this.#leave();
  }

  /** Whether there is a report whose handler has died. */
  get hasAbandoned(): boolean {
    if (!this.any) return false;
    let found = false;
    this.#enter();
    this.#forEach((range) => {
      if (this.#isAbandoned(range)) found = true;
    });
    this.#leave();
    return found;
  }

  /** A report whose handler has died, which this thread is to handle now; or null. */
  takeAbandoned(): PoisonReport | null {
    const { words } = this.#thread;
    if (!this.any) return null;
    let taken: PoisonReport | null = null;
    this.#enter();
    this.#forEach((range) => {
      if (taken !== null || !this.#isAbandoned(range)) return;
      // Its other half, if it has been cut, is not handled with it.
      this.#renew(range, this.#thread.holder);
      taken = { ...this.#runOf(range), report: load(words, range + Range.report) };
    });
    this.#leave();
    return taken;
  }

  /** The first bad pages among [first, last], or null. */
  find(first: number, last: number): PageRun | null {
    if (!this.any) return null;
    let found: PageRun | null = null;
    this.#enter();
    this.#forEach((range) => {
      const run = this.#runOf(range);
      if (run.first > last || run.last < first) return;
      if (found !== null && found.first <= run.first) return;
      found = { first: Math.max(first, run.first), last: Math.min(last, run.last) };
    });
    this.#leave();
    return found;
  }

  /**
   * Takes pages [first, last] off the list, which have been overwritten since `report` was the last
   * one. Returns false when a later report, or want of room for the halves of a range, keeps one.
   */
  clear(first: number, last: number, report: number): boolean {
    if (!this.any) return true;
    let cleared = true;
    this.#enter();
    this.#forEach((range) => {
      const run = this.#runOf(range);
      if (run.first > last || run.last < first) return;
      const later = ((load(this.#thread.words, range + Range.report) - report) | 0) > 0;
      if (later || !this.#cut(range, run, first, last)) cleared = false;
    });
    this.#leave();
    return cleared;
  }

  /** Whether pages among [first, last] are bad of which no write-back has told; from now on one has. */
  takeUntold(first: number, last: number): boolean {
    const { words } = this.#thread;
    let untold = false;
    this.#enter();
    this.#forEach((range) => {
      const run = this.#runOf(range);
      if (run.first > last || run.last < first || load(words, range + Range.told) !== 0) return;
      untold = true;
      store(words, range + Range.told, 1);
    });
    this.#leave();
    return untold;
  }

  /** All bad pages, in the device's order. */
  list(): PageRun[] {
    const runs: PageRun[] = [];
    if (!this.any) return runs;
    this.#enter();
    this.#forEach((range) => {
      runs.push(this.#runOf(range));
    });
    this.#leave();
    return runs.sort((a, b) => a.first - b.first);
  }

  #enter(): void {
    if (!enterGuard(this.#thread, this.#area + Area.guard)) return;
    this.#forEach((range) => this.#renew(range, ABANDONED));
  }

  /** Makes a range a new report. */
  #renew(range: number, handler: number): void {
    const { words } = this.#thread;
    const report = (load(words, this.#area + Area.reports) + 1) | 0;
    store(words, this.#area + Area.reports, report);
    store(words, range + Range.report, report);
    store(words, range + Range.told, 0);
    store(words, range + Range.handler, handler);
  }

  #isAbandoned(range: number): boolean {
    const handler = load(this.#thread.words, range + Range.handler);
    return handler === ABANDONED || (handler !== 0 && !this.#thread.isAlive(handler));
  }

  #leave(): void {
    leaveGuard(this.#thread, this.#area + Area.guard);
  }

  #rangeAt(index: number): number {
    return this.#area + Area.table + index * RANGE_WORDS;
  }

  /** Visits the ranges from the last to the first, so that the one visited may go. */
  #forEach(visit: (range: number) => void): void {
    const count = load(this.#thread.words, this.#area + Area.count);
    for (let index = count - 1; index >= 0; index--) visit(this.#rangeAt(index));
  }

  #runOf(range: number): PageRun {
    const { words } = this.#thread;
    return {
      first: loadUnsigned(words, range + Range.first),
      last: loadUnsigned(words, range + Range.last),
    };
  }

  /** Grows a range over [first, last]. */
  #grow(range: number, { first, last }: PageRun): void {
    const { words } = this.#thread;
    const run = this.#runOf(range);
    if (first < run.first) store(words, range + Range.first, first | 0);
    if (last > run.last) store(words, range + Range.last, last | 0);
  }

  /** Joins [first, last] and all ranges that it touches into one of them; null when it touches none. */
  #join(first: number, last: number): number | null {
    let joined = 0;
    this.#forEach((range) => {
      const run = this.#runOf(range);
      if (run.first > last + 1 || run.last < first - 1) return;
      this.#grow(range, { first, last });
      if (joined !== 0) {
        this.#grow(range, this.#runOf(joined));
        this.#remove(joined);
      }
      joined = range;
    });
    return joined === 0 ? null : joined;
  }

  #append(first: number, last: number): number | null {
    const { words } = this.#thread;
    const count = load(words, this.#area + Area.count);
    if (count >= REPORTED_MAX) return null;
    return this.#put(first, last, count);
  }

  #put(first: number, last: number, count: number): number {
    const { words } = this.#thread;
    const range = this.#rangeAt(count);
    store(words, range + Range.first, first | 0);
    store(words, range + Range.last, last | 0);
    store(words, this.#area + Area.count, count + 1);
    return range;
  }

  /** Widens the range nearest to [first, last] over it. */
  #widen(first: number, last: number): number {
    let nearest = 0;
    let distance = Infinity;
    this.#forEach((range) => {
      const run = this.#runOf(range);
      const apart = run.first > last ? run.first - last : first - run.last;
      if (apart >= distance) return;
      distance = apart;
      nearest = range;
    });
    this.#grow(nearest, { first, last });
    return nearest;
  }

  /** Takes [first, last] out of a range. Returns false when there is no room for its second half. */
  #cut(range: number, run: PageRun, first: number, last: number): boolean {
    const { words } = this.#thread;
    if (first <= run.first && last >= run.last) {
      this.#remove(range);
      return true;
    }
    if (first > run.first && last < run.last) {
      const count = load(words, this.#area + Area.count);
      if (count >= RANGES_MAX) return false;
      for (const word of [Range.report, Range.told, Range.handler]) {
        store(words, this.#rangeAt(count) + word, load(words, range + word));
      }
      this.#put(last + 1, run.last, count);
    }
    if (first > run.first) store(words, range + Range.last, (first - 1) | 0);
    else store(words, range + Range.first, (last + 1) | 0);
    return true;
  }

  /** The last range takes the place of one that goes. */
  #remove(range: number): void {
    const { words } = this.#thread;
    const count = load(words, this.#area + Area.count);
    const last = this.#rangeAt(count - 1);
    // Grown over both first, in case that this thread dies on the way.
    this.#grow(range, this.#runOf(last));
    for (let word = 0; word < RANGE_WORDS; word++) {
      store(words, range + word, load(words, last + word));
    }
    store(words, this.#area + Area.count, count - 1);
  }
}
