/**
 * Recalls of files, asked for by threads of which each changes its own, and passed on to kernels that keep its content for programs.
 * What they keep is plain JavaScript: a kernel fills and gives up a page in one step, as nobody sees it in between. What
 * the recalls are held to: when a change has returned, no kernel keeps what was there before.
 */
import { AbortError, HoldfastError } from "../../base/errors.ts";
import type { Ino } from "../../base/quantities.ts";
import { add, load, type Words } from "../../sync/atomics.ts";
import type { Region } from "../../sync/region.ts";
import type { Sleeps } from "../../sync/sleep.ts";
import {
  createRecallsArea,
  Recaller,
  Recalls,
  rouseRecallers,
} from "../../volume/kernel-recalls.ts";
import { createVolumeArea, VolumeWord, volumeWord } from "../../volume/state.ts";
import { ensure, type Self } from "../scenario.ts";
import { assertHeader, headerOf } from "./kernel-mounts.ts";
import { threadWordName } from "./locks.ts";
import { isDead, regionWithThreads } from "./threads.ts";

/** Words of the page: how often somebody has come to what is no word, and how many changes there have been. */
const Place = { turns: 0, changes: 1 } as const;

export interface RecallsShared {
  readonly region: Region;
  readonly page: number;
  /** Recalls that may wait. */
  readonly places: number;
}

export function buildRecalls(actors: number, places: number): RecallsShared {
  const { region, thread } = regionWithThreads(actors);
  createVolumeArea(thread);
  createRecallsArea(thread);
  return { region, places, page: region.allocatePages(8) };
}

/** A kernel that has the volume mounted. */
class Kernel {
  readonly recaller: Recaller;
  /** What it keeps of the files' contents, by inode. */
  readonly kept = new Map<Ino, number>();
  isOver = false;

  constructor(recaller: Recaller) {
    this.recaller = recaller;
  }
}

export class Recalling {
  readonly actors: readonly Self[];
  readonly #shared: RecallsShared;
  readonly #words: Words;
  readonly #kernels = new Map<Self, Kernel>();
  /** By inode: those of the writers, as numbers. */
  readonly #contents = new Map<Ino, number>();

  constructor(shared: RecallsShared, actors: readonly Self[]) {
    this.actors = actors;
    this.#shared = shared;
    this.#words = shared.region.words;
    const { thread } = actors[0]!;
    ensure(load(this.#words, volumeWord(thread, VolumeWord.recalls)) !== 0, "there is no area");
  }

  /** The kernel is mounted, before the actors begin or later. */
  mount(self: Self): void {
    this.#kernels.set(self, new Kernel(new Recaller(self.thread, this.#shared.places)));
  }

  mountBy(name: string): void {
    const self = this.actors.find((actor) => actor.name === name);
    if (self !== undefined) this.mount(self);
  }

  /** Changes the actor's file, as volume/kernel-pages.ts does. */
  *change(self: Self): Sleeps<void> {
    const recalls = new Recalls(self.thread, this.#shared.places);
    const ino = this.#fileOf(self);
    yield* recalls.recall(self.task, ino);
    this.#turn();
    const content = (this.#contents.get(ino) ?? 0) + 1;
    this.#contents.set(ino, content);
    self.say(`makes the content of its file ${content}`);
    yield* recalls.recall(self.task, ino);
    this.#turn();
    for (const [{ thread }, kernel] of this.#kernels) {
      if (!kernel.isOver && !isDead(thread)) this.#assertFresh(kernel, ino);
    }
    this.#countChange(self);
  }

  /** As `change`, by one who does not wait to its end. */
  *changeImpatiently(self: Self): Sleeps<void> {
    try {
      yield* this.change(self);
    } catch (error) {
      if (!(error instanceof AbortError)) throw error;
      self.say("gives up");
      this.#countChange(self);
    }
  }

  #countChange(self: Self): void {
    add(this.#words, this.#shared.page + Place.changes, 1);
    rouseRecallers(self.thread);
  }

  /** Contents, and what is kept of them, are no words: who comes to them has a turn for that. */
  #turn(): void {
    add(this.#words, this.#shared.page + Place.turns, 1);
  }

  #fileOf(self: Self): Ino {
    return (1 + this.actors.indexOf(self)) as Ino;
  }

  #assertFresh(kernel: Kernel, ino: Ino): void {
    const content = this.#contents.get(ino) ?? 0;
    const kept = kernel.kept.get(ino) ?? content;
    ensure(kept === content, `a kernel keeps content ${kept} when it is ${content}`);
  }

  /** At the end, where all recallers have ended: what they were asked for before that was passed on. */
  assertAllFresh(): void {
    for (const kernel of this.#kernels.values()) {
      for (const ino of this.#contents.keys()) this.#assertFresh(kernel, ino);
    }
  }

  /** A program looks at all files, through every kernel. */
  look(): void {
    this.#turn();
    for (const { kept } of this.#kernels.values()) {
      for (const self of this.actors) {
        const ino = this.#fileOf(self);
        if (!kept.has(ino)) kept.set(ino, this.#contents.get(ino) ?? 0);
      }
    }
  }

  /** There are as many kernels as there can be, one of which begins with nothing to pass on. Then there is no place. */
  mountAll(self: Self): void {
    const { thread } = self;
    const header = headerOf(this.#words);
    const recallers: Recaller[] = [];
    try {
      for (;;) recallers.push(new Recaller(thread, this.#shared.places));
    } catch (error) {
      ensure(error instanceof HoldfastError && error.code === "ENFILE", `is told ${error}`);
    }
    assertHeader(this.#words, header);
    ensure(recallers.length === 8, `${recallers.length} kernels have the volume mounted`);
    for (const recaller of recallers) {
      ensure(recaller.next() === 0, "a kernel is told of what was before it");
      recaller.end();
    }
  }

  /** Passes on what is asked until there have been so many changes, the dead ones' not counted, and ends. */
  *passOn(self: Self, changes: number): Sleeps<void> {
    const kernel = this.#kernels.get(self)!;
    const { recaller } = kernel;
    for (;;) {
      const expected = load(this.#words, recaller.bell);
      const isLast = this.#changesLeft(changes) <= 0;
      for (let ino = recaller.next(); ino !== 0; ino = recaller.next()) {
        this.#turn();
        kernel.kept.delete(ino as Ino);
        recaller.pass();
      }
      if (isLast) break;
      yield { word: recaller.bell, expected, what: () => "a recall" };
    }
    kernel.isOver = true;
    recaller.end();
  }

  #changesLeft(changes: number): number {
    const dead = this.actors.filter(({ thread }) => isDead(thread)).length;
    return changes - dead - load(this.#words, this.#shared.page + Place.changes);
  }

  /** At the end: nobody is waited for any more. */
  end(): void {
    const survivor = this.actors.find(({ thread }) => !isDead(thread))!;
    survivor.thread.reap();
    // In the checked build a generator that is called runs to its end, and fails where it would wait.
    new Recalls(survivor.thread, this.#shared.places).recall(survivor.task, this.#fileOf(survivor));
  }

  nameOf(word: number): string | null {
    const offset = word - this.#shared.page;
    if (offset >= 0 && offset < 8) return Object.keys(Place)[offset] ?? null;
    return threadWordName(this.actors, word);
  }
}
