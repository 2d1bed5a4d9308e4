import { describe, expect, it } from "vitest";
import { mountRamSync } from "../../src/index.ts";

describe("a page that a full volume could not allocate", () => {
  // collide found it: the page was shown as lost without an entry, so nobody took it away when the
  // block was there at last, and the window went on showing zeroes that belong to no file.
  it("is lost and reported, and is the file again once somebody has written it", () => {
    const volume = mountRamSync({ size: 16 << 20 });
    const ballast = volume.openSync("/ballast", "wx+");
    const file = volume.openSync("/file", "wx+");
    file.truncateSync(4 * 4096);
    ballast.fallocateSync("allocate", 0, volume.statfsSync().bfree * 4096);
    const window = file.map({ writable: true });
    for (const page of [1, 2]) window.bytes[page * 4096] = 1;
    expect(window.lost).toEqual({ offset: 4096, length: 2 * 4096, pages: 2 });
    ballast.truncateSync(0);
    file.writeSync(new Uint8Array(4096).fill(7), 4096);
    expect(window.bytes[4096]).toBe(7);
    using pin = file.pinSync(2 * 4096, 4096, { write: true });
    pin.buffers[0]!.fill(9);
    expect(window.bytes[2 * 4096 + 5]).toBe(9);
    pin.release();
    window.close();
    file.closeSync();
    ballast.closeSync();
    volume.closeSync();
  });
});

describe("a page behind the file's end", () => {
  // Found when windows with `sync` were built: a range zeroed, or cloned, behind the file's end made the file larger
  // without a look at windows over what lies before it, where stores went on to go nowhere.
  it.each(["zero-range", "clone", "truncate", "write"] as const)(
    "is lost until the file has grown over it, by whatever call: %s",
    (call) => {
      const volume = mountRamSync({ size: 16 << 20, regionBytes: 2 ** 26 });
      using file = volume.openSync("/file", "wx+");
      using source = volume.openSync("/source", "wx+");
      file.writeSync(new Uint8Array(4096).fill(1), 0);
      source.writeSync(new Uint8Array(4096).fill(2), 0);
      using window = file.map({ length: 8 * 4096 });
      window.bytes[3 * 4096] = 3;
      expect(window.lost).toEqual({ offset: 3 * 4096, length: 4096, pages: 1 });
      if (call === "zero-range") file.fallocateSync(call, 5 * 4096, 4096);
      else if (call === "clone") file.cloneRangeSync(source, { offset: 5 * 4096 });
      else if (call === "truncate") file.truncateSync(6 * 4096);
      else file.writeSync(new Uint8Array(4096), 5 * 4096);
      window.bytes[3 * 4096] = 3;
      const read = new Uint8Array(1);
      file.readSync(read, 3 * 4096);
      expect(read[0]).toBe(3);
      window.close();
      volume.closeSync();
    },
  );
});
