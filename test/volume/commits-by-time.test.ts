// What was changed becomes durable by and by, without being asked: seen in copies of the image, which have what a crash
// would leave.

import { copyFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { mountSync, type Volume } from "../../src/index.ts";
import { mkfsExt4, temporaryDirectory } from "../support/tools.ts";
import { startRunner } from "./threads.ts";

const PERIOD = 1;

/** The names that a crash now would leave. */
function namesLeft(image: string): string[] {
  const copy = `${image}.copy`;
  copyFileSync(image, copy);
  const volume = mountSync(copy, { commitSeconds: 0 });
  try {
    return volume.readdirSync("/").filter((name) => name !== "lost+found");
  } finally {
    volume.closeSync();
  }
}

async function withVolume(
  type: string,
  commitSeconds: number,
  work: (volume: Volume, image: string) => void | Promise<void>,
): Promise<void> {
  using directory = temporaryDirectory();
  const image = directory.file("image");
  mkfsExt4(image, 16 * 2 ** 20, ["-t", type]);
  const volume = mountSync(image, { commitSeconds });
  try {
    await work(volume, image);
  } finally {
    volume.closeSync();
  }
}

/** Has the thread do nothing else but this for so long. */
function keepBusy(seconds: number, work: () => void): void {
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) work();
}

describe.each(["ext2", "ext4"])("%s", (type) => {
  test("while the event loop turns", async () => {
    await withVolume(type, PERIOD, async (volume, image) => {
      volume.mkdirSync("/new");
      expect(namesLeft(image)).toEqual([]);
      for (let tries = 0; tries < 20 && namesLeft(image).length === 0; tries++) await sleep(500);
      expect(namesLeft(image)).toEqual(["new"]);
    });
  });

  test("by blocking operations of the thread that mounted it", async () => {
    await withVolume(type, PERIOD, (volume, image) => {
      volume.mkdirSync("/new");
      keepBusy(3 * PERIOD, () => volume.statSync("/new"));
      expect(namesLeft(image)).toEqual(["new"]);
    });
  });

  test("by those of another thread, while that one is blocked", async () => {
    await withVolume(type, PERIOD, async (volume, image) => {
      const done = new Int32Array(new SharedArrayBuffer(4));
      const runner = await startRunner(volume.share());
      const worked = runner.run((attached, _kept, flag: Int32Array) => {
        attached.mkdirSync("/new");
        const end = performance.now() + 3000;
        while (performance.now() < end) attached.statSync("/new");
        Atomics.store(flag, 0, 1);
        Atomics.notify(flag, 0);
      }, done);
      Atomics.wait(done, 0, 0, 20_000);
      expect(namesLeft(image)).toEqual(["new"]);
      await worked;
      await runner.terminate();
    });
  });

  test("not where it is not wanted", async () => {
    await withVolume(type, 0, async (volume, image) => {
      volume.mkdirSync("/new");
      keepBusy(3 * PERIOD, () => volume.statSync("/new"));
      await sleep(100);
      expect(namesLeft(image)).toEqual([]);
      volume.syncSync();
      expect(namesLeft(image)).toEqual(["new"]);
    });
  });
});
