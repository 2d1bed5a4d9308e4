// Reclaim takes a part of a file out of memory, with the file as it was: pages that are pinned stay, everything else
// goes on, and the next touch or pin brings back what is needed.

import { describe, expect, test } from "vitest";
import { openRawSync, type FileHandle, type Volume } from "../../src/index.ts";
import { startRunner } from "./threads.ts";
import { volumeKinds } from "./volumes.ts";

const PAGE = 4096;
const UNIT = 2 ** 21;
const BYTES = 3 * UNIT;
const VOLUME_BYTES = 64 * 2 ** 20;

function pattern(bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, at) => ((at + (at >> 12)) % 251) + 1);
}

function filled(volume: Volume): FileHandle {
  const file = volume.openSync("/file", "w+");
  file.fallocateSync("allocate", 0, BYTES);
  file.writeSync(pattern(BYTES), 0);
  return file;
}

/** Whether windows fault on this machine: where they cannot, what they show is not reclaimed. */
function faults(volume: Volume, file: FileHandle): boolean {
  const before = volume.statistics().faults;
  using window = file.map({ length: PAGE });
  return window.bytes.length > 0 && window.bytes[0] !== 0 && volume.statistics().faults > before;
}

describe.each(volumeKinds.filter((kind) => kind.mappable))("$name", (kind) => {
  test("what nobody pins goes, what is pinned stays, and all of it is there again when it is touched", () => {
    using made = kind.make(VOLUME_BYTES);
    const { volume } = made;
    {
      using file = filled(volume);
      const mayFault = faults(volume, file);
      const bytes = pattern(BYTES);
      using window = file.map();
      expect(Buffer.compare(window.bytes, bytes)).toBe(0);
      const pin = file.pinSync(UNIT + 5 * PAGE, PAGE);
      const reclaimed = file.reclaimSync();
      if (mayFault) {
        expect(reclaimed.length).toBe(2 * UNIT);
        expect(reclaimed.kept).toHaveLength(1);
        const [kept] = reclaimed.kept;
        expect(kept!.offset).toBeGreaterThanOrEqual(UNIT);
        expect(kept!.offset + kept!.length).toBe(2 * UNIT);
        expect(pin.verify()).toBe(true);
        const before = volume.statistics().faults;
        expect(window.bytes[2 * UNIT]).toBe(bytes[2 * UNIT]);
        expect(volume.statistics().faults).toBeGreaterThan(before);
      }
      expect(Buffer.compare(window.bytes, bytes)).toBe(0);
      window.bytes[7] = 77;
      pin.release();
      file.reclaimSync({ length: PAGE });
      expect(window.bytes[7]).toBe(77);
      file.pinSync(0, BYTES, { write: true }).release();
      expect(window.lost).toBeNull();
    }
    made.remount();
    const found =
      volume === made.volume ? volume.readFileSync("/file") : made.volume.readFileSync("/file");
    const expected = pattern(BYTES);
    expected[7] = 77;
    expect(Buffer.compare(found, expected)).toBe(0);
    expect(made.closeAndCheck()).toBe("");
  });

  test("without a window all page records of the range are given back, and those elsewhere are not", () => {
    using made = kind.make(VOLUME_BYTES);
    using file = filled(made.volume);
    file.pinSync(0, BYTES, { write: true }).release();
    expect(file.reclaimSync({ offset: UNIT, length: UNIT })).toEqual({ length: UNIT, kept: [] });
    expect(file.reclaimSync({ offset: UNIT, length: UNIT })).toEqual({ length: 0, kept: [] });
    expect(file.reclaimSync()).toEqual({ length: 2 * UNIT, kept: [] });
    file.closeSync();
    expect(made.closeAndCheck()).toBe("");
  });

  test("it waits for pins when it is told to, until its deadline, and says who holds them", async () => {
    using made = kind.make(VOLUME_BYTES);
    using file = filled(made.volume);
    const pin = file.pinSync(UNIT, PAGE);
    file.pinSync(0, BYTES).release();
    expect(() => file.reclaimSync({ wait: true, timeoutMs: 30 })).toThrow(
      expect.objectContaining({ code: "ETIMEDOUT", holders: [expect.anything()] }),
    );
    let done = false;
    const reclaimed = file.reclaim({ wait: true }).then((answer) => {
      done = true;
      return answer;
    });
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(done).toBe(false);
    // It holds no lock meanwhile: pins elsewhere, writes and reads go on.
    file.pinSync(0, PAGE, { write: true }).release();
    file.writeSync(new Uint8Array(PAGE), UNIT);
    pin.release();
    const { length, kept } = await reclaimed;
    expect(kept).toEqual([]);
    expect(length).toBeGreaterThan(0);
  });

  test("threads that touch, pin, read and write a file while it is reclaimed find every byte", async () => {
    using made = kind.make(VOLUME_BYTES);
    using file = filled(made.volume);
    await using other = await startRunner(made.volume.share());
    const work = other.run(async (volume) => {
      const opened = volume.openSync("/file", "r+");
      const window = opened.map();
      const size = 3 * 2 ** 21;
      let wrong = 0;
      for (let round = 1; round <= 200; round++) {
        const at = ((round * 7919) % (size / 4096)) * 4096;
        window.bytes[at] = round % 256;
        const pin = opened.pinSync(at, 4096, { write: true });
        if (pin.buffers[0]![0] !== round % 256) wrong++;
        pin.buffers[0]![1] = (round + 1) % 256;
        pin.release();
        const read = new Uint8Array(2);
        opened.readSync(read, at);
        if (read[1] !== (round + 1) % 256 || window.bytes[at + 1] !== read[1]) wrong++;
        if (round % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      window.close();
      opened.closeSync();
      return wrong;
    });
    let ended = false;
    const ends = work.finally(() => {
      ended = true;
    });
    let turns = 0;
    while (!ended) {
      await file.reclaim({ wait: turns % 2 === 0, timeoutMs: 5000 });
      turns++;
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await ends).toBe(0);
    expect(turns).toBeGreaterThan(0);
  });
});

test("a raw device larger than its page records lasts is used part by part", () => {
  // 16 MiB of region hold the records of 256 units; the device has 300.
  using raw = openRawSync({ size: 300 * UNIT }, { regionBytes: 2 ** 24 });
  const pinAll = (from: number, to: number): void => {
    for (let unit = from; unit < to; unit++) raw.pinSync(unit * UNIT, PAGE).release();
  };
  pinAll(0, 200);
  expect(() => pinAll(200, 300)).toThrow(expect.objectContaining({ code: "ENOMEM" }));
  const { length, kept } = raw.reclaimSync({ length: 150 * UNIT });
  expect({ length, kept }).toEqual({ length: 150 * UNIT, kept: [] });
  pinAll(200, 300);
});
