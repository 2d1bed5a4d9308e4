/**
 * A volume that is made larger, over metadata with a journal. Its size is a block, and so is each group's bitmap; its
 * driver finds free blocks, and grows by the parts of production that make a size known (volume/grow-steps.ts,
 * drivers/ext/resize/volume-size.ts).
 *
 * As with flex_bg, where the bitmap of a group lies depends on how many groups were added at once. So who takes what was
 * undone for the volume's looks in the wrong place.
 */
import { HoldfastError } from "../../base/errors.ts";
import { PAGE_SIZE } from "../../base/quantities.ts";
import { DeviceState } from "../../device/state.ts";
import { createVolumeSize, VolumeSize } from "../../drivers/ext/resize/volume-size.ts";
import type { GrowthRun, GrowthStep } from "../../iomap/contract.ts";
import { type Transaction, transactionsCommitted } from "../../metadata/transaction.ts";
import { load, store } from "../../sync/atomics.ts";
import { Root } from "../../sync/region.ts";
import type { Sleeps } from "../../sync/sleep.ts";
import { beginGrowth, copyPart, type GrowingVolume, takeStep } from "../../volume/grow-steps.ts";
import { ensure, ensureNoLeak, type Self } from "../scenario.ts";
import { buildJournal, JournaledMetadata, type JournalShared } from "./journal.ts";
import { threadAt } from "./threads.ts";

/** The block that says which of the layouts the volume has. */
const SIZE = 3;
/** Where a grown volume keeps a copy of that: for repair programs alone. */
const COPY = 7;
const GROUP_BYTES = PAGE_SIZE;
/** Blocks of a group, each a bit of its bitmap. */
const GROUP_BLOCKS = 2;
const FULL = 2 ** GROUP_BLOCKS - 1;
/** What a bitmap's block holds, beside its bits: whose it is. */
const BITMAP = 64;
const GROUP_SHIFT = 3;

/** What a thread knows of the volume. */
interface Facts {
  /** What the block of the size holds. */
  readonly layout: number;
  /** The block of each group's bitmap. */
  readonly bitmaps: readonly number[];
}

/** By what the block of the size holds. */
const LAYOUTS: Readonly<Record<number, readonly number[]>> = {
  1: [4],
  2: [4, 5],
  // Two groups that were added at once.
  3: [4, 6, 5],
  4: [4, 5, 6],
};

function factsOf(layout: number): Facts {
  const bitmaps = LAYOUTS[layout];
  ensure(bitmaps !== undefined, `${layout} is no size of the volume`);
  return { layout, bitmaps };
}

/** The layout of a volume of so many groups that has grown from this one. */
function grownFrom({ bitmaps }: Facts, groups: number): Facts {
  if (groups === 3) return factsOf(bitmaps.length === 1 ? 3 : 4);
  return factsOf(groups);
}

function bitmapValue(group: number, bits: number): number {
  return BITMAP | (group << GROUP_SHIFT) | bits;
}

/** A step of a growth, as a driver's. */
interface Step extends GrowthStep {
  readonly from: Facts;
  readonly to: Facts;
}

export function buildGrowth(actors: number): JournalShared {
  const shared = buildJournal(actors, { ring: 32, cached: [4] });
  const { region, device, truth } = shared;
  const thread = threadAt(region, 0);
  createVolumeSize(thread);
  DeviceState.create(thread);
  const values: Readonly<Record<number, number>> = {
    [SIZE]: 1,
    4: bitmapValue(0, 1),
    // Nobody's yet.
    5: 0,
    6: 0,
    [COPY]: 0,
  };
  for (const [block, value] of Object.entries(values)) {
    store(region.words, device + Number(block), value === 0 ? 1000 : value);
    store(region.words, truth + Number(block), value);
  }
  return { ...shared, bytesAtStart: region.bytesUsed };
}

/** What an actor has of the volume. */
class View {
  readonly size: VolumeSize;
  readonly state: DeviceState;
  facts = factsOf(1);
  /** The most groups that it has seen. */
  groupsSeen = 1;

  constructor(self: Self) {
    this.size = new VolumeSize(self.thread);
    this.state = new DeviceState(self.thread);
  }
}

export class GrowableVolume {
  readonly journaled: JournaledMetadata;
  readonly #shared: JournalShared;
  readonly #views: readonly View[];
  /** Actors whose next step fails when it has changed all. */
  readonly failing = new Set<Self>();
  /** Those whose device has no room. */
  readonly confined = new Set<Self>();

  constructor(shared: JournalShared, actors: readonly Self[]) {
    this.#shared = shared;
    this.journaled = new JournaledMetadata(shared, actors);
    this.#views = actors.map((self) => new View(self));
  }

  get actors(): readonly Self[] {
    return this.journaled.actors;
  }

  #view(self: Self): View {
    return this.#views[this.actors.indexOf(self)]!;
  }

  #truth(block: number): number {
    return this.#shared.truth + block;
  }

  /** As a driver has it: what the thread knows, anew where the size has changed. */
  facts(self: Self): Facts {
    const view = this.#view(self);
    if (view.size.hasChanged) {
      const found = view.size.readAnew(() => factsOf(this.journaled.metadata.value(self, SIZE)));
      if (found !== undefined && found.layout !== view.facts.layout) view.facts = found;
    }
    return view.facts;
  }

  // Who uses the volume.

  /** Looks how large the volume is, without a lock. What is seen was committed, and not less than before. */
  look(self: Self): void {
    const view = this.#view(self);
    const { layout, bitmaps } = this.facts(self);
    const groups = bitmaps.length;
    transactionsCommitted(self.thread);
    const committed = factsOf(this.journaled.committedValue(SIZE)).bitmaps.length;
    ensure(groups <= committed, `${self.name} sees ${groups} groups, ${committed} are committed`);
    ensure(
      groups >= view.groupsSeen,
      `${self.name} has seen ${view.groupsSeen} groups, and sees ${groups}`,
    );
    ensure(
      this.#hasStorage(self, groups * GROUP_BYTES),
      `the device is smaller than ${groups} groups`,
    );
    view.groupsSeen = groups;
    self.say(`sees ${groups} groups, in layout ${layout}`);
  }

  /** Looks, and reads the last group's bitmap without a lock. */
  lookInto(self: Self): void {
    this.look(self);
    this.journaled.metadata.read(self, this.#view(self).facts.bitmaps.at(-1)!);
  }

  /** Takes a block. False: there is none. */
  *allocate(self: Self): Sleeps<boolean> {
    try {
      yield* this.journaled.operate(self, (transaction) => this.#take(self, transaction));
      return true;
    } catch (error) {
      if (!(error instanceof HoldfastError && error.code === "ENOSPC")) throw error;
      self.say("finds no block");
      return false;
    }
  }

  #take(self: Self, transaction: Transaction): void {
    const { layout, bitmaps } = this.facts(self);
    const current = transaction.getWord(this.#truth(SIZE));
    ensure(
      layout === current,
      `a transaction sees layout ${layout} of a volume that has ${current}`,
    );
    for (const [group, block] of bitmaps.entries()) {
      const value = this.journaled.metadata.value(self, block);
      const expected = transaction.getWord(this.#truth(block));
      ensure(value === expected, `the bitmap of group ${group} holds ${value}, not ${expected}`);
      const bits = value & FULL;
      ensure(value === bitmapValue(group, bits), `block ${block} is not group ${group}'s bitmap`);
      if (bits === FULL) continue;
      this.journaled.edit(self, transaction, block, value | (bits + 1));
      self.say(`takes a block of group ${group}`);
      return;
    }
    throw new HoldfastError("ENOSPC", "no block is free");
  }

  // Who makes it larger.

  /** As `grow` of volume/grow.ts. */
  *grow(self: Self, groups: number): Sleeps<void> {
    const volume = this.#growing(self);
    const run = yield* beginGrowth(self.task, volume, groups * GROUP_BYTES);
    try {
      while (yield* takeStep(self.task, volume, run)) this.look(self);
      yield* this.journaled.commit(self, this.#operations(self));
      while (yield* copyPart(self.task, volume, run)) self.say("brings a copy up to date");
    } finally {
      run[Symbol.dispose]();
    }
    const reached = this.facts(self).bitmaps.length;
    ensure(reached >= groups, `the volume has ${reached} groups when it has grown to ${groups}`);
  }

  #operations(self: Self): number {
    return load(self.thread.words, this.#shared.operations);
  }

  #growing(self: Self): GrowingVolume {
    const journal = this.journaled.journal(self);
    return {
      cache: this.journaled.metadata.cache(self),
      driver: { type: "ext", growth: { begin: (bytes) => this.#begin(self, bytes) } },
      dax: { device: { grow: (bytes) => this.#growDevice(self, bytes) } },
      assertWritable: () => journal.assertUsable(),
    };
  }

  /** As `Device.grow`. */
  #growDevice(self: Self, bytes: number): void {
    if (this.#hasStorage(self, bytes)) return;
    if (this.confined.delete(self)) throw new HoldfastError("ENOSPC", "the host is full");
    this.#view(self).state.notePages(bytes / PAGE_SIZE);
  }

  /** Whether the device is as large as so many groups. */
  hasRoomFor(self: Self, groups: number): boolean {
    return this.#hasStorage(self, groups * GROUP_BYTES);
  }

  #hasStorage(self: Self, bytes: number): boolean {
    return bytes <= Math.max(this.#view(self).state.grownPages * PAGE_SIZE, GROUP_BYTES);
  }

  #begin(self: Self, bytes: number): GrowthRun {
    const claim = this.#view(self).size.claim();
    const first = this.facts(self);
    const groups = bytes / GROUP_BYTES;
    if (groups < first.bitmaps.length) {
      claim[Symbol.dispose]();
      throw new HoldfastError("EINVAL", "the volume cannot be made smaller");
    }
    self.say(`makes the volume larger, to ${groups} groups`);
    let copied = false;
    return {
      size: bytes,
      prepare: () => this.#prepare(self, groups),
      apply: (transaction, step) => this.#apply(self, transaction, step as Step),
      copy: () => {
        if (copied) return false;
        this.#copy(self);
        copied = true;
        return true;
      },
      [Symbol.dispose]: () => claim[Symbol.dispose](),
    };
  }

  /** Stores the bitmaps of new groups, where nobody looks. */
  #prepare(self: Self, groups: number): Step | null {
    const from = this.facts(self);
    if (from.bitmaps.length >= groups) return null;
    const to = grownFrom(from, groups);
    ensure(this.#hasStorage(self, groups * GROUP_BYTES), "new groups are not on the device");
    for (let group = from.bitmaps.length; group < groups; group++) {
      const block = to.bitmaps[group]!;
      const cached = this.journaled.metadata.cache(self).readCached(block);
      ensure(cached === null, `block ${block} is cached before it is a part of the volume`);
      const used = load(self.thread.words, this.#truth(block));
      ensure(used === 0, `block ${block} is stored to, which belongs to the volume`);
      this.journaled.storeHome(block, bitmapValue(group, 0));
    }
    return { from, to, size: groups * GROUP_BYTES };
  }

  #apply(self: Self, transaction: Transaction, { from, to }: Step): void {
    const view = this.#view(self);
    ensure(this.facts(self) === from, "the volume has changed its size while it was made larger");
    view.size.beginChange(transaction);
    this.journaled.edit(self, transaction, SIZE, to.layout);
    for (let group = from.bitmaps.length; group < to.bitmaps.length; group++) {
      transaction.setWord(this.#truth(to.bitmaps[group]!), bitmapValue(group, 0));
    }
    self.say(`has ${to.bitmaps.length} groups to be committed`);
    if (this.failing.delete(self)) throw new HoldfastError("EIO", "the device fails");
    this.journaled.noteOperation(self, transaction);
  }

  /** When all steps are durable: a crash leaves the size that is copied, or a larger one. */
  #copy(self: Self): void {
    const { layout } = this.facts(self);
    this.journaled.assertSurvives("when the size is copied");
    this.journaled.storeHome(COPY, layout);
  }

  // The end.

  end(): void {
    if (this.#isForsaken()) return;
    this.journaled.end();
    const survivor = this.journaled.metadata.survivor();
    const { words } = survivor.thread;
    const size = load(words, this.#truth(SIZE));
    ensure(this.facts(survivor).layout === size, "who lives does not see the volume's size");
    this.look(survivor);
    const grower = load(words, survivor.thread.region.root(Root.volumeSize));
    ensureNoLeak(grower === 0 || !survivor.thread.isAlive(grower), "the claim to grow is left");
    for (const [group, block] of this.facts(survivor).bitmaps.entries()) {
      const value = this.journaled.metadata.value(survivor, block);
      ensure(value === load(words, this.#truth(block)), `the bitmap of group ${group} is ${value}`);
    }
  }

  endOfBuffers(): void {
    if (!this.#isForsaken()) this.journaled.endOfBuffers();
  }

  /** Whether nobody lives who could look. */
  #isForsaken(): boolean {
    return this.journaled.metadata.deaths() === this.actors.length;
  }

  /** Groups that the volume has, looked at from outside. */
  groupsCommitted(): number {
    return factsOf(this.journaled.committedValue(SIZE)).bitmaps.length;
  }

  nameOf(word: number): string | null {
    const { region } = this.#shared;
    const inSize = word - region.root(Root.volumeSize);
    if (inSize === 0) return "who makes the volume larger";
    if (inSize === 1) return "the size's sequence";
    const name = this.journaled.nameOf(word);
    if (name === null && word - region.root(Root.deviceState) === 3) return "the device's pages";
    return name;
  }
}
