// Random writes, clones, dedupes, cuts and punches of several files, against plain arrays: no file ever
// holds another's bytes, and the blocks all come back.

import fc from "fast-check";
import { expect, test } from "vitest";
import type { FileHandle, Volume } from "../../src/index.ts";
import { ram } from "../volume/volumes.ts";

const PAGE = 4096;
const PAGES = 12;
const FILES = ["/a", "/b", "/c"];

/** A file, its window, and what it should hold. */
interface Modelled {
  readonly file: FileHandle;
  bytes: Uint8Array;
}

function resize(model: Modelled, size: number): void {
  const bytes = new Uint8Array(size);
  bytes.set(model.bytes.subarray(0, size));
  model.bytes = bytes;
}

function fill(model: Modelled, offset: number, length: number, byte: number): void {
  if (offset + length > model.bytes.length) resize(model, offset + length);
  model.bytes.fill(byte, offset, offset + length);
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

type Command =
  | { readonly kind: "write" | "pin" | "store" | "zero" | "punch"; at: number; length: number }
  | { readonly kind: "truncate"; at: number }
  | { readonly kind: "clone" | "dedupe"; from: number; source: number; at: number; pages: number }
  | { readonly kind: "unshare" | "cut" | "insert"; at: number; pages: number };

const at = fc.integer({ min: 0, max: PAGES * PAGE - 1 });
const page = fc.integer({ min: 0, max: PAGES - 1 });
const pages = fc.integer({ min: 1, max: 5 });
const length = fc.integer({ min: 1, max: 3 * PAGE });

const command: fc.Arbitrary<Command> = fc.oneof(
  fc.record({ kind: fc.constantFrom("write", "pin", "store", "zero", "punch"), at, length }),
  fc.record({ kind: fc.constant("truncate"), at }),
  fc.record({
    kind: fc.constantFrom("clone", "clone", "dedupe"),
    from: fc.nat({ max: FILES.length - 1 }),
    source: page,
    at: page,
    pages,
  }),
  fc.record({ kind: fc.constantFrom("unshare", "cut", "insert"), at: page, pages }),
) as fc.Arbitrary<Command>;

/** Does it to both; what is refused changes neither. */
function run(models: readonly Modelled[], target: Modelled, todo: Command, byte: number): void {
  const { file } = target;
  const size = target.bytes.length;
  switch (todo.kind) {
    case "write":
      file.writeSync(new Uint8Array(todo.length).fill(byte), todo.at);
      fill(target, todo.at, todo.length, byte);
      return;
    case "pin": {
      const end = Math.min(size, todo.at + todo.length);
      if (todo.at >= end) return;
      using pin = file.pinSync(todo.at, end - todo.at, { write: true });
      for (const buffer of pin.buffers) buffer.fill(byte);
      fill(target, todo.at, end - todo.at, byte);
      return;
    }
    case "store": {
      const end = Math.min(size, todo.at + todo.length);
      if (todo.at >= end) return;
      using window = file.map({ writable: true });
      window.bytes.fill(byte, todo.at, end);
      fill(target, todo.at, end - todo.at, byte);
      return;
    }
    case "zero":
      file.fallocateSync("zero-range", todo.at, todo.length);
      fill(target, todo.at, todo.length, 0);
      return;
    case "punch":
      file.fallocateSync("punch-hole", todo.at, todo.length);
      target.bytes.fill(0, todo.at, todo.at + todo.length);
      return;
    case "truncate":
      file.truncateSync(todo.at);
      resize(target, todo.at);
      return;
    case "unshare":
      file.fallocateSync("unshare-range", todo.at * PAGE, todo.pages * PAGE);
      if ((todo.at + todo.pages) * PAGE > size) resize(target, (todo.at + todo.pages) * PAGE);
      return;
    case "cut": {
      const [from, to] = [todo.at * PAGE, (todo.at + todo.pages) * PAGE];
      if (to >= size) return;
      file.fallocateSync("collapse-range", from, to - from);
      target.bytes = joined(target.bytes.subarray(0, from), target.bytes.subarray(to));
      return;
    }
    case "insert": {
      const from = todo.at * PAGE;
      if (from >= size || size > 2 * PAGES * PAGE) return;
      file.fallocateSync("insert-range", from, todo.pages * PAGE);
      const hole = new Uint8Array(todo.pages * PAGE);
      target.bytes = joined(target.bytes.subarray(0, from), hole, target.bytes.subarray(from));
      return;
    }
    default:
      share(models[todo.from]!, target, todo);
  }
}

function share(source: Modelled, target: Modelled, todo: Extract<Command, { from: number }>): void {
  const [from, to] = [todo.source * PAGE, todo.at * PAGE];
  const atEnd = from + todo.pages * PAGE >= source.bytes.length;
  const bytes = Math.min(todo.pages * PAGE, source.bytes.length - from);
  const overlaps = source === target && Math.abs(from - to) < Math.ceil(bytes / PAGE) * PAGE;
  const fits = bytes % PAGE === 0 || (atEnd && to + bytes >= target.bytes.length);
  if (bytes <= 0 || overlaps || !fits) return;
  const options = { sourceOffset: from, offset: to, length: bytes };
  const wanted = source.bytes.slice(from, from + bytes);
  if (todo.kind === "clone") {
    expect(target.file.cloneRangeSync(source.file, options)).toBe(bytes);
    if (to + bytes > target.bytes.length) resize(target, to + bytes);
    target.bytes.set(wanted, to);
    return;
  }
  if (to + bytes > target.bytes.length) return;
  const same = Buffer.compare(wanted, target.bytes.subarray(to, to + bytes)) === 0;
  expect(target.file.dedupeRangeSync(source.file, options)).toBe(same);
}

function check(
  volume: Volume,
  models: readonly Modelled[],
  readers: { bytes: Uint8Array }[],
): void {
  for (const [index, { bytes }] of models.entries()) {
    expect(Buffer.compare(volume.readFileSync(FILES[index]!), bytes)).toBe(0);
    const shown = readers[index]!.bytes.subarray(0, bytes.length);
    expect(Buffer.compare(shown, bytes.subarray(0, shown.length))).toBe(0);
  }
}

test("whatever is done to files that share blocks, each holds its own bytes, and all blocks come back", () => {
  const target = fc.nat({ max: FILES.length - 1 });
  const steps = fc.array(fc.tuple(target, command), { minLength: 1, maxLength: 25 });
  fc.assert(
    fc.property(steps, (commands) => {
      using kept = ram.make();
      const { volume } = kept;
      volume.writeFileSync("/other", "");
      const free = (): number => volume.statfsSync().bfree;
      const before = free();
      const models = FILES.map(
        (path): Modelled => ({
          file: volume.openSync(path, "w+"),
          bytes: new Uint8Array(0),
        }),
      );
      const readers = models.map(({ file }) => file.map({ length: PAGES * PAGE, writable: false }));
      for (const [turn, [index, todo]] of commands.entries()) {
        run(models, models[index]!, todo, 1 + (turn % 250));
        if (turn % 4 === 3) check(volume, models, readers);
      }
      check(volume, models, readers);
      for (const reader of readers) reader.close();
      for (const [index, { file }] of models.entries()) {
        file.closeSync();
        volume.unlinkSync(FILES[index]!);
      }
      expect(free()).toBe(before);
      expect(volume.statistics().blocksShared).toBe(0);
    }),
    { numRuns: 25 },
  );
}, 120_000);
