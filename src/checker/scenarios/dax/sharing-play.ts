/** What the scenarios of shared blocks have in common. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { truncateFile } from "../../../dax/layout-change.ts";
import { pinRange } from "../../../dax/pins.ts";
import { cloneRange } from "../../../dax/reflink.ts";
import { MappingWord } from "../../../mapping/mapping.ts";
import { load } from "../../../sync/atomics.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import type { Volume } from "../../world/volume.ts";
import { mayFail } from "./play.ts";

/** Reads a page of a file by an I/O into a pin: what it holds. */
export function* readPinned(
  volume: Volume,
  self: Self,
  name: string,
  allowed: readonly string[],
  codes = ["EINVAL"],
): Sleeps<void> {
  const file = volume.file(name);
  yield* mayFail(self, codes, function* () {
    const pin = yield* pinRange(self.task, volume.dax(self), file.mapping, 0, PAGE_SIZE, false);
    const held = volume.io(self, file, pin, null);
    ensure(allowed.includes(held), `a pin of file ${name} reads "${held}", not ${allowed}`);
  });
}

/** Writes a page of a file by an I/O into a pin. */
export function* writePinned(
  volume: Volume,
  self: Self,
  name: string,
  codes = ["EINVAL"],
): Sleeps<void> {
  const file = volume.file(name);
  yield* mayFail(self, codes, function* () {
    const pin = yield* pinRange(self.task, volume.dax(self), file.mapping, 0, PAGE_SIZE, true);
    volume.io(self, file, pin, "W");
  });
}

/** What an I/O of a device that takes so long does. */
export function* takesTime(volume: Volume, milliseconds: number): Sleeps<void> {
  const word = volume.file("A").mapping + MappingWord.generation; // which does not change
  const expected = load(volume.words, word);
  yield { word, expected, what: () => "the device", sliceMs: milliseconds };
}

export function* readsFile(
  volume: Volume,
  self: Self,
  name: string,
  allowed: readonly string[],
): Sleeps<void> {
  const read = yield* volume.read(self, volume.file(name), 0, allowed[0]!.length);
  ensure(allowed.includes(read), `a read of ${name} finds "${read}", not one of ${allowed}`);
}

export function* truncate(volume: Volume, self: Self, name: string): Sleeps<void> {
  yield* truncateFile(self.task, volume.dax(self), volume.file(name).mapping, 0);
}

export function* clone(
  volume: Volume,
  self: Self,
  source: string,
  target: string,
  count = 1,
): Sleeps<void> {
  const [from, to] = [volume.file(source).mapping, volume.file(target).mapping];
  const range = { sourceOffset: 0, offset: 0, length: count * PAGE_SIZE };
  yield* cloneRange(self.task, volume.dax(self), from, to, range);
}

export const AB = [
  { name: "A", pages: "=" },
  { name: "B", pages: "." },
] as const;
/** Windows that read the first page of each, so that a load makes its entry. */
export const A_AND_B_SHOWN = [
  { file: "A", first: 0, pages: 1, writable: false },
  { file: "B", first: 0, pages: 1, writable: false },
] as const;
export const A_IN_B = { source: "A", target: "B", first: 0, count: 1 } as const;
