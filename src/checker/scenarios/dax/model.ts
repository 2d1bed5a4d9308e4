/**
 * One thread does one thing after another to a file, and beside it a plain model does the same: after
 * each step the two must agree, whoever looks at the file and in whatever way.
 */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { type Dax, findExtent } from "../../../dax/dax.ts";
import { readFile, tryReadFile, tryWriteFile, writeFile } from "../../../dax/file-io.ts";
import {
  collapseRange,
  insertRange,
  preallocate,
  punchHole,
  truncateFile,
  zeroRange,
} from "../../../dax/layout-change.ts";
import { writeBack } from "../../../dax/write-back.ts";
import { Inode } from "../../../drivers/ram/layout.ts";
import { Access, MappingWord } from "../../../mapping/mapping.ts";
import { load, store } from "../../../sync/atomics.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import { type BuiltFile, LONG_AGO } from "../../world/build.ts";
import type { Volume } from "../../world/volume.ts";
import { FileModel } from "./file-model.ts";
import { refused } from "./play.ts";

/** What the simulated device writes at least. Files are told in halves of pages here, a letter each. */
export const HALF = PAGE_SIZE / 2;

/** A tick of the modification time that has long passed: time stands still at 0. */
const TICK_LONG_AGO = 2 ** 30 - 1001;

/** What an operation may do beside what the model says. */
interface Effect {
  /** Whether the modification time is set. */
  readonly touches: boolean;
  /** Pages noted as written, for write-back. */
  readonly written?: readonly [first: number, last: number];
}

/** A file of a volume that one actor works on. Places are counted in half pages. */
export class ModelledFile {
  readonly model: FileModel;
  readonly #volume: Volume;
  readonly #self: Self;
  readonly #file: BuiltFile;
  readonly #inode: number;
  readonly #dax: Dax;

  constructor(volume: Volume, self: Self, name = "A") {
    this.#volume = volume;
    this.#self = self;
    this.#file = volume.file(name);
    this.#inode = volume.inodeWord(this.#file);
    this.#dax = volume.dax(self);
    const { pages } = volume.shared.spec.files.find((file) => file.name === name)!;
    this.model = new FileModel(name, pages);
  }

  *write(at: number | "append", letters: string): Sleeps<void> {
    const { model } = this;
    const start = at === "append" ? model.size : at;
    const end = start + letters.length;
    const touches = end > model.size || this.isTimeStale();
    yield* this.#do(`write of ${letters} at ${at}`, { touches, written: pagesOf(start, end) }, () =>
      this.#write(at, letters),
    );
    // One letter a call is what the simulated device can tell apart.
    model.write(start, letters);
    yield* this.check();
  }

  *#write(at: number | "append", letters: string): Sleeps<void> {
    const { mapping } = this.#file;
    const source = new Uint8Array(letters.length * HALF).fill(letters.charCodeAt(0));
    const position = at === "append" ? at : at * HALF;
    const written = yield* writeFile(this.#self.task, this.#dax, mapping, source, position);
    ensure(written === source.length, `${written} bytes of ${source.length} are written`);
  }

  /** Writes no byte: nothing changes, and nothing is noted. */
  *writeNothing(at: number): Sleeps<void> {
    yield* this.#do(`write of nothing at ${at}`, { touches: false }, () => this.#write(at, ""));
    ensure(this.#volume.writtenOf(this.#file) === null, "a write of nothing is noted");
    yield* this.check();
  }

  /** As `write`, by the call that never waits; `done`: whether that is enough here. */
  *tryWrite(at: number, letters: string, done: boolean): Sleeps<void> {
    const { mapping } = this.#file;
    const source = new Uint8Array(letters.length * HALF).fill(letters.charCodeAt(0));
    yield* writeBack(this.#self.task, this.#dax, mapping);
    const written = tryWriteFile(this.#dax, mapping, source, at * HALF);
    const expected = done ? source.length : -1;
    ensure(written === expected, `a write of ${letters} at ${at} gives ${written}: ${expected}`);
    if (done) {
      this.model.write(at, letters);
      this.#ensureWritten("write that does not wait", pagesOf(at, at + letters.length));
    }
    yield* this.check();
  }

  /** An operation that is refused, with one of these codes, and changes nothing. */
  *refuses(code: string, what: string, operation: () => Sleeps<unknown>): Sleeps<void> {
    store(this.#volume.words, this.#inode + Inode.modifyTime, LONG_AGO);
    yield* refused(this.#self, code, operation, what);
    const time = load(this.#volume.words, this.#inode + Inode.modifyTime);
    ensure(time === LONG_AGO, `${what} is refused and sets the modification time`);
    yield* this.check();
  }

  *truncate(size: number): Sleeps<void> {
    yield* this.#do(`truncate to ${size}`, { touches: true }, () =>
      truncateFile(this.#self.task, this.#dax, this.#file.mapping, size * HALF),
    );
    this.model.truncate(size);
    yield* this.check();
  }

  *punch(at: number, end: number): Sleeps<void> {
    yield* this.#do(`punch of [${at}, ${end})`, { touches: true }, () =>
      punchHole(this.#self.task, this.#dax, this.#file.mapping, at * HALF, (end - at) * HALF),
    );
    this.model.clear(at, end, ".");
    yield* this.check();
  }

  *zero(at: number, end: number, keepSize: boolean): Sleeps<void> {
    const [offset, length] = [at * HALF, (end - at) * HALF];
    yield* this.#do(`zero of [${at}, ${end})`, { touches: true }, () =>
      zeroRange(this.#self.task, this.#dax, this.#file.mapping, offset, length, keepSize),
    );
    this.model.clear(at, end, "u");
    this.model.allocate(at, end);
    if (!keepSize) this.model.resize(Math.max(this.model.size, end));
    yield* this.check();
  }

  *allocate(at: number, end: number, keepSize: boolean): Sleeps<void> {
    const [offset, length] = [at * HALF, (end - at) * HALF];
    yield* this.#do(`preallocation of [${at}, ${end})`, { touches: true }, () =>
      preallocate(this.#self.task, this.#dax, this.#file.mapping, offset, length, keepSize),
    );
    this.model.allocate(at, end);
    if (!keepSize) this.model.resize(Math.max(this.model.size, end));
    yield* this.check();
  }

  *collapse(at: number, end: number): Sleeps<void> {
    yield* this.#do(`collapse of [${at}, ${end})`, { touches: true }, () =>
      collapseRange(this.#self.task, this.#dax, this.#file.mapping, at * HALF, (end - at) * HALF),
    );
    this.model.collapse(at, end);
    yield* this.check();
  }

  *insert(at: number, count: number): Sleeps<void> {
    yield* this.#do(`insertion of ${count} at ${at}`, { touches: true }, () =>
      insertRange(this.#self.task, this.#dax, this.#file.mapping, at * HALF, count * HALF),
    );
    this.model.insert(at, count);
    yield* this.check();
  }

  /** Stores to a page through window 0, where there is one that writes. */
  *storeIfShown(page: number, letter: string): Sleeps<void> {
    const window = this.#volume.shared.spec.windows?.[0];
    if (window?.writable === true) yield* this.store(0, page, letter);
  }

  *store(window: number, page: number, letter: string): Sleeps<void> {
    const touches = this.model.backing[page] !== "#";
    yield* this.#do(`store to page ${page}`, { touches }, () =>
      this.#volume.store(this.#self, window, page, letter),
    );
    this.model.store(page, letter);
    yield* this.check();
  }

  /** The modification time has just been set: the next write need not. */
  timeIsSet(): void {
    store(this.#volume.words, this.#file.mapping + MappingWord.timeTick, 1);
  }

  /** The time has gone on: the next write sets the modification time again. */
  letTimePass(): void {
    store(this.#volume.words, this.#file.mapping + MappingWord.timeTick, TICK_LONG_AGO);
  }

  isTimeStale(): boolean {
    const tick = load(this.#volume.words, this.#file.mapping + MappingWord.timeTick);
    return tick === 0 || tick === TICK_LONG_AGO;
  }

  *#do(what: string, effect: Effect, operation: () => Sleeps<void>): Sleeps<void> {
    const { words } = this.#volume;
    const time = this.#inode + Inode.modifyTime;
    store(words, time, LONG_AGO);
    yield* writeBack(this.#self.task, this.#dax, this.#file.mapping);
    yield* operation();
    this.#self.say(`${what}: done`);
    const touched = load(words, time) !== LONG_AGO;
    ensure(
      touched === effect.touches,
      `the ${what} ${touched ? "sets" : "does not set"} the modification time`,
    );
    if (effect.written !== undefined) this.#ensureWritten(what, effect.written);
  }

  #ensureWritten(what: string, pages: readonly [first: number, last: number]): void {
    const noted = this.#volume.writtenOf(this.#file);
    const [first, last] = pages;
    const told = noted === null ? "nothing" : `${noted.first} to ${noted.last}`;
    const covered = noted !== null && noted.first <= first && noted.last >= last;
    // More may be noted: what windows showed, zeroes beside what was written.
    ensure(covered, `after the ${what}, ${told} is noted as written, not ${first} to ${last}`);
  }

  // What is looked at after each step.

  *check(): Sleeps<void> {
    const { model } = this;
    const size = this.#volume.sizeOf(this.#file);
    ensure(size === model.size * HALF, `the file has ${size} bytes, not ${model.size * HALF}`);
    this.#checkBacking();
    yield* this.#checkRead(0, model.size * HALF + 100);
    yield* this.#checkRead(0, PAGE_SIZE);
    yield* this.#checkRead(100, PAGE_SIZE + HALF);
    yield* this.#checkRead(HALF, HALF);
    yield* this.#checkRead(model.size * HALF + 1, 10);
    for (let window = 0; window < this.#volume.shared.windows.length; window++) {
      yield* this.#checkWindow(window);
    }
  }

  #checkBacking(): void {
    const found = this.#volume.backingOf(this.#file);
    const expected = this.model.backing.replace(/\.*$/, "");
    ensure(found === expected, `the file is backed as "${found}", not as "${expected}"`);
  }

  *#checkRead(position: number, length: number): Sleeps<void> {
    const target = new Uint8Array(length).fill(1);
    const { mapping } = this.#file;
    const known = tryReadFile(this.#dax, mapping, target, position);
    if (known >= 0) this.#ensureRead(target, position, known);
    target.fill(1);
    const count = yield* readFile(this.#self.task, this.#dax, mapping, target, position);
    this.#ensureRead(target, position, count);
    target.fill(1);
    const tried = tryReadFile(this.#dax, mapping, target, position);
    if (tried >= 0) {
      this.#ensureRead(target, position, tried);
      return;
    }
    ensure(target[0] === 1, "a read that was not done has changed the target");
    const extent = yield* findExtent(this.#self.task, this.#dax, mapping, position);
    const whole = position + count <= extent.start + extent.length;
    const waits = extent.kind !== "mapped" || !whole || this.#hasCachedPages();
    ensure(waits, `a read at ${position} need not wait`);
  }

  #hasCachedPages(): boolean {
    const { words } = this.#volume;
    const { mapping } = this.#file;
    const isCopied = load(words, mapping + MappingWord.access) === Access.copied;
    return isCopied && load(words, mapping + MappingWord.root) !== 0;
  }

  #ensureRead(target: Uint8Array, position: number, count: number): void {
    const end = Math.min(position + target.length, this.model.size * HALF);
    const expected = Math.max(0, end - position);
    ensure(count === expected, `a read at ${position} gives ${count} bytes, not ${expected}`);
    for (let at = 0; at < target.length; at++) {
      const letter = this.model.halves[Math.floor((position + at) / HALF)];
      const byte = at >= count ? 1 : letter === "." ? 0 : letter!.charCodeAt(0);
      if (target[at] === byte) continue;
      ensure(false, `a read at ${position} finds ${target[at]} at byte ${position + at}`);
    }
  }

  *#checkWindow(window: number): Sleeps<void> {
    const { first, pages, file } = this.#volume.shared.windows[window]!;
    if (file !== this.#file) return;
    for (let page = first; page < first + pages; page++) {
      const found = yield* this.#volume.load(this.#self, window, page);
      const expected = this.model.page(page);
      ensure(found === expected, `window ${window} shows "${found}" as page ${page}: ${expected}`);
    }
  }
}

function pagesOf(start: number, end: number): [first: number, last: number] {
  return [Math.floor(start / 2), Math.floor((end - 1) / 2)];
}
