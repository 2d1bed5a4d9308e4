/**
 * A journal's log of one word a block, in a medium: images of blocks, a block of revokes, commit records, and
 * beside it the note where it begins. As in jbd2, nothing but its record tells whether a transaction is whole.
 */
import type { CachedBlock } from "../../metadata/cache.ts";
import type { TransactionLog } from "../../metadata/journal.ts";
import { ensure } from "../scenario.ts";
import { wholeValue } from "./metadata.ts";
import type { Medium } from "./medium.ts";

const FIRST = 9;
const KIND = 0xf000_0000 | 0;
const IMAGE = 0x1000_0000;
const REVOKES = 0x2000_0000;
const RECORD = 0x3000_0000;
const BLOCK_SHIFT = 16;
const SEQUENCE = 0xffff;
/** In the note where the log begins: sequence | place | flag. */
const PLACE_SHIFT = 16;
const ABORTED = 0x4000_0000;

/** Where the log's parts are among the medium's items: home blocks first. */
export interface LogPlaces {
  /** Numbers of blocks, below 16, in the order of their items. */
  readonly homes: number;
  /** Blocks of the ring. */
  readonly ring: number;
}

const noteItem = ({ homes }: LogPlaces): number => homes;
const itemAt = ({ homes }: LogPlaces, at: number): number => homes + 1 + at - FIRST;

/** Items that the log adds to the home blocks: they begin as zeroes. */
export function logItems({ ring }: LogPlaces): number {
  return 1 + ring;
}

export class WordLog implements TransactionLog {
  readonly first = FIRST;
  readonly blocks: number;
  readonly #places: LogPlaces;
  readonly #medium: Medium;
  readonly #storeHome: (block: number, value: number) => void;

  constructor(
    places: LogPlaces,
    medium: Medium,
    storeHome: (block: number, value: number) => void,
  ) {
    this.blocks = places.ring;
    this.#places = places;
    this.#medium = medium;
    this.#storeHome = storeHome;
  }

  blocksFor(changed: number, revoked: number): number {
    return changed + (revoked > 0 ? 1 : 0) + 1;
  }

  distance(from: number, to: number): number {
    return to >= from ? to - from : to - from + this.blocks;
  }

  next(at: number): number {
    return nextPlace(this.#places, at);
  }

  write(
    sequence: number,
    at: number,
    changed: readonly CachedBlock[],
    revoked: readonly number[],
  ): number {
    ensure(sequence >= 0, `transaction ${sequence} has a sign`);
    if (revoked.length > 0) {
      let blocks = 0;
      for (const block of revoked) blocks |= 1 << block;
      this.#put(at, REVOKES | blocks);
      at = this.next(at);
    }
    for (const { block, bytes } of changed) {
      this.#put(at, IMAGE | (block << BLOCK_SHIFT) | wholeValue(block, bytes, "the log"));
      at = this.next(at);
    }
    return at;
  }

  record(sequence: number, at: number): void {
    this.#put(at, RECORD | (sequence & SEQUENCE));
  }

  copyHome(sequence: number, at: number, last: number): void {
    ensure(at >= FIRST && at < FIRST + this.blocks, `block ${at} of the log is copied home`);
    const images = imagesOf(this.#places, this.#medium.values(), sequence, at, last);
    for (const [block, value] of images) this.#storeHome(block, value);
  }

  setStart(sequence: number, at: number): void {
    ensure(sequence >= 0, `transaction ${sequence} has a sign`);
    const item = noteItem(this.#places);
    const kept = this.#medium.read(item) & ABORTED;
    this.#medium.put(item, kept | (at << PLACE_SHIFT) | (sequence & SEQUENCE));
  }

  setAborted(errno: number): void {
    ensure(errno === -5, `the journal is given up for error ${errno}`);
    const item = noteItem(this.#places);
    this.#medium.put(item, this.#medium.read(item) | ABORTED);
  }

  #put(at: number, value: number): void {
    this.#medium.put(itemAt(this.#places, at), value);
  }
}

function nextPlace({ ring }: LogPlaces, at: number): number {
  return at + 1 === FIRST + ring ? FIRST : at + 1;
}

/** Where the commit record of a transaction is that begins at `at`, or 0. */
function recordFrom(
  places: LogPlaces,
  held: readonly number[],
  at: number,
  wanted: number,
): number {
  for (let blocks = 0; blocks < places.ring / 4; blocks++) {
    if (held[itemAt(places, at)] === (RECORD | wanted)) return at;
    at = nextPlace(places, at);
  }
  return 0;
}

/** What the log holds, of transactions from `sequence`, at `at`, through `last` or all: the last image of each block. */
function imagesOf(
  places: LogPlaces,
  held: readonly number[],
  sequence: number,
  at: number,
  last: number | null,
): Map<number, number> {
  const images = new Map<number, number>();
  for (let turns = 0; turns < places.ring; turns++) {
    const record = recordFrom(places, held, at, sequence & SEQUENCE);
    if (record === 0) break;
    for (; at !== record; at = nextPlace(places, at)) apply(held[itemAt(places, at)]!, images);
    if (last !== null && (sequence & SEQUENCE) === (last & SEQUENCE)) break;
    sequence++;
    at = nextPlace(places, at);
  }
  return images;
}

/** A revoke stands before the images of its transaction: it takes those back that came before. */
function apply(word: number, images: Map<number, number>): void {
  const kind = word & KIND;
  if (kind === IMAGE) images.set((word >>> BLOCK_SHIFT) & 15, word & 0xffff);
  if (kind !== REVOKES) return;
  for (let block = 0; block < 16; block++) if ((word >>> block) & 1) images.delete(block);
}

/** The home blocks as a mount after a crash finds them, when it has replayed the log. */
export function recovered(places: LogPlaces, held: readonly number[]): number[] {
  const note = held[noteItem(places)]!;
  const homes = held.slice(0, places.homes);
  const at = (note & ~ABORTED) >>> PLACE_SHIFT;
  if (at === 0) return homes;
  for (const [block, value] of imagesOf(places, held, note & SEQUENCE, at, null)) {
    homes[block] = value;
  }
  return homes;
}

/** Whether the note says that the journal was given up; where it is to begin. */
export function noteOf(places: LogPlaces, medium: Medium): { givenUp: boolean; at: number } {
  const note = medium.valueOf(noteItem(places));
  return { givenUp: (note & ABORTED) !== 0, at: (note & ~ABORTED) >>> PLACE_SHIFT };
}
