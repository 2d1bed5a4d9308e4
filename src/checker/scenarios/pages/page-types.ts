/** Page types: who is told that pages are idle, whatever happens beside it. */
import { HoldfastError } from "../../../base/errors.ts";
import { HUGE_PAGES } from "../../../base/quantities.ts";
import { add, addThenNote, load } from "../../../sync/atomics.ts";
import { type Region, Root, SLOT_WORDS } from "../../../sync/region.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import type { Thread } from "../../../sync/thread.ts";
import { Pages } from "../../../pages/pages.ts";
import { Area, TYPE_WORDS, TYPES_MAX } from "../../../pages/page-types.ts";
import { ensure, type Plot, type Scenario, type Self } from "../../scenario.ts";
import { fieldName } from "../../world/names.ts";
import { playedIn } from "../../world/plots.ts";
import { buildRecords, type Owned, Records, type RecordsShared } from "../../world/records.ts";
import { isDead, threadAt } from "../../world/threads.ts";

const FILE = 1000;
const OTHER = 2000;
const NAME = new TextEncoder().encode("type");
const TYPE = 1;
/** Of the device; all of a type where the story does not begin without one. */
const CHUNK = 0;
const PAGE: Owned = { device: CHUNK * HUGE_PAGES, count: 1, owner: FILE, index: 0 };

interface TypesShared extends RecordsShared {
  readonly region: Region;
  /** A word: pins of PAGE that were taken. Then one per thread: it holds one. */
  readonly truth: number;
}

/** Records of a device with a type, in one schedule. */
class TypedPages {
  readonly records: Records;
  readonly #actors: readonly Self[];
  readonly #truth: number;
  readonly #kept: boolean;

  constructor(shared: TypesShared, actors: readonly Self[]) {
    this.#actors = actors;
    this.#truth = shared.truth;
    this.#kept = shared.kept.length > 0;
    this.records = new Records(shared, actors);
    for (const self of actors) {
      this.#recoverPins(self.thread, this.pages(self));
      this.pages(self).types.recover();
    }
  }

  pages(self: Self): Pages {
    return this.records.pages(self);
  }

  #heldWord(slot: number): number {
    return this.#truth + 1 + slot;
  }

  #recoverPins(thread: Thread, pages: Pages): void {
    thread.onThreadDeath((_dead, slotBase) => {
      const slot = (slotBase - thread.region.slotBase(0)) / SLOT_WORDS;
      const held = this.#heldWord(slot);
      if (load(thread.words, held) !== 0) pages.releaseNoting(pages.find(PAGE.device)!, held, 0);
    });
  }

  /** Pins the page, and releases it after `body`. */
  pinOnce(self: Self, body: () => void = () => {}): void {
    const { words, slot } = self.thread;
    const pages = this.pages(self);
    const page = pages.find(PAGE.device)!;
    addThenNote(words, pages.pinWord(page), 1, this.#heldWord(slot), 1);
    add(words, this.#truth, 1);
    body();
    pages.releaseNoting(page, this.#heldWord(slot), 0);
  }

  pinsTaken(self: Self): number {
    return load(self.thread.words, this.#truth);
  }

  /** Sleeps until it is told of the chunk, idle, after so many pins were taken. */
  *untilTold(self: Self, pins: number): Sleeps<void> {
    const { words } = self.thread;
    const pages = this.pages(self);
    const word = pages.types.toldWord(TYPE);
    for (;;) {
      const expected = load(words, word);
      const told = pages.types.takeIdle(TYPE);
      const isIdle = told.includes(CHUNK) && pages.isChunkIdle(CHUNK);
      if (isIdle && this.pinsTaken(self) >= pins) break;
      yield { word, expected, what: () => "to be told of idle pages" };
    }
    self.say("told: idle");
  }

  /** Registers the type when its registrar has ended. */
  *untilRegistered(self: Self): Sleeps<void> {
    const { types } = this.pages(self);
    const word = types.toldWord(TYPE);
    for (;;) {
      const expected = load(self.thread.words, word);
      try {
        ensure(types.register(NAME) === TYPE, "a type has another number for its next registrar");
        return;
      } catch (error) {
        if (!(error instanceof HoldfastError && error.code === "EEXIST")) throw error;
      }
      yield { word, expected, what: () => "the registrar to end" };
    }
  }

  /** Registers the type, as another thread does. */
  registerRaced(self: Self): void {
    const registered = tryRegister(this.pages(self), "type");
    if (registered !== "EEXIST") add(self.thread.words, this.#truth, 1);
    ensure(load(self.thread.words, this.#truth) <= 1, "two threads are registrars of a type");
    ensure(registered === "EEXIST" || registered === TYPE, "there are two types of one name");
  }

  /** Sleeps until the page is not pinned, as a layout change does. */
  *untilReleased(self: Self): Sleeps<void> {
    const pages = this.pages(self);
    const page = pages.find(PAGE.device)!;
    for (;;) {
      const expected = pages.prepareWait(page);
      if (expected === null) return;
      yield { word: pages.wakeWord(page), expected, what: () => "the page to be released" };
    }
  }

  isDead(actor: number): boolean {
    return isDead(this.#actors[actor]!.thread);
  }

  /** Sleeps until the chunk is idle, which it may be from the beginning. */
  *untilIdle(self: Self): Sleeps<void> {
    const pages = this.pages(self);
    const word = pages.types.toldWord(TYPE);
    for (;;) {
      const expected = load(self.thread.words, word);
      if (pages.isChunkIdle(CHUNK)) return;
      yield { word, expected, what: () => "to be told of idle pages" };
    }
  }

  end(): void {
    const survivor = this.#actors.find(({ thread }) => thread.isAlive(thread.holder))!;
    const pages = this.pages(survivor);
    const page = pages.find(PAGE.device);
    if (!this.#kept && page !== null) pages.disassociate(page, 1, FILE);
    this.records.end();
  }

  nameOf(word: number): string | null {
    const { region } = this.#actors[0]!.thread;
    const offset = word - region.root(Root.pageTypes);
    if (offset >= 0 && offset < Area.table + TYPES_MAX * TYPE_WORDS) {
      return offset < Area.table
        ? `page types: ${fieldName(Area, offset)}`
        : `page type: ${["registrar", "told", "length of the name"][(offset - Area.table) % TYPE_WORDS] ?? "name"}`;
    }
    const at = word - this.#truth;
    if (at === 0) return "pins taken";
    if (at > 0 && at < 16) return `thread ${at - 1} holds a pin`;
    return this.records.nameOf(word);
  }
}

interface Story extends Plot<TypesShared, TypedPages> {
  /** Whether the chunk is of the type from the beginning. */
  readonly typed: boolean;
  /** Whether the page has its owner all the time; else the first actor's thread has given it. */
  readonly kept: boolean;
}

function typeStory({ typed, kept, ...plot }: Story): Scenario<TypesShared, TypedPages> {
  return playedIn(
    {
      build(actors): TypesShared {
        const shared = buildRecords(actors, 2, kept ? [PAGE] : []);
        const pages = Pages.attach(threadAt(shared.region, 0));
        if (!kept) pages.associate(PAGE.device, 1, FILE, 0, false);
        ensure(pages.types.register(NAME) === TYPE, "the first type has another number");
        pages.types.takeIdle(TYPE);
        if (typed) pages.setType(CHUNK, 1, TYPE);
        return { ...shared, truth: shared.region.allocatePages(16) };
      },
      begin: (shared, actors) => new TypedPages(shared, actors),
    },
    plot,
  );
}

export const typeTold = typeStory({
  name: "type-told",
  about:
    "Two threads pin and release a page of a registered type. However their pins overlap, the registrar, " +
    "who sleeps until it is told and takes what it was told of, is told after the last release.",
  from: "MEMORY_DEVICE_PRIVATE's page_free; pages/page-types.ts, invariant 1",
  typed: true,
  kept: true,
  explore: { strategy: "bounded", preemptions: 3 },
  actors: {
    one: (typed, self) => typed.pinOnce(self),
    other: (typed, self) => typed.pinOnce(self),
    registrar: (typed, self) => typed.untilTold(self, 2),
  },
});

export const typeSetPinned = typeStory({
  name: "type-set-pinned",
  about:
    "A page becomes one of a type while another thread pins and releases it. Who has set the type and " +
    "then finds it pinned is told when it is not.",
  from: "pages/pages.ts, setType: pins that are held count",
  typed: false,
  kept: true,
  explore: { strategy: "reduced" },
  actors: {
    pinner: (typed, self) => typed.pinOnce(self),
    *setter(typed, self) {
      typed.pages(self).setType(CHUNK, 1, TYPE);
      yield* typed.untilIdle(self);
    },
  },
});

export const typeReused = typeStory({
  name: "type-reused",
  about:
    "After the last release of a page, and before its thread tells of it, the page loses its owner and its " +
    "record is used for another part of the device. The registrar is told all the same.",
  from: "pages/pages.ts, invariant 6",
  typed: true,
  kept: false,
  explore: { strategy: "bounded", preemptions: 3 },
  actors: {
    pinner: (typed, self) => typed.pinOnce(self),
    remover(typed, self) {
      const pages = typed.pages(self);
      if (typed.pinsTaken(self) === 0 || !pages.isChunkIdle(CHUNK)) return;
      pages.disassociate(pages.find(PAGE.device)!, 1, FILE);
      pages.associate(HUGE_PAGES, 1, OTHER, 0, false);
      pages.disassociate(pages.find(HUGE_PAGES)!, 1, OTHER);
    },
    registrar: (typed, self) => typed.untilTold(self, 1),
  },
});

export const typePinnerDies = typeStory({
  name: "type-pinner-dies",
  about:
    "A thread dies at any point while it pins and releases a page of a registered type. When what it held " +
    "has been given back, by whoever comes first, the registrar has been told.",
  from: "pages/page-types.ts, invariant 2",
  typed: true,
  kept: true,
  explore: { strategy: "reduced" },
  actors: {
    dying: (typed, self) => typed.pinOnce(self),
    registrar: (typed, self) => typed.untilTold(self, 0),
    other: (typed, self) => typed.records.reap(self),
  },
  environment: { death: { kill: "dying" } },
});

export const typeTakenAway = typeStory({
  name: "type-taken-away",
  about:
    "A page of a registered type is pinned and released while it is made one of none. Its registrar is told " +
    "or not; nobody else is.",
  from: "pages/pages.ts, setType; pages/page-types.ts, tell",
  typed: true,
  kept: true,
  explore: { strategy: "reduced" },
  actors: {
    pinner: (typed, self) => typed.pinOnce(self),
    setter: (typed, self) => typed.pages(self).setType(CHUNK, 1, 0),
  },
});

export const typeSetAgain = typeStory({
  name: "type-set-again",
  about:
    "A page of a registered type is made one of the type once more while it is pinned and released. Its registrar " +
    "is told.",
  from: "pages/pages.ts, setType",
  typed: true,
  kept: true,
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    pinner: (typed, self) =>
      typed.pinOnce(self, () => {
        const isIdle = typed.pages(self).isChunkIdle(CHUNK + 1);
        ensure(isIdle, "pages that nobody has used are taken for pinned");
      }),
    setter: (typed, self) => typed.pages(self).setType(CHUNK, 1, TYPE),
    registrar: (typed, self) => typed.untilTold(self, 1),
  },
});

export const typeTakenAwayWaited = typeStory({
  name: "type-taken-away-waited",
  about:
    "A page of a registered type is pinned, somebody waits for its release, and it is made one of no type. Who " +
    "waits is woken.",
  from: "pages/pages.ts, setType: the count's other mark",
  typed: true,
  kept: true,
  explore: { strategy: "reduced" },
  actors: {
    pinner: (typed, self) => typed.pinOnce(self),
    waiter: (typed, self) => typed.untilReleased(self),
    setter: (typed, self) => typed.pages(self).setType(CHUNK, 1, 0),
  },
});

export const typeSetterDies = typeStory({
  name: "type-setter-dies",
  about:
    "A thread dies while it makes a page one of a type. Who changes records next finishes that: what is of the " +
    "type tells its registrar.",
  from: "pages/pages.ts, the guard of the dead",
  typed: false,
  kept: true,
  explore: { strategy: "reduced" },
  actors: {
    setter: (typed, self) => typed.pages(self).setType(CHUNK, 1, TYPE),
    user(typed, self) {
      typed.records.reap(self);
      if (!typed.isDead(0)) return;
      const pages = typed.pages(self);
      const page = pages.associate(HUGE_PAGES, 1, OTHER, 0, false);
      pages.disassociate(page, 1, OTHER);
      if (pages.types.of(CHUNK) !== TYPE) return;
      pages.types.takeIdle(TYPE);
      typed.pinOnce(self);
      ensure(pages.types.takeIdle(TYPE).includes(CHUNK), "the registrar is not told");
    },
  },
  environment: { death: { kill: "setter" } },
});

export const typeTakenOver = typeStory({
  name: "type-taken-over",
  about:
    "A registrar takes what it was told of and ends being one, or dies at any point. Who registers the type " +
    "next is told of all that is of it.",
  from: "pages/page-types.ts, invariant 2",
  typed: true,
  kept: true,
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    dying(typed, self) {
      const { types } = typed.pages(self);
      typed.pinOnce(self);
      types.takeIdle(TYPE);
      types.unregister(TYPE);
    },
    *next(typed, self) {
      yield* typed.untilRegistered(self);
      yield* typed.untilTold(self, 0);
    },
  },
  environment: { death: { kill: "dying" } },
});

/** Registers a type: which it is, or why not. */
function tryRegister(pages: Pages, name: string): number | string {
  try {
    return pages.types.register(new TextEncoder().encode(name));
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    return error.code;
  }
}

/** Registers a type, has a page of a chunk come and go, and finds that it is told of this one alone. */
function registerAndUse(typed: TypedPages, self: Self, name: string, chunk: number): void {
  const pages = typed.pages(self);
  const bytes = new TextEncoder().encode(name);
  const type = pages.types.register(bytes);
  ensure(pages.types.any, "a type is registered, and none is");
  ensure(pages.types.find(bytes) === type, "a type is found by another name");
  ensure(pages.types.of(chunk) === 0, "pages are of a type that nobody has given them");
  ensure(tryRegister(pages, name) === "EEXIST", "a type is registered twice");
  pages.setType(chunk, 1, type);
  const page = pages.associate(chunk * HUGE_PAGES, 1, FILE, 0, false);
  pages.disassociate(page, 1, FILE);
  const told = pages.types.takeIdle(type);
  ensure(told.length === 1 && told[0] === chunk, "a registrar is told of another's pages");
}

/** A device without a type. */
const NO_TYPES = {
  build(actors: number): TypesShared {
    const shared = buildRecords(actors, 2);
    return { ...shared, truth: shared.region.allocatePages(16) };
  },
  begin: (shared: TypesShared, actors: readonly Self[]) => new TypedPages(shared, actors),
};

export const typeRegistered = playedIn(NO_TYPES, {
  name: "type-registered",
  about:
    "Two threads register the first types of a device, of names that are alike, and make a part of it theirs. " +
    "Each is told of its part.",
  from: "pages/page-types.ts: what types need is made for the first one",
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    one: (typed: TypedPages, self: Self) => registerAndUse(typed, self, "pages of one", 0),
    other: (typed: TypedPages, self: Self) => registerAndUse(typed, self, "pages of two", 1),
  },
});

export const typeRaced = playedIn(NO_TYPES, {
  name: "type-raced",
  about: "Two threads register the same name at once. One of them is the registrar.",
  from: "pages/page-types.ts, register: EEXIST",
  explore: { strategy: "reduced" },
  actors: {
    one: (typed: TypedPages, self: Self) => typed.registerRaced(self),
    other: (typed: TypedPages, self: Self) => typed.registerRaced(self),
  },
});

export const typeNames = playedIn(NO_TYPES, {
  name: "type-names",
  about:
    "Nothing is of a type before one is registered. Then seven are, whose names begin alike, and no eighth. " +
    "What a thread registers in vain takes no memory.",
  from: "pages/page-types.ts, register: ENOSPC, EEXIST",
  explore: { strategy: "reduced" },
  actors: {
    user(typed: TypedPages, self: Self) {
      const pages = typed.pages(self);
      ensure(!pages.types.any && pages.types.of(CHUNK) === 0, "pages are of a type that is not");
      const names = ["buffers of two", "buffers", "b", "buffers of one", "bu", "buff", "c"];
      ensure(tryRegister(pages, names[0]!) === 1, "the first type has another number");
      const used = self.thread.region.bytesUsed;
      for (const [index, name] of names.slice(1).entries()) {
        ensure(tryRegister(pages, name) === index + 2, `type ${name} is taken for another`);
      }
      ensure(tryRegister(pages, "eighth") === "ENOSPC", "there are more types than fit");
      for (const name of names) {
        ensure(tryRegister(pages, name) === "EEXIST", `type ${name} is registered twice`);
      }
      ensure(self.thread.region.bytesUsed === used, "each type takes memory of its own");
    },
  },
});
