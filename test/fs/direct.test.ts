// What volume.fs has beyond node:fs: files as memory, where their bytes lie, and bytes from and to their pages. The
// kernel, on a mount of the same image, is asked where data, holes and extents are.

import { randomBytes } from "node:crypto";
import * as nodeFs from "node:fs";
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import type { FileExtent, VolumeFs } from "../../src/index.ts";
import { seekFile } from "../interop/libc.ts";
import { loopMount, runOk, skipUnless, temporaryDirectory } from "../support/tools.ts";
import { blockPointerKinds, copiedKinds, volumeKinds } from "../volume/volumes.ts";

const kinds = [...volumeKinds, ...blockPointerKinds, ...copiedKinds];
const code = (expected: string) => expect.objectContaining({ code: expected });

/** A file with data, holes between, and, where the format has that, blocks that are not written. */
function makeSparse(fs: VolumeFs, path: string, hasExtents: boolean): number {
  const fd = fs.openSync(path, "w");
  fs.writeSync(fd, randomBytes(5000), 0, 5000, 3000);
  fs.writeSync(fd, randomBytes(20_000), 0, 20_000, 100_000);
  fs.writeSync(fd, "x", 400_000);
  fs.ftruncateSync(fd, 500_000);
  if (hasExtents) {
    fs.fallocateSync(fd, "allocate", 200_000, 50_000);
    fs.fallocateSync(fd, "keep-size", 600_000, 10_000);
  }
  fs.closeSync(fd);
  return 500_000;
}

const positions = (size: number): number[] => {
  const all: number[] = [];
  for (let at = 0; at < size + 2048; at += 1024) all.push(at, at + 1);
  return all;
};

/** What a search answers at every position, or the code with which it fails. */
function answers(size: number, seek: (position: number) => number): (number | string)[] {
  return positions(size).map((at) => {
    try {
      return seek(at);
    } catch (error) {
      return (error as { code: string }).code;
    }
  });
}

interface Run {
  offset: number;
  deviceOffset: number | null;
  length: number;
  unwritten: boolean;
}

/** As filefrag tells a file's extents, in bytes; runs that go on from one another are one. */
function kernelExtents(path: string): Run[] {
  const row = /^ *\d+: *(\d+)\.\. *(\d+): *(\d+)\.\. *\d+: *\d+:(?: *\d+:)? *(.*)$/gm;
  const runs: Run[] = [];
  for (const [, first, last, device, flags] of runOk("filefrag", ["-v", "-b1", path]).matchAll(
    row,
  )) {
    const [offset, deviceOffset] = [Number(first), Number(device)];
    const run = {
      offset,
      deviceOffset,
      length: Number(last) + 1 - offset,
      unwritten: flags!.includes("unwritten"),
    };
    const before = runs.at(-1);
    const goesOn =
      before !== undefined &&
      before.deviceOffset! + before.length === deviceOffset &&
      before.offset + before.length === offset &&
      before.unwritten === run.unwritten;
    if (goesOn) before.length += run.length;
    else runs.push(run);
  }
  return runs;
}

const shown = (extents: readonly FileExtent[]): Run[] =>
  extents.map(({ offset, deviceOffset, length, unwritten }) => ({
    offset,
    deviceOffset,
    length,
    unwritten,
  }));

describe.each(kinds)("$name", (kind) => {
  const hasExtents = !blockPointerKinds.includes(kind);

  if (kind.name.startsWith("ext")) {
    skipUnless("loop mounts", "filefrag")(
      "data, holes and extents are where the kernel finds them",
      () => {
        using place = temporaryDirectory();
        using made = kind.make();
        const { fs } = made.volume;
        const size = makeSparse(fs, "/sparse", hasExtents);
        fs.writeFileSync("/empty", "");
        const fd = fs.openSync("/sparse", "r");
        const [data, holes, extents] = [
          answers(size, (at) => fs.seekDataSync(fd, at)),
          answers(size, (at) => fs.seekHoleSync(fd, at)),
          shown(fs.fiemapSync(fd)),
        ];
        expect(data).toContain("ENXIO");
        expect(extents.some(({ unwritten }) => unwritten)).toBe(hasExtents);
        const empty = fs.openSync("/empty", "r");
        expect(fs.fiemapSync(empty)).toEqual([]);
        expect(() => fs.seekHoleSync(empty, 0)).toThrow(code("ENXIO"));
        expect(made.closeAndCheck()).toBe("");
        using mounted = loopMount(made.image!, place.path, ["ro"]);
        const path = `${mounted.directory}/sparse`;
        const host = nodeFs.openSync(path, "r");
        const [hostData, hostHoles] = [
          answers(size, (at) => seekFile(host, at, "data")),
          answers(size, (at) => seekFile(host, at, "hole")),
        ];
        nodeFs.closeSync(host);
        expect(data).toEqual(hostData);
        expect(holes).toEqual(hostHoles);
        expect(extents).toEqual(kernelExtents(path));
      },
    );
  }

  test("the three forms answer alike", async () => {
    using made = kind.make();
    const { fs } = made.volume;
    makeSparse(fs, "/f", hasExtents);
    await using handle = await fs.promises.open("/f", "r+");
    const { fd } = handle;
    const extents = fs.fiemapSync(fd, { offset: 4096, length: 200_000 });
    expect(extents.length).toBeGreaterThan(0);
    expect(await handle.fiemap({ offset: 4096, length: 200_000 })).toEqual(extents);
    expect(await promisify(fs.fiemap)(fd, { offset: 4096, length: 200_000 })).toEqual(extents);
    expect(await handle.seekData(50_000)).toBe(fs.seekDataSync(fd, 50_000));
    expect(await promisify(fs.seekHole)(fd, 100_000)).toBe(fs.seekHoleSync(fd, 100_000));
    expect(() => fs.seekDataSync(fd, -1)).toThrow(code("ERR_OUT_OF_RANGE"));
    await expect(handle.seekData(500_000)).rejects.toThrow(code("ENXIO"));
    await expect(promisify(fs.fiemap)(999_999, {})).rejects.toThrow(code("EBADF"));
    const directory = fs.openSync("/", "r");
    expect(() => fs.seekDataSync(directory, 0)).toThrow(code("EISDIR"));
    expect(() => fs.mapSync(directory)).toThrow(code("EISDIR"));
    expect(made.closeAndCheck()).toBe("");
  });

  test("a window and a pin are the file", async () => {
    using made = kind.make();
    const { fs } = made.volume;
    fs.writeFileSync("/f", Buffer.alloc(10_000, "a"));
    await using handle = await fs.promises.open("/f", "r+");
    {
      using window = await handle.map();
      window.bytes[5] = 0x62;
      using same = fs.mapSync(handle.fd, { offset: 4096, writable: false });
      expect(same.bytes.length).toBe(10_000 - 4096);
      using pin = await handle.pin(4096, 100, { write: true });
      pin.buffers[0]![0] = 0x63;
      expect(same.bytes[0]).toBe(0x63);
    }
    using again = fs.pinSync(handle.fd, 0, 6);
    expect(Buffer.concat(again.buffers).toString()).toBe("aaaaab");
    const text = fs.readFileSync("/f", "utf8");
    expect(text.slice(0, 8)).toBe("aaaaabaa");
    expect(text.slice(4094, 4099)).toBe("aacaa");
    again.release();
    expect(made.closeAndCheck()).toBe("");
  });

  test("fallocate changes what is behind a range, or tells in Node's word that it cannot", async () => {
    using made = kind.make();
    const { fs } = made.volume;
    fs.writeFileSync("/f", Buffer.alloc(40_960, "a"));
    const fd = fs.openSync("/f", "r+");
    await promisify(fs.fallocate)(fd, "punch-hole", 8192, 8192, {});
    expect(fs.seekHoleSync(fd, 0)).toBe(8192);
    expect(fs.seekDataSync(fd, 8192)).toBe(16_384);
    if (hasExtents) {
      fs.fallocateSync(fd, "collapse-range", 8192, 8192);
      expect(fs.fstatSync(fd).size).toBe(32_768);
      fs.fallocateSync(fd, "allocate", 0, 100_000);
      expect(fs.fstatSync(fd).size).toBe(100_000);
    } else {
      const refused = { code: "ENOTSUP", errno: -95, syscall: "fallocate" };
      expect(() => fs.fallocateSync(fd, "allocate", 0, 100_000)).toThrow(
        expect.objectContaining(refused),
      );
    }
    expect(made.closeAndCheck()).toBe("");
  });

  test("bytes go from a file of the host to pages and back, in pieces", async () => {
    using directory = temporaryDirectory();
    using made = kind.make();
    const { fs } = made.volume;
    const content = randomBytes(3_000_001);
    nodeFs.writeFileSync(directory.file("in"), content);
    await using handle = await fs.promises.open("/f", "w+");
    await using source = await nodeFs.promises.open(directory.file("in"));
    const told: unknown[] = [];
    const onProgress = (done: number, total: number | null): unknown => told.push([done, total]);
    expect(await handle.writeFrom(source, { onProgress })).toBe(content.length);
    expect(told).toEqual([
      [2 ** 20, null],
      [2 ** 21, null],
      [content.length, null],
    ]);
    expect(fs.readFileSync("/f").equals(content)).toBe(true);

    const out = nodeFs.openSync(directory.file("out"), "w+");
    told.length = 0;
    const pieces = { pieceBytes: 1_000_003, onProgress };
    expect(await handle.readInto(out, { position: 7, at: 3, ...pieces })).toBe(content.length - 7);
    expect(told.at(-1)).toEqual([content.length - 7, content.length - 7]);
    expect(told).toHaveLength(3);
    const copy = nodeFs.readFileSync(directory.file("out"));
    expect(copy.subarray(3).equals(content.subarray(7))).toBe(true);

    // Into the middle, and no further: what lies behind stays. It counts as a change, as any write does.
    fs.utimesSync("/f", 1, 2);
    const watcher = fs.watch("/f");
    const heard = once(watcher, "change");
    expect(await handle.writeFrom(out, { position: 1001, length: 5000, at: 3 })).toBe(5000);
    expect(await heard).toEqual(["change", "f"]);
    watcher.close();
    expect(fs.statSync("/f").atimeMs).toBe(1000);
    expect(fs.statSync("/f").mtimeMs).toBeGreaterThan(Date.now() - 60_000);
    const changed = Buffer.from(content);
    content.copy(changed, 1001, 7, 5007);
    expect(fs.readFileSync("/f").equals(changed)).toBe(true);
    nodeFs.closeSync(out);
    await handle.close();
    expect(made.closeAndCheck()).toBe("");
  });

  test("sockets, streams and functions take and give bytes", async () => {
    using made = kind.make();
    const { fs } = made.volume;
    const content = randomBytes(2_500_000);
    fs.writeFileSync("/f", content);
    await using handle = await fs.promises.open("/f", "r+");
    const server = createServer((socket) => socket.pipe(socket)).listen(0, "127.0.0.1");
    await once(server, "listening");
    const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
    await using echo = await fs.promises.open("/echo", "w+");
    const received = echo.writeFrom(socket);
    expect(await handle.readInto(socket)).toBe(content.length);
    socket.end();
    expect(await received).toBe(content.length);
    server.close();
    expect(fs.readFileSync("/echo").equals(content)).toBe(true);

    let at = 0;
    const half = (memory: Uint8Array): number => {
      const count = Math.min(memory.length, 70_000, content.length - at);
      memory.set(content.subarray(at, at + count));
      at += count;
      return count;
    };
    await using made2 = await fs.promises.open("/function", "w+");
    expect(await made2.writeFrom(half)).toBe(content.length);
    expect(fs.readFileSync("/function").equals(content)).toBe(true);
    const taken: Buffer[] = [];
    await made2.readInto((memory) => taken.push(Buffer.from(memory)), {
      position: 100,
      length: 50,
    });
    expect(Buffer.concat(taken).equals(content.subarray(100, 150))).toBe(true);

    await using other = await fs.promises.open("/other", "w+");
    expect(
      await other.writeFrom(Readable.from([Buffer.from("abc"), Buffer.from("defg")]), {
        length: 5,
      }),
    ).toBe(5);
    expect(await buffer(other.createReadStream({ start: 0, autoClose: false }))).toEqual(
      Buffer.from("abcde"),
    );
    // From one file of the volume into another.
    expect(await other.writeFrom(handle, { position: 5 })).toBe(content.length);
    expect(fs.readFileSync("/other").subarray(5).equals(content)).toBe(true);
    for (const file of [handle, echo, made2, other]) await file.close();
    expect(made.closeAndCheck()).toBe("");
  });

  test("an abort ends a transfer between two pieces; the file ends where its bytes end", async () => {
    using made = kind.make();
    const { fs } = made.volume;
    await using handle = await fs.promises.open("/f", "w+");
    const controller = new AbortController();
    const endless = (memory: Uint8Array): number => memory.fill(0x61).length;
    const transfer = handle.writeFrom(endless, {
      pieceBytes: 100_000,
      signal: controller.signal,
      onProgress: (done) => {
        if (done === 300_000) controller.abort();
      },
    });
    await expect(transfer).rejects.toThrow(code("ABORT_ERR"));
    expect(fs.statSync("/f").size).toBe(300_000);
    await expect(handle.readInto(() => {}, { signal: controller.signal })).rejects.toThrow(
      code("ABORT_ERR"),
    );
    const broken = handle.writeFrom(
      () => {
        throw new Error("the source broke");
      },
      { position: 300_000 },
    );
    await expect(broken).rejects.toThrow("the source broke");
    expect(fs.statSync("/f").size).toBe(300_000);
    // Nothing is pinned any more.
    fs.truncateSync("/f", 0);
    await handle.close();
    expect(made.closeAndCheck()).toBe("");
  });
});

const extKinds = [...volumeKinds, ...blockPointerKinds].filter(({ name }) => name !== "ram");

type CopyFs = Pick<VolumeFs["promises"], "copyFile" | "readdir" | "writeFile">;

test.each(extKinds)("$name: what the format cannot do is told by Node's code", async (kind) => {
  using directory = temporaryDirectory();
  using made = kind.make();
  const { fs } = made.volume;
  const told = async (of: CopyFs, root: string): Promise<unknown> => {
    await of.writeFile(`${root}/f`, "f");
    const mode = nodeFs.constants.COPYFILE_FICLONE_FORCE;
    try {
      await of.copyFile(`${root}/f`, `${root}/g`, mode);
    } catch (error) {
      const {
        code: name,
        errno,
        syscall,
        path,
        dest,
      } = error as NodeJS.ErrnoException & {
        dest: string;
      };
      const names = [path!.slice(root.length), dest.slice(root.length)];
      return { name, errno, syscall, names, left: await of.readdir(root) };
    }
    return null;
  };
  const expected = await told(nodeFs.promises, directory.path);
  expect(expected).toMatchObject({ name: "ENOTSUP" });
  fs.mkdirSync("/root");
  expect(await told(fs.promises, "/root")).toEqual(expected);
});
