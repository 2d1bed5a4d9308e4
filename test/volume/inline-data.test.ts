// Files whose content lies in their inodes, on mounted volumes: they are read, mapped and pinned as they are, and
// moved to blocks by whoever opens them for writing or gives their pages to others. And values of attributes in
// inodes of their own: none is left when nobody has it.

import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type MountOptions, mountSync, type Volume } from "../../src/index.ts";
import { e2fsckClean, mkfsExt4, temporaryDirectory } from "../support/tools.ts";

const SIZES = [0, 1, 60, 61, 120];
const code = (name: string): unknown => expect.objectContaining({ code: name });

function contentOf(size: number): Buffer {
  return Buffer.from(Array.from({ length: size }, (_, at) => 1 + ((at * 7 + size) % 250)));
}

/** A volume with files in their inodes; e2fsck has nothing to say when it is left. */
class InlineVolume implements Disposable {
  readonly #directory = temporaryDirectory();
  readonly image = this.#directory.file("image");
  volume: Volume;

  constructor(options: readonly string[], mount: MountOptions = {}) {
    using source = temporaryDirectory();
    for (const size of SIZES) writeFileSync(source.file(`file-${size}`), contentOf(size));
    const wanted = ["-O", "inline_data", "-N", "128", ...options, "-d", source.path];
    mkfsExt4(this.image, 8 * 2 ** 20, wanted);
    this.volume = this.#mount(mount);
  }

  #mount(options: MountOptions): Volume {
    return mountSync(this.image, { regionBytes: 2 ** 28, ...options });
  }

  remount(options: MountOptions = {}): Volume {
    this.close();
    this.volume = this.#mount(options);
    return this.volume;
  }

  close(): void {
    this.volume.closeSync();
    const { clean, output } = e2fsckClean(this.image);
    expect(clean, output).toBe(true);
  }

  [Symbol.dispose](): void {
    this.volume.closeSync();
    this.#directory[Symbol.dispose]();
  }
}

/** What a mapping of the whole file shows, and what pins of it hold. */
function seen(volume: Volume, path: string): { mapped: Buffer; pinned: Buffer } {
  using file = volume.openSync(path);
  const { size } = file.statSync();
  const window = file.map();
  const mapped = Buffer.from(window.bytes.subarray(0, size));
  window.close();
  const pin = file.pinSync(0, size);
  const pinned = Buffer.concat(pin.buffers.map((each) => Buffer.from(each)));
  pin.release();
  return { mapped, pinned: pinned.subarray(0, size) };
}

describe.each<[string, readonly string[], MountOptions]>([
  ["direct access", ["-b", "4096"], {}],
  ["each file as its flag says", ["-b", "4096"], { dax: "inode" }],
  ["copied", ["-b", "4096"], { dax: "never" }],
  ["blocks of 1 KiB", ["-b", "1024"], {}],
  ["without extents or journal", ["-b", "4096", "-t", "ext2"], {}],
])("%s", (_name, options, mount) => {
  test("a read-only mount reads, maps and pins them, and the image stays as it is", () => {
    using made = new InlineVolume(options, { ...mount, readOnly: true });
    const before = readFileSync(made.image);
    for (const size of SIZES) {
      const path = `/file-${size}`;
      expect(Buffer.from(made.volume.readFileSync(path))).toEqual(contentOf(size));
      if (size === 0) continue;
      const { mapped, pinned } = seen(made.volume, path);
      expect(mapped).toEqual(contentOf(size));
      expect(pinned).toEqual(contentOf(size));
      expect(made.volume.statSync(path).dax).toBe(false);
    }
    made.close();
    expect(Buffer.compare(readFileSync(made.image), before)).toBe(0);
  });

  test("reading and mapping leaves them where they are; a pin gives them blocks", () => {
    using made = new InlineVolume(options, mount);
    const { volume } = made;
    const { bfree } = volume.statfsSync();
    for (const size of SIZES) {
      using file = volume.openSync(`/file-${size}`);
      const bytes = new Uint8Array(200);
      expect(file.readSync(bytes, 0)).toBe(size);
      expect(Buffer.from(bytes.subarray(0, size))).toEqual(contentOf(size));
      if (size === 0) continue;
      const window = file.map();
      expect(Buffer.from(window.bytes.subarray(0, size))).toEqual(contentOf(size));
      window.close();
    }
    expect(volume.statfsSync().bfree).toBe(bfree);
    expect(seen(volume, "/file-61").pinned).toEqual(contentOf(61));
    expect(volume.statfsSync().bfree).toBe(bfree - 1);
    expect(seen(volume, "/file-61").mapped).toEqual(contentOf(61));
    made.close();
  });

  test("whoever opens them for writing finds them in blocks, and so does who has them mapped", () => {
    using made = new InlineVolume(options, mount);
    const { volume } = made;
    for (const size of SIZES.slice(1)) {
      const path = `/file-${size}`;
      const expected = Buffer.concat([contentOf(size), Buffer.alloc(5000 - size)]);
      using reader = volume.openSync(path);
      const early = reader.map();
      expect(early.bytes[0]).toBe(expected[0]);
      using file = volume.openSync(path, "r+");
      file.writeSync(Buffer.from("written"), 4990);
      expected.write("written", 4990);
      const window = file.map({ writable: true });
      window.bytes[0] = 0xee;
      expected[0] = 0xee;
      expect(early.bytes[0]).toBe(0xee);
      const whole = new Uint8Array(5000);
      expect(reader.readSync(whole, 0)).toBe(4997);
      expect(Buffer.from(whole)).toEqual(expected);
      window.close();
      early.close();
      file.syncSync();
    }
    const again = made.remount(mount);
    for (const size of SIZES.slice(1)) {
      const read = Buffer.from(again.readFileSync(`/file-${size}`));
      expect(read.length).toBe(4997);
      expect(read.subarray(1, size)).toEqual(contentOf(size).subarray(1));
      expect(read.subarray(4990).toString()).toBe("written");
    }
    made.close();
  });

  test("they are cut, punched, replaced and removed", () => {
    using made = new InlineVolume(options, mount);
    const { volume } = made;
    volume.truncateSync("/file-61", 10);
    volume.truncateSync("/file-61", 61);
    const cut = Buffer.concat([contentOf(61).subarray(0, 10), Buffer.alloc(51)]);
    expect(Buffer.from(volume.readFileSync("/file-61"))).toEqual(cut);
    {
      using file = volume.openSync("/file-60", "r+");
      file.fallocateSync("punch-hole", 20, 10);
    }
    const punched = contentOf(60).fill(0, 20, 30);
    expect(Buffer.from(volume.readFileSync("/file-60"))).toEqual(punched);
    volume.writeFileSync("/file-120", "replaced");
    expect(Buffer.from(volume.readFileSync("/file-120")).toString()).toBe("replaced");
    volume.unlinkSync("/file-1");
    volume.unlinkSync("/file-60");
    made.close();
  });
});

test("a file that has left its inode is direct for who opens it next", () => {
  using made = new InlineVolume(["-b", "4096"]);
  const { volume } = made;
  expect(volume.statSync("/file-61").dax).toBe(false);
  {
    using file = volume.openSync("/file-61", "r+");
    expect(file.statSync().dax).toBe(false);
  }
  expect(volume.statSync("/file-61").dax).toBe(true);
  volume.writeFileSync("/new", "new");
  expect(volume.statSync("/new").dax).toBe(true);
});

test("on a full volume they are read, and cannot be opened for writing", () => {
  using made = new InlineVolume(["-b", "1024"]);
  const { volume } = made;
  {
    using filler = volume.openSync("/filler", "w");
    const piece = new Uint8Array(1024);
    expect(() => {
      for (let at = 0; ; at += 1024) filler.writeSync(piece, at);
    }).toThrow(code("ENOSPC"));
  }
  expect(Buffer.from(volume.readFileSync("/file-61"))).toEqual(contentOf(61));
  expect(() => volume.openSync("/file-61", "r+")).toThrow(code("ENOSPC"));
  expect(() => volume.truncateSync("/file-61", 5)).toThrow(code("ENOSPC"));
  expect(Buffer.from(volume.readFileSync("/file-61"))).toEqual(contentOf(61));
  made.close();
});

describe("values of attributes in inodes of their own", () => {
  const some = (size: number, seed: number): Uint8Array =>
    Uint8Array.from({ length: size }, (_, at) => (at * 31 + seed) & 0xff);

  test.each([1024, 4096])("go when nobody has them, blocks of %i bytes", (blockSize) => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    const options = ["-b", `${blockSize}`, "-O", "ea_inode", "-J", "size=4"];
    mkfsExt4(image, 32 * 2 ** 20, options);
    const volume = mountSync(image, { regionBytes: 2 ** 28 });
    try {
      volume.writeFileSync("/file", "content");
      const space = (): unknown => {
        volume.syncSync();
        const { bfree, ffree } = volume.statfsSync();
        return { bfree, ffree };
      };
      const before = space();
      for (let round = 0; round < 4; round++) {
        volume.setxattrSync("/file", "user.large", some(65_536, round));
        volume.setxattrSync("/file", `user.n${round}`, some(20_000, round));
        const value = volume.getxattrSync("/file", "user.large");
        expect(Buffer.compare(value, some(65_536, round))).toBe(0);
      }
      for (let round = 0; round < 4; round++) volume.removexattrSync("/file", `user.n${round}`);
      expect(volume.listxattrSync("/file")).toEqual(["user.large"]);
      volume.removexattrSync("/file", "user.large");
      expect(space()).toEqual(before);
      // More than one transaction of a small journal takes.
      for (let index = 0; index < 20; index++) {
        volume.setxattrSync("/file", `user.n${index}`, some(65_536, index));
      }
      const held = volume.openSync("/file");
      volume.unlinkSync("/file");
      expect(held.readSync(new Uint8Array(10), 0)).toBe(7);
      held.closeSync();
      volume.writeFileSync("/file", "content");
      expect(space()).toEqual(before);
      volume.setxattrSync("/file", "user.last", some(65_536, 3));
    } finally {
      volume.closeSync();
    }
    const { clean, output } = e2fsckClean(image);
    expect(clean, output).toBe(true);
  });
});
