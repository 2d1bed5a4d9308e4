/**
 * What takes the place of `sync/atomics.ts` in the checked build, over the simulated door.
 *
 * The composites, and `sleepWhile`, are generators; under their names with `$p` they are plain, for
 * functions that are (instrument/transform.ts).
 */
import type { Words } from "../../sync/atomics.ts";
import { Access, type Door, type Poll } from "./door.ts";

type Values = Readonly<Record<string, unknown>>;

/** Expecting NaN: whatever is there (mutation/mutants.ts). */
function exchanges(door: Door, word: number, expected: number, value: number): boolean {
  const hits = door.words[word] === expected || Number.isNaN(expected);
  door.seen(hits ? 1 : 0);
  if (hits) door.write(word, value);
  return hits;
}

function adds(door: Door, word: number, delta: number): number {
  const before = door.seen(door.words[word]!);
  door.write(word, before + delta);
  return before;
}

/** The door's functions, for the modules of a program. */
export function simulatedAtomics(door: Door): Values {
  const read = (words: Words, word: number): number => door.seen(words[word]!);
  const write = (_words: Words, word: number, value: number): void => door.write(word, value);
  const update =
    (combine: (value: number, operand: number) => number) =>
    (words: Words, word: number, operand: number): number => {
      const before = door.seen(words[word]!);
      door.write(word, combine(before, operand));
      return before;
    };
  return {
    SPINS_MAX: 0,
    load: read,
    loadUnsigned: (words: Words, word: number): number => read(words, word) >>> 0,
    loadRelaxed: read,
    loadOwn: read,
    store: write,
    storeOwn: write,
    add: (_words: Words, word: number, delta: number): number => adds(door, word, delta),
    or: update((value, operand) => value | operand),
    and: update((value, operand) => value & operand),
    exchange: update((_value, operand) => operand),
    cas: (_words: Words, word: number, expected: number, value: number): boolean =>
      exchanges(door, word, expected, value),
    ...composites(door),
    ...plainComposites(door),
    *sleepWhile(
      _words: Words,
      word: number,
      expected: number,
      _milliseconds: number,
      _site: number,
    ): Generator<Poll> {
      if (!door.alone) yield { poll: true, word, expected };
    },
    sleepWhile$p(): void {
      if (!door.alone) door.refuse();
    },
    sleepWhileAsync: () => null,
    wakeAll(_words: Words, word: number): void {
      door.seen(0);
      door.onWake(word);
    },
    makeSharedBuffer: (byteLength: number) => door.makeBuffer(byteLength),
  };
}

/** Two accesses, with a scheduling point before each. Nobody dies between them. */
function composites(door: Door): Values {
  const { point } = door;
  function* noteAfter(note: number, value: number, access: number, site: number): Generator<void> {
    const self = 1 << door.actor;
    door.indivisible |= self;
    if (point(site, note, access)) yield;
    door.indivisible &= ~self;
    door.write(note, value);
  }
  const addThen = (access: number) =>
    function* (
      _words: Words,
      word: number,
      delta: number,
      note: number,
      value: number,
      site: number,
    ): Generator<void, number> {
      if (point(site, word, Access.update)) yield;
      const before = adds(door, word, delta);
      yield* noteAfter(note, value, access, site);
      return before;
    };
  return {
    addThenStore: addThen(Access.write),
    addThenNote: addThen(Access.ownWrite),
    *casThenStore(
      _words: Words,
      word: number,
      expected: number,
      desired: number,
      note: number,
      value: number,
      site: number,
    ): Generator<void, boolean> {
      if (point(site, word, Access.update)) yield;
      if (!exchanges(door, word, expected, desired)) return false;
      yield* noteAfter(note, value, Access.write, site);
      return true;
    },
  };
}

/** The same in plain functions: nobody dies in a turn, and they have no pause. */
function plainComposites(door: Door): Values {
  const { pass } = door;
  const noteAfter = (note: number, value: number, access: number, site: number): void => {
    const self = 1 << door.actor;
    door.indivisible |= self;
    pass(site, note, access);
    door.indivisible &= ~self;
    door.write(note, value);
  };
  const addThen = (access: number) => {
    return (
      _words: Words,
      word: number,
      delta: number,
      note: number,
      value: number,
      site: number,
    ): number => {
      pass(site, word, Access.update);
      const before = adds(door, word, delta);
      noteAfter(note, value, access, site);
      return before;
    };
  };
  return {
    addThenStore$p: addThen(Access.write),
    addThenNote$p: addThen(Access.ownWrite),
    casThenStore$p(
      _words: Words,
      word: number,
      expected: number,
      desired: number,
      note: number,
      value: number,
      site: number,
    ): boolean {
      pass(site, word, Access.update);
      if (!exchanges(door, word, expected, desired)) return false;
      noteAfter(note, value, Access.write, site);
      return true;
    },
  };
}
