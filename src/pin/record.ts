/**
 * Pin records as other threads see them: who holds what of a file.
 *
 * Rule. A record's serial is written before the rest of it, and `counted` is zero until all is written.
 * So whoever reads the serial first and again at the end, and between them first a count and then the
 * rest, has read of one pin, which held those pages when the count was read.
 */
import type { PinHolder } from "../base/errors.ts";
import { PAGE_SIZE } from "../base/quantities.ts";
import { inoOf, type Mapping } from "../mapping/mapping.ts";
import { loadRelaxed } from "../sync/atomics.ts";
import { clockMs, remainingMs } from "../sync/clock.ts";
import { forEachRecord } from "../sync/table.ts";
import { type Holder, PIN_RECORD_WORDS, Slot, type Thread } from "../sync/thread.ts";

export const PinWord = { mapping: 0, first: 1, counted: 2, only: 3, serial: 4, since: 5 } as const;

/** A pin that somebody held. */
export interface HeldPin {
  /** Its record, which may be another pin's by now. */
  readonly record: number;
  readonly holder: Holder;
  readonly first: number;
  readonly pages: number;
  readonly write: boolean;
  /** For how long, at least, in milliseconds; null while its thread has not come to tell. */
  readonly heldMs: number | null;
}

/** The pins of a file that reach into pages [first, last], of all threads. Locks: none. Sleeps: never. */
export function heldPins(thread: Thread, mapping: Mapping, first: number, last: number): HeldPin[] {
  const { region, words } = thread;
  const found: HeldPin[] = [];
  for (let slot = 0; slot < region.slotsUsed; slot++) {
    const holder: Holder = thread.holderIn(slot);
    if (holder === 0) continue;
    forEachRecord(words, region.slotBase(slot) + Slot.pins, PIN_RECORD_WORDS, (record) => {
      const pin = readPin(thread, record, mapping, holder);
      if (pin === null || pin.first > last || pin.first + pin.pages - 1 < first) return;
      found.push(pin);
    });
  }
  return found;
}

/** What a record tells, or null when it tells of no pin of the file. */
function readPin(
  { words }: Thread,
  record: number,
  mapping: Mapping,
  holder: Holder,
): HeldPin | null {
  const serial = loadRelaxed(words, record + PinWord.serial);
  const pages = loadRelaxed(words, record + PinWord.counted);
  const first = loadRelaxed(words, record + PinWord.first) >>> 0;
  const since = loadRelaxed(words, record + PinWord.since);
  const same = loadRelaxed(words, record) === mapping;
  if (loadRelaxed(words, record + PinWord.serial) !== serial || !same || pages === 0) return null;
  const heldMs = since === 0 ? null : Math.max(0, remainingMs(clockMs(), since - 1));
  return { record, holder, first, pages, write: (serial & 1) !== 0, heldMs };
}

/** Pins as programs are told of them. */
export function pinHolders(thread: Thread, pins: readonly HeldPin[]): PinHolder[] {
  return pins.map(({ holder, first, pages, write, heldMs }) => ({
    threadId: thread.idOf(holder),
    offset: first * PAGE_SIZE,
    length: pages * PAGE_SIZE,
    write,
    heldMs,
  }));
}

/**
 * Pins in words, for whoever waits for them: at most `limit` of them. `about`: what else is to be said
 * of one.
 */
export function describePins(
  thread: Thread,
  pins: readonly HeldPin[],
  about: (pin: HeldPin) => string = () => "",
  limit = 4,
): string {
  if (pins.length === 0) return "no pin";
  const shown = pins.slice(0, limit).map((pin) => {
    const { holder, first, pages, heldMs } = pin;
    const since = heldMs === null ? "" : ` for ${heldMs} ms`;
    const which = `pages ${first} to ${first + pages - 1}`;
    return `${which} by ${thread.describe(holder)}${since}${about(pin)}`;
  });
  const more = pins.length > limit ? ` and ${pins.length - limit} more` : "";
  return `pinned: ${shown.join(", ")}${more}`;
}

/** A page of a file, and who pins it, in words. */
export function describePage(thread: Thread, mapping: Mapping, index: number): string {
  const pins = describePins(thread, heldPins(thread, mapping, index, index));
  return `page ${index} of inode ${inoOf(thread, mapping)}, ${pins}`;
}
