/** Slabs and pages: nobody gets what another one has, and a full region stays usable. */
import { HoldfastError } from "../../../base/errors.ts";
import { load, store } from "../../../sync/atomics.ts";
import { Region, REGION_BYTES_MIN } from "../../../sync/region.ts";
import { allocateObject, freeObject, initSlab, objectsInUse } from "../../../sync/slab.ts";
import { ensure, ensureNoLeak, type Self, scenario } from "../../scenario.ts";
import { buildSync, Place, type SyncShared, threadWordName } from "../../world/locks.ts";
import { isDead } from "../../world/threads.ts";

/** A chunk of the slab is two objects. */
const OBJECT_WORDS = 8192;
const CHUNK_WORDS = 2 * OBJECT_WORDS;
const PAGE_WORDS = 1024;
const SLAB_FIELDS = ["guard", "first free object", "objects in use", "object size"];

/** A slab in one schedule, and who has what. */
class Memory {
  readonly region: Region;
  readonly actors: readonly Self[];
  readonly slab: number;
  /** By object or page. */
  readonly owners = new Map<number, Self>();
  refused = 0;

  constructor({ region, page }: SyncShared, actors: readonly Self[]) {
    this.region = region;
    this.actors = actors;
    this.slab = page + Place.slab;
  }

  /** An object of the slab; 0 when the region is used up. */
  take(self: Self): number {
    return this.#own(self, () => allocateObject(self.thread, this.slab));
  }

  /** A page of the region; 0 when it is used up. */
  takePage(self: Self): number {
    return this.#own(self, () => this.region.allocatePages(PAGE_WORDS));
  }

  #own(self: Self, allocate: () => number): number {
    try {
      const object = allocate();
      const owner = this.owners.get(object)?.name;
      ensure(owner === undefined, `${self.name} is given what ${owner} has`);
      this.owners.set(object, self);
      self.say(`has ${object}`);
      return object;
    } catch (error) {
      if (!(error instanceof HoldfastError && error.code === "ENOMEM")) throw error;
      this.refused++;
      self.say("is told that the region is used up");
      return 0;
    }
  }

  give(self: Self, object: number): void {
    if (object === 0) return;
    this.owners.delete(object);
    freeObject(self.thread, this.slab, object);
  }

  /** At the end: everything can be taken again, each thing once, but for what a dead thread lost. */
  end(objects: number): void {
    const dead = this.actors.filter((self) => isDead(self.thread));
    const survivor = this.actors.find((self) => !dead.includes(self))!;
    const { thread, name } = survivor;
    const inUse = objectsInUse(thread, this.slab);
    const { size: kept } = this.owners;
    ensureNoLeak(
      Math.abs(inUse - kept) <= dead.length,
      `${inUse} objects count as in use, but ${kept} are`,
    );
    let taken = 0;
    while (this.take(survivor) !== 0) taken++;
    // Whoever dies while it makes a chunk loses the chunk; else at most the object in its hands.
    const lost = kept + 2 * dead.length;
    ensureNoLeak(taken >= objects - lost, `${name} can take ${taken} of ${objects} objects`);
  }

  nameOf(word: number): string | null {
    const offset = word - this.slab;
    if (word === 3) return "the region's next page";
    if (offset >= 0 && offset < 4) return `slab: ${SLAB_FIELDS[offset]}`;
    return threadWordName(this.actors, word);
  }
}

/** A slab without objects, in a region with room for so many chunks of two. */
const withSlab = (actors: number, chunks: number) => ({
  build(): SyncShared {
    const shared = buildSync(actors);
    const { region, page } = shared;
    initSlab(region, page + Place.slab, OBJECT_WORDS);
    const left = (REGION_BYTES_MIN - region.bytesUsed) / 4;
    region.allocatePages(left - chunks * CHUNK_WORDS);
    return shared;
  },
  region: (shared: SyncShared) => shared.region,
  begin: (shared: SyncShared, selves: readonly Self[]) => new Memory(shared, selves),
  end: (memory: Memory) => memory.end(2 * chunks),
  nameOf: (memory: Memory, word: number) => memory.nameOf(word),
});

function takeAndGive(memory: Memory, self: Self): void {
  memory.give(self, memory.take(self));
}

function takeTwo(memory: Memory, self: Self): void {
  const first = memory.take(self);
  const second = memory.take(self);
  memory.give(self, first);
  memory.give(self, second);
}

/** Two threads share a slab. */
export const slab = scenario({
  ...withSlab(2, 3),
  name: "slab",
  about:
    "One thread takes two objects of a slab and gives them back, another one takes and gives back " +
    "one. Nobody is given what another one has, and nobody is refused.",
  from: "sync/slab.ts",
  actors: { first: takeTwo, second: takeAndGive },
  explore: { strategy: "bounded", preemptions: 3 },
  end(memory) {
    ensure(memory.refused === 0, "a thread is refused while the region has room");
    memory.end(6);
  },
});

/** Three threads share a slab. */
export const slabOfThree = scenario({
  ...withSlab(3, 4),
  name: "slab-of-three",
  about: "Three threads take objects of a slab and give them back, one of them two.",
  from: "sync/slab.ts",
  actors: { first: takeTwo, second: takeAndGive, third: takeAndGive },
  explore: { strategy: "bounded", preemptions: 2 },
});

/** The region is used up. */
export const regionFull = scenario({
  ...withSlab(2, 1),
  name: "region-full",
  about:
    "Two threads take two objects each, where the region has room for two in all. Whoever is refused " +
    "has changed nothing: at the end both objects can be taken.",
  from: "sync/slab.ts and sync/region.ts: ENOMEM, with nothing changed",
  actors: { first: takeTwo, second: takeTwo },
  explore: { strategy: "bounded", preemptions: 3 },
});

/** A thread dies while it takes or gives back. */
export const slabUserDies = scenario({
  ...withSlab(2, 3),
  name: "slab-user-dies",
  about:
    "Of two threads that share a slab one dies at any point. The other one is never given what the " +
    "dead one had, and no more is lost than was in its hands.",
  from: "sync/slab.ts: popping and pushing are one store each",
  actors: { first: takeTwo, second: takeAndGive },
  environment: { terminate: { kill: "first" } },
  explore: { strategy: "bounded", preemptions: 2 },
});

function takePages(memory: Memory, self: Self): void {
  while (memory.takePage(self) !== 0);
}

/** Two threads use up the region, page by page. */
export const pages = scenario({
  ...withSlab(2, 0),
  build(): SyncShared {
    const shared = buildSync(2);
    const left = (REGION_BYTES_MIN - shared.region.bytesUsed) / 4;
    shared.region.allocatePages(left - 3 * PAGE_WORDS);
    return shared;
  },
  name: "pages",
  about:
    "Two threads take pages until the region is used up. Each page is given to one of them, and all " +
    "are given.",
  from: "sync/region.ts, allocatePages",
  actors: { first: takePages, second: takePages },
  end: (memory) => ensure(memory.owners.size === 3, `${memory.owners.size} of 3 pages were given`),
});

/** Whether an operation is refused as wrongly called. */
function isInvalid(operation: () => unknown): boolean {
  try {
    operation();
  } catch (error) {
    if (!(error instanceof HoldfastError && error.code === "EINVAL")) throw error;
    return true;
  }
  return false;
}

/** Sizes that a region cannot have, and buffers that are none. */
export const noRegion = scenario({
  ...withSlab(1, 1),
  name: "no-region",
  about:
    "A thread joins a region, and is refused where the buffer is none, or one of another version. No " +
    "region is made that is too small or too large.",
  from: "sync/region.ts, create and attach: EINVAL",
  actors: {
    user({ region }) {
      const { buffer, words } = region;
      for (const size of [REGION_BYTES_MIN - 1, 2 ** 60, NaN]) {
        ensure(
          isInvalid(() => Region.create(size)),
          `a region of ${size} bytes is made`,
        );
      }
      ensure(Region.attach(buffer).bytesUsed === region.bytesUsed, "another region is joined");
      for (const word of [0, 1]) {
        const value = load(words, word);
        store(words, word, value + 1);
        ensure(
          isInvalid(() => Region.attach(buffer)),
          "a buffer is joined that is no region of this version",
        );
        store(words, word, value);
      }
    },
  },
});
