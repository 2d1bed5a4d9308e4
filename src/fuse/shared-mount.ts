/**
 * What the threads that serve one mount share (mount-area.ts).
 *
 * Rules. (1) An area is taken and given free under the inode table's guard. It is free when none of its servers lives: what
 *            they held is given back by then, by themselves or by whoever has found them dead.
 *        (2) A mount whose server has died is over: requests fail, until the kernel has ended it.
 *        (3) An interrupt is noted, not sent: who serves the request looks while it waits. So it does not matter
 *            whether the thread that reads the interrupt, or the one that has read the request, comes first. What
 *            is noted of a request that has ended meets no other: the kernel counts them on.
 */
import { add, load, store } from "../sync/atomics.ts";
import { type Holder, slotOfHolder, type Thread } from "../sync/thread.ts";
import type { VolumeCore } from "../volume/core.ts";
import { rouseRecallers } from "../volume/kernel-recalls.ts";
import { initLookups } from "../volume/lookups.ts";
import { VolumeWord, volumeWord } from "../volume/state.ts";
import { clearListings, initListings } from "./listings.ts";
import { INTERRUPTS, MOUNT_WORDS, MountWord, RECALLER } from "./mount-area.ts";

/** How another thread finds the area: numbers, to be posted. */
export interface SharedMountHandle {
  readonly area: number;
  readonly leader: Holder;
}

export class SharedMount {
  readonly thread: Thread;
  readonly area: number;
  /** Of this thread, among those that serve. */
  readonly index: number;

  private constructor(thread: Thread, area: number, index: number) {
    this.thread = thread;
    this.area = area;
    this.index = index;
  }

  /** Of a new mount, in the thread that serves it first. Throws: ENOMEM. */
  static begin(core: VolumeCore): SharedMount {
    const { thread, inodes } = core;
    thread.reap();
    let area = 0;
    inodes.underGuard(() => {
      area = findFree(thread);
      if (area !== 0) takeArea(thread, area);
    });
    if (area === 0) {
      area = makeArea(thread);
      inodes.underGuard(() => {
        const first = volumeWord(thread, VolumeWord.kernelMounts);
        takeArea(thread, area);
        store(thread.words, area + MountWord.next, load(thread.words, first));
        store(thread.words, first, area);
      });
    }
    clearListings(thread, area);
    return new SharedMount(thread, area, 0);
  }

  /** In another thread that serves it. Returns null when the mount has ended. */
  static join(
    core: VolumeCore,
    { area, leader }: SharedMountHandle,
    index: number,
  ): SharedMount | null {
    const { thread, inodes } = core;
    const { words } = thread;
    let isJoined = false;
    inodes.underGuard(() => {
      if (load(words, area + MountWord.leader) !== leader || !thread.isAlive(leader)) return;
      store(words, area + MountWord.servers + index, thread.holder);
      isJoined = true;
    });
    return isJoined ? new SharedMount(thread, area, index) : null;
  }

  get handle(): SharedMountHandle {
    return { area: this.area, leader: load(this.thread.words, this.area + MountWord.leader) };
  }

  /** Whether one of the threads that serve has ended. */
  get isOver(): boolean {
    const { words } = this.thread;
    const servers = this.area + MountWord.servers;
    for (let word = servers; word <= servers + RECALLER; word++) {
      const holder = load(words, word);
      if (holder !== 0 && !this.thread.isAlive(holder)) return true;
    }
    return false;
  }

  /** Whether the mount has ended, or is to. */
  get isEnding(): boolean {
    return load(this.thread.words, this.area + MountWord.isEnding) !== 0 || this.isOver;
  }

  /** The mount has ended: its recaller, and others that are parked, are to find that. */
  end(): void {
    store(this.thread.words, this.area + MountWord.isEnding, 1);
    rouseRecallers(this.thread);
  }

  /** The slab by which the inode table knows the mount's lookups. */
  get lookups(): number {
    return this.area + MountWord.lookupSlab;
  }

  /** Whoever serves a request, told by the words of its `unique`, is to end its wait. */
  interrupt(low: number, high: number): void {
    const { words } = this.thread;
    const place = add(words, this.area + MountWord.nextInterrupt, 1) & (INTERRUPTS - 1);
    const at = this.area + MountWord.interrupts + 2 * place;
    store(words, at + 1, high);
    store(words, at, low);
  }

  isInterrupted(low: number, high: number): boolean {
    const { words } = this.thread;
    const begin = this.area + MountWord.interrupts;
    for (let at = begin; at < begin + 2 * INTERRUPTS; at += 2) {
      if (load(words, at) === low && load(words, at + 1) === high) return true;
    }
    return false;
  }
}

/** An area whose servers are gone, and what they held with them, or 0. Under the guard. */
function findFree(thread: Thread): number {
  const { words } = thread;
  let area = load(words, volumeWord(thread, VolumeWord.kernelMounts));
  while (area !== 0 && isUsed(thread, area)) area = load(words, area + MountWord.next);
  return area;
}

function isUsed(thread: Thread, area: number): boolean {
  const servers = area + MountWord.servers;
  for (let word = servers; word <= servers + RECALLER; word++) {
    const holder = load(thread.words, word);
    if (holder !== 0 && thread.holderIn(slotOfHolder(holder)) === holder) return true;
  }
  return false;
}

/** Under the guard. */
function takeArea(thread: Thread, area: number): void {
  const { words } = thread;
  // What comes before is the slabs', the listings', and numbers that go on.
  for (let word = area + MountWord.reader; word < area + MOUNT_WORDS; word++) store(words, word, 0);
  store(words, area + MountWord.servers, thread.holder);
  store(words, area + MountWord.leader, thread.holder);
}

function makeArea(thread: Thread): number {
  const area = thread.region.allocatePages(MOUNT_WORDS);
  initLookups(thread, area + MountWord.lookupSlab);
  initListings(thread, area + MountWord.nameSlab);
  return area;
}
