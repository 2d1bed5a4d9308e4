// Whatever way a copied file is used, all ways agree on every byte: calls, direct calls, windows, pins, and
// what is found after the volume was mounted again.

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { FileHandle, FileWindow } from "../../src/index.ts";
import { copiedKinds, type TestVolume } from "./volumes.ts";

const PAGE = 4096;
const BYTES_MAX = 24 * PAGE;

/** What a file should hold. */
class Model {
  bytes = new Uint8Array(0);

  resize(size: number): void {
    const resized = new Uint8Array(size);
    resized.set(this.bytes.subarray(0, size));
    this.bytes = resized;
  }

  write(at: number, source: Uint8Array): void {
    if (at + source.length > this.bytes.length) this.resize(at + source.length);
    this.bytes.set(source, at);
  }

  clear(at: number, length: number): void {
    this.bytes.fill(0, Math.min(at, this.bytes.length), at + length);
  }

  collapse(at: number, length: number): void {
    const rest = this.bytes.slice(at + length);
    const size = this.bytes.length - length;
    this.bytes.set(rest, at);
    this.resize(size);
  }

  insert(at: number, length: number): void {
    const rest = this.bytes.slice(at);
    this.resize(this.bytes.length + length);
    this.bytes.fill(0, at, at + length);
    this.bytes.set(rest, at + length);
  }
}

/** The file under test: open twice, once for direct calls, and the model beside it. */
class Subject {
  readonly made: TestVolume;
  readonly model = new Model();
  file: FileHandle;
  direct: FileHandle;
  kept: FileWindow | null = null;
  #tag = 0;

  constructor(made: TestVolume) {
    this.made = made;
    this.file = made.volume.openSync("/file", "w+");
    this.direct = made.volume.openSync("/file", "r+", undefined, { direct: true });
  }

  handle(direct: boolean): FileHandle {
    return direct ? this.direct : this.file;
  }

  /** Bytes that no earlier ones resemble. */
  content(length: number): Uint8Array {
    this.#tag = (this.#tag % 250) + 1;
    return Uint8Array.from({ length }, (_, index) => this.#tag + (index % 5));
  }

  reopen(remount: boolean): void {
    this.kept?.close();
    this.kept = null;
    this.file.closeSync();
    this.direct.closeSync();
    if (remount) this.made.remount();
    this.file = this.made.volume.openSync("/file", "r+");
    this.direct = this.made.volume.openSync("/file", "r+", undefined, { direct: true });
  }
}

/** A window that stays open, over more than the file. */
const KEPT_BYTES = BYTES_MAX + 4 * PAGE;

/** One step of a test: what is done to the file, and to the model. */
interface Step {
  readonly what: string;
  run(subject: Subject): void;
  toString(): string;
}

const step = (what: string, run: Step["run"]): Step => ({ what, run, toString: () => what });

const place = fc.integer({ min: 0, max: BYTES_MAX - 1 });
const length = fc.integer({ min: 1, max: 3 * PAGE });
/** In units of 4 KiB: block-aligned on every volume. */
const block = fc.integer({ min: 0, max: 8 });

function expectSame(found: Uint8Array, expected: Uint8Array, what: string): void {
  expect(found.length, what).toBe(expected.length);
  const differs = found.findIndex((byte, index) => byte !== expected[index]);
  expect(differs, `${what}: first byte that differs`).toBe(-1);
}

const write = fc.tuple(place, length, fc.boolean()).map(([at, count, direct]) =>
  step(`${direct ? "direct " : ""}write(${at}, ${count})`, (subject) => {
    const source = subject.content(count);
    expect(subject.handle(direct).writeSync(source, at)).toBe(count);
    subject.model.write(at, source);
  }),
);

const read = fc.tuple(place, length, fc.boolean()).map(([at, count, direct]) =>
  step(`${direct ? "direct " : ""}read(${at}, ${count})`, (subject) => {
    const target = new Uint8Array(count).fill(255);
    const done = subject.handle(direct).readSync(target, at);
    expectSame(target.subarray(0, done), subject.model.bytes.subarray(at, at + count), "a read");
  }),
);

const mapped = fc.tuple(place, length, fc.boolean()).map(([at, count, writes]) =>
  step(`${writes ? "store" : "load"}(${at}, ${count})`, (subject) => {
    const { model } = subject;
    const end = Math.min(at + count, model.bytes.length);
    if (at >= end) return;
    const offset = at - (at % PAGE);
    using window = subject.file.map({ offset, length: end - offset, writable: writes });
    expectSame(window.bytes, model.bytes.subarray(offset, end), "a window");
    if (!writes) return;
    const source = subject.content(end - at);
    window.bytes.set(source, at - offset);
    model.write(at, source);
    expect(window.lost).toBeNull();
  }),
);

/** Through a window that is there while everything else happens. It shows what the file has, in any way. */
const kept = fc.tuple(place, length, fc.boolean()).map(([at, count, writes]) =>
  step(`${writes ? "store" : "load"}(${at}, ${count}) in the window that stays`, (subject) => {
    const { model } = subject;
    subject.kept ??= subject.file.map({ length: KEPT_BYTES });
    const end = Math.min(at + count, model.bytes.length);
    if (at >= end) return;
    expectSame(subject.kept.bytes.subarray(at, end), model.bytes.subarray(at, end), "the window");
    if (!writes) return;
    const source = subject.content(end - at);
    subject.kept.bytes.set(source, at);
    model.write(at, source);
  }),
);

const pinned = fc.tuple(place, length, fc.boolean()).map(([at, count, writes]) =>
  step(`${writes ? "pin and write" : "pin"}(${at}, ${count})`, (subject) => {
    const { model } = subject;
    const end = Math.min(at + count, model.bytes.length);
    if (at >= end) return;
    using pin = subject.file.pinSync(at, end - at, { write: writes });
    expectSame(Buffer.concat(pin.buffers), model.bytes.subarray(at, end), "a pin");
    if (!writes) return;
    const source = subject.content(end - at);
    let done = 0;
    for (const buffer of pin.buffers) {
      buffer.set(source.subarray(done, done + buffer.length));
      done += buffer.length;
    }
    model.write(at, source);
  }),
);

const truncate = place.map((size) =>
  step(`truncate(${size})`, (subject) => {
    subject.file.truncateSync(size);
    subject.model.resize(size);
  }),
);

const clear = fc.tuple(place, length, fc.boolean()).map(([at, count, punch]) =>
  step(`${punch ? "punch" : "zero"}(${at}, ${count})`, (subject) => {
    const { model } = subject;
    subject.file.fallocateSync(punch ? "punch-hole" : "zero-range", at, count);
    if (!punch && at + count > model.bytes.length) model.resize(at + count);
    model.clear(at, count);
  }),
);

const shift = fc.tuple(block, fc.integer({ min: 1, max: 3 }), fc.boolean()).map(([at, count, up]) =>
  step(`${up ? "insert" : "collapse"}(${at * PAGE}, ${count * PAGE})`, (subject) => {
    const { model } = subject;
    const [offset, distance] = [at * PAGE, count * PAGE];
    const size = model.bytes.length;
    if (up ? offset >= size || size + distance > BYTES_MAX : offset + distance >= size) return;
    subject.file.fallocateSync(up ? "insert-range" : "collapse-range", offset, distance);
    if (up) model.insert(offset, distance);
    else model.collapse(offset, distance);
  }),
);

const settle = fc.constantFrom("fsync", "sync", "reopen", "mount again").map((what) =>
  step(what, (subject) => {
    if (what === "fsync") subject.file.syncSync();
    else if (what === "sync") subject.made.volume.syncSync();
    else subject.reopen(what === "mount again" && subject.made.image !== null);
  }),
);

const stepsWith = (more: { weight: number; arbitrary: fc.Arbitrary<Step> }[]) =>
  fc.array(
    fc.oneof(
      ...more,
      { weight: 3, arbitrary: write },
      { weight: 3, arbitrary: read },
      { weight: 4, arbitrary: mapped },
      { weight: 3, arbitrary: pinned },
      { weight: 1, arbitrary: truncate },
      { weight: 1, arbitrary: clear },
      { weight: 1, arbitrary: shift },
      { weight: 1, arbitrary: settle },
    ),
    { minLength: 5, maxLength: 30, size: "max" },
  );

describe.each(copiedKinds)("$name", (kind) => {
  test.each([
    ["with room for all of it", 2 ** 20, stepsWith([{ weight: 5, arbitrary: kept }])],
    ["with a page cache that is always full", 2 ** 16, stepsWith([])],
  ])(
    "calls, direct calls, windows and pins agree on every byte, %s",
    { timeout: 120_000 },
    (_what, cacheBytes, steps) => {
      fc.assert(
        fc.property(steps, (each) => {
          using made = kind.make(undefined, { cacheBytes });
          const subject = new Subject(made);
          for (const { run } of each) run(subject);
          const { bytes } = subject.model;
          expectSame(subject.direct.readFileSync(), bytes, "a direct read at the end");
          expectSame(subject.file.readFileSync(), bytes, "a read at the end");
          subject.reopen(made.image !== null);
          expectSame(
            subject.file.readFileSync(),
            bytes,
            "a read after the volume was mounted again",
          );
          expect(made.volume.statistics().pinsHeld).toBe(0);
          expect(made.closeAndCheck()).toBe("");
        }),
        { numRuns: Number(process.env["RUNS"] ?? 8) },
      );
    },
  );
});
