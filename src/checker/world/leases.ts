/**
 * Leases of a bare file, and the truth that they are held to: while somebody relies on a range, and is
 * not late to return it, nobody changes its layout or relies on it otherwise.
 */
import { withBrokenLayout } from "../../layout/break.ts";
import {
  graceLeft,
  type Lease,
  LEASE_WORDS,
  LeaseArea,
  LeaseBreak,
  LeaseKind,
  LeaseRecord,
  LeaseState,
  Reason,
  recallWord,
  requestLease,
  returnLease,
  stateOfLease,
} from "../../layout/lease.ts";
import { add, load, loadUnsigned, store } from "../../sync/atomics.ts";
import { Root } from "../../sync/region.ts";
import { objectsInUse, SLAB_WORDS } from "../../sync/slab.ts";
import type { Sleeps } from "../../sync/sleep.ts";
import { forEachRecord } from "../../sync/table.ts";
import { Slot } from "../../sync/thread.ts";
import { ensure, ensureNoLeak, type Plot, type Scenario, type Self } from "../scenario.ts";
import { fieldName } from "./names.ts";
import { playedIn } from "./plots.ts";
import { makeFirstLeases, threadAt } from "./threads.ts";
import { buildTold, ToldFile, type ToldShared } from "./told.ts";

const LEASES_PER_ACTOR = 2;

export interface LeaseShared extends ToldShared {
  /** Words: the leases that each actor relies on, then changes under way and changes done. */
  readonly truths: number;
  readonly records: number;
}

function buildLeases(actors: number): LeaseShared {
  const told = buildTold(actors, LEASE_PAGES);
  const records = makeFirstLeases(threadAt(told.region, 0));
  return { ...told, truths: told.region.allocatePages(1), records };
}

const LEASE_PAGES = 3;
const RECORDS_NAMED = 8;

export class LeaseFile extends ToldFile {
  readonly #truths: number;
  readonly #records: number;

  constructor(shared: LeaseShared, actors: readonly Self[]) {
    super(shared, actors);
    this.#truths = shared.truths;
    this.#records = shared.records;
  }

  #relied(actor: number): number {
    return this.#truths + actor * LEASES_PER_ACTOR;
  }

  get #changing(): number {
    return this.#relied(this.hands.length);
  }

  get #changes(): number {
    return this.#changing + 1;
  }

  /** Whether the layout has been changed. */
  hasChanged({ thread }: Self): boolean {
    return load(thread.words, this.#changes) > 0;
  }

  /** Asks for a lease, and relies on it from then on. */
  *hold(
    self: Self,
    first: number,
    last: number,
    kind: "shared" | "exclusive" = "shared",
    graceMs = 10,
    returnsOwn = false,
  ): Sleeps<Lease> {
    const request = { first, last, kind: LeaseKind[kind], graceMs, returnsOwn };
    const lease = yield* requestLease(self.task, this.mapping, request);
    self.say(`has ${kind} lease of pages ${first} to ${last}`);
    this.#ensureGranted(self, lease, first, last);
    const own = this.#relied(this.hands.indexOf(this.hand(self)));
    store(self.thread.words, load(self.thread.words, own) === 0 ? own : own + 1, lease);
    return lease;
  }

  #ensureGranted(self: Self, lease: Lease, first: number, last: number): void {
    ensure(
      load(self.thread.words, this.#changing) === 0,
      "a lease is granted while the layout changes, or is written",
    );
    this.ensureNobodyRelies(self, first, last, lease, "a lease is granted");
  }

  /** Demands that nobody else relies on pages and is in time; for a lease that is granted: not otherwise. */
  ensureNobodyRelies(
    { name, thread }: Self,
    first: number,
    last: number,
    granted: Lease,
    when: string,
  ): void {
    const { words } = thread;
    const isShared = granted !== 0 && load(words, granted + LeaseRecord.kind) === LeaseKind.shared;
    for (const [actor, { self }] of this.hands.entries()) {
      if (!self.thread.isAlive(self.thread.holder)) continue;
      if (granted === 0 && self.name === name) continue; // its own changes are its own business
      for (let at = 0; at < LEASES_PER_ACTOR; at++) {
        const lease = load(words, this.#relied(actor) + at);
        if (lease === 0 || lease === granted) continue;
        if (isShared && load(words, lease + LeaseRecord.kind) === LeaseKind.shared) continue;
        if (loadUnsigned(words, lease + LeaseRecord.first) > last) continue;
        if (loadUnsigned(words, lease + LeaseRecord.last) < first) continue;
        const left = graceLeft(thread, lease);
        const isRecalled = load(words, recallWord(lease)) >= LeaseState.recalled;
        // More than any grace: the clock has gone round since.
        const isLate = isRecalled && (left <= 0 || left > 1000);
        // Returned in between: its record says nothing any more.
        if (load(words, this.#relied(actor) + at) !== lease) continue;
        ensure(isLate, `${when} while ${self.name} relies on pages of it`);
      }
    }
  }

  /** Relies on a lease no more, and returns it. */
  unhold(self: Self, lease: Lease): void {
    const { words } = self.thread;
    const own = this.#relied(this.hands.indexOf(this.hand(self)));
    store(words, load(words, own) === lease ? own : own + 1, 0);
    self.say("returns its lease");
    returnLease(self.thread, lease);
  }

  /** Sleeps until the lease is recalled. */
  *awaitRecall(self: Self, lease: Lease): Sleeps<void> {
    const word = recallWord(lease);
    while (load(self.thread.words, word) === LeaseState.granted) {
      yield { word, expected: LeaseState.granted, what: () => "the recall of its lease" };
    }
  }

  isExpired(self: Self, lease: Lease): boolean {
    return stateOfLease(self.thread, lease) === LeaseState.expired;
  }

  /** Changes the layout of pages, which stay where they are. */
  *change(self: Self, first: number, last: number): Sleeps<void> {
    const { words } = self.thread;
    const plan = () => ({ first, last });
    const file = this;
    yield* withBrokenLayout(self.task, this.hand(self), this.mapping, plan, function* () {
      add(words, file.#changing, 1);
      file.ensureNobodyRelies(self, first, last, 0, "the layout changes");
      self.say(`changes the layout of pages ${first} to ${last}`);
      add(words, file.#changes, 1);
      add(words, file.#changing, -1);
    });
  }

  override end(): void {
    super.end();
    const { thread } = this.hands[0]!;
    const { region, words } = thread;
    for (const { self } of this.hands) {
      forEachRecord(words, self.thread.base + Slot.leases, 2, () =>
        ensureNoLeak(false, `${self.name}'s table still names a lease`),
      );
    }
    // Who dies with a record in his hands loses that one.
    const lost = this.hands.some(({ self }) => !self.thread.isAlive(self.thread.holder)) ? 1 : 0;
    const left = objectsInUse(thread, region.root(Root.leases));
    ensureNoLeak(left >= 0 && left <= lost, `${left} records of leases are left`);
  }

  override nameOf(word: number): string | null {
    const truth = word - this.#truths;
    if (word === this.#changing) return "truth: a change is under way";
    if (word === this.#changes) return "truth: changes done";
    if (truth >= 0 && word < this.#changing) {
      const actor = Math.floor(truth / LEASES_PER_ACTOR);
      return `truth: ${this.hands[actor]!.self.name} relies on a lease`;
    }
    return this.#recordWordName(word) ?? super.nameOf(word);
  }

  #recordWordName(word: number): string | null {
    const area = this.hands[0]!.thread.region.root(Root.leases);
    const offset = word - area;
    if (offset >= 0 && offset < SLAB_WORDS) return "free records of leases";
    if (offset === LeaseArea.guard) return "guard of leases";
    if (offset === LeaseArea.serial) return "next serial";
    const within = word - this.#records;
    if (within < 0 || within >= RECORDS_NAMED * LEASE_WORDS) return null;
    return `lease at ${Math.floor(within / LEASE_WORDS)}: ${fieldName(LeaseRecord, within % LEASE_WORDS)}`;
  }
}

/** What has come to pass. */
export const Told = { granted: 1, recalled: 2, changed: 3, seen: 4 } as const;

export function leaseStory(plot: Plot<LeaseShared, LeaseFile>): Scenario<LeaseShared, LeaseFile> {
  return playedIn(
    {
      build: buildLeases,
      begin: (shared, actors) => new LeaseFile(shared, actors),
    },
    plot,
  );
}

/** Recalls the lease of page 0 and gives up. No lock is needed: nobody else asks for one. */
export function recallOnly(file: LeaseFile, self: Self): void {
  using leases = new LeaseBreak(self.thread, file.mapping);
  ensure(leases.recall(0, 0, Reason.unmap), "a lease is not found");
}
