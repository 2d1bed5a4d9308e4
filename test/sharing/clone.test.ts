// Files that share blocks: clones, copies on the first write, and what is refused.

import { describe, expect, test } from "vitest";
import type { FileHandle, Volume } from "../../src/index.ts";
import { ext4, ram } from "../volume/volumes.ts";
import { hasTool } from "../support/tools.ts";

const PAGE = 4096;

/** Whole pages, a letter each. */
function bytesOf(letters: string): Uint8Array {
  const bytes = new Uint8Array(letters.length * PAGE);
  for (const [page, letter] of [...letters].entries()) {
    bytes.fill(letter === "." ? 0 : letter.charCodeAt(0), page * PAGE, (page + 1) * PAGE);
  }
  return bytes;
}

/** The first byte of each page. */
function lettersOf(bytes: Uint8Array): string {
  let letters = "";
  for (let at = 0; at < bytes.length; at += PAGE) {
    letters += bytes[at] === 0 ? "." : String.fromCharCode(bytes[at]!);
  }
  return letters;
}

function shown(volume: Volume, path: string): string {
  return lettersOf(volume.readFileSync(path));
}

function made(volume: Volume, path: string, letters: string): FileHandle {
  volume.writeFileSync(path, bytesOf(letters));
  return volume.openSync(path, "r+");
}

const free = (volume: Volume): number => volume.statfsSync().bfree;

describe("a clone", () => {
  test("takes no block, holds the same, and counts what is shared", () => {
    using kept = ram.make();
    const { volume } = kept;
    volume.writeFileSync("/a", bytesOf("abcd"));
    const before = free(volume);
    volume.reflinkSync("/a", "/b");
    expect(shown(volume, "/b")).toBe("abcd");
    expect(free(volume)).toBe(before);
    expect(volume.statistics().blocksShared).toBe(4);
    expect(volume.statSync("/b").blocks).toBe(volume.statSync("/a").blocks);
  });

  test("is copied block by block as it is written, whichever file is written", () => {
    using kept = ram.make();
    const { volume } = kept;
    using a = made(volume, "/a", "abcd");
    volume.reflinkSync("/a", "/b");
    using b = volume.openSync("/b", "r+");
    const before = free(volume);
    b.writeSync(bytesOf("B"), PAGE);
    a.writeSync(new Uint8Array(10).fill(65), 2 * PAGE + 100);
    expect(shown(volume, "/a")).toBe("abcd");
    expect(shown(volume, "/b")).toBe("aBcd");
    expect(volume.readFileSync("/a")[2 * PAGE + 100]).toBe(65);
    expect(volume.readFileSync("/b")[2 * PAGE + 100]).toBe("c".charCodeAt(0));
    expect(free(volume)).toBe(before - 2);
    expect(volume.statistics().blocksShared).toBe(2);
  });

  test("written where the other file has left takes no new block", () => {
    using kept = ram.make();
    const { volume } = kept;
    using a = made(volume, "/a", "abcd");
    volume.reflinkSync("/a", "/b");
    volume.unlinkSync("/b");
    const before = free(volume);
    a.writeSync(bytesOf("ABCD"), 0);
    expect(free(volume)).toBe(before);
    expect(volume.statistics().blocksShared).toBe(0);
  });

  test("gives all blocks back when the last file is gone", () => {
    using kept = ram.make();
    const { volume } = kept;
    volume.writeFileSync("/other", "");
    const before = free(volume);
    volume.writeFileSync("/a", bytesOf("abcdefgh"));
    for (const path of ["/b", "/c", "/d"]) volume.reflinkSync("/a", path);
    volume.truncateSync("/b", 3 * PAGE);
    using c = volume.openSync("/c", "r+");
    c.fallocateSync("punch-hole", PAGE, 2 * PAGE);
    c.closeSync();
    expect(shown(volume, "/c")).toBe("a..defgh");
    for (const path of ["/a", "/c", "/b", "/d"]) volume.unlinkSync(path);
    expect(free(volume)).toBe(before);
    expect(volume.statistics().blocksShared).toBe(0);
  });

  test("of a range lands at its offset, grows the file and leaves the rest", async () => {
    using kept = ram.make();
    const { volume } = kept;
    using a = made(volume, "/a", "ab.d");
    using b = made(volume, "/b", "1234");
    const options = { sourceOffset: PAGE, offset: 2 * PAGE, length: 2 * PAGE };
    expect(await b.cloneRange(a, options)).toBe(2 * PAGE);
    expect(shown(volume, "/b")).toBe("12b.");
    expect(b.cloneRangeSync(a, { offset: 6 * PAGE })).toBe(4 * PAGE);
    expect(shown(volume, "/b")).toBe("12b...ab.d");
    expect(b.cloneRangeSync(b, { sourceOffset: 0, offset: 8 * PAGE, length: PAGE })).toBe(PAGE);
    expect(shown(volume, "/b")).toBe("12b...ab1d");
  });

  test("of a file that ends in the middle of a block ends there, too, and grows in zeroes", () => {
    using kept = ram.make();
    const { volume } = kept;
    using a = made(volume, "/a", "ab");
    a.truncateSync(PAGE + 100);
    {
      using view = a.map();
      view.bytes.fill(99, PAGE, PAGE + 100);
    }
    volume.reflinkSync("/a", "/b");
    using b = volume.openSync("/b", "r+");
    expect(b.statSync().size).toBe(PAGE + 100);
    b.truncateSync(2 * PAGE);
    a.writeSync(new Uint8Array([1]), 3 * PAGE);
    expect([...volume.readFileSync("/b").subarray(PAGE + 98, PAGE + 102)]).toEqual([99, 99, 0, 0]);
    expect([...volume.readFileSync("/a").subarray(PAGE + 98, PAGE + 102)]).toEqual([99, 99, 0, 0]);
    expect(volume.statistics().blocksShared).toBe(1);
  });

  test("is refused where ranges are no blocks, overlap, or end elsewhere", () => {
    using kept = ram.make();
    const { volume } = kept;
    using a = made(volume, "/a", "abcd");
    using b = made(volume, "/b", "12345678");
    const invalid = expect.objectContaining({ code: "EINVAL" });
    expect(() => b.cloneRangeSync(a, { offset: 1 })).toThrow(invalid);
    expect(() => b.cloneRangeSync(a, { sourceOffset: 100 })).toThrow(invalid);
    expect(() => b.cloneRangeSync(a, { length: 100 })).toThrow(invalid);
    expect(() => b.cloneRangeSync(a, { length: 5 * PAGE })).toThrow(invalid);
    expect(() => b.cloneRangeSync(b, { offset: PAGE, length: 2 * PAGE })).toThrow(invalid);
    a.truncateSync(3 * PAGE + 5);
    expect(() => b.cloneRangeSync(a)).toThrow(invalid);
    expect(() => volume.reflinkSync("/a", "/a")).toThrow(invalid);
    using reader = volume.openSync("/b", "r");
    expect(() => reader.cloneRangeSync(a)).toThrow(expect.objectContaining({ code: "EBADF" }));
    using other = ram.make();
    using foreign = made(other.volume, "/a", "x");
    expect(() => b.cloneRangeSync(foreign)).toThrow(expect.objectContaining({ code: "EXDEV" }));
    expect(shown(volume, "/b")).toBe("12345678");
  });

  test("of nothing does nothing", () => {
    using kept = ram.make();
    const { volume } = kept;
    volume.writeFileSync("/a", "");
    volume.reflinkSync("/a", "/b");
    expect(volume.statSync("/b").size).toBe(0);
  });

  test("on a full volume fails at the first write, and both files are as they were", () => {
    using kept = ram.make(4 * 2 ** 20);
    const { volume } = kept;
    using a = made(volume, "/a", "abcd");
    volume.reflinkSync("/a", "/b");
    using rest = volume.openSync("/rest", "w");
    expect(rest.writeSync(new Uint8Array(8 * 2 ** 20), 0)).toBeLessThan(4 * 2 ** 20);
    expect(free(volume)).toBe(0);
    const full = expect.objectContaining({ code: "ENOSPC" });
    expect(() => a.writeSync(bytesOf("A"), 0)).toThrow(full);
    expect(() => a.pinSync(0, PAGE, { write: true })).toThrow(full);
    expect(() => a.pinSync(0, PAGE)).toThrow(full);
    expect(() => a.fallocateSync("unshare-range", 0, PAGE)).toThrow(full);
    expect(shown(volume, "/a")).toBe("abcd");
    volume.unlinkSync("/b");
    a.writeSync(bytesOf("A"), 0);
    expect(shown(volume, "/a")).toBe("Abcd");
  });
});

describe("dedupe", () => {
  test("shares what is the same, and says when it is not", async () => {
    using kept = ram.make();
    const { volume } = kept;
    using a = made(volume, "/a", "abcd");
    using b = made(volume, "/b", "abXd");
    const before = free(volume);
    expect(await b.dedupeRange(a, { length: 4 * PAGE })).toBe(false);
    expect(free(volume)).toBe(before);
    expect(b.dedupeRangeSync(a, { length: 2 * PAGE })).toBe(true);
    const last = { sourceOffset: 3 * PAGE, offset: 3 * PAGE, length: PAGE };
    expect(b.dedupeRangeSync(a, last)).toBe(true);
    expect(free(volume)).toBe(before + 3);
    expect(shown(volume, "/b")).toBe("abXd");
    const past = { offset: 2 * PAGE, length: 4 * PAGE };
    expect(() => b.dedupeRangeSync(a, past)).toThrow(expect.objectContaining({ code: "EINVAL" }));
  });
});

describe("unshare-range", () => {
  test("copies what is shared and gives blocks to holes", () => {
    using kept = ram.make();
    const { volume } = kept;
    using a = made(volume, "/a", "ab.d");
    a.fallocateSync("punch-hole", 2 * PAGE, PAGE);
    volume.reflinkSync("/a", "/b");
    const before = free(volume);
    a.fallocateSync("unshare-range", 0, 4 * PAGE);
    expect(free(volume)).toBe(before - 4);
    expect(volume.statistics().blocksShared).toBe(0);
    expect(shown(volume, "/a")).toBe("ab.d");
    expect(shown(volume, "/b")).toBe("ab.d");
  });
});

describe("part blocks", () => {
  test("zeroed in a shared block are zeroes in one file only", () => {
    using kept = ram.make();
    const { volume } = kept;
    using a = made(volume, "/a", "abcdef");
    for (const path of ["/b", "/c"]) volume.reflinkSync("/a", path);
    using b = volume.openSync("/b", "r+");
    b.fallocateSync("punch-hole", 100, 2 * PAGE);
    b.fallocateSync("zero-range", 3 * PAGE - 50, PAGE + 100);
    using c = volume.openSync("/c", "r+");
    c.truncateSync(2 * PAGE + 7);
    c.truncateSync(3 * PAGE);
    c.fallocateSync("collapse-range", 0, PAGE);
    c.fallocateSync("insert-range", 0, PAGE);
    expect([...volume.readFileSync("/a")]).toEqual([...bytesOf("abcdef")]);
    const wanted = bytesOf("abcdef");
    wanted.fill(0, 100, 100 + 2 * PAGE);
    wanted.fill(0, 3 * PAGE - 50, 4 * PAGE + 50);
    expect(volume.readFileSync("/b")).toEqual(wanted);
    const cut = bytesOf(".bc");
    cut.fill(0, 2 * PAGE + 7);
    expect(volume.readFileSync("/c")).toEqual(cut);
    expect(a.statSync().size).toBe(6 * PAGE);
  });
});

describe("windows", () => {
  test("that write get blocks of their own; those that read show the shared ones, then the new", () => {
    using kept = ram.make();
    const { volume } = kept;
    using a = made(volume, "/a", "abcd");
    volume.reflinkSync("/a", "/b");
    using b = volume.openSync("/b", "r+");
    using reader = a.map({ writable: false });
    expect(lettersOf(reader.bytes)).toBe("abcd");
    expect(volume.statistics().blocksShared).toBe(4);
    using writer = a.map({ writable: true });
    writer.bytes[PAGE] = "B".charCodeAt(0);
    expect(lettersOf(reader.bytes)).toBe("aBcd");
    expect(shown(volume, "/a")).toBe("aBcd");
    expect(shown(volume, "/b")).toBe("abcd");
    b.writeSync(bytesOf("1234"), 0);
    expect(lettersOf(reader.bytes)).toBe("aBcd");
    expect(lettersOf(writer.bytes)).toBe("aBcd");
    expect(volume.statistics().blocksShared).toBe(0);
  });

  test("that write before the file is cloned store to its own blocks afterwards", () => {
    using kept = ram.make();
    const { volume } = kept;
    using a = made(volume, "/a", "abcd");
    using writer = a.map({ writable: true });
    writer.bytes[0] = "A".charCodeAt(0);
    volume.reflinkSync("/a", "/b");
    writer.bytes[0] = "Z".charCodeAt(0);
    expect(shown(volume, "/a")).toBe("Zbcd");
    expect(shown(volume, "/b")).toBe("Abcd");
  });

  test("on a full volume lose the page, and have it back when there is room", () => {
    using kept = ram.make(4 * 2 ** 20);
    const { volume } = kept;
    using a = made(volume, "/a", "ab");
    volume.reflinkSync("/a", "/b");
    using rest = volume.openSync("/rest", "w");
    rest.writeSync(new Uint8Array(8 * 2 ** 20), 0);
    using writer = a.map({ writable: true });
    expect(writer.bytes[0]).toBe(0);
    expect(writer.lost).toMatchObject({ offset: 0, length: PAGE });
    rest.truncateSync(0);
    a.writeSync(bytesOf("A"), 0);
    expect(lettersOf(writer.bytes)).toBe("Ab");
  });
});

describe("pins", () => {
  test("that read get blocks of the file's own, too, so that no write of either file waits for them", () => {
    using kept = ram.make();
    const { volume } = kept;
    using a = made(volume, "/a", "abc");
    volume.reflinkSync("/a", "/b");
    using b = volume.openSync("/b", "r+");
    using pin = a.pinSync(0, 2 * PAGE);
    expect(volume.statistics().blocksShared).toBe(1);
    b.writeSync(bytesOf("12"), 0, { timeoutMs: 1000 });
    expect(lettersOf(pin.buffers[0]!)).toBe("ab");
    a.writeSync(bytesOf("A"), 0, { timeoutMs: 1000 });
    expect(lettersOf(pin.buffers[0]!)).toBe("Ab");
    expect(pin.verify()).toBe(true);
    expect(shown(volume, "/a")).toBe("Abc");
    expect(shown(volume, "/b")).toBe("12c");
  });

  // A touch had to copy the page, waited for the pin, and blocked the thread that was to release it.
  test("that read do not hold up a touch of a window, by the thread that has them", () => {
    using kept = ram.make();
    const { volume } = kept;
    using a = made(volume, "/a", "ab");
    volume.reflinkSync("/a", "/b");
    using window = a.map();
    using pin = a.pinSync(0, PAGE);
    window.bytes.fill("S".charCodeAt(0), 0, 1);
    expect(pin.buffers[0]![0]).toBe("S".charCodeAt(0));
    window.bytes.fill("A".charCodeAt(0), 0, PAGE);
    expect(lettersOf(pin.buffers[0]!)).toBe("A");
    expect(lettersOf(window.bytes)).toBe("Ab");
    expect(shown(volume, "/b")).toBe("ab");
  });

  test("that write get blocks of the file's own", () => {
    using kept = ram.make();
    const { volume } = kept;
    using a = made(volume, "/a", "abc");
    volume.reflinkSync("/a", "/b");
    using pin = a.pinSync(PAGE, PAGE, { write: true });
    pin.buffers[0]!.fill("B".charCodeAt(0));
    expect(shown(volume, "/a")).toBe("aBc");
    expect(shown(volume, "/b")).toBe("abc");
    expect(volume.statistics().blocksShared).toBe(2);
  });

  test("stand in the way of a clone of their range, in either file, and of no other", async () => {
    using kept = ram.make();
    const { volume } = kept;
    using a = made(volume, "/a", "abcd");
    using b = made(volume, "/b", "1234");
    const late = expect.objectContaining({ code: "ETIMEDOUT" });
    for (const file of [a, b]) {
      const pin = file.pinSync(0, PAGE, { write: true });
      expect(() => b.cloneRangeSync(a, { length: PAGE, timeoutMs: 20 })).toThrow(late);
      const rest = { sourceOffset: 2 * PAGE, offset: 2 * PAGE, timeoutMs: 1000 };
      expect(b.cloneRangeSync(a, rest)).toBe(2 * PAGE);
      const clone = b.cloneRange(a, { length: PAGE });
      pin.release();
      expect(await clone).toBe(PAGE);
    }
    expect(shown(volume, "/b")).toBe("a2cd");
  });

  test("through one file outlive a truncate of the other", () => {
    using kept = ram.make();
    const { volume } = kept;
    using a = made(volume, "/a", "ab");
    volume.reflinkSync("/a", "/b");
    using pin = a.pinSync(0, 2 * PAGE);
    volume.truncateSync("/b", 0, { timeoutMs: 1000 });
    volume.unlinkSync("/b");
    volume.writeFileSync("/c", bytesOf("xyz"));
    expect(lettersOf(pin.buffers[0]!)).toBe("ab");
    expect(pin.verify()).toBe(true);
  });
});

describe("a lost page that files share", () => {
  test("is lost in each of them, is not copied, and is whole again when the last has let go of it", () => {
    using kept = ram.make();
    const { volume } = kept;
    using a = made(volume, "/a", "abcd");
    volume.reflinkSync("/a", "/b");
    using b = volume.openSync("/b", "r+");
    using readA = a.map({ writable: false });
    using readB = b.map({ writable: false });
    expect(lettersOf(readA.bytes) + lettersOf(readB.bytes)).toBe("abcdabcd");
    volume.failure.poisonSync({ path: "/a", offset: PAGE, length: 1 });
    const lost = expect.objectContaining({ code: "EIO" });
    const target = new Uint8Array(PAGE);
    for (const [file, view] of [
      [a, readA],
      [b, readB],
    ] as const) {
      expect(() => file.readSync(target, PAGE)).toThrow(lost);
      expect(() => file.pinSync(PAGE, PAGE)).toThrow(lost);
      expect(() => file.writeSync(bytesOf("x"), PAGE)).toThrow(lost);
      expect(lettersOf(view.bytes)).toBe("a.cd");
      expect(view.lost).toMatchObject({ offset: PAGE, length: PAGE });
      expect(file.readSync(target, 2 * PAGE)).toBe(PAGE);
    }
    a.fallocateSync("punch-hole", PAGE, PAGE);
    a.writeSync(bytesOf("A"), PAGE);
    expect(shown(volume, "/a")).toBe("aAcd");
    expect(() => b.readSync(target, PAGE)).toThrow(lost);
    b.fallocateSync("punch-hole", PAGE, PAGE);
    b.writeSync(bytesOf("B"), PAGE);
    expect(shown(volume, "/b")).toBe("aBcd");
    expect(lettersOf(readA.bytes) + lettersOf(readB.bytes)).toBe("aAcdaBcd");
    volume.writeFileSync("/all", new Uint8Array(free(volume) * PAGE).fill(7));
    expect(volume.failure.badRanges()).toEqual([]);
  });
});

describe.skipIf(!hasTool("mkfs.ext4"))("ext4", () => {
  test("says that it cannot share blocks, and makes nothing", () => {
    using kept = ext4.make();
    const { volume } = kept;
    using a = made(volume, "/a", "ab");
    const refused = expect.objectContaining({ code: "EOPNOTSUPP" });
    expect(() => volume.reflinkSync("/a", "/b")).toThrow(refused);
    expect(volume.existsSync("/b")).toBe(false);
    using c = made(volume, "/c", "ab");
    expect(() => c.cloneRangeSync(a)).toThrow(refused);
    expect(() => c.dedupeRangeSync(a, { length: PAGE })).toThrow(refused);
    expect(() => c.fallocateSync("unshare-range", 0, PAGE)).toThrow(refused);
    expect(volume.statistics().blocksShared).toBe(0);
    expect(kept.closeAndCheck()).toBe("");
  });
});
