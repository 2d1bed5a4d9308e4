/** What the words of a region are called, for stories. */
import { HUGE_PAGES } from "../../base/quantities.ts";
import { StateArea } from "../../device/state.ts";
import { inoOf, MAPPING_WORDS, type Mapping, MappingWord } from "../../mapping/mapping.ts";
import { TransactionArea } from "../../metadata/transaction.ts";
import { Area as BadPagesArea, Range as BadRange, RANGE_WORDS } from "../../pages/bad-pages.ts";
import type { Pages } from "../../pages/pages.ts";
import { load } from "../../sync/atomics.ts";
import { Root, SLOT_WORDS } from "../../sync/region.ts";
import { Slot, type Thread } from "../../sync/thread.ts";

/** The words of a shared/exclusive lock (sync/lock.ts). */
export const LOCK_FIELDS = [
  "guard",
  "exclusive holder",
  "shared holders",
  "waiting for exclusive",
  "waiting for shared",
  "phase",
  "batch",
  "wake",
];

/** The name of a word of a record, by the record's fields. */
export function fieldName(fields: Readonly<Record<string, number>>, offset: number): string {
  const found = Object.entries(fields).find(([, value]) => value === offset);
  return found === undefined ? `word ${offset}` : found[0].replace(/([A-Z])/g, " $1").toLowerCase();
}

/** As much of the transaction's area as stories name. */
const TRANSACTION_WORDS = 4096;

/** The name of a word of the transaction's area (metadata/transaction.ts), or null. */
export function transactionWordName(area: number, word: number): string | null {
  const offset = word - area;
  if (offset < 0 || offset >= TRANSACTION_WORDS) return null;
  const fields = ["the transaction", "transaction's state", "transaction's log: words used"];
  if (offset < TransactionArea.log) return fields[offset] ?? "transactions committed";
  return `transaction's log: word ${offset - TransactionArea.log}`;
}

/** The name of a word, or null for one that belongs to nothing known. */
export function wordName(
  thread: Thread,
  pages: Pages,
  mappings: readonly Mapping[],
  word: number,
): string | null {
  const { region } = thread;
  for (let slot = 0; slot < region.slotsUsed; slot++) {
    const offset = word - region.slotBase(slot);
    if (offset >= 0 && offset < SLOT_WORDS) return `thread ${slot}: ${fieldName(Slot, offset)}`;
  }
  for (const mapping of mappings) {
    const name = mappingWordName(thread, mapping, word);
    if (name !== null) return name;
  }
  return (
    deviceStateWordName(word - region.root(Root.deviceState)) ??
    badPageWordName(word - region.root(Root.failure)) ??
    pageWordName(thread, pages, word)
  );
}

/** The name of a word of the device's state (device/state.ts), or null. */
export function deviceStateWordName(offset: number): string | null {
  return offset >= 0 && offset < StateArea.names
    ? `device's ${fieldName(StateArea, offset)}`
    : null;
}

/** The name of a word of the list of bad pages, by its offset there, or null. */
export function badPageWordName(offset: number): string | null {
  if (offset < 0 || offset >= BadPagesArea.table + 64 * RANGE_WORDS) return null;
  const within = offset - BadPagesArea.table;
  if (within < 0) return `bad pages: ${fieldName(BadPagesArea, offset)}`;
  const range = Math.floor(within / RANGE_WORDS);
  return `bad range ${range}: ${fieldName(BadRange, within % RANGE_WORDS)}`;
}

function mappingWordName(thread: Thread, mapping: Mapping, word: number): string | null {
  const offset = word - mapping;
  const ino = inoOf(thread, mapping);
  if (offset >= 0 && offset < MAPPING_WORDS) {
    for (const kind of ["io", "map", "writeBack"] as const) {
      const within = offset - MappingWord[`${kind}Lock`];
      if (within >= 0 && within < 8) return `${kind} lock of inode ${ino}: ${LOCK_FIELDS[within]}`;
    }
    return `inode ${ino}: ${fieldName(MappingWord, offset)}`;
  }
  const root = load(thread.words, mapping + MappingWord.root);
  if (root === 0) return null;
  return nodeWordName(thread, root - (root & 7), root & 7, 0, word);
}

function nodeWordName(
  thread: Thread,
  node: number,
  level: number,
  base: number,
  word: number,
): string | null {
  const offset = word - node;
  if (offset >= 0 && offset < 72) {
    if (offset >= 8)
      return level === 0 ? `entry of page ${base + offset - 8}` : "tree node: a slot";
    if (offset === 4 || offset === 5) return "dirty marks";
    return offset === 6 || offset === 7 ? "pinned marks" : "tree node: header";
  }
  for (let within = 0; level > 0 && within < 64; within++) {
    const value = load(thread.words, node + 8 + within);
    if (value === 0 || value & 1) continue;
    const first = base + within * 64 ** level;
    const name = nodeWordName(thread, value, level - 1, first, word);
    if (name !== null) return name;
  }
  return null;
}

function pageWordName(thread: Thread, pages: Pages, word: number): string | null {
  const record = Math.floor((word - pages.arena) / 4);
  if (word < pages.arena || record >= HUGE_PAGES) return null;
  const index = load(thread.words, pages.pinWord(record) + 2) >>> 0;
  if (word === pages.wakeWord(record)) return `pins of page ${index}: wake`;
  const field = ["pins", "owner", "index"][(word - pages.arena) % 4]!;
  return `${field} of page ${index}`;
}
