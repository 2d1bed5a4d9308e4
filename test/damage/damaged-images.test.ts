// Damaged images: bytes changed in every kind of metadata of ext volumes, with checksums and without.
// Whatever the damage, the answer is the right data or an error that names it: never a hang, a crash, a
// broken invariant, another file's data, or a changed image where the mount was refused.
//
// HOLDFAST_DAMAGE_COUNT: images of each shape.

import { readFileSync } from "node:fs";
import { describe, expect } from "vitest";
import { skipUnless, temporaryDirectory } from "../support/tools.ts";
import { type ImageShape, makeFilledImage } from "./filled-image.ts";
import { type InspectionReport, inspectAll } from "./inspection.ts";
import { type Damaged, damagedImages } from "./mutations.ts";
import { findPlaces } from "./places.ts";
import { SEED } from "../support/random.ts";

const COUNT = Number(process.env["HOLDFAST_DAMAGE_COUNT"] ?? 350);

const SHAPES: readonly ImageShape[] = [
  ...([1024, 2048, 4096] as const).flatMap((blockSize) =>
    [true, false].map((checksums) => ({ type: "ext4", blockSize, checksums }) as const),
  ),
  { type: "ext4", blockSize: 1024, checksums: true, inInodes: true },
  { type: "ext4", blockSize: 4096, checksums: false, inInodes: true },
  { type: "ext2", blockSize: 1024, checksums: false },
  { type: "ext3", blockSize: 4096, checksums: false },
];

function outcomeOf({ refused, reading, changing }: InspectionReport): string {
  const codes = Object.keys(reading).sort().join("+");
  if (refused) return `mount refused with ${codes}`;
  if (codes !== "") return `read with ${codes}`;
  return "EUCLEAN" in changing ? "right data, changes refused with EUCLEAN" : "right data";
}

/** What came out, one line for each kind of metadata. */
function summary(damaged: readonly Damaged[], reports: readonly InspectionReport[]): string {
  const lines = new Map<string, Map<string, number>>();
  for (const report of reports) {
    const { kind } = damaged[report.number] as Damaged;
    const counts = lines.get(kind) ?? new Map<string, number>();
    lines.set(kind, counts);
    const outcome = outcomeOf(report);
    counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  }
  return [...lines]
    .map(([kind, counts]) => {
      const sorted = [...counts].sort(([, a], [, b]) => b - a);
      return `  ${kind}: ${sorted.map(([outcome, count]) => `${count} ${outcome}`).join("; ")}`;
    })
    .join("\n");
}

const nameOf = ({ type, blockSize, checksums, inInodes }: ImageShape): string =>
  `${type}, blocks of ${blockSize} bytes, ${checksums ? "with" : "without"} checksums` +
  `${inInodes === true ? ", content in inodes" : ""}`;

describe.each(SHAPES.map((shape) => [nameOf(shape), shape] as const))("%s", (name, shape) => {
  skipUnless("mkfs.ext4", "debugfs", "e2fsck")(
    "damage gives the right data or an error that names it",
    async () => {
      using directory = temporaryDirectory();
      const image = directory.file("image");
      makeFilledImage(image, shape);
      const bytes = readFileSync(image);
      const damaged = damagedImages(bytes, findPlaces(bytes), COUNT, SEED * 1_000_000);
      const reports = await inspectAll(image, shape, damaged, directory.file);
      process.stdout.write(`${COUNT} damaged images of ${name}:\n${summary(damaged, reports)}\n`);
      const wrong = reports
        .filter(({ problems }) => problems.length > 0)
        .map(
          ({ number, problems }) => `#${number} ${damaged[number]?.story}\n${problems.join("\n")}`,
        );
      expect(reports.length).toBe(COUNT);
      expect(wrong.join("\n\n")).toBe("");
    },
    600_000,
  );
});
