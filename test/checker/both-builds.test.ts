// One thread does the same in both builds: every value that the core returns, and every word of the
// region afterwards. The production build has real shared memory, the checked one its simulated door.
import fc from "fast-check";
import { beforeAll, expect, it } from "vitest";
import type { Ino } from "../../src/base/quantities.ts";
import { Door } from "../../src/checker/engine/door.ts";
import { drain, Linker } from "../../src/checker/instrument/linker.ts";
import * as mapping from "../../src/mapping/mapping.ts";
import * as tree from "../../src/mapping/tree.ts";
import { Pages } from "../../src/pages/pages.ts";
import * as pin from "../../src/pin/pin.ts";
import * as pinRecord from "../../src/pin/record.ts";
import * as atomics from "../../src/sync/atomics.ts";
import * as lock from "../../src/sync/lock.ts";
import { Region, REGION_BYTES_MIN } from "../../src/sync/region.ts";
import * as slab from "../../src/sync/slab.ts";
import { Thread } from "../../src/sync/thread.ts";
import type * as CoreModule from "./programs/core.mjs";

type Core = typeof CoreModule;

const production: Core = {
  ...mapping,
  ...tree,
  ...pin,
  ...pinRecord,
  ...atomics,
  ...lock,
  ...slab,
  Pages,
  Region,
  Thread,
};

const DEVICE_BYTES = 2 ** 24;
const DEVICE_PAGES = DEVICE_BYTES / 4096;
const OBJECT_WORDS = 24;

type Operation =
  | {
      readonly kind: "insert";
      readonly at: number;
      readonly page: number;
      readonly count: number;
      readonly marked: boolean;
    }
  | { readonly kind: "insertHuge"; readonly at: number; readonly chunk: number }
  | {
      readonly kind: "find" | "setMark" | "clearMark";
      readonly at: number;
      readonly dirty: boolean;
    }
  | { readonly kind: "next"; readonly at: number; readonly dirty: boolean; readonly count: number }
  | { readonly kind: "remove"; readonly at: number; readonly count: number }
  | { readonly kind: "pin"; readonly at: number; readonly count: number; readonly write: boolean }
  | { readonly kind: "release" | "unlock" | "free"; readonly which: number }
  | { readonly kind: "lock"; readonly which: number; readonly exclusive: boolean }
  | { readonly kind: "allocate"; readonly zeroed: boolean };

/** Clustered, so that operations meet, at several heights of the tree. */
const at = fc.oneof(
  { weight: 6, arbitrary: fc.nat(20) },
  { weight: 2, arbitrary: fc.nat(200) },
  { weight: 1, arbitrary: fc.nat(1600) },
  { weight: 1, arbitrary: fc.nat(200).map((n) => 64 ** 3 + n) },
  { weight: 1, arbitrary: fc.nat(200).map((n) => mapping.PAGE_INDEX_MAX - n) },
);
const few = fc.integer({ min: 1, max: 8 });
const pinned = fc.oneof({ weight: 3, arbitrary: fc.integer({ min: 1, max: 2 }) }, few);
const count = fc.oneof({ weight: 4, arbitrary: few }, fc.constantFrom(64, 512, 4096));
const which = fc.nat(20);
const kind = <K extends string>(...kinds: K[]) => fc.constantFrom(...kinds);

const operation = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: kind("insert"),
      at,
      page: fc.nat(DEVICE_PAGES - 1),
      count: few,
      marked: fc.boolean(),
    }),
  },
  fc.record({ kind: kind("insertHuge"), at, chunk: fc.nat(DEVICE_PAGES / 512 - 1) }),
  {
    weight: 3,
    arbitrary: fc.record({ kind: kind("find", "setMark", "clearMark"), at, dirty: fc.boolean() }),
  },
  fc.record({ kind: kind("next"), at, dirty: fc.boolean(), count }),
  fc.record({ kind: kind("remove"), at, count }),
  {
    weight: 3,
    arbitrary: fc.record({ kind: kind("pin"), at, count: pinned, write: fc.boolean() }),
  },
  { weight: 3, arbitrary: fc.record({ kind: kind("release", "unlock", "free"), which }) },
  fc.record({ kind: kind("lock"), which: fc.nat(2), exclusive: fc.boolean() }),
  fc.record({ kind: kind("allocate"), zeroed: fc.boolean() }),
) as fc.Arbitrary<Operation>;

/** One build, with one thread and one file. `go` runs what a call of the build returns to its end. */
class Side {
  readonly core: Core;
  readonly go: <T>(result: T) => T;
  readonly region: Region;
  readonly thread: Thread;
  readonly pages: Pages;
  readonly mapping: number;
  readonly slab: number;
  readonly locks: number;
  readonly #pins: { record: number; first: number; count: number }[] = [];
  readonly #held: { lock: number; record: number; exclusive: boolean }[] = [];
  readonly #objects: number[] = [];

  constructor(core: Core, go: <T>(result: T) => T) {
    this.core = core;
    this.go = go;
    this.region = go(core.Region.create(REGION_BYTES_MIN));
    this.thread = go(core.Thread.join(this.region));
    go(core.createMappingArea(this.thread));
    this.pages = go(core.Pages.create(this.thread, DEVICE_BYTES));
    this.mapping = go(core.allocateZeroed(this.thread, go(core.mappingSlab(this.thread))));
    go(core.initMapping(this.thread, this.mapping, 2 as Ino, 2 ** 33 + 5, 7));
    this.slab = go(this.region.allocatePages(64));
    this.locks = this.slab + 16;
    go(core.initSlab(this.region, this.slab, OBJECT_WORDS));
  }

  /** What the operation returns; or the message of what it throws. */
  do(operation: Operation): unknown {
    try {
      return this.#do(operation);
    } catch (error) {
      return String(error);
    }
  }

  #do(operation: Operation): unknown {
    const { core, go, thread } = this;
    switch (operation.kind) {
      case "insert":
        return this.#insert(operation.at, operation.page, operation.count, operation.marked);
      case "insertHuge":
        return this.#insertHuge(operation.at - (operation.at % 512), operation.chunk * 512);
      case "find":
        return this.#find(operation.at, markOf(operation.dirty));
      case "setMark":
        if (go(core.findSlot(thread.words, this.mapping, operation.at)) === 0)
          return "nothing there";
        return go(core.setMark(thread, this.mapping, operation.at, markOf(operation.dirty)));
      case "clearMark":
        return go(core.clearMark(thread, this.mapping, operation.at, markOf(operation.dirty)));
      case "next": {
        const { at, count, dirty } = operation;
        return go(core.nextMarked(thread.words, this.mapping, at, at + count, markOf(dirty)));
      }
      case "remove":
        return this.#remove(operation.at, operation.count);
      case "pin":
        return this.#pin(operation.at, operation.count, operation.write);
      case "release":
        return this.#release(operation.which);
      case "lock":
        return this.#lock(this.locks + operation.which * 8, operation.exclusive);
      case "unlock":
        return this.#unlock(operation.which);
      case "allocate": {
        const allocate = operation.zeroed ? core.allocateZeroed : core.allocateObject;
        const object = go(allocate(thread, this.slab));
        this.#objects.push(object);
        return object;
      }
      case "free": {
        const [object] = this.#objects.splice(operation.which % (this.#objects.length || 1), 1);
        if (object !== undefined) go(core.freeObject(thread, this.slab, object));
        return [object, go(core.objectsInUse(thread, this.slab))];
      }
    }
  }

  /** Whether a device page is nobody's. */
  #isFree(devicePage: number, count: number): boolean {
    return this.go(this.pages.isFree(devicePage, count));
  }

  #insert(index: number, devicePage: number, count: number, marked: boolean): unknown {
    const { core, go, thread } = this;
    const inserted: unknown[] = [];
    for (let offset = 0; offset < count; offset++) {
      const page = (devicePage + offset) % DEVICE_PAGES;
      const at = Math.min(index + offset, mapping.PAGE_INDEX_MAX);
      const slot = go(core.makeSlot(thread, this.mapping, at, 0));
      const free = go(core.load(thread.words, slot)) === 0 && this.#isFree(page, 1);
      inserted.push(slot, free);
      if (!free) continue;
      const id = go(this.pages.associate(page, 1, this.mapping, at, false));
      go(core.store(thread.words, slot, tree.makeEntry(tree.EntryKind.page, id)));
      inserted.push(id, go(this.pages.find(page)), go(this.pages.owner(id)));
      if (!marked) continue;
      for (const mark of Object.values(tree.Mark)) go(core.setMark(thread, this.mapping, at, mark));
    }
    return inserted;
  }

  #insertHuge(index: number, devicePage: number): unknown {
    const { core, go, thread } = this;
    const slot = go(core.makeSlot(thread, this.mapping, index, tree.HUGE_LEVEL));
    if (slot === 0 || go(core.load(thread.words, slot)) !== 0) return slot;
    if (!this.#isFree(devicePage, 512)) return "not free";
    const id = go(this.pages.associate(devicePage, 512, this.mapping, index, true));
    go(core.storeHuge(thread.words, slot, tree.makeEntry(tree.EntryKind.huge, id)));
    return [slot, id, go(this.pages.isHuge(id)), go(this.pages.devicePage(id))];
  }

  #find(index: number, mark: tree.Mark): unknown {
    const { core, go, thread } = this;
    const slot = go(core.findSlot(thread.words, this.mapping, index));
    if (slot === 0) return 0;
    const entry = go(core.load(thread.words, slot));
    const page = tree.isPageKind(tree.kindOf(entry)) ? tree.pageOf(entry) : null;
    return [
      slot,
      entry,
      go(core.isMarked(thread.words, slot, entry, index, mark)),
      page === null ? null : go(this.pages.index(page)),
      page === null ? null : go(this.pages.pinCount(page)),
    ];
  }

  #remove(index: number, count: number): unknown {
    const { core, go, thread, pages } = this;
    // Folios do not stick out of the range, and nothing in it is pinned.
    const first = index - (index % 512);
    const last = Math.min(mapping.PAGE_INDEX_MAX, first + Math.ceil(count / 512) * 512 - 1);
    if (this.#pins.some((each) => each.first <= last && each.first + each.count > first))
      return null;
    const visited: unknown[] = [];
    const visit = (entry: number, at: number, covered: number): void => {
      visited.push(entry, at, covered);
      go(pages.disassociate(tree.pageOf(entry), covered, this.mapping));
    };
    go(core.removeEntries(thread, this.mapping, first, last, visit));
    return [
      visited,
      go(pages.chunksInUse()),
      go(core.objectsInUse(thread, go(core.nodeSlab(thread)))),
    ];
  }

  #pin(first: number, count: number, write: boolean): unknown {
    const { core, go, thread, pages } = this;
    const record = go(core.tryPin(thread, pages, this.mapping, first, count, write));
    if (record === 0) return 0;
    this.#pins.push({ record, first, count });
    const owned = go(core.pagesOfPin(thread, pages, record));
    return [
      record,
      owned,
      go(core.stillOwned(pages, this.mapping, owned)),
      go(pages.totalPins()),
      go(core.heldPins(thread, this.mapping, first, first + count)),
    ];
  }

  #release(which: number): unknown {
    const [held] = this.#pins.splice(which % (this.#pins.length || 1), 1);
    if (held === undefined) return null;
    this.go(this.core.releasePin(this.thread, this.pages, held.record));
    return this.go(this.pages.totalPins());
  }

  #lock(place: number, exclusive: boolean): unknown {
    const { core, go, thread } = this;
    const record = go(exclusive ? core.tryExclusive(thread, place) : core.tryShared(thread, place));
    if (record !== 0) this.#held.push({ lock: place, record, exclusive });
    return [record, thread.heldLocks.count];
  }

  #unlock(which: number): unknown {
    const [held] = this.#held.splice(which % (this.#held.length || 1), 1);
    if (held === undefined) return null;
    const unlock = held.exclusive ? this.core.unlockExclusive : this.core.unlockShared;
    this.go(unlock(this.thread, held.lock, held.record));
    return this.thread.heldLocks.count;
  }

  /** The kernel forgets the thread, so that its region can be collected. */
  leave(): void {
    while (this.#held.length > 0) this.#unlock(0);
    this.thread.leave();
  }

  /** The region's words that are handed out, those aside that tell of the thread in the system. */
  words(): Int32Array {
    const { base } = this.thread;
    const nextPage = this.region.words[3]!;
    const words = Int32Array.from(this.region.words.subarray(0, nextPage * 1024));
    words[base + 3] = 0;
    words.fill(0, base + 16, base + 26);
    return words;
  }
}

function markOf(dirty: boolean): tree.Mark {
  return dirty ? tree.Mark.dirty : tree.Mark.pinned;
}

const door = new Door();
let checked: Core;

beforeAll(async () => {
  const program = await new Linker(door).link(new URL("./programs/core.mjs", import.meta.url));
  checked = program.exports as unknown as Core;
});

/** What a call returns, when that may be a checked function under way. */
function goChecked<T>(result: T): T {
  door.alone = true;
  return drain(result) as T;
}

it("both builds return the same and leave the same words, whatever one thread does", () => {
  const fruitful = new Map<string, number>();
  const operations = fc.array(operation, { minLength: 20, maxLength: 150, size: "max" });
  const property = fc.property(operations, (steps) => {
    const real = new Side(production, (result) => result);
    const simulated = new Side(checked, goChecked);
    for (const [step, each] of steps.entries()) {
      const expected = real.do(each);
      expect(simulated.do(each), `${step}: ${JSON.stringify(each)}`).toEqual(expected);
      if (expected) fruitful.set(each.kind, (fruitful.get(each.kind) ?? 0) + 1);
    }
    const [words, expected] = [simulated.words(), real.words()];
    const differing = expected.findIndex((word, index) => word !== words[index]);
    expect(differing, "the first word that differs").toBe(-1);
    expect(words.length).toBe(expected.length);
    real.leave();
  });
  fc.assert(property, { seed: 3, numRuns: 60 });
  // Most of it did something.
  for (const kind of ["insert", "insertHuge", "find", "next", "remove", "pin", "lock", "free"]) {
    expect(fruitful.get(kind), kind).toBeGreaterThan(40);
  }
});
