// Ranges of several files, pinned at once: all of them, or none.

import { describe, expect, test } from "vitest";
import type { FileHandle, PinRequest } from "../../src/index.ts";
import { volumeKinds } from "./volumes.ts";

const PAGE = 4096;

describe.each(volumeKinds.filter((kind) => kind.mappable))("$name", (kind) => {
  test("pages of several files are pinned together, holes too, and each is kept until its release", async () => {
    using made = kind.make();
    const { volume } = made;
    using a = volume.openSync("/a", "w+");
    using b = volume.openSync("/b", "w+");
    a.writeSync(new Uint8Array(4 * PAGE).fill(1), 0);
    b.truncateSync(4 * PAGE);
    const ranges: PinRequest[] = [
      { file: a, offset: PAGE, length: 2 * PAGE },
      { file: b, offset: 100, length: PAGE, write: true },
      { file: a, offset: 2 * PAGE, length: PAGE },
    ];
    const pins = await volume.pinAll(ranges);
    expect(pins.map(({ offset, length }) => [offset, length])).toEqual(
      ranges.map(({ offset, length }) => [offset, length]),
    );
    pins[1]!.buffers[0]!.fill(7);
    const waits = (file: FileHandle): boolean => {
      try {
        file.truncateSync(0, { timeoutMs: 20 });
        return false;
      } catch (error) {
        expect(error).toMatchObject({ code: "ETIMEDOUT" });
        return true;
      }
    };
    expect([waits(a), waits(b)]).toEqual([true, true]);
    expect(b.readFileSync().subarray(0, 2 * PAGE)).toEqual(
      new Uint8Array(2 * PAGE).fill(7, 100, 100 + PAGE),
    );
    pins[0]!.release();
    expect(waits(a)).toBe(true);
    pins[2]!.release();
    expect([waits(a), waits(b)]).toEqual([false, true]);
    pins[1]!.release();
    expect(waits(b)).toBe(false);
    expect(volume.statistics().pinsHeld).toBe(0);
  });

  test("one range that cannot be pinned leaves none pinned", () => {
    using made = kind.make();
    using other = kind.make();
    const { volume } = made;
    using a = volume.openSync("/a", "w+");
    using reading = volume.openSync("/a", "r");
    using elsewhere = other.volume.openSync("/a", "w+");
    a.writeSync(new Uint8Array(4 * PAGE), 0);
    const good = { file: a, offset: 0, length: PAGE };
    const refusals: [PinRequest, string][] = [
      [{ file: a, offset: 4 * PAGE, length: PAGE }, "EINVAL"],
      [{ file: reading, offset: 0, length: PAGE, write: true }, "EBADF"],
      [{ file: elsewhere, offset: 0, length: PAGE }, "EXDEV"],
      [{ file: null as never, offset: 0, length: PAGE }, "ERR_INVALID_ARG_TYPE"],
    ];
    for (const [bad, code] of refusals) {
      const pinning = () => volume.pinAllSync([good, bad, good]);
      expect(pinning).toThrow(expect.objectContaining({ code }));
      expect(volume.statistics().pinsHeld).toBe(0);
    }
    const closed = volume.openSync("/a", "r");
    closed.closeSync();
    const pinning = () => volume.pinAllSync([good, { file: closed, offset: 0, length: PAGE }]);
    expect(pinning).toThrow(expect.objectContaining({ code: "EBADF" }));
    expect(volume.statistics().pinsHeld).toBe(0);
    expect(volume.pinAllSync([])).toEqual([]);
  });
});
