// Random programs, run through node:fs on an image that the kernel's own driver has mounted and on one like it that
// Holdfast has: every call has the same answer or the same error, and after each batch the trees are the same, byte by
// byte and fact by fact; what was seen through the mount is what the kernel finds on the image, and e2fsck finds nothing.
// HOLDFAST_MOUNT_DIFFERENTIAL: programs for each kind of volume.

import { copyFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect } from "vitest";
import { type Batch, onKernel, OWN, runBatch, withoutNow } from "../interop/batches.ts";
import {
  attributeStep,
  fallocateStep,
  type Filesystem,
  onNode,
  populating,
  type Step,
  steps,
} from "../interop/calls.ts";
import { Handed, needs as interopNeeds } from "../interop/handed.ts";
import { differences, kernelPlace, type Seen, treeOf } from "../interop/trees.ts";
import { mkfsExt4, skipUnless, temporaryDirectory } from "../support/tools.ts";
import { endTurn } from "../support/turns.ts";
import { Mounted, needs } from "./mounted.ts";

const PROGRAMS = Number(process.env["HOLDFAST_MOUNT_DIFFERENTIAL"] ?? 6);
const VOLUME_BYTES = 64 * 2 ** 20;

/** The kernel's own part refuses collapse-range and insert-range before a filesystem in a process is asked. */
const asked = fallocateStep.filter(({ text }) => !/collapse|insert/.test(text));
const batch = fc.array(fc.oneof(...steps, asked, asked, asked, attributeStep(), attributeStep()), {
  minLength: 1,
  maxLength: 100,
  size: "max",
});
const program = fc.array(batch, { minLength: 1, maxLength: 4, size: "max" });

describe.each([
  ["ext4", 4096, []],
  ["ext4", 1024, []],
  ["ext2", 4096, []],
  ["ext4", 4096, ["-o", "dax=never"]],
  ["ext4", 4096, ["-o", "writeback"]],
] as const)("%s, blocks of %i bytes, mounted with %j", (type, blockSize, options) => {
  skipUnless(...needs, ...interopNeeds)(
    "random programs answer as they do on the kernel's own mount, and leave the same tree",
    { timeout: 3_600_000 },
    async () => {
      using scratch = temporaryDirectory();
      const base = scratch.file("base");
      mkfsExt4(base, VOLUME_BYTES, ["-t", type, "-b", `${blockSize}`, "-N", "1024"]);
      const tally = { programs: 0, operations: 0, errors: 0 };
      const check = async (batches: readonly (readonly Step[])[]): Promise<void> => {
        await endTurn();
        using kernel = new Handed();
        using ours = new Mounted(VOLUME_BYTES);
        copyFileSync(base, kernel.image);
        copyFileSync(base, ours.image);
        const all = [populating, ...batches];
        const run = (on: Filesystem, root: string): Batch[] =>
          all.map((batch) => runBatch(on, kernelPlace(root), batch));
        const expected = kernel.toKernel("the kernel's batches", (root) =>
          run(onKernel(root), root),
        );
        const actual = ours.with((root) => run(onNode(root), root), ...options);
        for (const [index, { answers, tree }] of actual.entries()) {
          expect(answers).toEqual(expected[index]!.answers);
          expect(differences(expected[index]!.tree, tree, OWN)).toEqual([]);
          tally.operations += answers.length;
          tally.errors += answers.filter(([, answer]) => "code" in answer).length;
        }
        copyFileSync(ours.image, kernel.image);
        const left = kernel.toKernel("reading", (root) => treeOf(kernelPlace(root)), true);
        const seen = withoutNow(left, actual.at(-1)!.begin);
        // What the kernel has collected it writes when it likes, and the volume sets its own time of change then.
        const late: readonly (keyof Seen)[] = options.includes("writeback" as never)
          ? ["atime", "ctime"]
          : ["atime"];
        expect(differences(actual.at(-1)!.tree, seen, late)).toEqual([]);
        tally.programs++;
      };
      await fc.assert(fc.asyncProperty(program, check), {
        numRuns: PROGRAMS,
        // Programs that fail are made shorter no longer than this.
        interruptAfterTimeLimit: 60_000 + PROGRAMS * 10_000,
      });
      process.stdout.write(
        `${type}, ${blockSize}, ${options.join(" ")}: ${JSON.stringify(tally)}\n`,
      );
    },
  );
});
