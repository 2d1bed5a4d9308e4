/**
 * Waits as others see them: what each thread waits for now, and how long its waits took. Kept by the
 * runners around a sleep, so it costs nothing where nobody waits.
 *
 * Record, in the waiting thread's table: 0 serial, and in its low bits the kind + 1, written last
 * | 1 word waited for | 2 mapping, 0 for none | 3 first page | 4 last page | 5 since when, ms.
 */
import { load, store } from "./atomics.ts";
import { clockMs, remainingMs } from "./clock.ts";
import { Rank } from "./rank.ts";
import { WAIT_KINDS, type Wait, type WaitKind } from "./sleep.ts";

import { forEachRecord, ThreadTable } from "./table.ts";
import { type Holder, Slot, type Thread } from "./thread.ts";
import { countWait } from "./wait-histograms.ts";

const Record = { kind: 0, word: 1, mapping: 2, first: 3, last: 4, since: 5 } as const;
const RECORD_WORDS = 6;
const KIND_BITS = 8;

const rankNames = new Map<number, WaitKind>(
  (Object.keys(Rank) as (keyof typeof Rank)[]).map((name) => [Rank[name], name]),
);

function kindOf(wait: Wait): WaitKind {
  return wait.kind ?? rankNames.get(wait.rank ?? 0) ?? "other";
}

/** Tells this thread's waits apart. */
let serial = 0;

const tables = new WeakMap<Thread, ThreadTable>();

function tableOf(thread: Thread): ThreadTable {
  let table = tables.get(thread);
  if (table === undefined) {
    table = new ThreadTable(thread.region, thread.base + Slot.waits, RECORD_WORDS);
    tables.set(thread, table);
  }
  return table;
}

/** The waits of one operation, one after the other. */
export class WaitMeter {
  readonly #thread: Thread;
  #kind: WaitKind = "other";
  #word = 0;
  #record = 0;
  #sinceMs = 0;
  /** Since when the operation has waited for pins, of one page and another; -1: it has not. */
  #pinsSinceMs = -1;
  #sleptMs = 0;
  #beganMs = 0;

  constructor(thread: Thread) {
    this.#thread = thread;
  }

  /** Before a sleep. */
  begin(wait: Wait): void {
    const kind = kindOf(wait);
    const goesOn = this.#word !== 0 && kind === this.#kind;
    // A break waits for one busy page after the other.
    if (!goesOn || (kind !== "pins" && wait.word !== this.#word)) {
      this.close();
      this.#kind = kind;
      this.#sinceMs = clockMs();
      if (kind === "pins") {
        if (this.#pinsSinceMs < 0) this.#pinsSinceMs = this.#sinceMs;
        this.#sinceMs = this.#pinsSinceMs;
      }
    }
    this.#word = wait.word;
    this.#show(wait);
    this.#beganMs = performance.now();
  }

  /** After a sleep. Whether what was waited for has come, shows in what the operation does next. */
  end(): void {
    this.#sleptMs += performance.now() - this.#beganMs;
    tableOf(this.#thread).give(this.#record);
    this.#record = 0;
  }

  /** When the operation has ended. */
  close(): void {
    if (this.#word === 0) return;
    countWait(this.#thread, this.#kind, this.#sleptMs);
    this.#word = 0;
    this.#sleptMs = 0;
  }

  #show({ word, subject }: Wait): void {
    const { words } = this.#thread;
    const record = tableOf(this.#thread).take();
    store(words, record + Record.word, word);
    store(words, record + Record.mapping, subject?.mapping ?? 0);
    store(words, record + Record.first, (subject?.first ?? 0) | 0);
    store(words, record + Record.last, (subject?.last ?? 0) | 0);
    store(words, record + Record.since, this.#sinceMs);
    serial++;
    const kind = WAIT_KINDS.indexOf(this.#kind) + 1;
    store(words, record + Record.kind, (serial << KIND_BITS) | kind);
    this.#record = record;
  }
}

/** A wait that is under way. */
export interface OpenWait {
  readonly holder: Holder;
  readonly kind: WaitKind;
  readonly word: number;
  /** The file's pages that it is about; its mapping 0 where it is about none. */
  readonly mapping: number;
  readonly first: number;
  readonly last: number;
  readonly waitingMs: number;
}

/** What the threads of the region wait for now. Locks: none. Sleeps: never. */
export function openWaits(thread: Thread): OpenWait[] {
  const { region, words } = thread;
  const found: OpenWait[] = [];
  for (let slot = 0; slot < region.slotsUsed; slot++) {
    const holder = thread.holderIn(slot);
    if (holder === 0) continue;
    forEachRecord(words, region.slotBase(slot) + Slot.waits, RECORD_WORDS, (record) => {
      const kind = load(words, record);
      const wait = {
        holder,
        kind: WAIT_KINDS[(kind & (2 ** KIND_BITS - 1)) - 1] ?? "other",
        word: load(words, record + Record.word),
        mapping: load(words, record + Record.mapping),
        first: load(words, record + Record.first) >>> 0,
        last: load(words, record + Record.last) >>> 0,
        waitingMs: Math.max(0, remainingMs(clockMs(), load(words, record + Record.since))),
      };
      if (kind !== 0 && load(words, record) === kind) found.push(wait);
    });
  }
  return found;
}

/** Takes back what dead threads waited for. */
export function recoverWaits(thread: Thread): void {
  thread.onThreadDeath((_dead, slotBase) => {
    forEachRecord(thread.words, slotBase + Slot.waits, RECORD_WORDS, (record) => {
      store(thread.words, record, 0);
    });
  });
}
