/** A file's record: what it tells of its inode, and the range that was written. */
import type { Ino } from "../../../base/quantities.ts";
import {
  createMappingArea,
  hasLostUnlisted,
  initMapping,
  inoOf,
  type Mapping,
  MappingWord,
  mappingSlab,
  noteLostUnlisted,
  noteWritten,
  PAGE_INDEX_MAX,
  sizeOf,
  takeWritten,
} from "../../../mapping/mapping.ts";
import { load, store } from "../../../sync/atomics.ts";
import type { Region } from "../../../sync/region.ts";
import { allocateZeroed } from "../../../sync/slab.ts";
import { ensure, type Self, scenario } from "../../scenario.ts";
import { regionWithThreads } from "../../world/threads.ts";

interface RecordShared {
  readonly region: Region;
  readonly mapping: Mapping;
}

function buildRecord(actors: number): RecordShared {
  const { region, thread } = regionWithThreads(actors);
  createMappingArea(thread);
  const mapping = allocateZeroed(thread, mappingSlab(thread));
  initMapping(thread, mapping, 2 as Ino, 0, 1);
  return { region, mapping };
}

/** A file's record in one schedule, with the ranges that were taken from it. */
class FileRecord {
  readonly mapping: Mapping;
  readonly #taken: (readonly [first: number, last: number])[] = [];

  readonly #selves: readonly Self[];

  constructor({ mapping }: RecordShared, selves: readonly Self[]) {
    this.mapping = mapping;
    this.#selves = selves;
  }

  note(self: Self, first: number, last: number): void {
    noteWritten(self.thread, this.mapping, first, last);
  }

  /** Takes what is noted, and shows it. */
  take(self: Self): string {
    const range = takeWritten(self.thread, this.mapping);
    if (range === null) return "none";
    this.#taken.push([range.first, range.last]);
    return `${range.first} to ${range.last}`;
  }

  /** Of what an actor has noted, if it takes part. */
  ensurePersisted(name: string, ...pages: readonly number[]): void {
    if (!this.#selves.some((self) => self.name === name)) return;
    for (const page of pages) ensure(this.hasTaken(page), `page ${page} is not persisted`);
  }

  takeRest(): void {
    this.take(this.#selves[0]!);
  }

  hasTaken(page: number): boolean {
    return this.#taken.some(([first, last]) => first <= page && page <= last);
  }

  ensureTaken(self: Self, expected: string): void {
    const taken = this.take(self);
    ensure(taken === expected, `taken is ${taken}, noted was ${expected}`);
  }

  ensureInode(self: Self, ino: number, size: number, generation: number): void {
    const { thread } = self;
    const told = [inoOf(thread, this.mapping), sizeOf(thread, this.mapping)];
    ensure(`${told}` === `${[ino, size]}`, `the record tells of an inode and a size of ${told}`);
    const found = load(thread.words, this.mapping + MappingWord.generation);
    ensure(found === generation, `the record tells of generation ${found}`);
  }
}

const RECORD = {
  region: (shared: RecordShared) => shared.region,
  begin: (shared: RecordShared, selves: readonly Self[]) => new FileRecord(shared, selves),
};

export const mappingRecord = scenario({
  ...RECORD,
  name: "mapping-record",
  about:
    "A record is set up for an inode with large numbers, used, and set up for another one. It tells of " +
    "the one that it is for, and never has a sequence again.",
  from: "mapping/mapping.ts, initMapping; metadata/sequence.ts",
  build: () => buildRecord(1),
  actors: {
    file(record, self) {
      const { thread } = self;
      const { mapping } = record;
      const [ino, size] = [2 ** 40 + 2 ** 31 + 5, 2 ** 43 - 7];
      initMapping(thread, mapping, ino as Ino, size, 7);
      record.ensureInode(self, ino, size, 7);
      record.ensureTaken(self, "none");
      ensure(!hasLostUnlisted(thread, mapping), "a new record tells of a lost page");
      noteLostUnlisted(thread, mapping);
      ensure(hasLostUnlisted(thread, mapping), "the record does not tell of a lost page");
      record.note(self, 3, 4);
      const before = load(thread.words, mapping + MappingWord.sequence) + 1;
      store(thread.words, mapping + MappingWord.sequence, before);
      initMapping(thread, mapping, 12 as Ino, 4096, 8);
      record.ensureInode(self, 12, 4096, 8);
      record.ensureTaken(self, "none");
      ensure(!hasLostUnlisted(thread, mapping), "a new record tells of the former one's lost page");
      const after = load(thread.words, mapping + MappingWord.sequence);
      ensure(after > before && after % 2 === 0, "a record begins with a sequence that was there");
    },
  },
  end: () => {},
});

export const writtenPages = scenario({
  ...RECORD,
  name: "written-pages",
  about: "What was written is noted, up to the last page of a file, and taken as it was noted.",
  from: "mapping/mapping.ts, noteWritten; DESIGN.md 5.6, invariant 8",
  build: () => buildRecord(1),
  actors: {
    file(record, self) {
      record.note(self, 7, 9);
      record.note(self, 3, 3);
      record.note(self, 8, 12);
      record.note(self, 5, 6);
      record.ensureTaken(self, "3 to 12");
      record.ensureTaken(self, "none");
      record.note(self, 0, 0);
      record.ensureTaken(self, "0 to 0");
      record.note(self, PAGE_INDEX_MAX, PAGE_INDEX_MAX);
      record.note(self, 2 ** 31 + 1, 2 ** 31 + 2);
      record.ensureTaken(self, `${2 ** 31 + 1} to ${PAGE_INDEX_MAX}`);
      record.note(self, PAGE_INDEX_MAX, PAGE_INDEX_MAX);
      // The last index stands for none, so the page before it is noted with it.
      record.ensureTaken(self, `${PAGE_INDEX_MAX - 1} to ${PAGE_INDEX_MAX}`);
    },
  },
  end: () => {},
});

export const writtenTogether = scenario({
  ...RECORD,
  name: "written-together",
  about:
    "Two threads note pages as written, one after another's page is noted already, while write-back " +
    "takes what is noted. Each page is taken, or still noted.",
  from: "DESIGN.md 5.6, invariant 8: what fsync returned for is on the device",
  build: () => buildRecord(3),
  explore: { strategy: "bounded", preemptions: 3 },
  actors: {
    writer(record, self) {
      record.note(self, 5, 5);
      record.note(self, 7, 7);
    },
    window(record, self) {
      record.note(self, 3, 3);
    },
    "write-back"(record, self) {
      record.take(self);
      record.take(self);
    },
  },
  end(record) {
    record.takeRest();
    for (const page of [3, 5, 7]) ensure(record.hasTaken(page), `page ${page} is not persisted`);
  },
});

export const writtenAcrossTake = scenario({
  ...RECORD,
  name: "written-across-take",
  about:
    "A thread has written to pages 0 to 8, of which 0 to 3 are noted, and notes them. Meanwhile another one " +
    "writes back, taking what is noted, and then writes to pages 5 to 10. Each page is taken, or still noted.",
  from: "mapping/mapping.ts, isNoted: between two takes the range only grows",
  build: () => buildRecord(2),
  begin(shared: RecordShared, selves) {
    const record = new FileRecord(shared, selves);
    record.note(selves[0]!, 0, 3);
    return record;
  },
  explore: { strategy: "reduced" },
  actors: {
    writer: (record, self) => record.note(self, 0, 8),
    other(record, self) {
      record.take(self);
      record.note(self, 5, 10);
    },
  },
  end(record) {
    record.takeRest();
    record.ensurePersisted("writer", 0, 4, 8);
    record.ensurePersisted("other", 5, 10);
  },
});

export const writtenBesideTake = scenario({
  ...RECORD,
  name: "written-beside-take",
  about:
    "A thread has written to pages 0 to 8, of which 0 to 3 are noted, and notes them. Meanwhile another one takes " +
    "what is noted, and a third one notes pages 5 to 10. Each page is taken, or still noted.",
  from: "mapping/mapping.ts, takeWritten: counted before another range can be noted",
  build: () => buildRecord(3),
  begin(shared: RecordShared, selves) {
    const record = new FileRecord(shared, selves);
    record.note(selves[0]!, 0, 3);
    return record;
  },
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    writer: (record, self) => record.note(self, 0, 8),
    taker: (record, self) => record.take(self),
    third: (record, self) => record.note(self, 5, 10),
  },
  end(record) {
    record.takeRest();
    record.ensurePersisted("writer", 0, 4, 8);
    record.ensurePersisted("third", 5, 10);
  },
});
