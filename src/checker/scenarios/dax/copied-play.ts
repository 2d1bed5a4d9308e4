/** What the scenarios of copied files have in common. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { writeDirect } from "../../../dax/direct-io.ts";
import { dropCached, makeRoom } from "../../../dax/evict.ts";
import { readDirect } from "../../../dax/file-io.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import type { Volume } from "../../world/volume.ts";

/** Frees pages of the cache, if that can be. Returns whether one is free. */
export function* evicts(volume: Volume, self: Self, count = 1): Sleeps<boolean> {
  const found = yield* makeRoom(self.task, volume.dax(self), count);
  self.say(found ? "it finds room" : "it finds no room");
  return found;
}

/** Takes the first page of a file out of the cache. */
export function* drops(volume: Volume, self: Self, name: string): Sleeps<void> {
  yield* dropCached(self.task, volume.dax(self), volume.file(name).mapping, 0, 0);
}

/** Demands which pages of a file are cached: "#", or "." for those that are not. Nobody else evicts. */
export function ensureCached(volume: Volume, name: string, expected: string): void {
  const cached = volume.cached.shown(volume.file(name).mapping, expected.length);
  ensure(cached === expected, `of file ${name}, "${cached}" is cached, not "${expected}"`);
}

/** Reads a page by a call and demands what it may hold. */
export function* reads(
  volume: Volume,
  self: Self,
  page: number,
  allowed: readonly string[],
): Sleeps<void> {
  const found = yield* volume.read(self, volume.file("A"), page, 1);
  self.say(`it reads ${found}`);
  ensure(allowed.includes(found), `${self.name} reads "${found}"; it may find "${allowed}"`);
}

/** The same by a direct call. */
export function* readsDirectly(
  volume: Volume,
  self: Self,
  page: number,
  allowed: readonly string[],
  name = "A",
): Sleeps<void> {
  const target = new Uint8Array(PAGE_SIZE);
  const { mapping } = volume.file(name);
  yield* readDirect(self.task, volume.dax(self), mapping, target, page * PAGE_SIZE);
  const found = target[0] === 0 ? "." : String.fromCharCode(target[0]!);
  self.say(`it reads ${found}`);
  ensure(allowed.includes(found), `${self.name} reads "${found}"; it may find "${allowed}"`);
}

const LETTERS = new Uint8Array(PAGE_SIZE).fill("D".charCodeAt(0));

/** Writes a page of D's by a direct call. */
export function* writesDirectly(
  volume: Volume,
  self: Self,
  page: number,
  name = "A",
): Sleeps<void> {
  const { mapping } = volume.file(name);
  yield* writeDirect(self.task, volume.dax(self), mapping, LETTERS, page * PAGE_SIZE);
}
