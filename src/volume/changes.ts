/**
 * Changes of a volume's files and names, told to those threads of the process that watch for them.
 *
 * Area, in words:
 *
 *     0 threads that watch | 1 guard | 2 changes told so far | 3 of these, those that somebody has read
 *     4..: a word for each thread slot: the holder that watches there, or 0 | ring of records
 *
 * Record: 0 kind, +16 where it is about a directory | 1 inode | 2 directory | 3 bytes of the name | 4..: the name
 *
 * Rules. (1) Word 0 is what a change costs while nobody watches: one load. (2) The ring is written and read under the
 *        guard; a record counts once word 2 does, so who dies inside has told nothing. (3) Changes of names and
 *        attributes are told inside their transaction, so their order is the order in which they happened. What is
 *        told of a transaction that then fails did not happen. (4) Who is left behind by more than the ring is told
 *        that, and looks for itself. (5) What is said twice in a row, before anybody has read it, is said once.
 */
import { setImmediate } from "node:timers/promises";
import { add, cas, load, loadUnsigned, store, wakeAll } from "../sync/atomics.ts";
import { enterGuard, leaveGuard } from "../sync/guard.ts";
import { SLOTS_MAX } from "../sync/region.ts";
import { untilChanged } from "../sync/runners.ts";
import { slotOfHolder, type Thread } from "../sync/thread.ts";
import { VolumeWord, volumeWord } from "./state.ts";

const Area = { watching: 0, guard: 1, told: 2, read: 3, holders: 4 } as const;
const RING = Area.holders + SLOTS_MAX;
const Field = { kind: 0, ino: 1, directory: 2, nameLength: 3, name: 4 } as const;
const NAME_BYTES_MAX = 255;
const RECORD_WORDS = Field.name + 64;
const RECORDS = 512;
const IS_DIRECTORY = 16;

/** What happened to an inode; from `created` on, to a name of it. */
export const ChangeKind = {
  content: 1,
  attributes: 2,
  /** It has one name more, or one less. */
  links: 3,
  /** It is gone, with its last name and its last user. */
  freed: 4,
  created: 5,
  removed: 6,
  movedFrom: 7,
  movedTo: 8,
} as const;
export type ChangeKind = (typeof ChangeKind)[keyof typeof ChangeKind];

/** Wakes a reader that has nothing to read any more. */
const NOTHING = 0;

export interface Change {
  readonly kind: ChangeKind;
  readonly ino: number;
  readonly isDirectory: boolean;
  /** Of a name: where it is, or was. */
  readonly directory: number;
  readonly name: Buffer;
}

/** Null: changes were missed. */
export type ChangeListener = (change: Change | null) => void;

const NO_NAME = Buffer.alloc(0);

/** Makes the area of a new volume; after that of the volume. */
export function createChangesArea(thread: Thread): void {
  const area = thread.region.allocatePages(RING + RECORDS * RECORD_WORDS);
  store(thread.words, volumeWord(thread, VolumeWord.changes), area);
}

/** The changes of a volume, in one thread. */
export class Changes {
  readonly #thread: Thread;
  readonly #area: number;
  readonly #listeners = new Set<ChangeListener>();
  /** Changes that this thread has read. */
  #read = 0;
  /** Read, and not told to the listeners yet. */
  #queue: (Change | null)[] = [];
  #isPumping = false;

  constructor(thread: Thread) {
    this.#thread = thread;
    this.#area = load(thread.words, volumeWord(thread, VolumeWord.changes));
    const { words } = thread;
    thread.onThreadDeath((dead) => {
      const watched = cas(words, this.#area + Area.holders + slotOfHolder(dead), dead, 0);
      if (watched) add(words, this.#area + Area.watching, -1);
    });
  }

  /** Tells a change, if anybody watches. Never sleeps, but for the guard. */
  note(
    kind: ChangeKind,
    ino: number,
    isDirectory = false,
    directory = 0,
    name: Uint8Array = NO_NAME,
  ): void {
    if (load(this.#thread.words, this.#area + Area.watching) === 0) return;
    this.#tell(kind + (isDirectory ? IS_DIRECTORY : 0), ino, directory, name);
    // In a turn of the event loop that changes much: what this thread itself watches.
    if (this.#listeners.size > 0 && this.#behind >= RECORDS / 2) this.#pull();
  }

  get #behind(): number {
    return (load(this.#thread.words, this.#area + Area.told) - this.#read) | 0;
  }

  #record(index: number): number {
    return this.#area + RING + ((index >>> 0) % RECORDS) * RECORD_WORDS;
  }

  #tell(kind: number, ino: number, directory: number, name: Uint8Array): void {
    const thread = this.#thread;
    const { words, region } = thread;
    const told = this.#area + Area.told;
    enterGuard(thread, this.#area + Area.guard);
    const count = load(words, told);
    const isRead = load(words, this.#area + Area.read) === count;
    if (isRead || !this.#isSaid(this.#record(count - 1), kind, ino, directory, name)) {
      const record = this.#record(count);
      store(words, record + Field.kind, kind);
      store(words, record + Field.ino, ino);
      store(words, record + Field.directory, directory);
      store(words, record + Field.nameLength, name.length);
      region.bytes(record + Field.name, NAME_BYTES_MAX).set(name);
      store(words, told, (count + 1) | 0);
    }
    leaveGuard(thread, this.#area + Area.guard);
    wakeAll(words, told);
  }

  #isSaid(record: number, kind: number, ino: number, directory: number, name: Uint8Array): boolean {
    const { words, region } = this.#thread;
    return (
      load(words, record + Field.kind) === kind &&
      loadUnsigned(words, record + Field.ino) === ino &&
      loadUnsigned(words, record + Field.directory) === directory &&
      load(words, record + Field.nameLength) === name.length &&
      Buffer.compare(region.bytes(record + Field.name, name.length), name) === 0
    );
  }

  /** Takes what is new out of the ring. */
  #pull(): void {
    const thread = this.#thread;
    const { words } = thread;
    enterGuard(thread, this.#area + Area.guard);
    const count = load(words, this.#area + Area.told);
    if (((count - this.#read) | 0) > RECORDS) this.#queue.push(null);
    else {
      for (let index = this.#read; index !== count; index = (index + 1) | 0) {
        const change = this.#decode(this.#record(index));
        if (change !== null) this.#queue.push(change);
      }
    }
    this.#read = count;
    store(words, this.#area + Area.read, count);
    leaveGuard(thread, this.#area + Area.guard);
  }

  #decode(record: number): Change | null {
    const { words, region } = this.#thread;
    const bits = load(words, record + Field.kind);
    if (bits === NOTHING) return null;
    const length = load(words, record + Field.nameLength);
    return {
      kind: (bits & ~IS_DIRECTORY) as ChangeKind,
      ino: loadUnsigned(words, record + Field.ino),
      isDirectory: (bits & IS_DIRECTORY) !== 0,
      directory: loadUnsigned(words, record + Field.directory),
      name: Buffer.from(region.bytes(record + Field.name, length)),
    };
  }

  /** Has `listener` told of every change from now on, by any thread. Returns how to end that. */
  listen(listener: ChangeListener): Disposable {
    const { words, holder, slot } = this.#thread;
    if (this.#listeners.size === 0) {
      store(words, this.#area + Area.holders + slot, holder);
      add(words, this.#area + Area.watching, 1);
      this.#read = load(words, this.#area + Area.told);
      this.#queue = [];
    }
    this.#listeners.add(listener);
    void this.#pump();
    return { [Symbol.dispose]: () => this.#end(listener) };
  }

  #end(listener: ChangeListener): void {
    if (!this.#listeners.delete(listener) || this.#listeners.size > 0) return;
    const { words, holder, slot } = this.#thread;
    if (cas(words, this.#area + Area.holders + slot, holder, 0)) {
      add(words, this.#area + Area.watching, -1);
    }
    this.#tell(NOTHING, 0, 0, NO_NAME);
  }

  /** Tells the listeners, until there are none. Keeps no event loop alive. */
  async #pump(): Promise<void> {
    if (this.#isPumping) return;
    this.#isPumping = true;
    while (this.#listeners.size > 0) {
      await untilChanged(this.#thread, this.#area + Area.told, this.#read);
      // What is told next waits for a turn: a listener that changes what it watches does not stop the event loop.
      await setImmediate();
      if (this.#listeners.size === 0) break;
      this.#pull();
      const changes = this.#queue;
      this.#queue = [];
      for (const change of changes) for (const listener of [...this.#listeners]) listener(change);
    }
    this.#isPumping = false;
  }
}
