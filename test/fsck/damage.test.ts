// Damaged images, the same as those that the driver is tried on: our check and e2fsck -fn agree on each whether
// it is clean, but for stated differences. Whatever the bytes, the check ends and throws nothing.
//
// HOLDFAST_FSCK_COUNT: images of each shape.

import { closeSync, copyFileSync, openSync, readFileSync, writeSync } from "node:fs";
import { describe, expect } from "vitest";
import { type ImageShape, makeFilledImage } from "../damage/filled-image.ts";
import { type Damaged, damagedImages } from "../damage/mutations.ts";
import { findPlaces } from "../damage/places.ts";
import { skipUnless, temporaryDirectory } from "../support/tools.ts";
import { differencesMet, disagreement } from "./agreement.ts";
import { referee } from "./referee.ts";
import { SEED } from "../support/random.ts";

const COUNT = Number(process.env["HOLDFAST_FSCK_COUNT"] ?? 250);

const SHAPES: readonly ImageShape[] = [
  ...([1024, 2048, 4096] as const).flatMap((blockSize) =>
    [true, false].map((checksums) => ({ type: "ext4", blockSize, checksums }) as const),
  ),
  { type: "ext2", blockSize: 1024, checksums: false },
  { type: "ext3", blockSize: 4096, checksums: false },
];

describe.each(SHAPES)("$type, blocks of $blockSize bytes, checksums $checksums", (shape) => {
  skipUnless("mkfs.ext4", "debugfs", "e2fsck")(
    "each damaged image is clean to both or to neither",
    () => {
      using directory = temporaryDirectory();
      const [base, image] = [directory.file("base"), directory.file("image")];
      makeFilledImage(base, shape);
      const bytes = readFileSync(base);
      copyFileSync(base, image);
      expect(referee(image)).toMatchObject({ ours: "clean", theirs: "clean" });
      const verdicts = new Map<string, number>();
      const differences = new Map<string, number>();
      const wrong: string[] = [];
      const file = openSync(image, "r+");
      const put = (
        { patches }: Damaged,
        from: (patch: Damaged["patches"][number]) => Uint8Array,
      ) => {
        for (const patch of patches)
          writeSync(file, from(patch), 0, patch.bytes.length, patch.byte);
      };
      for (const damaged of damagedImages(bytes, findPlaces(bytes), COUNT, SEED * 1_000_000)) {
        put(damaged, (patch) => patch.bytes);
        const refereed = referee(image);
        const verdict = `ours ${refereed.ours}, e2fsck ${refereed.theirs}`;
        verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
        const problem = disagreement(refereed, differences);
        if (problem !== null) wrong.push(`#${damaged.number} ${damaged.story}\n${problem}`);
        put(damaged, ({ byte, bytes: { length } }) => bytes.subarray(byte, byte + length));
      }
      closeSync(file);
      process.stdout.write(
        `${COUNT} damaged images of ${shape.type}, blocks of ${shape.blockSize} bytes, checksums ${shape.checksums}: ` +
          `${[...verdicts].map(([verdict, count]) => `${count} ${verdict}`).join("; ")}\n` +
          differencesMet(differences),
      );
      expect(wrong.join("\n\n")).toBe("");
    },
    600_000,
  );
});
