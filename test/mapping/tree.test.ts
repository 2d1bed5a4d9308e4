import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  createMappingArea,
  initMapping,
  MappingWord,
  mappingSlab,
  nodeSlab,
  PAGE_INDEX_MAX,
} from "../../src/mapping/mapping.ts";
import {
  clearMark,
  EntryKind,
  findSlot,
  forEachEntry,
  HUGE_LEVEL,
  isMarked,
  kindOf,
  makeEntry,
  makeSlot,
  Mark,
  nextMarked,
  pageOf,
  removeEntries,
  setMark,
  storeHuge,
} from "../../src/mapping/tree.ts";
import type { Ino } from "../../src/base/quantities.ts";
import { load, store } from "../../src/sync/atomics.ts";
import { Region } from "../../src/sync/region.ts";
import { allocateZeroed, objectsInUse } from "../../src/sync/slab.ts";
import { Thread } from "../../src/sync/thread.ts";

const region = Region.create(2 ** 28);
const thread = Thread.join(region);
const { words } = thread;
createMappingArea(thread);

function newMapping(): number {
  const mapping = allocateZeroed(thread, mappingSlab(thread));
  initMapping(thread, mapping, 12 as Ino, 0, 1);
  return mapping;
}

/** Indexes that cluster, so that nodes are shared, at every height of the tree. */
const index = fc.oneof(
  fc.nat(300),
  fc.nat(5000),
  fc.nat(300).map((n) => 64 ** 3 + n),
  fc.nat(2000).map((n) => PAGE_INDEX_MAX - n),
);

type Step =
  | { kind: "insert" | "insertHuge" | "remove"; index: number; pages: number }
  | { kind: "mark" | "unmark"; index: number; mark: Mark };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constantFrom("insert" as const, "insertHuge" as const, "remove" as const),
    index,
    pages: fc.oneof(fc.nat(100), fc.nat(5000)),
  }),
  fc.record({
    kind: fc.constantFrom("mark" as const, "unmark" as const),
    index,
    mark: fc.constantFrom(Mark.dirty, Mark.pinned),
  }),
);

interface ModelEntry {
  page: number;
  pages: number;
  marks: Set<Mark>;
}

/** Entries by first page. */
class Model {
  readonly entries = new Map<number, ModelEntry>();
  at(index: number): [number, ModelEntry] | null {
    const single = this.entries.get(index);
    if (single !== undefined) return [index, single];
    const first = index - (index % 512);
    const huge = this.entries.get(first);
    return huge !== undefined && huge.pages === 512 ? [first, huge] : null;
  }
  sorted(): [number, ModelEntry][] {
    return [...this.entries].sort(([a], [b]) => a - b);
  }
}

function apply(mapping: number, model: Model, next: Step, page: number): void {
  if (next.kind === "insert") {
    if (model.at(next.index) !== null) return;
    const slot = makeSlot(thread, mapping, next.index, 0);
    expect(load(words, slot)).toBe(0);
    store(words, slot, makeEntry(EntryKind.page, page));
    model.entries.set(next.index, { page, pages: 1, marks: new Set() });
  } else if (next.kind === "insertHuge") {
    const first = next.index - (next.index % 512);
    const slot = makeSlot(thread, mapping, first, HUGE_LEVEL);
    if (slot === 0 || load(words, slot) !== 0) return;
    storeHuge(words, slot, makeEntry(EntryKind.huge, page));
    model.entries.set(first, { page, pages: 512, marks: new Set() });
  } else if (next.kind === "remove") {
    let first = next.index;
    let last = Math.min(PAGE_INDEX_MAX, first + next.pages);
    if (model.at(first)?.[1].pages === 512) first -= first % 512;
    if (model.at(last)?.[1].pages === 512) last += 511 - (last % 512);
    const removed: number[] = [];
    removeEntries(thread, mapping, first, last, (entry, at, count) => {
      removed.push(at);
      expect(model.entries.get(at)?.page).toBe(pageOf(entry));
      expect(model.entries.get(at)?.pages).toBe(count);
    });
    const expected = model.sorted().filter(([at]) => at >= first && at <= last);
    expect(removed).toEqual(expected.map(([at]) => at));
    for (const at of removed) model.entries.delete(at);
  } else if (next.kind === "mark" || next.kind === "unmark") {
    const found = model.at(next.index);
    if (found === null) return;
    if (next.kind === "mark") {
      setMark(thread, mapping, next.index, next.mark);
      found[1].marks.add(next.mark);
    } else {
      clearMark(thread, mapping, next.index, next.mark);
      found[1].marks.delete(next.mark);
    }
  }
}

function assertSame(mapping: number, model: Model): void {
  const seen: [number, number, number][] = [];
  forEachEntry(words, mapping, 0, PAGE_INDEX_MAX, (entry, at, pages) => {
    seen.push([at, pageOf(entry), pages]);
  });
  expect(seen).toEqual(model.sorted().map(([at, entry]) => [at, entry.page, entry.pages]));
  for (const mark of [Mark.dirty, Mark.pinned]) {
    const marked: number[] = [];
    for (let from = 0; from <= PAGE_INDEX_MAX; ) {
      const found = nextMarked(words, mapping, from, PAGE_INDEX_MAX, mark);
      if (found < 0) break;
      marked.push(found);
      from = found + model.entries.get(found)!.pages;
    }
    const expected = model.sorted().filter(([, entry]) => entry.marks.has(mark));
    expect(marked).toEqual(expected.map(([at]) => at));
  }
}

describe("the entry tree", () => {
  it("finds, marks, walks and removes what a plain map would, and frees every node", () => {
    let page = 1;
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (sequence) => {
        const mapping = newMapping();
        const nodes = objectsInUse(thread, nodeSlab(thread));
        const model = new Model();
        for (const next of sequence) {
          page = (page % 1_000_000) + 1;
          apply(mapping, model, next, page);
          assertSame(mapping, model);
        }
        for (const [at, entry] of model.entries) {
          const probe = at + (entry.pages === 512 ? 300 : 0);
          const slot = findSlot(words, mapping, probe);
          const word = load(words, slot);
          expect(kindOf(word)).toBe(entry.pages === 512 ? EntryKind.huge : EntryKind.page);
          for (const mark of [Mark.dirty, Mark.pinned]) {
            expect(isMarked(words, slot, word, probe, mark)).toBe(entry.marks.has(mark));
          }
        }
        removeEntries(thread, mapping, 0, PAGE_INDEX_MAX, () => {});
        expect(objectsInUse(thread, nodeSlab(thread))).toBe(nodes);
      }),
      { numRuns: 500 },
    );
  });

  it("finds a marked entry without visiting unmarked ones", () => {
    const mapping = newMapping();
    for (let at = 0; at < 64 ** 3; at += 7) {
      store(words, makeSlot(thread, mapping, at, 0), makeEntry(EntryKind.page, at + 1));
    }
    setMark(thread, mapping, 7 * 30_000, Mark.pinned);
    // Every other way down leads out of the region now: to look there would throw.
    const root = load(words, mapping + MappingWord.root);
    const marked = Math.floor((7 * 30_000) / 64 ** 2);
    for (let within = 0; within < 64; within++) {
      if (within !== marked) store(words, root - (root & 7) + 8 + within, 0x7ffffff8);
    }
    expect(() => nextMarked(words, mapping, 0, PAGE_INDEX_MAX, Mark.dirty)).not.toThrow();
    expect(nextMarked(words, mapping, 0, PAGE_INDEX_MAX, Mark.pinned)).toBe(7 * 30_000);
    expect(() => forEachEntry(words, mapping, 0, PAGE_INDEX_MAX, () => {})).toThrow(RangeError);
  });
});
