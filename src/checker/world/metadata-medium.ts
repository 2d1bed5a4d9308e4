/**
 * What of a volume's metadata a power failure would leave: a page's block, and the file's size, as they were
 * written home last, and as they were on the medium then. They are the truth that windows with `sync` are held to.
 *
 * Words, for each file: its size in half pages, then a page's block + 1 each. First those that are home, of all
 * files, then those that are on the medium.
 */
import { PAGE_SIZE } from "../../base/quantities.ts";
import type { MetadataCache } from "../../metadata/cache.ts";
import { beginTransaction, transactionsCommitted } from "../../metadata/transaction.ts";
import { load, store, type Words } from "../../sync/atomics.ts";
import type { Region } from "../../sync/region.ts";
import type { Sleeps, Task } from "../../sync/sleep.ts";
import { ensure } from "../scenario.ts";
import type { BuiltFile, VolumeShared, VolumeSpec } from "./build.ts";
import { type Content, contentOf, contentShown, HALF } from "./device.ts";
import { DriverTables } from "./driver-tables.ts";

/** Pages that a file may grow by. */
const MORE_PAGES = 7;

function rowWords({ files }: VolumeSpec): number {
  return 1 + MORE_PAGES + Math.max(...files.map(({ pages }) => pages.length));
}

/** Words for it, or 0 where no window is `sync`. */
export function createMediumArea(region: Region, spec: VolumeSpec): number {
  const isWanted = spec.windows?.some(({ sync }) => sync === true) ?? false;
  return isWanted ? region.allocatePages(2 * spec.files.length * rowWords(spec)) : 0;
}

export class MetadataMedium {
  readonly #words: Words;
  readonly #area: number;
  readonly #row: number;
  readonly #files: readonly BuiltFile[];
  readonly #tables: DriverTables;

  /** `files`: those that are there when it is used. */
  constructor(
    region: Region,
    { medium, spec, files }: Pick<VolumeShared, "medium" | "spec" | "files">,
  ) {
    this.#words = region.words;
    this.#area = medium;
    this.#row = rowWords(spec);
    this.#files = files;
    this.#tables = new DriverTables(region);
  }

  /** As `Dax.flushMetadata`. */
  *flush(task: Task, cache: MetadataCache): Sleeps<number> {
    using _unchanged = yield* beginTransaction(task, cache);
    for (const [at, file] of this.#files.entries()) {
      this.#writeHome(at * this.#row, Math.ceil(this.#tables.sizeOf(file.ino) / HALF));
      for (let page = 0; page < this.#row - 1; page++) {
        this.#writeHome(at * this.#row + 1 + page, this.#tables.blockOf(file.ino, page) + 1);
      }
    }
    return transactionsCommitted(task.thread);
  }

  #writeHome(at: number, value: number): void {
    if (load(this.#words, this.#area + at) !== value) store(this.#words, this.#area + at, value);
  }

  /**
   * What is home comes to the medium. `persistent`: what is on the medium of a block. Where a file has it for
   * its own from now on, that is its own content, or zeroes, and never what another file has left there.
   */
  persistHome(persistent: (block: number) => Content): void {
    const words = this.#words;
    const medium = this.#area + this.#files.length * this.#row;
    for (let at = 0; at < this.#files.length * this.#row; at++) {
      const value = load(words, this.#area + at);
      if (load(words, medium + at) === value) continue;
      store(words, medium + at, value);
      if (at % this.#row > 0 && value > 0 && !this.#isShared(at, value)) {
        this.#assertOwn(at, persistent(value - 1));
      }
    }
  }

  /** Whether another file has the block, too. */
  #isShared(at: number, block: number): boolean {
    for (let other = at % this.#row; other < this.#files.length * this.#row; other += this.#row) {
      if (other !== at && this.#words[this.#area + other] === block) return true;
    }
    return false;
  }

  #assertOwn(at: number, held: Content): void {
    const own = Math.floor(at / this.#row);
    for (const [other, { name }] of this.#files.entries()) {
      ensure(
        other === own || held !== contentOf(name),
        `after a crash page ${(at % this.#row) - 1} of file ${this.#files[own]!.name} is found to hold ` +
          `"${contentShown(held)}" of file ${name}`,
      );
    }
  }

  // Looked at from outside, without being a part of the schedule.

  #kept(file: BuiltFile, within: number): number {
    const at = (this.#files.length + this.#files.indexOf(file)) * this.#row + within;
    return this.#words[this.#area + at]!;
  }

  /** Demands that a crash leaves a page of a file where it is. */
  assertKept(file: BuiltFile, page: number, block: number, when: string): void {
    const kept = this.#kept(file, 1 + page) - 1;
    ensure(
      kept === block,
      `${when}, page ${page} of file ${file.name} is in block ${block}, and after a crash ` +
        (kept < 0 ? "it would be a hole" : `in block ${kept}`),
    );
    this.assertSizeKept(file, page * PAGE_SIZE + 1, when);
  }

  /** Demands that a crash leaves a file with so many bytes, rounded up to half pages, or more. */
  assertSizeKept(file: BuiltFile, size: number, when: string): void {
    const kept = this.#kept(file, 0) * HALF;
    ensure(kept >= size, `${when}, file ${file.name} would have ${kept} bytes after a crash`);
  }

  /** What a word is called in stories, or null. */
  wordName(word: number): string | null {
    const all = this.#files.length * this.#row;
    const offset = word - this.#area;
    if (this.#area === 0 || offset < 0 || offset >= 2 * all) return null;
    const { name } = this.#files[Math.floor((offset % all) / this.#row)]!;
    const within = offset % this.#row;
    const what = within === 0 ? `size of ${name}` : `block of page ${within - 1} of ${name}`;
    return `${what}, ${offset < all ? "home" : "on the medium"}`;
  }
}
