// Windows with `sync`: what a program has stored and persisted there is found after a crash, without an fsync.

import { describe, expect, test } from "vitest";
import { mountRamSync, mountSync } from "../../src/index.ts";
import { type FaultyStorage, runFaulty } from "../support/faulty-storage.ts";
import { e2fsckClean, mkfsExt4, skipUnless, temporaryDirectory } from "../support/tools.ts";
import { startRunner } from "./threads.ts";
import { copiedKinds, volumeKinds } from "./volumes.ts";

const PAGE = 4096;
const EIO = 5;

/** Whether touches can be served on this machine: elsewhere there are no such windows. */
const mayFault = ((): boolean => {
  const volume = mountRamSync({ size: 1 << 20, regionBytes: 2 ** 26 });
  try {
    const file = volume.openSync("/file", "w+");
    file.truncateSync(PAGE);
    file.map({ sync: true }).close();
    return true;
  } catch (error) {
    expect(error).toMatchObject({ code: "EOPNOTSUPP" });
    return false;
  } finally {
    volume.closeSync();
  }
})();

describe.each(volumeKinds.filter((kind) => kind.mappable))("a sync window on $name", (kind) => {
  test.runIf(mayFault)("is flushed for when blocks are allocated, and not again", () => {
    using made = kind.make();
    const { volume } = made;
    using file = volume.openSync("/file", "w+");
    file.truncateSync(64 * PAGE);
    using window = file.map({ sync: true });
    expect([window.sync, window.writable]).toEqual([true, true]);
    expect(window.bytes[0]).toBe(0); // a hole: nothing to flush for
    const before = volume.statistics().transactions;
    window.bytes[0] = 65;
    const after = volume.statistics().transactions;
    // The allocation; and, without a journal, the flush's own.
    expect(after - before).toBe(kind.name === "ext4" ? 1 : 2);
    window.bytes[5 * PAGE] = 66; // allocated with it
    using other = file.map({ sync: true });
    expect(other.bytes[5 * PAGE]).toBe(66);
    expect(volume.statistics().transactions).toBe(after);
    window.persist();
    window.persist(5 * PAGE + 7, 1);
    expect(window.lost).toBeNull();
    window.close();
    other.close();
    file.closeSync();
    expect(made.closeAndCheck()).toBe("");
  });

  test.runIf(mayFault)("is not flushed for where everything was synced before", () => {
    using made = kind.make();
    const { volume } = made;
    using file = volume.openSync("/file", "w+");
    file.writeSync(Buffer.alloc(8 * PAGE, "A"), 0);
    file.syncSync();
    const before = volume.statistics().transactions;
    using window = file.map({ sync: true });
    window.bytes.fill(66);
    expect(volume.statistics().transactions).toBe(before);
    window.persist(PAGE, 2 * PAGE);
    expect(volume.statistics().transactions).toBe(before);
  });

  test.runIf(mayFault)("shows what calls, pins and other windows have filled", () => {
    using made = kind.make();
    using file = made.volume.openSync("/file", "w+");
    file.truncateSync(40 * PAGE);
    using window = file.map({ sync: true, length: 60 * PAGE });
    using plain = file.map();
    const loads = (): number => window.bytes.reduce((sum, byte) => sum + byte, 0);
    expect(loads()).toBe(0);
    file.writeSync(Buffer.alloc(PAGE, 1), 0);
    plain.bytes[20 * PAGE] = 2;
    using pin = file.pinSync(30 * PAGE, PAGE, { write: true });
    pin.buffers[0]![0] = 3;
    file.writeSync(Buffer.alloc(1, 4), 50 * PAGE);
    expect(loads()).toBe(PAGE + 2 + 3 + 4);
    window.bytes[49 * PAGE] = 5;
    window.persist(49 * PAGE, PAGE);
    const read = new Uint8Array(1);
    file.readSync(read, 49 * PAGE);
    expect(read[0]).toBe(5);
    pin.release();
    window.close();
    plain.close();
    file.closeSync();
    expect(made.closeAndCheck()).toBe("");
  });

  test.runIf(mayFault)("serves several threads, while the file changes under them", async () => {
    using made = kind.make();
    const { volume } = made;
    const file = volume.openSync("/file", "w+");
    file.truncateSync(256 * PAGE);
    const handle = volume.share();
    const runners = await Promise.all([0, 1, 2].map(() => startRunner(handle)));
    const stores = runners.map((runner, lane) =>
      runner.run(
        (shared, _kept, lane: number, page: number) => {
          const mine = shared.openSync("/file", "r+");
          const window = mine.map({ sync: true });
          for (let at = lane; at < 192; at += 3) {
            window.bytes[at * page] = 100 + lane;
            window.persist(at * page, 1);
          }
          const { lost } = window;
          window.close();
          mine.closeSync();
          return lost;
        },
        lane,
        PAGE,
      ),
    );
    for (let page = 192; page < 255; page += 2) {
      await file.fallocate("punch-hole", page * PAGE, PAGE);
      await file.write(Buffer.alloc(PAGE, 7), (page + 1) * PAGE);
    }
    expect(await Promise.all(stores)).toEqual([null, null, null]);
    for (const runner of runners) await runner.run((shared) => shared.closeSync());
    for (const runner of runners) await runner.terminate();
    const bytes = volume.readFileSync("/file");
    for (let page = 0; page < 192; page++) expect(bytes[page * PAGE]).toBe(100 + (page % 3));
    file.closeSync();
    expect(made.closeAndCheck()).toBe("");
  });

  test("is refused where it could not keep its promise", () => {
    using made = kind.make();
    using file = made.volume.openSync("/file", "w+");
    file.writeSync(Buffer.alloc(PAGE), 0);
    const wrong = expect.objectContaining({ code: "ERR_INVALID_ARG_VALUE" });
    expect(() => file.map({ sync: true, writable: false })).toThrow(wrong);
    expect(() => file.map({ sync: true, copy: true })).toThrow(wrong);
    using readOnly = made.volume.openSync("/file", "r");
    expect(() => readOnly.map({ sync: true })).toThrow(wrong);
    using plain = file.map();
    expect(plain.sync).toBe(false);
    expect(() => plain.persist()).toThrow(expect.objectContaining({ code: "EINVAL" }));
    if (!mayFault) return;
    const window = file.map({ sync: true });
    expect(() => window.persist(0, PAGE + 1)).toThrow(
      expect.objectContaining({ code: "ERR_OUT_OF_RANGE" }),
    );
    window.close();
    expect(() => window.persist()).toThrow(expect.objectContaining({ code: "EBADF" }));
  });
});

describe.each(copiedKinds)("a copied file on $name", (kind) => {
  test("has no sync windows, and the error says why", () => {
    using made = kind.make();
    using file = made.volume.openSync("/file", "w+");
    file.writeSync(Buffer.alloc(PAGE), 0);
    expect(() => file.map({ sync: true })).toThrow(
      expect.objectContaining({
        code: "EOPNOTSUPP",
        syscall: "mmap",
        message: expect.stringContaining("access is copied"),
      }),
    );
    file.map().close();
  });
});

interface Crash {
  readonly image: string;
  /** What was stored and persisted by then, by page, and not taken out of the file since. */
  readonly kept: readonly (readonly [page: number, byte: number])[];
}

/**
 * Stores and persists through a window of an image, while write calls, truncates and punches change the file, and
 * takes copies of what is on the medium. There is no fsync.
 */
function useAndCrash(
  holdfast: typeof import("../../src/index.ts"),
  fs: typeof import("node:fs"),
  storage: FaultyStorage,
  image: string,
  seed: number,
): Crash[] {
  const page = 4096;
  const volume = holdfast.mountSync(image);
  const file = volume.openSync("/file", "w+");
  const pages = 200;
  file.truncateSync(pages * page);
  file.syncSync();
  fs.copyFileSync(image, `${image}-medium`);
  storage.keepMedium(image, `${image}-medium`);
  const window = file.map({ sync: true, length: 2 * pages * page });
  const plain = file.map({ length: 2 * pages * page });
  let state = seed;
  const random = (below: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % below;
  };
  let size = pages;
  const kept = new Map<number, number>();
  const forget = (first: number, end: number): void => {
    for (const at of [...kept.keys()]) if (at >= first && at < end) kept.delete(at);
  };
  const crashes: Crash[] = [];
  for (let step = 1; step <= 60; step++) {
    const at = random(size);
    const what = random(10);
    if (what === 0) {
      file.fallocateSync("punch-hole", at * page, 3 * page);
      forget(at, at + 3);
    } else if (what === 1) {
      size = 100 + random(200);
      file.truncateSync(size * page - 100);
      forget(size - 1, Number.POSITIVE_INFINITY);
    } else if (what === 2) {
      file.writeSync(Buffer.alloc(2 * page, 1), at * page);
      size = Math.max(size, at + 2);
      forget(at, at + 2);
    } else if (what === 3) {
      plain.bytes[at * page] = 1;
      forget(at, at + 1);
    } else {
      const byte = 2 + random(250);
      window.bytes[at * page + 10] = byte;
      window.persist(at * page + 10, 1);
      kept.set(at, byte);
    }
    if (step % 12 !== 0) continue;
    fs.copyFileSync(`${image}-medium`, `${image}-${step}`);
    crashes.push({ image: `${image}-${step}`, kept: [...kept] });
  }
  return crashes;
}

describe("a crash of an ext4 volume", () => {
  const onExt4 = mayFault ? skipUnless("cc", "mkfs.ext4") : test.skip;

  onExt4.each([1, 2, 3])("leaves what was persisted through a sync window (%i)", (seed) => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    mkfsExt4(image, 16 << 20, ["-b", "4096"]);
    const crashes = runFaulty(useAndCrash, image, seed);
    expect(crashes).toHaveLength(5);
    for (const crash of crashes) {
      expect(e2fsckClean(crash.image)).toMatchObject({ clean: true });
      const volume = mountSync(crash.image, { readOnly: true, regionBytes: 2 ** 26 });
      const bytes = volume.readFileSync("/file");
      expect(crash.kept.length).toBeGreaterThan(3);
      for (const [page, byte] of crash.kept)
        expect([page, bytes[page * PAGE + 10]]).toEqual([page, byte]);
      volume.closeSync();
    }
  });

  onExt4("leaves a hole where an ordinary window was stored to", () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    mkfsExt4(image, 16 << 20, ["-b", "4096"]);
    runFaulty((holdfast, fs, storage, path: string) => {
      const volume = holdfast.mountSync(path);
      const file = volume.openSync("/file", "w+");
      file.truncateSync(4096);
      file.syncSync();
      fs.copyFileSync(path, `${path}-medium`);
      storage.keepMedium(path, `${path}-medium`);
      file.map().bytes.fill(65);
      fs.copyFileSync(`${path}-medium`, `${path}-crash`);
    }, image);
    const volume = mountSync(`${image}-crash`, { readOnly: true, regionBytes: 2 ** 26 });
    expect(volume.statSync("/file")).toMatchObject({ size: 4096, blocks: 0 });
    volume.closeSync();
  });
});

describe("storage that fails while a sync window is touched", () => {
  const whereFaulty = mayFault ? skipUnless("cc") : test.skip;

  whereFaulty("loses the page, is told by the window, and a later write brings it back", () => {
    const found = runFaulty((holdfast, _fs, storage, errno: number) => {
      const page = 4096;
      const volume = holdfast.mountRamSync({ size: 16 << 20 });
      const file = volume.openSync("/file", "w+");
      file.truncateSync(4 * page);
      const window = file.map({ sync: true });
      storage.failAt(0, errno, true);
      window.bytes[page] = 65;
      const read = new Uint8Array(1);
      file.readSync(read, page);
      const atFirst = { lost: window.lost, read: read[0] };
      storage.failAt(-1, 0, false);
      file.writeSync(Buffer.alloc(page, "W"), page);
      const before = storage.persists();
      window.bytes[page] = 66;
      const flushes = storage.persists() - before;
      window.persist(page, page);
      file.readSync(read, page);
      volume.closeSync();
      return { atFirst, flushes, read: read[0] };
    }, EIO);
    expect(found.atFirst).toEqual({ lost: { offset: PAGE, length: PAGE, pages: 1 }, read: 0 });
    expect(found.read).toBe(66);
    expect(found.flushes).toBe(2);
  });
});
