// What a program stores to a window that only reads never reaches the file. It lasts until the layout of the page
// changes; in a window that is a copy it lasts as long as the window.

import { describe, expect, test } from "vitest";
import type { FileHandle } from "../../src/index.ts";
import { volumeKinds } from "./volumes.ts";

const PAGE = 4096;

function filled(file: FileHandle, pages: number): void {
  for (let page = 0; page < pages; page++) {
    file.writeSync(new Uint8Array(PAGE).fill(page + 1), page * PAGE);
  }
}

function firstBytes(bytes: Uint8Array): number[] {
  return Array.from({ length: bytes.length / PAGE }, (_, page) => bytes[page * PAGE]!);
}

describe.each(volumeKinds)("$name", (kind) => {
  test.skipIf(!kind.mappable)(
    "a store to a window that only reads lasts until the layout of its page changes",
    () => {
      using made = kind.make();
      using file = made.volume.openSync("/file", "w+");
      filled(file, 4);
      using window = file.map({ writable: false });
      for (const page of [0, 1, 2, 3]) window.bytes[page * PAGE] = 100 + page;
      file.writeSync(new Uint8Array(PAGE).fill(50), 0);
      expect(firstBytes(window.bytes)).toEqual([100, 101, 102, 103]);
      file.fallocateSync("punch-hole", PAGE, PAGE);
      expect(firstBytes(window.bytes)).toEqual([100, 0, 102, 103]);
      file.truncateSync(3 * PAGE);
      file.truncateSync(4 * PAGE);
      expect(firstBytes(window.bytes)).toEqual([100, 0, 102, 0]);
      expect(firstBytes(file.readFileSync())).toEqual([50, 0, 3, 0]);
    },
  );

  test("a copy keeps what was stored to it, through every change of the file, and the file has none of it", () => {
    using made = kind.make();
    using file = made.volume.openSync("/file", "w+");
    filled(file, 4);
    const window = file.map({ copy: true, length: 5 * PAGE });
    expect(window.writable).toBe(false);
    expect(firstBytes(window.bytes)).toEqual([1, 2, 3, 4, 0]);
    for (const page of [0, 1, 2, 4]) window.bytes[page * PAGE] = 100 + page;
    file.writeSync(new Uint8Array(PAGE).fill(50), 3 * PAGE);
    file.fallocateSync("punch-hole", PAGE, PAGE);
    file.fallocateSync("collapse-range", 0, PAGE);
    file.truncateSync(0);
    expect(firstBytes(window.bytes)).toEqual([100, 101, 102, 4, 104]);
    expect(window.lost).toBeNull();
    window.close();
    expect(window.bytes[0]).toBe(100);
    expect(file.readFileSync()).toHaveLength(0);
    expect(() => file.map({ copy: true, writable: true })).toThrow(/options.writable/);
    file.closeSync();
    expect(made.closeAndCheck()).toBe("");
  });

  test.skipIf(!kind.mappable)("a copy with a page whose bytes are lost is refused", () => {
    using made = kind.make();
    using file = made.volume.openSync("/file", "w+");
    filled(file, 3);
    made.volume.failure.poisonSync({ path: "/file", offset: PAGE, length: 1 });
    expect(() => file.map({ copy: true })).toThrow(expect.objectContaining({ code: "EIO" }));
    using last = file.map({ copy: true, offset: 2 * PAGE });
    expect(firstBytes(last.bytes)).toEqual([3]);
  });
});
