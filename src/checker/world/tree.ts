/** A mapping's tree of entries beside what a plain map would hold, for one actor. */
import { HUGE_PAGES, type Ino } from "../../base/quantities.ts";
import {
  createMappingArea,
  initMapping,
  type Mapping,
  MappingWord,
  mappingSlab,
  nodeSlab,
  PAGE_INDEX_MAX,
} from "../../mapping/mapping.ts";
import {
  clearMark,
  dropZeroEntries,
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
} from "../../mapping/tree.ts";
import { load, store } from "../../sync/atomics.ts";
import { type Region, TRACING_WORD } from "../../sync/region.ts";
import { allocateZeroed, objectsInUse } from "../../sync/slab.ts";
import { ensure, type Plot, type Scenario, type Self, scenario } from "../scenario.ts";
import { regionWithThreads } from "./threads.ts";

const MARKS = [Mark.dirty, Mark.pinned] as const;
/** Of events: all are traced. */
const EVERY_CLASS = 0x7fffffff;

export interface TreeShared {
  readonly region: Region;
  readonly mapping: Mapping;
}

interface PlainEntry {
  readonly kind: EntryKind;
  readonly page: number;
  readonly pages: number;
  readonly marks: Set<Mark>;
}

/** The tree, and its entries by their first pages. */
export class PlainTree {
  readonly mapping: Mapping;
  readonly #self: Self;
  readonly #entries = new Map<number, PlainEntry>();
  /** Large, so that an entry that is taken for a node leads out of the region. */
  #page = 2 ** 20;

  constructor({ mapping }: TreeShared, [self]: readonly Self[]) {
    this.mapping = mapping;
    this.#self = self!;
  }

  get #words() {
    return this.#self.thread.words;
  }

  #add(index: number, kind: EntryKind, pages: number): PlainEntry {
    this.#page++;
    const entry = { kind, page: this.#page, pages, marks: new Set<Mark>() };
    this.#entries.set(index, entry);
    return entry;
  }

  /** Entries of 4 KiB. */
  put(...indexes: readonly number[]): void {
    for (const index of indexes) this.#put(index, EntryKind.page);
  }

  putZero(index: number): void {
    this.#put(index, EntryKind.zero);
  }

  #put(index: number, kind: EntryKind): void {
    const slot = makeSlot(this.#self.thread, this.mapping, index, 0);
    ensure(slot !== 0 && load(this.#words, slot) === 0, `page ${index} has no room for an entry`);
    const { page } = this.#add(index, kind, 1);
    store(this.#words, slot, makeEntry(kind, page));
  }

  /** An entry of 2 MiB, by its first page. */
  putHuge(index: number): void {
    const slot = makeSlot(this.#self.thread, this.mapping, index, HUGE_LEVEL);
    ensure(slot !== 0 && load(this.#words, slot) === 0, `page ${index} has no room for a folio`);
    const { page } = this.#add(index, EntryKind.huge, HUGE_PAGES);
    storeHuge(this.#words, slot, makeEntry(EntryKind.huge, page));
  }

  /** Demands that there is no room for an entry of that size. */
  refuses(index: number, level: number): void {
    const slot = makeSlot(this.#self.thread, this.mapping, index, level);
    ensure(slot === 0, `page ${index} is given an entry over one of another size`);
  }

  mark(index: number, mark: Mark): void {
    setMark(this.#self.thread, this.mapping, index, mark);
    this.#at(index)![1].marks.add(mark);
  }

  /** Marks and unmarks where there is no entry: nothing happens. */
  markNothing(index: number, mark: Mark): void {
    setMark(this.#self.thread, this.mapping, index, mark);
    clearMark(this.#self.thread, this.mapping, index, mark);
    setMark(this.#self.thread, this.mapping, index, mark);
  }

  unmark(index: number, mark: Mark): void {
    clearMark(this.#self.thread, this.mapping, index, mark);
    this.#at(index)![1].marks.delete(mark);
  }

  /** Removes the entries of [first, last], each once. */
  remove(first: number, last: number): void {
    const removed: number[] = [];
    removeEntries(this.#self.thread, this.mapping, first, last, (entry, index, pages) => {
      const plain = this.#entries.get(index);
      const same = plain !== undefined && plain.page === pageOf(entry) && plain.pages === pages;
      ensure(same, `an entry of page ${index} is removed that is not there`);
      removed.push(index);
    });
    const expected = this.#sorted(first, last).map(([index]) => index);
    ensure(`${removed}` === `${expected}`, `pages ${removed} are removed, not ${expected}`);
    for (const index of removed) this.#entries.delete(index);
  }

  dropZeroes(first: number, last: number): void {
    dropZeroEntries(this.#words, this.mapping, first, last);
    for (const [index, { kind }] of this.#sorted(first, last)) {
      if (kind === EntryKind.zero) this.#entries.delete(index);
    }
  }

  /** The entry that covers a page, with its first page. */
  #at(index: number): [number, PlainEntry] | null {
    const small = this.#entries.get(index);
    if (small !== undefined) return [index, small];
    const first = index - (index % HUGE_PAGES);
    const huge = this.#entries.get(first);
    return huge !== undefined && huge.pages > 1 ? [first, huge] : null;
  }

  /** The entries that have a page in [from, last]. */
  #sorted(from: number, last: number): [number, PlainEntry][] {
    const inside = [...this.#entries].filter(
      ([index, { pages }]) => index <= last && index + pages > from,
    );
    return inside.sort(([a], [b]) => a - b);
  }

  /** Demands that the tree holds what the map holds. */
  ensureSame(): void {
    this.ensureWalk(0, PAGE_INDEX_MAX);
    for (const mark of MARKS) this.ensureMarked(mark, 0, PAGE_INDEX_MAX);
    for (const [index, { pages }] of this.#entries) {
      const end = index + pages;
      for (const at of [index - 64, index - 1, index, end - 1, end, index + 64, index + 4096]) {
        if (at >= 0 && at <= PAGE_INDEX_MAX) this.ensureFound(at);
      }
    }
  }

  /** One page: its entry and its marks are found, or nothing is. */
  ensureFound(index: number): void {
    const slot = findSlot(this.#words, this.mapping, index);
    const plain = this.#at(index);
    ensure((slot === 0) === (plain === null), `page ${index} is found where it is not, or not`);
    if (plain === null) return;
    const entry = load(this.#words, slot);
    const [, { kind, page, marks }] = plain;
    ensure(kindOf(entry) === kind && pageOf(entry) === page, `page ${index} is another's`);
    for (const mark of MARKS) {
      const marked = isMarked(this.#words, slot, entry, index, mark);
      ensure(marked === marks.has(mark), `page ${index} has a mark that it has not, or has not`);
    }
  }

  /** A walk through [from, last] visits each entry there once, in order. */
  ensureWalk(from: number, last: number): void {
    const seen: string[] = [];
    forEachEntry(this.#words, this.mapping, from, last, (entry, index, pages, slot) => {
      seen.push(`${index}+${pages}: ${pageOf(entry)}`);
      const first = findSlot(this.#words, this.mapping, index);
      ensure(slot === first, `the walk tells another slot of page ${index}`);
    });
    const expected = this.#sorted(from, last).map(
      ([index, { page, pages }]) => `${index}+${pages}: ${page}`,
    );
    ensure(`${seen}` === `${expected}`, `the walk visits ${seen}, not ${expected}`);
  }

  /** The marked entries of [from, last] are found one after another. */
  ensureMarked(mark: Mark, from: number, last: number): void {
    const found: number[] = [];
    for (let at = from; at <= last; ) {
      const index = nextMarked(this.#words, this.mapping, at, last, mark);
      if (index < 0) break;
      found.push(index);
      at = index + (this.#entries.get(index)?.pages ?? 1);
    }
    const marked = this.#sorted(from, last).filter(([, { marks }]) => marks.has(mark));
    const expected = marked.map(([index]) => index);
    ensure(`${found}` === `${expected}`, `pages ${found} are marked, not ${expected}`);
  }

  /** No search by this mark need go below the root. */
  ensureNoneMarked(mark: Mark): void {
    const root = load(this.#words, this.mapping + MappingWord.root);
    const node = root - (root & 7);
    const bits = load(this.#words, node + mark) | load(this.#words, node + mark + 1);
    ensure(bits === 0, "a mark is left on the way to no marked entry");
  }

  /** Clears marks of entries while events are traced, by the words of the region that say so. */
  unmarkTraced(mark: Mark, ...indexes: readonly number[]): void {
    const words = this.#words;
    store(words, TRACING_WORD, EVERY_CLASS);
    for (const index of indexes) this.unmark(index, mark);
    ensure(load(words, TRACING_WORD) === EVERY_CLASS, "a mark is cleared outside the tree");
    store(words, TRACING_WORD, 0);
  }

  ensureNodes(nodes: number): void {
    const inUse = objectsInUse(this.#self.thread, nodeSlab(this.#self.thread));
    ensure(inUse === nodes, `the tree has ${inUse} nodes, not ${nodes}`);
  }
}

interface Story extends Omit<Plot<TreeShared, PlainTree>, "actors"> {
  readonly play: (tree: PlainTree) => void;
}

/** A scenario of one actor, which plays a fixed sequence; at its end it removes all entries. */
export function treeStory({ play, ...story }: Story): Scenario<TreeShared, PlainTree> {
  return scenario({
    ...story,
    build() {
      const { region, thread } = regionWithThreads(1);
      createMappingArea(thread);
      const mapping = allocateZeroed(thread, mappingSlab(thread));
      initMapping(thread, mapping, 2 as Ino, 0, 1);
      return { region, mapping };
    },
    region: (shared: TreeShared) => shared.region,
    begin: (shared: TreeShared, selves) => new PlainTree(shared, selves),
    actors: {
      file(tree) {
        play(tree);
        tree.remove(0, PAGE_INDEX_MAX);
        tree.ensureSame();
        tree.ensureNodes(0);
        tree.put(7);
        tree.ensureSame();
        tree.ensureNodes(1);
      },
    },
    end: () => {},
  });
}
