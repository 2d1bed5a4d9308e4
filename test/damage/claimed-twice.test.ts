// Blocks that two places claim, on volumes without checksums to tell the damage by: a page has one owner, so whoever
// comes second is refused with an error that names both files and the block, and nobody's process ends.

import { describe, expect } from "vitest";
import { mountSync, type Volume } from "../../src/index.ts";
import { mkfsExt4, runOk, skipUnless, temporaryDirectory } from "../support/tools.ts";

const PAGE = 4096;
const PAGES = 4;
const MIB = 2 ** 20;
const FIRST = Buffer.alloc(PAGES * PAGE, "first ");
const SECOND = Buffer.alloc(PAGES * PAGE, "second ");

/** Where an inode's own bytes have the first block of its content. */
const FIRST_BLOCK = { ext2: "block[0]", ext4: "block[5]" } as const;
const TYPES = ["ext2", "ext4"] as const;

interface Claimed extends Disposable {
  readonly volume: Volume;
  /** The claimed block. */
  readonly block: number;
  readonly first: number;
  readonly second: number;
}

interface Claim {
  readonly type: (typeof TYPES)[number];
  /** The file that has the block, and as which of its blocks. */
  readonly of?: "/first" | "/second";
  readonly at?: number;
  /** How long the first file is made. */
  readonly length?: number;
}

/** A volume with two files, of which the second begins with a block that is claimed elsewhere. */
function claimedTwice({ type, of = "/first", at = 0, length = FIRST.length }: Claim): Claimed {
  const directory = temporaryDirectory();
  const image = directory.file("image");
  mkfsExt4(image, 16 * MIB, ["-t", type, "-b", String(PAGE), "-O", "^metadata_csum"]);
  const made = mountSync(image, { regionBytes: 2 ** 28 });
  made.writeFileSync("/first", Buffer.alloc(length, FIRST));
  made.writeFileSync("/second", SECOND);
  const [first, second] = ["/first", "/second"].map((path) => made.statSync(path).ino);
  made.closeSync();
  const block = Number(/\d+/.exec(runOk("debugfs", ["-R", `bmap ${of} ${at}`, image]))![0]);
  const set = `set_inode_field /second ${FIRST_BLOCK[type]} ${block}`;
  runOk("debugfs", ["-w", "-R", set, image]);
  const volume = mountSync(image, { regionBytes: 2 ** 28 });
  return {
    volume,
    block,
    first: first!,
    second: second!,
    [Symbol.dispose]() {
      volume.closeSync();
      directory[Symbol.dispose]();
    },
  };
}

/** What an error says where `ino` comes to a block that is `other`'s as well. */
const told = (ino: number, block: number, other: number): RegExp =>
  new RegExp(`^EUCLEAN: map of inode ${ino} .* is block ${block}, which inode ${other} has`);

const damaged = skipUnless("mkfs.ext4", "debugfs");

describe.each(TYPES)("%s", (type) => {
  damaged("a block that another file has pinned is not pinned", () => {
    using claimed = claimedTwice({ type });
    const { volume, block, first, second } = claimed;
    using one = volume.openSync("/first", "r+");
    using other = volume.openSync("/second", "r+");
    using pin = one.pinSync(0, PAGES * PAGE);
    expect(() => other.pinSync(0, PAGE)).toThrow(told(second, block, first));
    expect(() => other.pinSync(0, PAGES * PAGE)).toThrow(told(second, block, first));
    expect(() => other.truncateSync(0)).toThrow(told(second, block, first));
    expect(Buffer.from(other.readFileSync()).toString("latin1", 0, 5)).toBe("first");
    pin.buffers[0]![0] = 0x46;
    expect(Buffer.from(one.readFileSync()).toString("latin1", 0, 5)).toBe("First");
  });

  damaged("a block that another file has pinned is lost in windows", () => {
    using claimed = claimedTwice({ type });
    using one = claimed.volume.openSync("/first");
    using other = claimed.volume.openSync("/second");
    using _pin = one.pinSync(0, PAGE);
    using window = other.map();
    expect(window.bytes[0]).toBe(0);
    expect(window.lost).toMatchObject({ offset: 0, pages: 1 });
    // Of a file with extents the whole extent lies in the first one's, which has not the next page in use.
    const content = type === "ext2" ? SECOND : FIRST;
    expect(window.bytes[PAGE]).toBe(content[PAGE]);
  });

  damaged("a file with such a block goes, and its blocks stay for fsck", () => {
    using claimed = claimedTwice({ type });
    const { volume, block, first, second } = claimed;
    const one = volume.openSync("/first");
    const pin = one.pinSync(0, PAGES * PAGE);
    expect(() => volume.unlinkSync("/second")).toThrow(told(second, block, first));
    expect(volume.readdirSync("/")).not.toContain("second");
    expect(Buffer.from(pin.buffers[0]!).toString("latin1", 0, 5)).toBe("first");
    pin.release();
    expect(() => volume.closeSync()).toThrow(told(second, block, first));
    expect(volume.closed).toBe(true);
  });

  damaged("a block inside of another file's folio is not given back", () => {
    using claimed = claimedTwice({ type, at: 900, length: 6 * MIB });
    const { volume, block, first, second } = claimed;
    using one = volume.openSync("/first", "r+");
    using other = volume.openSync("/second", "r+");
    using _pin = one.pinSync(0, 6 * MIB);
    expect(() => other.truncateSync(0)).toThrow(told(second, block, first));
  });
});

damaged("a block that a file has at two places is pinned at one of them", () => {
  using claimed = claimedTwice({ type: "ext2", of: "/second", at: 2 });
  const { volume, block, second } = claimed;
  using file = volume.openSync("/second");
  using _pin = file.pinSync(2 * PAGE, PAGE);
  expect(() => file.pinSync(0, PAGES * PAGE)).toThrow(told(second, block, second));
});
