// A volume that is given another size, as threads that look at it meanwhile know it.

import { truncateSync } from "node:fs";
import { expect, test } from "vitest";
import type { ExtDriver } from "../../../src/drivers/ext/driver.ts";
import { ExtGrowth } from "../../../src/drivers/ext/resize/growth.ts";
import { createVolumeSize, VolumeSize } from "../../../src/drivers/ext/resize/volume-size.ts";
import { findZones } from "../../../src/drivers/ext/space/zones.ts";
import { ExtVolume } from "../../../src/drivers/ext/volume.ts";
import { mkfsExt4, temporaryDirectory } from "../../support/tools.ts";
import { type DirectoryImage, useImage } from "./directory-image.ts";

const MIB = 2 ** 20;

/** The volume of an image as another thread of it has it. */
function seenByAnother({ volume, thread }: DirectoryImage): ExtVolume {
  const other = new ExtVolume(volume.facts, volume.cache, volume.device);
  other.size = new VolumeSize(thread);
  return other;
}

/** Has the image's volume grow. */
function makeGrowable(image: DirectoryImage): ExtDriver["growth"] {
  const { bytes, volume, thread } = image;
  createVolumeSize(thread);
  volume.size = new VolumeSize(thread);
  volume.storage = {
    reserve: () => {},
    clear: (at, length) => bytes.fill(0, at, at + length),
    copyOut: (at, target) => target.set(bytes.subarray(at, at + target.length)),
    release: () => {},
  };
  return new ExtGrowth(volume);
}

// A thread could take the size of a step that was then undone for the volume's, and so where that step's groups would have
// had their own structures. It knew these places still when the groups had been made elsewhere.
test("a step of a growth is seen when it is committed, and not when it is undone", () => {
  using directory = temporaryDirectory();
  const path = directory.file("volume.img");
  mkfsExt4(path, 16 * MIB, ["-b", "1024"]);
  truncateSync(path, 128 * MIB);
  useImage(path, (image) => {
    const growth = makeGrowable(image);
    const other = seenByAnother(image);
    {
      using run = growth.begin(32 * MIB);
      // The last group gets its last block; then come groups.
      const size = image.change((transaction) => {
        const step = run.prepare()!;
        run.apply(transaction, step);
        return step.size;
      });
      expect(other.facts.blocks * 1024).toBe(size);
      const undone = (): unknown =>
        image.change((transaction) => {
          run.apply(transaction, run.prepare()!);
          expect(other.isOwnable(size / 1024, 1)).toBe(false);
          expect(other.facts.blocks * 1024).toBe(size);
          throw new Error("the step fails");
        });
      expect(undone).toThrow("the step fails");
      expect(growth.size).toBe(size);
    }
    using run = growth.begin(128 * MIB);
    for (let step = run.prepare(); step !== null; step = run.prepare()) {
      const { size } = step;
      image.change((transaction) => run.apply(transaction, step!));
      expect(other.facts.blocks * 1024).toBe(size);
      expect(other.zones).toEqual(findZones(image.volume));
    }
    expect(growth.size).toBe(128 * MIB);
    while (image.change(() => run.copy()));
  });
});
