/**
 * Trace rings: each thread's last events, as records of fixed size. A ring hangs on its thread's slot
 * and stays with it; only the slot's thread writes it, any thread reads it.
 *
 * Ring, in words: 0 records, a power of two | 1 records ever written, modulo 2^32 | 8..: records.
 * Record: 0 its number + 1, while it is whole, else 0 | 1 time, low | 2 high (nanoseconds of the
 * machine's monotonic clock) | 3 event, with the thread's id from bit 12 on | 4 inode, low | 5 high
 * | 6..9 arguments.
 *
 * Rules. (1) A record's number goes before the rest of it changes, comes back last, and only then does
 *            the record count as written; a reader looks at the number after it has copied the record.
 *            So what is torn is dropped.
 *        (2) Nobody waits for a reader: what it has not read after a whole turn of the ring is lost.
 */
import { load, store, type Words } from "./atomics.ts";
import type { Region } from "./region.ts";

export const RECORD_WORDS = 10;
const Ring = { records: 0, written: 1, first: 8 } as const;

/** A ring of `records`, a power of two. Throws: ENOMEM. */
export function makeRing(region: Region, records: number): number {
  const ring = region.allocatePages(Ring.first + records * RECORD_WORDS);
  store(region.words, ring + Ring.records, records);
  return ring;
}

/** How many records the ring holds. */
export function ringRecords(words: Words, ring: number): number {
  return load(words, ring + Ring.records);
}

/** Records ever written into the ring, modulo 2^32: where a reader begins that wants later ones only. */
export function ringPosition(words: Words, ring: number): number {
  return load(words, ring + Ring.written);
}

/** Writes a record: `fields` are its words from 1 on. By the ring's own thread. */
export function writeRecord(words: Words, ring: number, fields: readonly number[]): void {
  const number = load(words, ring + Ring.written);
  const records = load(words, ring + Ring.records);
  const record = ring + Ring.first + (number & (records - 1)) * RECORD_WORDS;
  store(words, record, 0);
  for (let field = 1; field < RECORD_WORDS; field++) {
    store(words, record + field, fields[field - 1]!);
  }
  store(words, record, (number + 1) | 0);
  store(words, ring + Ring.written, (number + 1) | 0);
}

/** What a reader has come to. */
export interface RingRead {
  /** Where to go on. */
  readonly position: number;
  /** Records that were overwritten before they could be read. */
  readonly lost: number;
  /** The words of each record from 1 on, in the order in which they were written. */
  readonly records: readonly (readonly number[])[];
}

/** The records of a ring from `position` on. Any thread. */
export function readRing(words: Words, ring: number, position: number): RingRead {
  const end = load(words, ring + Ring.written);
  const count = load(words, ring + Ring.records);
  const behind = (end - position) >>> 0;
  const there = Math.min(behind, count);
  const records: number[][] = [];
  for (let number = end - there; number !== end; number++) {
    const record = ring + Ring.first + (number & (count - 1)) * RECORD_WORDS;
    const fields: number[] = [];
    for (let field = 1; field < RECORD_WORDS; field++) fields.push(load(words, record + field));
    if (load(words, record) === ((number + 1) | 0)) records.push(fields);
  }
  return { position: end, lost: behind - records.length, records };
}
