// Who gives a file's room to grow back: whoever closes it last, cuts it or unlinks it; and when a thread dies, whoever
// gives back what it held.

import { expect } from "vitest";
import { GrowthRooms } from "../../src/drivers/ext/index.ts";
import type { Volume } from "../../src/index.ts";
import { assembleAttached } from "../../src/volume/assemble.ts";
import { runOk, skipUnless } from "../support/tools.ts";
import { startRunner } from "./threads.ts";
import { ext4 } from "./volumes.ts";

const PAGE = new Uint8Array(4096).fill(1);

const test = skipUnless("mkfs.ext4");

test("the last close of a file gives its room back, and so do a cut to nothing and the last unlink", () => {
  using made = ext4.make();
  const { volume } = made;
  const { core } = assembleAttached(volume.share());
  const rooms = new GrowthRooms(core.thread, 4096);
  const kept = () => rooms.survey(0);

  const file = volume.openSync("/file", "w");
  expect(kept()).toBe(0);
  file.writeSync(PAGE, 0);
  expect(kept()).toBeGreaterThan(0);
  const again = volume.openSync("/file", "r");
  file.closeSync();
  expect(kept()).toBeGreaterThan(0);
  again.closeSync();
  expect(kept()).toBe(0);

  const other = volume.openSync("/file", "r+");
  other.writeSync(PAGE, 4096);
  expect(kept()).toBeGreaterThan(0);
  other.truncateSync(0);
  expect(kept()).toBe(0);
  other.writeSync(PAGE, 0);
  volume.unlinkSync("/file");
  expect(kept()).toBeGreaterThan(0);
  other.closeSync();
  expect(kept()).toBe(0);

  volume.writeFileSync("/whole", "x".repeat(100_000));
  volume.mkdirSync("/directory");
  volume.symlinkSync("x".repeat(100), "/link");
  expect(kept()).toBe(0);
  core.thread.leave();
  expect(made.closeAndCheck()).toBe("");
});

test("the room of files that only a thread had open which was terminated goes with what it held", async () => {
  using made = ext4.make();
  const { volume } = made;
  const { core } = assembleAttached(volume.share());
  const rooms = new GrowthRooms(core.thread, 4096);
  const shared = volume.openSync("/shared", "w");
  await using runner = await startRunner(volume.share());
  await runner.run((fs, kept) => {
    kept["open"] = [];
    for (const path of ["/one", "/two", "/shared"]) {
      const file = fs.openSync(path, "a");
      for (let block = 0; block < 3; block++) file.writeSync(new Uint8Array(4096), block * 4096);
      kept["open"].push(file);
    }
  });
  const each = rooms.survey(0) / 3;
  expect(each).toBeGreaterThan(0);
  await runner.terminate();
  core.thread.reap();
  expect(rooms.survey(0)).toBe(each);
  shared.closeSync();
  expect(rooms.survey(0)).toBe(0);

  // All that is free can be had.
  const file = volume.openSync("/rest", "w");
  const { bavail } = volume.statfsSync();
  file.fallocateSync("allocate", 0, (bavail - 8) * 4096);
  file.closeSync();
  core.thread.leave();
  expect(made.closeAndCheck()).toBe("");
});

test("threads that append to files side by side keep them in few pieces", async () => {
  using made = ext4.make(256 * 2 ** 20);
  const { volume } = made;
  const blocks = 1024;
  {
    await using one = await startRunner(volume.share());
    await using two = await startRunner(volume.share());
    const append = (fs: Volume, _kept: object, path: string, count: number) => {
      const file = fs.openSync(path, "w");
      for (let block = 0; block < count; block++)
        file.writeSync(new Uint8Array(4096), block * 4096);
      file.closeSync();
    };
    await Promise.all([one.run(append, "/one", blocks), two.run(append, "/two", blocks)]);
  }
  expect(made.closeAndCheck()).toBe("");
  for (const path of ["/one", "/two"]) {
    const told = runOk("debugfs", ["-R", `stat ${path}`, made.image!]);
    const pieces = [...told.matchAll(/\(\d+(?:-\d+)?\):\d+(?:-\d+)?/g)];
    expect(pieces.length).toBeGreaterThan(0);
    expect(pieces.length).toBeLessThan(12);
  }
});
