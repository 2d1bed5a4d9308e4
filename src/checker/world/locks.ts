/**
 * A page of shared words with nothing above `sync`: locks, a mutex, a guard, and what they guard. Who
 * is inside is kept in plain JavaScript: the truth that the locks are held to.
 */
import { AbortError } from "../../base/errors.ts";
import { load, store, type Words } from "../../sync/atomics.ts";
import {
  breakMutex,
  type Held,
  type LockName,
  lockExclusive,
  lockMutex,
  lockShared,
  recoverLocks,
  tryExclusive,
  tryLockExclusive,
  tryLockShared,
  unlockExclusive,
} from "../../sync/lock.ts";
import type { Region } from "../../sync/region.ts";
import type { Sleeps } from "../../sync/sleep.ts";
import { Slot } from "../../sync/thread.ts";
import { ensure, ensureNoLeak, type Self } from "../scenario.ts";
import { LOCK_FIELDS } from "./names.ts";
import { isDead, regionWithThreads } from "./threads.ts";

const PAGE_WORDS = 1024;
const LOCKS = 2;
/** Fields that are as at the start when nobody holds the lock or waits for it. */
const COUNTS = [1, 2, 3, 4, 6];

/** The page's words: two locks, then the others. */
export const Place = { mutex: 16, guard: 17, data: 18, copy: 19, object: 20, slab: 24 } as const;

export interface SyncShared {
  readonly region: Region;
  /** Where the page begins. */
  readonly page: number;
}

export function buildSync(actors: number): SyncShared {
  const { region } = regionWithThreads(actors);
  return { region, page: region.allocatePages(PAGE_WORDS) };
}

/** What scenarios on such a page have in common. `setUp` runs alone, before each schedule. */
export const onSharedPage = (actors: number, setUp: (locks: Locks) => void = () => {}) => ({
  build: () => buildSync(actors),
  region: (shared: SyncShared) => shared.region,
  begin(shared: SyncShared, selves: readonly Self[]): Locks {
    const locks = new Locks(shared, selves);
    setUp(locks);
    return locks;
  },
  end: (locks: Locks) => locks.end(),
  nameOf: (locks: Locks, word: number) => locks.nameOf(word),
  watch: { inside: (locks: Locks) => locks.room.toString() },
});

/** Runs what may be aborted. */
export function* unlessAborted(self: Self, operation: () => Sleeps<void>): Sleeps<void> {
  try {
    yield* operation();
  } catch (error) {
    if (!(error instanceof AbortError)) throw error;
    self.say("gives up");
  }
}

/** Who is inside what only some may enter together. */
export class Room {
  readonly #inside = new Map<Self, boolean>();
  /** How often somebody has come in, to be alone and to share. */
  entriesAlone = 0;
  entriesShared = 0;

  enter(self: Self, alone: boolean): void {
    this.#inside.set(self, alone);
    if (alone) this.entriesAlone++;
    else this.entriesShared++;
    this.check();
  }

  leave(self: Self): void {
    this.check();
    this.#inside.delete(self);
  }

  /** Who is inside alone is alone, the dead not counted. */
  check(): void {
    const living = [...this.#inside].filter(([self]) => !isDead(self.thread));
    const someoneAlone = living.some(([, alone]) => alone);
    ensure(
      living.length < 2 || !someoneAlone,
      `inside together: ${living.map(([self, alone]) => `${self.name}${alone ? ", to be alone" : ""}`).join("; ")}`,
    );
  }

  toString(): string {
    return [...this.#inside.keys()].map(({ name }) => name).join(" ") || "nobody";
  }
}

/** The page in one schedule. Its locks are the io locks of inodes 1 and 2. */
export class Locks {
  readonly actors: readonly Self[];
  readonly words: Words;
  readonly page: number;
  readonly room = new Room();

  constructor(shared: SyncShared, actors: readonly Self[]) {
    this.actors = actors;
    this.words = shared.region.words;
    this.page = shared.page;
    for (const { thread } of actors) {
      recoverLocks(thread);
    }
  }

  at(place: keyof typeof Place): number {
    return this.page + Place[place];
  }

  lock(ino = 1): number {
    return this.page + (ino - 1) * 8;
  }

  name(ino = 1): LockName<"io"> {
    return { rankName: "io", order: ino };
  }

  /** Takes the lock shared and looks at the data. */
  *read(self: Self): Sleeps<void> {
    using _held = yield* lockShared(self.task, this.lock(), this.name());
    self.say("has the lock, shared");
    this.look(self);
  }

  /** Takes the lock exclusively and changes the data. */
  *write(self: Self): Sleeps<void> {
    using _held = yield* lockExclusive(self.task, this.lock(), this.name());
    self.say("has the lock, exclusively");
    this.change(self);
  }

  /** Before the actors begin: one of them has the lock already, if it takes part. */
  give(name: string, mode: "shared" | "exclusive"): void {
    const self = this.actors.find((each) => each.name === name);
    if (self === undefined) return;
    const take = mode === "shared" ? tryLockShared : tryLockExclusive;
    this.#begun.set(self, take(self.task, this.lock(), this.name())!);
  }

  readonly #begun = new Map<Self, Held>();

  /** Uses and drops the lock that it had at the start. */
  finish(self: Self): void {
    using held = this.#begun.get(self)!;
    if (held.exclusive) this.change(self);
    else this.look(self);
  }

  /** Takes the mutex and changes the data. */
  *writeInMutex(self: Self): Sleeps<void> {
    using _held: Held = yield* lockMutex(self.task, this.at("mutex"), "transaction");
    self.say("has the mutex");
    this.change(self);
  }

  /** Is in the room, alone, and changes the data. */
  change(self: Self): void {
    this.room.enter(self, true);
    store(this.words, this.at("data"), this.room.entriesAlone);
    this.room.leave(self);
  }

  /** Is in the room, with others who look, too. */
  look(self: Self): void {
    this.room.enter(self, false);
    load(this.words, this.at("data"));
    this.room.leave(self);
  }

  /** How many wait for the lock, as anybody may see. */
  waiting(mode: "shared" | "exclusive"): number {
    return load(this.words, this.lock() + (mode === "shared" ? 4 : 3));
  }

  /** The layer that owns the mutex gives it back when its holder dies. */
  recoverMutex(): void {
    const word = this.at("mutex");
    for (const { thread } of this.actors) {
      thread.onThreadDeath((dead) => breakMutex(thread, word, dead));
    }
  }

  /** At the end: whoever died is found, nobody holds anything, and everything can be taken again. */
  end(): void {
    const survivor = this.actors.find((self) => !isDead(self.thread))!;
    survivor.thread.reap();
    for (let ino = 1; ino <= LOCKS; ino++) this.#endOfLock(survivor, ino);
    ensureNoLeak(load(this.words, this.at("mutex")) === 0, "the mutex is left taken");
    for (const self of this.actors) {
      const { thread, task, name } = self;
      if (isDead(self.thread)) continue;
      ensureNoLeak(thread.heldLocks.count === 0, `${name} still has a lock's record`);
      ensureNoLeak(task.held.length === 0, `${name} still holds a lock`);
    }
  }

  #endOfLock({ thread }: Self, ino: number): void {
    const lock = this.lock(ino);
    const guard = load(this.words, lock);
    const inside = guard !== 0 && thread.isAlive(Math.abs(guard));
    ensureNoLeak(!inside, "the lock's guard is left taken");
    const record = tryExclusive(thread, lock);
    ensureNoLeak(record !== 0, `the lock cannot be taken any more: ${this.#told(lock)}`);
    unlockExclusive(thread, lock, record);
    const clean = COUNTS.every((field) => load(this.words, lock + field) === 0);
    ensureNoLeak(clean, `the lock's counts are not as at the start: ${this.#told(lock)}`);
  }

  #told(lock: number): string {
    return COUNTS.map((field) => `${LOCK_FIELDS[field]} ${load(this.words, lock + field)}`).join(
      ", ",
    );
  }

  nameOf(word: number): string | null {
    return threadWordName(this.actors, word) ?? this.#pageWordName(word - this.page);
  }

  #pageWordName(offset: number): string | null {
    if (offset < 0 || offset >= PAGE_WORDS) return null;
    if (offset < LOCKS * 8) {
      return `io lock of inode ${1 + (offset >> 3)}: ${LOCK_FIELDS[offset & 7]}`;
    }
    return Object.entries(Place).find(([, place]) => place === offset)?.[0] ?? null;
  }
}

/** What a word of a thread's slot or of its locks' table is called. */
export function threadWordName(actors: readonly Self[], word: number): string | null {
  for (const { name, thread } of actors) {
    const offset = word - thread.base;
    if (offset >= 0 && offset < 16) {
      const field = Object.entries(Slot).find(([, place]) => place === offset)?.[0];
      return `${name}'s ${field ?? `word ${offset}`}`;
    }
    const table = word - load(thread.words, thread.base + Slot.heldLocks);
    if (table > 0 && table < PAGE_WORDS) return `${name}'s lock record ${table}`;
  }
  return null;
}
