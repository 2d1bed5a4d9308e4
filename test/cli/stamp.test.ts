// Stamps: what is judged right, and that every kind of damage is found.

import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { legalRange, legalSize } from "../../src/cli/collide/cutters.ts";
import {
  BLOCK_BYTES,
  BODY_BYTES,
  encodeStamp,
  type FileMark,
  judgeBlock,
  judgeFilled,
  judgeGlimpse,
  judgeUnchanged,
  LEDGER_BYTES,
  markOf,
  STAMP_BYTES,
  type StampState,
} from "../../src/cli/collide/stamp.ts";

const source = randomBytes(64 * 1024);
/** One file of each side: identities alternate. */
const sides: [string, FileMark, FileMark][] = [
  ["head", markOf(2), markOf(4)],
  ["tail", markOf(1), markOf(3)],
];

function blockOf(mark: FileMark, sourceByte = 100, state: StampState = "full"): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  const { plan } = mark;
  block.set(encodeStamp(mark, { generation: 7, sourceByte, writer: 1 }, state), plan.stamp);
  block.set(mark.ledger, plan.ledger);
  block.set(source.subarray(sourceByte, sourceByte + BODY_BYTES), plan.body);
  return block;
}

test("the parts of a block cover it once, on both sides", () => {
  for (const [, { plan }] of sides) {
    const covered = new Uint8Array(BLOCK_BYTES);
    for (const [at, length] of [
      [plan.stamp, STAMP_BYTES],
      [plan.ledger, LEDGER_BYTES],
      [plan.body, BODY_BYTES],
    ] as const) {
      for (let byte = at; byte < at + length; byte++) covered[byte]!++;
    }
    expect(covered.every((times) => times === 1)).toBe(true);
  }
});

describe.each(sides)("in a %s file", (_side, mark, other) => {
  test("a fresh block, a full one and one with a torn ledger of its own are right", () => {
    expect(judgeBlock(Buffer.alloc(BLOCK_BYTES), mark, source)).toBeNull();
    expect(judgeBlock(blockOf(mark), mark, source)).toBeNull();
    const block = blockOf(mark);
    block.fill(0, mark.plan.ledger + 10, mark.plan.ledger + 200);
    expect(judgeBlock(block, mark, source)).toBeNull();
    expect(judgeGlimpse(block, mark)).toBeNull();
  });

  test("a planted block of another file is found, and the file is named", () => {
    const foreign = blockOf(other);
    for (const fault of [judgeBlock(foreign, mark, source), judgeGlimpse(foreign, mark)]) {
      expect(fault).toMatchObject({ kind: "foreign" });
      expect(fault?.reason).toContain(`the stamp of file #${other.identity} (I/O 7, full)`);
    }
  });

  test("a planted block of a file of the other side is found, and the file is named", () => {
    const across = markOf(mark.identity + 1);
    const fault = judgeBlock(blockOf(across), mark, source);
    expect(fault?.reason).toContain(`the stamp of file #${across.identity}`);
    expect(judgeGlimpse(blockOf(across), mark)).toMatchObject({ kind: "foreign" });
  });

  test("source bytes of a late I/O are found in a block without a stamp", () => {
    const block = Buffer.alloc(BLOCK_BYTES);
    source.copy(block, mark.plan.body, 0, BODY_BYTES);
    expect(judgeBlock(block, mark, source)).toMatchObject({ kind: "foreign" });
  });

  test("source bytes of a late I/O are found under this file's own stamp", () => {
    const block = blockOf(mark, 100);
    source.copy(block, mark.plan.body + 1000, 5000, 5100);
    const fault = judgeBlock(block, mark, source);
    expect(fault).toMatchObject({ kind: "foreign" });
    expect(fault?.reason).toContain("data of another I/O");
  });

  test("one byte of another file in the ledger is found, at any moment", () => {
    const block = blockOf(mark);
    const at = mark.plan.ledger + 77;
    block[at] = (mark.ledger[77]! % 255) + 1;
    for (const fault of [judgeBlock(block, mark, source), judgeGlimpse(block, mark)]) {
      expect(fault?.reason).toContain(`stray byte 0x`);
      expect(fault?.reason).toContain(`at ${at}`);
    }
  });

  test("a block that its I/O never finished is found", () => {
    const fault = judgeBlock(blockOf(mark, 100, "filling"), mark, source);
    expect(fault).toEqual({
      kind: "unfinished",
      reason: "I/O 7 of this file never finished with it",
    });
  });

  test("a stamp that nobody wrote is found", () => {
    const block = blockOf(mark);
    block[mark.plan.stamp + 17]! ^= 0x40;
    expect(judgeBlock(block, mark, source)).toMatchObject({ kind: "foreign" });
  });

  describe("a planted torn I/O is found when", () => {
    const filling = encodeStamp(mark, { generation: 7, sourceByte: 100, writer: 1 }, "filling");
    const sent = source.subarray(100, 100 + BODY_BYTES);
    const filled = () => blockOf(mark, 100, "filling");

    test("nothing happened: then it is whole", () => {
      expect(judgeFilled(filled(), mark, filling, sent)).toBeNull();
    });

    test("the block was zeroed for another file under it", () => {
      const block = filled();
      block.fill(0);
      sent.copy(block, mark.plan.body);
      expect(judgeFilled(block, mark, filling, sent)).toContain("it holds zeroes");
    });

    test("another file's I/O stamped the block under it", () => {
      const block = filled();
      block.set(
        blockOf(other).subarray(other.plan.stamp).subarray(0, STAMP_BYTES),
        mark.plan.stamp,
      );
      expect(judgeFilled(block, mark, filling, sent)).toContain(`file #${other.identity}`);
    });

    test("one byte of the body is not what was sent, even when it is zero", () => {
      const block = filled();
      const at = mark.plan.body + sent.findIndex((byte) => byte !== 0);
      block[at] = 0;
      expect(judgeFilled(block, mark, filling, sent)).toMatch(new RegExp(`^byte ${at} is 0x00`));
    });

    test("a block that is written out changes under the I/O", () => {
      const copy = blockOf(mark);
      expect(judgeUnchanged(blockOf(mark), copy, mark)).toBeNull();
      const changed = blockOf(mark);
      changed[mark.plan.body + 500]! ^= 1;
      expect(judgeUnchanged(changed, copy, mark)).toContain("its body changed during the I/O");
      expect(judgeUnchanged(Buffer.alloc(BLOCK_BYTES), copy, mark)).toContain("its stamp changed");
    });

    test("stores to the ledger meanwhile are no fault, unless they are another file's", () => {
      const copy = blockOf(mark);
      copy.fill(0, mark.plan.ledger, mark.plan.ledger + LEDGER_BYTES);
      expect(judgeUnchanged(blockOf(mark), copy, mark)).toBeNull();
      const stray = blockOf(mark);
      stray.set(other.ledger, mark.plan.ledger);
      expect(judgeUnchanged(stray, copy, mark)).toContain("stray byte");
    });
  });

  test("no legal sequence of cuts makes a right block look wrong", () => {
    const edge = fc.integer({ min: 0, max: 3 * BLOCK_BYTES });
    const cut = fc.record({ at: edge, length: fc.integer({ min: 1, max: BLOCK_BYTES * 2 }) });
    fc.assert(
      fc.property(fc.array(cut, { maxLength: 6 }), (cuts) => {
        // The middle one of three blocks; a punched hole or a zeroed range goes over its edges.
        const file = Buffer.concat([blockOf(mark, 0), blockOf(mark, 300), blockOf(mark, 9000)]);
        for (const { at, length } of cuts) {
          const { start, end } = legalRange(mark.side, at, at + length);
          expect(start).toBeLessThanOrEqual(at);
          expect(end).toBeGreaterThanOrEqual(at + length);
          file.fill(0, start, Math.min(end, file.length));
        }
        for (let block = 0; block < 3; block++) {
          const bytes = file.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES);
          expect(judgeBlock(bytes, mark, source)).toBeNull();
        }
      }),
      { numRuns: 500 },
    );
  });

  test("no legal truncation makes a right block look wrong", () => {
    for (let size = 0; size <= BLOCK_BYTES; size++) {
      const block = blockOf(mark);
      block.fill(0, legalSize(mark.side, size));
      expect(judgeBlock(block, mark, source)).toBeNull();
    }
  });
});

test("a clone has what its origin's I/Os wrote before it became one, and nothing of later ones", () => {
  const origin = markOf(8);
  const clone = markOf(9, { mark: origin, generation: 7 });
  const cloned = markOf(11, { mark: clone, generation: 9 });
  expect([clone.side, clone.ledger]).toEqual([origin.side, origin.ledger]);
  for (const mark of [origin, clone, cloned]) {
    expect(judgeBlock(blockOf(origin), mark, source)).toBeNull();
    expect(judgeGlimpse(blockOf(origin), mark)).toBeNull();
  }
  const late = blockOf(origin);
  late.set(encodeStamp(origin, { generation: 8, sourceByte: 100, writer: 1 }, "full"), 0);
  expect(judgeBlock(late, origin, source)).toBeNull();
  expect(judgeBlock(late, clone, source)).toMatchObject({ kind: "foreign" });
  // The clone's clone has it neither, though it was made later: not from the origin itself.
  expect(judgeBlock(late, cloned, source)).toMatchObject({ kind: "foreign" });
  expect(judgeBlock(blockOf(clone), origin, source)).toMatchObject({ kind: "foreign" });
});

test("a block that a thread was filling when it was killed is judged by its stamp and ledger only", () => {
  const mark = markOf(2);
  const block = blockOf(mark, 100, "mortal");
  block.fill(0xee, mark.plan.body + 5, mark.plan.body + 900);
  expect(judgeBlock(block, mark, source)).toBeNull();
  expect(judgeBlock(blockOf(markOf(4), 100, "mortal"), mark, source)).toMatchObject({
    kind: "foreign",
  });
});
