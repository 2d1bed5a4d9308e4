/**
 * Metadata whose changes join a journal, over a medium that may lose its power at any time. Operations are
 * transactions, numbered as they are committed; what the metadata is after each one is noted. A crash must
 * leave what it is after one of them, not before the last that was promised.
 *
 * It is looked at where that matters: before a persist counts, since what the medium may hold gets fewer then;
 * when something was promised; and at the end.
 */
import { HoldfastError } from "../../base/errors.ts";
import { Journal, JournalArea, JournalTransaction } from "../../metadata/journal.ts";
import { transact, type Transaction, TransactionArea } from "../../metadata/transaction.ts";
import { load, store } from "../../sync/atomics.ts";
import { Root } from "../../sync/region.ts";
import type { Sleeps } from "../../sync/sleep.ts";
import type { Thread } from "../../sync/thread.ts";
import { ensure, type Self } from "../scenario.ts";
import { type LogPlaces, logItems, noteOf, recovered, WordLog } from "./journal-log.ts";
import { Medium } from "./medium.ts";
import { buildMetadata, type CrashModel, Metadata, type MetadataShared } from "./metadata.ts";
import { fieldName } from "./names.ts";

/** Blocks 0 to 7 of the device; the far one is not changed. */
const BLOCKS = 9;
const HOMES = BLOCKS - 1;
/** Of a block that is nobody's. */
const FREE = 0;

export interface JournalSpec {
  /** Blocks of the log's ring. Default: 16, and 3 a transaction. */
  readonly ring?: number;
  /** The number of the first transaction. */
  readonly sequence?: number;
  /** Beside the blocks 1 to 3. */
  readonly cached?: readonly number[];
  readonly removable?: boolean;
}

export interface JournalShared extends MetadataShared {
  readonly spec: JournalSpec;
  /** Words: the medium's clock, operations so far, what each block is to hold. */
  readonly clock: number;
  readonly operations: number;
  readonly truth: number;
}

export function buildJournal(actors: number, spec: JournalSpec): JournalShared {
  const cached = [1, 2, 3, ...(spec.cached ?? [])];
  const shared = buildMetadata(actors, {
    blocks: BLOCKS,
    cached,
    removable: spec.removable ?? false,
    isJournaled: true,
  });
  const clock = shared.region.allocatePages(2 + HOMES);
  const truth = clock + 2;
  const { words } = shared.region;
  for (let block = 0; block < HOMES; block++) {
    store(words, truth + block, words[shared.device + block]!);
  }
  const bytesAtStart = shared.region.bytesUsed;
  return { ...shared, bytesAtStart, spec, clock, operations: clock + 1, truth };
}

/** What is to be found after an operation. */
interface Row {
  readonly values: readonly number[];
  /** The journal's transaction that it joined. */
  readonly sequence: number;
}

export class JournaledMetadata implements CrashModel {
  readonly metadata: Metadata;
  readonly medium: Medium;
  readonly places: LogPlaces;
  readonly #shared: JournalShared;
  readonly #area: number;
  readonly #transactionArea: number;
  readonly #journals: readonly Journal[];
  /** By the number of the operation: 0 for the beginning. */
  readonly #rows: Row[] = [];
  /** The last operation that somebody was promised. */
  #promised = 0;

  constructor(shared: JournalShared, actors: readonly Self[]) {
    const { words } = shared.region;
    this.#shared = shared;
    this.#area = shared.region.root(Root.journal);
    this.#transactionArea = shared.region.root(Root.transaction);
    this.places = { homes: HOMES, ring: shared.spec.ring ?? 16 };
    const homes = words.slice(shared.device, shared.device + HOMES);
    const beside = new Array<number>(logItems(this.places)).fill(0);
    this.medium = new Medium(words, shared.clock, [...homes, ...beside]);
    this.metadata = new Metadata(shared, actors, this);
    this.#journals = actors.map((self) => this.#attach(self));
    const sequence = shared.spec.sequence ?? 1;
    this.#rows.push({ values: this.#truth(), sequence: (sequence - 1) | 0 });
    this.#journals[0]!.start(sequence);
  }

  #attach(self: Self): Journal {
    const cache = this.metadata.cache(self);
    const storeHome = (block: number, value: number): void => this.storeHome(block, value);
    cache.journal = new Journal(cache, new WordLog(this.places, this.medium, storeHome));
    return cache.journal;
  }

  get actors(): readonly Self[] {
    return this.metadata.actors;
  }

  journal(self: Self): Journal {
    return this.#journals[this.actors.indexOf(self)]!;
  }

  #truth(): number[] {
    const { words } = this.metadata;
    return Array.from({ length: HOMES }, (_, block) => words[this.#shared.truth + block]!);
  }

  /** Stores to a home block, beside the cache. */
  storeHome(block: number, value: number): void {
    store(this.metadata.words, this.#shared.device + block, value);
    this.noteStored(block, value);
  }

  noteStored(index: number, value: number): void {
    this.medium.put(index, value);
  }

  persist(thread: Thread): void {
    this.medium.persist(thread, () => this.assertSurvives("while the medium is persisted"));
  }

  // Operations.

  /** A transaction that changes something, whole. Returns its number. */
  *operate(self: Self, change: (transaction: Transaction) => void): Sleeps<number> {
    let operation = 0;
    yield* transact(self.task, this.metadata.cache(self), (transaction) => {
      change(transaction);
      operation = this.noteOperation(self, transaction);
    });
    return operation;
  }

  /** The last that an operation does: what the metadata is to be after it. Returns its number. */
  noteOperation(self: Self, transaction: Transaction): number {
    const { operations, truth } = this.#shared;
    const operation = transaction.getWord(operations) + 1;
    transaction.setWord(operations, operation);
    const values: number[] = [];
    for (let block = 0; block < HOMES; block++) values.push(transaction.getWord(truth + block));
    this.#rows[operation] = { values, sequence: this.journal(self).runningSequence };
    return operation;
  }

  edit(self: Self, transaction: Transaction, block: number, value: number): void {
    this.metadata.edit(self, transaction, block, value);
    transaction.setWord(this.#shared.truth + block, value);
  }

  create(transaction: Transaction, block: number, value: number): void {
    this.metadata.create(transaction, block, value);
    transaction.setWord(this.#shared.truth + block, value);
  }

  /** A block that was metadata is nobody's. */
  free(transaction: Transaction, block: number): void {
    transaction.revoke(block);
    transaction.setWord(this.#shared.truth + block, FREE);
  }

  /** A block that nobody has becomes a file's, and holds `value`. */
  giveToFile(transaction: Transaction, block: number, value: number): void {
    const { truth } = this.#shared;
    ensure(transaction.getWord(truth + block) === FREE, `block ${block} is in use`);
    this.storeHome(block, value);
    transaction.setWord(truth + block, value);
  }

  /** Makes the pair and the word one more. */
  raise(self: Self, transaction: Transaction): void {
    this.metadata.raise(self, transaction);
    const value = transaction.getWord(this.#shared.word);
    for (const block of [1, 2]) transaction.setWord(this.#shared.truth + block, value);
  }

  /** A transaction that changes a block. */
  *edited(self: Self, block: number, value: number): Sleeps<number> {
    return yield* this.operate(self, (transaction) => this.edit(self, transaction, block, value));
  }

  *raised(self: Self): Sleeps<number> {
    return yield* this.operate(self, (transaction) => this.raise(self, transaction));
  }

  /** Commits the journal: then `operation` is promised. */
  *commit(self: Self, operation: number): Sleeps<void> {
    yield* this.journal(self).commit(self.task);
    this.#promise(self, operation);
  }

  #promise(self: Self, operation: number): void {
    load(this.metadata.words, this.#shared.clock);
    this.#promised = Math.max(this.#promised, operation);
    self.say(`was promised operation ${operation}`);
    this.assertSurvives(`when operation ${operation} is promised`);
  }

  *raiseAndCommit(self: Self): Sleeps<void> {
    yield* this.commit(self, yield* this.raised(self));
  }

  // Crashes, looked at from outside.

  #word(name: keyof typeof JournalArea): number {
    return this.metadata.words[this.#area + JournalArea[name]]!;
  }

  /** The last operation of which anybody may know that it is on the medium. */
  #known(): number {
    let known = Math.max(this.#promised, this.#counted("persistent"));
    for (const [operation, { sequence }] of this.#committed().entries()) {
      if (((this.#word("durable") - sequence) | 0) >= 0) known = Math.max(known, operation);
    }
    return known;
  }

  #counted(name: "committed" | "persistent"): number {
    return this.metadata.words[this.#transactionArea + TransactionArea[name]]!;
  }

  /** What there is to be found, by the number of the operation. What is undone was not committed. */
  #committed(): readonly Row[] {
    return this.#rows.slice(0, this.#counted("committed") + 1);
  }

  /** What a block is to hold, after all that was committed. */
  committedValue(block: number): number {
    return this.#committed().at(-1)!.values[block]!;
  }

  /** Demands that a crash now leaves one of the states that it may. */
  assertSurvives(when: string): void {
    const known = this.#known();
    const rows = this.#committed().slice(known);
    const crashes = this.medium.crashes();
    for (let crash = 0; crash < crashes.count; crash++) {
      const found = recovered(this.places, crashes.held(crash));
      const isOne = rows.some(({ values }) =>
        values.every((value, block) => value === FREE || value === found[block]),
      );
      ensure(isOne, `a crash ${when} may leave ${found.join(" ")}: ${shown(rows, known)}`);
    }
  }

  // The end.

  /** Demands what the log's note says. */
  noted(): { givenUp: boolean; at: number } {
    return noteOf(this.places, this.medium);
  }

  end(): void {
    this.metadata.end();
    this.assertSurvives("at the end");
    const survivor = this.metadata.survivor();
    const isNoted = this.noted().givenUp;
    ensure(
      this.journal(survivor).isAborted === isNoted,
      `the log notes that it is given up: ${isNoted}`,
    );
  }

  endOfBuffers(): void {
    this.metadata.endOfBuffers();
  }

  nameOf(word: number): string | null {
    const { clock, operations, truth } = this.#shared;
    if (word === clock) return "the medium";
    if (word === operations) return "operations";
    if (word >= truth && word < truth + HOMES) return `what block ${word - truth} is to hold`;
    return journalWordName(word - this.#area) ?? this.metadata.nameOf(word);
  }
}

function shown(rows: readonly Row[], first: number): string {
  return rows
    .map(({ values }, at) => `after operation ${first + at} it is ${values.join(" ")}`)
    .join(", ");
}

function journalWordName(offset: number): string | null {
  if (offset < 0 || offset >= 48) return null;
  if (offset < JournalArea.even) return `the journal's ${fieldName(JournalArea, offset)}`;
  const parity = offset < JournalArea.odd ? "even" : "odd";
  return `the ${parity} transaction's ${fieldName(JournalTransaction, offset % 16)}`;
}

/** The code with which something that sleeps fails; "" when it does not. */
export function* codeOf(operation: () => Sleeps<unknown>): Sleeps<string> {
  try {
    yield* operation();
    return "";
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    return error.code;
  }
}
