import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readFile, writeFile } from "../../src/dax/file-io.ts";
import {
  collapseRange,
  evictMapping,
  insertRange,
  preallocate,
  punchHole,
  truncateFile,
  zeroRange,
} from "../../src/dax/layout-change.ts";
import { pinRange } from "../../src/dax/pins.ts";
import { inoOf, sizeOf } from "../../src/mapping/mapping.ts";
import { findSlot, pageOf } from "../../src/mapping/tree.ts";
import { load } from "../../src/sync/atomics.ts";
import { type Core, ramCore } from "../support/core.ts";

const BLOCK = 4096;
const FILE_MAX = 64 * BLOCK;

/** The file as an array of bytes: what every operation must amount to. */
class Model {
  bytes = new Uint8Array(0);
  write(at: number, data: Uint8Array): void {
    this.truncate(Math.max(this.bytes.length, at + data.length));
    this.bytes.set(data, at);
  }
  truncate(size: number): void {
    const next = new Uint8Array(size);
    next.set(this.bytes.subarray(0, size));
    this.bytes = next;
  }
  zero(at: number, length: number): void {
    this.bytes.fill(0, at, Math.min(this.bytes.length, at + length));
  }
  collapse(at: number, length: number): void {
    const next = new Uint8Array(this.bytes.length - length);
    next.set(this.bytes.subarray(0, at));
    next.set(this.bytes.subarray(at + length), at);
    this.bytes = next;
  }
  insert(at: number, length: number): void {
    const next = new Uint8Array(this.bytes.length + length);
    next.set(this.bytes.subarray(0, at));
    next.set(this.bytes.subarray(at), at + length);
    this.bytes = next;
  }
}

type Step =
  | { kind: "write"; at: number; length: number; fill: number }
  | { kind: "truncate"; at: number }
  | { kind: "punch" | "zero" | "zero-keep" | "allocate"; at: number; length: number }
  | { kind: "collapse" | "insert"; at: number; length: number }
  | { kind: "pin"; at: number; length: number; fill: number };

const at = fc.nat(FILE_MAX - 1);
const length = fc.integer({ min: 1, max: 6 * BLOCK });
const blocks = fc.integer({ min: 1, max: 8 }).map((n) => n * BLOCK);
const blockAt = fc.nat(40).map((n) => n * BLOCK);
const steps: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("write" as const), at, length, fill: fc.nat(255) }),
  fc.record({ kind: fc.constant("truncate" as const), at }),
  fc.record({
    kind: fc.constantFrom(
      "punch" as const,
      "zero" as const,
      "zero-keep" as const,
      "allocate" as const,
    ),
    at,
    length,
  }),
  fc.record({
    kind: fc.constantFrom("collapse" as const, "insert" as const),
    at: blockAt,
    length: blocks,
  }),
  fc.record({ kind: fc.constant("pin" as const), at, length, fill: fc.nat(255) }),
);

function apply(core: Core, mapping: number, model: Model, step: Step): void {
  const { dax } = core;
  const size = model.bytes.length;
  if (step.kind === "write") {
    const data = new Uint8Array(step.length).fill(step.fill);
    expect(core.run((task) => writeFile(task, dax, mapping, data, step.at))).toBe(step.length);
    model.write(step.at, data);
  } else if (step.kind === "truncate") {
    core.run((task) => truncateFile(task, dax, mapping, step.at));
    model.truncate(step.at);
  } else if (step.kind === "punch") {
    core.run((task) => punchHole(task, dax, mapping, step.at, step.length));
    model.zero(step.at, step.length);
  } else if (step.kind === "zero" || step.kind === "zero-keep") {
    const keep = step.kind === "zero-keep";
    core.run((task) => zeroRange(task, dax, mapping, step.at, step.length, keep));
    if (!keep) model.truncate(Math.max(size, step.at + step.length));
    model.zero(step.at, step.length);
  } else if (step.kind === "allocate") {
    core.run((task) => preallocate(task, dax, mapping, step.at, step.length, false));
    model.truncate(Math.max(size, step.at + step.length));
  } else if (step.kind === "collapse") {
    if (step.at + step.length >= size) return;
    core.run((task) => collapseRange(task, dax, mapping, step.at, step.length));
    model.collapse(step.at, step.length);
  } else if (step.kind === "insert") {
    if (step.at >= size || size > FILE_MAX) return;
    core.run((task) => insertRange(task, dax, mapping, step.at, step.length));
    model.insert(step.at, step.length);
  } else if (step.kind === "pin") {
    if (step.at + step.length > size) return;
    using pin = core.run((task) => pinRange(task, dax, mapping, step.at, step.length, true));
    expect(pin.verify()).toBe(true);
    expect(pin.buffers.reduce((sum, buffer) => sum + buffer.length, 0)).toBe(step.length);
    for (const buffer of pin.buffers) buffer.fill(step.fill);
    model.bytes.fill(step.fill, step.at, step.at + step.length);
  }
}

function assertSame(core: Core, mapping: number, model: Model): void {
  expect(sizeOf(core.thread, mapping)).toBe(model.bytes.length);
  const read = new Uint8Array(model.bytes.length + 100).fill(7);
  const count = core.run((task) => readFile(task, core.dax, mapping, read, 0));
  expect(count).toBe(model.bytes.length);
  expect(Buffer.compare(read.subarray(0, count), model.bytes)).toBe(0);
}

describe("files on the ram filesystem", () => {
  it("hold what an array of bytes would hold after any operations, and leave nothing behind", () => {
    const core = ramCore(16 * 2 ** 20);
    const free = core.driver.spaceInfo().blocksFree;
    let number = 0;
    fc.assert(
      fc.property(fc.array(steps, { maxLength: 30 }), (sequence) => {
        const mapping = core.makeFile(`file${number++}`);
        const model = new Model();
        for (const step of sequence) {
          apply(core, mapping, model, step);
          assertSame(core, mapping, model);
        }
        core.run((task) => evictMapping(task, core.dax, mapping, () => {}));
        expect(core.driver.spaceInfo().blocksFree).toBe(free);
        expect(core.dax.pages.totalPins()).toBe(0);
        expect(core.dax.pages.chunksInUse()).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  it("waits for the last pin before truncating, and says who holds it at a deadline", () => {
    const core = ramCore(16 * 2 ** 20);
    const mapping = core.makeFile("pinned");
    core.run((task) => writeFile(task, core.dax, mapping, new Uint8Array(8 * BLOCK).fill(1), 0));
    const pin = core.run((task) => pinRange(task, core.dax, mapping, BLOCK, BLOCK, false));
    const truncate = () =>
      core.run((task) => truncateFile(task, core.dax, mapping, 0), { timeoutMs: 50 });
    expect(truncate).toThrow(/ETIMEDOUT.*pages 0 to .*pinned: pages 1 to 1 by thread \d+/);
    expect(sizeOf(core.thread, mapping)).toBe(8 * BLOCK);
    core.run((task) => truncateFile(task, core.dax, mapping, 2 * BLOCK), { timeoutMs: 50 });
    pin.release();
    truncate();
    expect(sizeOf(core.thread, mapping)).toBe(0);
  });

  it("names both parties when a pinned page is taken away, or given to somebody else", () => {
    const core = ramCore(16 * 2 ** 20);
    const [mapping, other] = [core.makeFile("pinned"), core.makeFile("other")];
    core.run((task) => writeFile(task, core.dax, mapping, new Uint8Array(8 * BLOCK).fill(1), 0));
    const pin = core.run((task) => pinRange(task, core.dax, mapping, BLOCK, 2 * BLOCK, false));
    const [ino, otherIno] = [inoOf(core.thread, mapping), inoOf(core.thread, other)];
    const { pages } = core.dax;
    const page = pageOf(load(core.thread.words, findSlot(core.thread.words, mapping, 2)));
    expect(() => pages.disassociate(page, 1, mapping)).toThrow(
      new RegExp(
        "page 2 loses its owner while it is pinned: thread \\d+ \\(this one\\) takes it; " +
          `it is page 2 of inode ${ino}, pinned: pages 1 to 2 by thread \\d+ \\(this one\\)`,
      ),
    );
    // Both maps give the block: the volume is damaged. No map gives the first owner its page: the protocol failed.
    expect(() => pages.associate(pages.devicePage(page), 1, other, 7, false)).toThrow(
      new RegExp(
        `EUCLEAN: map of inode ${otherIno} at .*: block of byte ${7 * BLOCK} is block \\d+, ` +
          `which inode ${ino} has at byte ${2 * BLOCK}`,
      ),
    );
    const unmapped = (16 * 2 ** 20) / BLOCK - 1;
    pages.associate(unmapped, 1, mapping, 9, false);
    expect(() => pages.associate(unmapped, 1, other, 7, false)).toThrow(
      new RegExp(
        "device page \\d+ gets an owner while it has one, or is pinned: thread \\d+ \\(this one\\) makes it " +
          `page 7 of inode ${otherIno}, no pin; it is page 9 of inode ${ino}, no pin`,
      ),
    );
    pin.release();
  });

  it("uses folios of 2 MiB where file and device agree, and takes them apart", () => {
    const core = ramCore(16 * 2 ** 20);
    const mapping = core.makeFile("huge");
    const size = 4 * 2 ** 20;
    core.run((task) => writeFile(task, core.dax, mapping, new Uint8Array(size).fill(3), 0));
    const pin = core.run((task) => pinRange(task, core.dax, mapping, 0, size, true));
    expect(pin.buffers.length).toBe(1);
    expect(core.dax.pages.totalPins()).toBe(2);
    pin.release();
    core.run((task) => punchHole(task, core.dax, mapping, 5 * BLOCK, BLOCK));
    const after = core.run((task) => pinRange(task, core.dax, mapping, 0, size, true));
    expect(core.dax.pages.totalPins()).toBe(512 + 1);
    after.release();
    expect(core.dax.pages.totalPins()).toBe(0);
    core.run((task) => evictMapping(task, core.dax, mapping, () => {}));
    expect(core.dax.pages.chunksInUse()).toBe(0);
  });
});
