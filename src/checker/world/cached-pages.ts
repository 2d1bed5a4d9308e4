/** The pages of a volume's page cache in one schedule, looked at from outside: in the words themselves. */
import { HUGE_PAGES } from "../../base/quantities.ts";
import { type PageCache, PageCacheArea } from "../../dax/page-cache.ts";
import { Access, type Mapping, MappingWord } from "../../mapping/mapping.ts";
import { Area as PageArea, type Pages } from "../../pages/pages.ts";
import type { Words } from "../../sync/atomics.ts";
import { Root } from "../../sync/region.ts";
import { ensureNoLeak } from "../scenario.ts";
import type { VolumeShared } from "./build.ts";

/** In the state of a page: it was used. */
const USED = 1;

export class CachedPages {
  readonly #shared: VolumeShared;
  readonly #words: Words;
  readonly #cache: PageCache | null;

  /** `cache`: null where all files are direct. */
  constructor(shared: VolumeShared, cache: PageCache | null) {
    this.#shared = shared;
    this.#words = shared.region.words;
    this.#cache = cache;
  }

  /** The page of the cache that has a page of a file, by its record, or -1. */
  pageOf(mapping: Mapping, index: number): number {
    const cache = this.#cache;
    const words = this.#words;
    if (cache === null) return -1;
    const area = this.#shared.region.root(Root.pages);
    const directory = words[area + PageArea.directory]!;
    const chunk = words[directory + cache.first / HUGE_PAGES]! - 1;
    if (chunk < 0) return -1;
    for (let within = 0; within < cache.count; within++) {
      const record = words[area + PageArea.arena]! + ((chunk * HUGE_PAGES + within) << 2);
      if (words[record + 1] === mapping && words[record + 2] === index) return cache.first + within;
    }
    return -1;
  }

  /** Which of the first pages of a file are cached: "#", or ".". */
  shown(mapping: Mapping, pages: number): string {
    let shown = "";
    for (let page = 0; page < pages; page++) shown += this.pageOf(mapping, page) < 0 ? "." : "#";
    return shown;
  }

  /** Whether a page is the cache's, and in the hands of a thread that makes it a file's. */
  isFilling(page: number): boolean {
    return this.#cache?.contains(page) === true && this.#state(page) < 0;
  }

  /** Whether an entry that names `page` is right: the file's page, or its block, where nothing is cached. */
  hasPage(mapping: Mapping, page: number, block: number): boolean {
    const isCopied =
      this.#cache !== null && this.#words[mapping + MappingWord.access] === Access.copied;
    return isCopied ? this.#owner(page) === mapping : page === block;
  }

  /** Which mapping has a page by its state: 0 for a free one, below 0 for one that is being filled. */
  #owner(page: number): Mapping {
    const state = this.#state(page);
    return state > USED ? state & ~USED : state;
  }

  #state(page: number): number {
    const states = this.#shared.region.root(Root.pageCache) + PageCacheArea.states;
    return this.#words[states + page - this.#cache!.first]!;
  }

  /** At the end: every page is free, or one file's, and none is pinned. Returns how many are a file's. */
  assertPages(pages: Pages): number {
    const cache = this.#cache;
    if (cache === null) return 0;
    let owned = 0;
    for (let page = cache.first; page < cache.first + cache.count; page++) {
      const record = pages.find(page);
      const owner = record === null ? 0 : pages.owner(record);
      const state = this.#owner(page);
      ensureNoLeak(state === owner, `cache page ${page} is noted as ${state}'s, and is ${owner}'s`);
      if (record !== null)
        ensureNoLeak(pages.pinCount(record) === 0, `page ${page} is left pinned`);
      if (owner !== 0) owned++;
    }
    return owned;
  }

  /** What a word of the cache is called in stories, or null. */
  wordName(word: number): string | null {
    const cache = this.#cache;
    if (cache === null) return null;
    const content = word - this.#shared.cacheMemory;
    if (content >= 0 && content < cache.count) return `content of cache page ${content}`;
    const offset = word - this.#shared.region.root(Root.pageCache);
    if (offset < 0 || offset >= PageCacheArea.states + cache.count) return null;
    if (offset >= PageCacheArea.states) return `cache page ${offset - PageCacheArea.states}: state`;
    return offset === PageCacheArea.hand ? "cache: clock hand" : `cache: word ${offset}`;
  }
}

/** Whether a block's page belongs to a mapping, or to several: of a folio its first page tells. */
export function isShownRight(pages: Pages, block: number, mapping: number): boolean {
  const page = pages.find(block);
  return page !== null && (pages.sharers(page) > 0 || pages.ownerOf(block)?.owner === mapping);
}
