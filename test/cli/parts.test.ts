// The smaller parts of collide: histogram, tally, random numbers, claims, board, loopback, image.

import { closeSync, ftruncateSync, openSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { ACTIVITIES, Board } from "../../src/cli/collide/board.ts";
import { Histogram } from "../../src/cli/collide/histogram.ts";
import { checkExt4Image, unpackImage } from "../../src/cli/collide/image.ts";
import { Claims } from "../../src/cli/collide/claims.ts";
import { Loopback } from "../../src/cli/collide/loopback.ts";
import { Random } from "../../src/cli/collide/random.ts";
import { Tally } from "../../src/cli/collide/tally.ts";
import { skipUnless, temporaryDirectory } from "../support/tools.ts";

describe("a histogram", () => {
  test("gives quantiles to within a step, and the maximum exactly", () => {
    const histogram = new Histogram();
    for (let value = 1; value <= 1000; value++) histogram.record(value / 10);
    expect(histogram.count).toBe(1000);
    expect(histogram.maxMs).toBe(100);
    for (const share of [0.1, 0.5, 0.9, 0.99]) {
      const quantile = histogram.quantileMs(share);
      expect(quantile).toBeGreaterThanOrEqual(100 * share);
      expect(quantile).toBeLessThan(100 * share * 1.05);
    }
    expect(histogram.quantileMs(1)).toBe(100);
  });

  test("takes any duration, from nothing to hours", () => {
    const histogram = new Histogram();
    for (const duration of [0, 1e-9, 0.0005, 1e7, 1e12]) histogram.record(duration);
    expect(histogram.count).toBe(5);
    expect(histogram.quantileMs(0)).toBeLessThanOrEqual(0.001);
    expect(histogram.maxMs).toBe(1e12);
  });

  test("adds up what workers post, as if all had been recorded in one", () => {
    const [one, two, both] = [new Histogram(), new Histogram(), new Histogram()];
    for (let value = 1; value < 50; value++) {
      (value % 3 === 0 ? one : two).record(value);
      both.record(value);
    }
    const sum = new Histogram(structuredClone(one.data()));
    sum.add(structuredClone(two.data()));
    expect(sum.data()).toEqual(both.data());
  });

  test("is empty without records", () => {
    expect([new Histogram().count, new Histogram().quantileMs(0.99)]).toEqual([0, 0]);
  });
});

test("tallies of several threads add up", () => {
  const [one, sum] = [new Tally(), new Tally()];
  one.countIo("fileToPages", 4096);
  one.countCut("punch");
  one.countRefusal("ENOSPC");
  one.waits.record(3);
  one.tornIos = 1;
  one.foreignBlocks = 2;
  one.unfinishedBlocks = 3;
  one.staleWindows = 5;
  one.blocksJudged = 4;
  sum.add(structuredClone(one.data()));
  sum.add(structuredClone(one.data()));
  expect(sum.io("fileToPages")).toEqual({ count: 2, bytes: 8192 });
  expect(sum.io("copiedIn")).toEqual({ count: 0, bytes: 0 });
  expect(sum.ioTotal).toEqual({ count: 2, bytes: 8192 });
  expect([sum.cuts("punch"), sum.cutTotal, sum.refusals.get("ENOSPC")]).toEqual([2, 2, 2]);
  expect([sum.waits.count, sum.tornIos, sum.foreignBlocks, sum.unfinishedBlocks]).toEqual([
    2, 2, 4, 6,
  ]);
  expect([sum.blocksJudged, sum.staleWindows]).toEqual([8, 10]);
});

describe("random numbers", () => {
  test("are the same for the same seed, and others for another lane", () => {
    const draw = (random: Random) => Array.from({ length: 20 }, () => random.below(1000));
    expect(draw(new Random(42).fork(3))).toEqual(draw(new Random(42).fork(3)));
    expect(draw(new Random(42).fork(3))).not.toEqual(draw(new Random(42).fork(4)));
    expect(draw(new Random(42))).not.toEqual(draw(new Random(43)));
  });

  test("choose names as often as their weights say", () => {
    const random = new Random(1);
    const counts = { often: 0, rarely: 0, never: 0 };
    for (let draw = 0; draw < 10_000; draw++) {
      counts[random.weighted({ often: 9, rarely: 1, never: 0 })]++;
    }
    expect(counts.never).toBe(0);
    expect(counts.rarely).toBeGreaterThan(850);
    expect(counts.rarely).toBeLessThan(1150);
  });
});

describe("claims", () => {
  test("one writer or many readers have a block, and nobody waits", () => {
    const claims = Claims.create(64);
    const elsewhere = Claims.attach(claims.buffer, 1, false);
    const writer = claims.take(1, 8, 8, "write");
    expect(writer).not.toBeNull();
    expect(elsewhere.take(1, 15, 4, "write")).toBeNull();
    expect(elsewhere.take(1, 0, 9, "read")).toBeNull();
    const beside = elsewhere.take(1, 16, 4, "write");
    expect(beside).not.toBeNull();
    writer?.release();
    const readers = [claims.take(1, 8, 8, "read"), elsewhere.take(1, 8, 4, "read")];
    expect(readers).not.toContain(null);
    expect(claims.take(1, 11, 1, "write")).toBeNull();
    for (const reader of readers) reader?.release();
    expect(claims.take(1, 8, 8, "write")).not.toBeNull();
  });

  test("a refused claim leaves nothing behind, and releasing twice gives back once", () => {
    const claims = Claims.create(64);
    const held = claims.take(1, 10, 1, "write")!;
    expect(claims.take(1, 0, 20, "write")).toBeNull();
    expect(claims.take(1, 0, 20, "read")).toBeNull();
    held.release();
    held.release();
    expect(claims.take(1, 0, 64, "write")).not.toBeNull();
  });

  test("files have claims of their own, and none reaches beyond what claims cover", () => {
    const claims = Claims.create(64);
    expect(claims.take(1, 0, 64, "write")).not.toBeNull();
    expect(claims.take(2, 0, 64, "write")).not.toBeNull();
    expect(claims.take(3, 60, 5, "read")).toBeNull();
    expect(claims.take(3, -1, 2, "read")).toBeNull();
  });
});

test("the board knows what a clone is one of", () => {
  const board = Board.create(1, 1);
  const origin = board.markOf(board.nextIdentity());
  const before = board.nextGeneration();
  const identity = board.nextClone(origin)!;
  const mark = Board.attach(board.buffer).markOf(identity);
  expect(mark.origin).toEqual({ mark: origin, generation: before + 1 });
  expect(board.markOf(board.nextIdentity()).origin).toBeNull();
});

test("what a thread has claimed can be given back when it was killed", () => {
  const claims = Claims.create(64);
  const [mortal, other] = [
    Claims.attach(claims.buffer, 1, true),
    Claims.attach(claims.buffer, 2, false),
  ];
  expect(mortal.take(1, 0, 8, "read")).not.toBeNull();
  expect(other.take(1, 8, 8, "write")).not.toBeNull();
  expect(claims.take(1, 7, 1, "read")).toBeNull();
  claims.giveBackOf(1);
  expect(claims.take(1, 7, 1, "read")).not.toBeNull();
  expect(claims.take(1, 8, 1, "read")).toBeNull();
});

test("the board tells every thread what each lane does, and whose inode is whose", () => {
  const board = Board.create(2, 3);
  const elsewhere = Board.attach(board.buffer);
  expect([elsewhere.threads, elsewhere.lanesPerThread]).toEqual([2, 3]);
  board.enterActivity(5, "punching a hole", 1234.5);
  board.enterRange(5, 7, 100, 20);
  expect(elsewhere.lane(5)).toEqual({
    activity: "punching a hole",
    name: 7,
    first: 100,
    count: 20,
    sinceMs: 1234,
    turns: 1,
  });
  expect(elsewhere.lane(4)).toMatchObject({ activity: ACTIVITIES[0], count: 0, turns: 0 });
  board.setIdentity(12, 99);
  expect([elsewhere.identityOf(12), elsewhere.identityOf(13)]).toEqual([99, 0]);
  expect([board.nextIdentity(), elsewhere.nextIdentity()]).toEqual([1, 2]);
  expect(elsewhere.isStopped).toBe(false);
  board.stop();
  expect(elsewhere.isStopped).toBe(true);
});

describe("the loopback", () => {
  test("delivers into scattered memory, in parts, one I/O after the other", async () => {
    const loopback = await Loopback.open();
    try {
      for (let round = 1; round <= 5; round++) {
        const memory = Buffer.alloc(300_000, 0xee);
        const targets = [
          memory.subarray(1000, 101_000),
          memory.subarray(200_000, 200_001),
          memory.subarray(102_000, 150_000),
        ];
        const data = Buffer.from(
          Uint8Array.from({ length: 148_001 }, (_, index) => (index * round) % 251),
        );
        await loopback.receive(targets, data, { parts: round, pauseMs: 1 });
        expect(Buffer.concat(targets).equals(data)).toBe(true);
        expect([memory[999], memory[101_000], memory[150_000], memory[299_999]]).toEqual([
          0xee, 0xee, 0xee, 0xee,
        ]);
      }
    } finally {
      loopback.close();
    }
  });

  test("returns what arrived at the other end", async () => {
    const loopback = await Loopback.open();
    try {
      const data = Buffer.from(Uint8Array.from({ length: 250_000 }, (_, index) => index % 253));
      const sources = [
        data.subarray(0, 90_000),
        data.subarray(90_000, 90_010),
        data.subarray(90_010),
      ];
      for (const parts of [1, 4]) {
        const arrived = await loopback.send(sources, { parts, pauseMs: 1 });
        expect(arrived.equals(data)).toBe(true);
      }
    } finally {
      loopback.close();
    }
  });
});

describe("the packed volume", () => {
  skipUnless("e2fsck")("is an ext4 volume that e2fsck has nothing to say about", () => {
    using directory = temporaryDirectory();
    const path = directory.file("volume");
    const descriptor = openSync(path, "wx");
    ftruncateSync(descriptor, 64 * 2 ** 20);
    unpackImage(descriptor, 64 * 2 ** 20);
    closeSync(descriptor);
    expect(checkExt4Image(path)).toEqual({ isClean: true, complaints: [] });
  });

  test("is refused for another size than it has, saying what to do", () => {
    expect(() => unpackImage(-1, 32 * 2 ** 20)).toThrow(/leave --size out, or install e2fsprogs/);
  });

  skipUnless("e2fsck")("a check names what e2fsck finds in a damaged image", () => {
    using directory = temporaryDirectory();
    const path = directory.file("volume");
    const descriptor = openSync(path, "wx");
    ftruncateSync(descriptor, 2 ** 20);
    closeSync(descriptor);
    const verdict = checkExt4Image(path);
    expect(verdict.isClean).toBe(false);
    expect(verdict.complaints.join(" ")).toContain("superblock");
  });
});
