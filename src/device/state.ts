/**
 * Whether a device is there, and who holds it inside this process.
 *
 * Area, in words: 0 state | 1 who handles the removal: 0 nobody yet, HANDLED when that is done
 * | 2 why it was removed: bytes + 1, 0 while that is not written | 3 pages it has been made larger to; 0: as it
 * was opened | 4.. the text, four bytes a word
 * | 64.. for each thread slot: bytes of the holder's name | 1.. the name
 *
 *     free (0) ---claim--> held (holder) ---release--> free
 *        |                    |
 *      remove               remove
 *        v                    v
 *     gone (-1) <--release-- gone under its holder (-holder)
 *
 * Rules. (1) One word says both, and it changes by compare-exchange only: whoever claims while the
 *            device is removed is refused, or is the holder that the removal finds.
 *        (2) What else there is to know of a holder lies with its thread, and is written before it is
 *            the holder: no release can take away what the next holder has put there.
 *        (3) A holder that dies has released.
 *        (4) A device that is gone stays so, and the removal is handled once; again if its handler dies.
 */
import { type ErrorContext, HoldfastError } from "../base/errors.ts";
import { cas, load, loadUnsigned, store, type Words, wakeAll } from "../sync/atomics.ts";
import { Root, SLOTS_MAX } from "../sync/region.ts";
import { type Holder, slotOfHolder, type Thread } from "../sync/thread.ts";

export const StateArea = {
  state: 0,
  handler: 1,
  reasonLength: 2,
  pages: 3,
  reason: 4,
  names: 64,
} as const;
const FREE = 0;
const GONE = -1;
export const HANDLED = -1;
const TEXT_BYTES_MAX = 120;
const NAME_WORDS = 1 + TEXT_BYTES_MAX / 4;

/** One thread's use of it. */
export class DeviceState {
  readonly thread: Thread;
  readonly #area: number;

  constructor(thread: Thread) {
    this.thread = thread;
    this.#area = thread.region.root(Root.deviceState);
  }

  static create(thread: Thread): DeviceState {
    const { region } = thread;
    const words = StateArea.names + SLOTS_MAX * NAME_WORDS;
    region.setRoot(Root.deviceState, region.allocatePages(words));
    return new DeviceState(thread);
  }

  /** Registers how what a dead thread held is released. */
  recover(): void {
    this.thread.onThreadDeath((dead) => this.#release(dead));
  }

  /** Changes when the device is claimed, released or removed, and wakes. */
  get word(): number {
    return this.#area + StateArea.state;
  }

  /** Whether the device was removed. One load. */
  get isGone(): boolean {
    return load(this.thread.words, this.word) < 0;
  }

  /** Whether this thread holds the device, or did when it was removed, and has not released it. */
  get isMine(): boolean {
    return Math.abs(load(this.thread.words, this.word)) === this.thread.holder;
  }

  /** Throws: EIO when the device was removed. */
  assertPresent(context?: ErrorContext): void {
    if (this.isGone) throw this.goneError(context);
  }

  /** Pages that the device has since it was made larger; 0: it has been opened with all it has. One load. */
  get grownPages(): number {
    return loadUnsigned(this.thread.words, this.#area + StateArea.pages);
  }

  /**
   * Notes that the device has so many pages now: whoever asks for one of them from now on gets it. One thread at a
   * time.
   */
  notePages(pages: number): void {
    store(this.thread.words, this.#area + StateArea.pages, pages | 0);
  }

  /** The error of every operation on a device that was removed. */
  goneError(context: ErrorContext = {}): HoldfastError {
    const { words } = this.thread;
    const length = load(words, this.#area + StateArea.reasonLength) - 1;
    const reason = length > 0 ? ` (${readText(words, this.#area + StateArea.reason, length)})` : "";
    return new HoldfastError("EIO", `the device was removed${reason}`, context);
  }

  /**
   * Makes this thread the holder. `name` tells others who it is, in some 100 bytes.
   * Sleeps: never. Throws: EBUSY naming the holder; EIO when the device was removed.
   */
  claim(name: string): void {
    const { thread } = this;
    const { words, holder } = thread;
    const own = this.#nameOf(holder);
    if (!this.isMine) store(words, own, writeText(words, own + 1, name));
    for (;;) {
      if (cas(words, this.word, FREE, holder)) return;
      const state = load(words, this.word);
      if (state < 0) throw this.goneError();
      if (state === FREE || (!thread.isAlive(state) && thread.reap() > 0)) continue;
      const other = this.#nameOf(state);
      const text = readText(words, other + 1, load(words, other));
      if (load(words, this.word) !== state) continue;
      const who = `${text} (${thread.describe(state)})`;
      throw new HoldfastError("EBUSY", `the device is held by ${who}; it has to be released first`);
    }
  }

  /** Ends this thread's claim; nothing happens if it has none. Sleeps: never. */
  release(): void {
    this.#release(this.thread.holder);
  }

  #release(holder: Holder): void {
    const { words } = this.thread;
    const released = cas(words, this.word, holder, FREE) || cas(words, this.word, -holder, GONE);
    if (released) wakeAll(words, this.word);
  }

  /**
   * Notes that the device is gone: from now on nobody claims it, and all that is asked of it fails.
   * Returns false when it was gone already. Locks: none; whatever the caller holds. Sleeps: never.
   */
  remove(reason: string): boolean {
    const { words } = this.thread;
    for (;;) {
      const state = load(words, this.word);
      if (state < 0) return false;
      if (!cas(words, this.word, state, state === FREE ? GONE : -state)) continue;
      const length = writeText(words, this.#area + StateArea.reason, reason);
      store(words, this.#area + StateArea.reasonLength, length + 1);
      wakeAll(words, this.word);
      return true;
    }
  }

  /** Whether the device is gone and nobody alive handles, or has handled, what that means. */
  get hasUnhandled(): boolean {
    if (!this.isGone) return false;
    const handler = load(this.thread.words, this.handlerWord);
    return handler !== HANDLED && (handler === 0 || !this.thread.isAlive(handler));
  }

  /** Changes when the removal is handled, and wakes. Holds who handles it, or HANDLED. */
  get handlerWord(): number {
    return this.#area + StateArea.handler;
  }

  /** Makes this thread the one that handles the removal, if there is one to be handled. */
  takeHandling(): boolean {
    const handler = load(this.thread.words, this.handlerWord);
    return (
      this.hasUnhandled && cas(this.thread.words, this.handlerWord, handler, this.thread.holder)
    );
  }

  /** All is done, or somebody else is to try. */
  endHandling(isHandled: boolean): void {
    store(this.thread.words, this.handlerWord, isHandled ? HANDLED : 0);
    wakeAll(this.thread.words, this.handlerWord);
  }

  #nameOf(holder: Holder): number {
    return this.#area + StateArea.names + slotOfHolder(holder) * NAME_WORDS;
  }
}

/** Writes as much of a text as has room. Returns its bytes. */
function writeText(words: Words, at: number, text: string): number {
  const bytes = new Uint8Array(TEXT_BYTES_MAX);
  const { written } = new TextEncoder().encodeInto(text, bytes);
  const view = new DataView(bytes.buffer);
  for (let word = 0; word * 4 < written; word++) {
    store(words, at + word, view.getInt32(word * 4, true));
  }
  return written;
}

function readText(words: Words, at: number, length: number): string {
  const bytes = new Uint8Array(TEXT_BYTES_MAX);
  const view = new DataView(bytes.buffer);
  for (let word = 0; word * 4 < length; word++) {
    view.setInt32(word * 4, load(words, at + word), true);
  }
  return new TextDecoder().decode(bytes.subarray(0, length));
}
