// One suite, every driver, and the real node:fs as oracle: random programs of operations on names and
// contents must give the same answers and errors, and leave the same tree.

import * as fs from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Stats } from "../../src/index.ts";
import {
  facts,
  type Filesystem,
  onNode,
  onVolume,
  onVolumeAsync,
  outcome,
  prefixed,
  steps,
} from "../interop/calls.ts";
import { temporaryDirectory } from "../support/tools.ts";
import { blockPointerKinds, volumeKinds } from "./volumes.ts";

type Subject = {
  statSync(path: string): fs.Stats | Stats;
  lstatSync(path: string): fs.Stats | Stats;
};

/** Every name below the root, with what is there. */
function tree(root: Subject & Pick<Filesystem, "readdir" | "readlink" | "read">): unknown {
  const visit = (path: string): unknown => {
    const stats = root.lstatSync(path);
    const shape = facts(stats);
    if (stats.isSymbolicLink()) return { shape, target: root.readlink(path) };
    if (stats.isFile()) return { shape, content: root.read(path, 0, stats.size) };
    const names = root.readdir(path) as [string, boolean, boolean][];
    return {
      shape,
      entries: names
        .filter(([name]) => name !== "lost+found")
        .map(([name]) => [name, visit(path === "" ? name : `${path}/${name}`)]),
    };
  };
  const { entries } = visit("") as { entries: unknown };
  return entries;
}

const program = fc.array(fc.tuple(fc.oneof(...steps), fc.boolean()), {
  minLength: 20,
  maxLength: 120,
  size: "max",
});

describe.each([...volumeKinds, ...blockPointerKinds])("$name", (kind) => {
  test("a random program answers as node:fs does, and leaves the same tree", async () => {
    let made = kind.make();
    // Programs run one after another on the same volume, each in a directory of its own.
    let run = 0;
    await fc.assert(
      fc.asyncProperty(program, async (taken) => {
        using oracle = temporaryDirectory();
        // A program that failed, tried again in a shorter form, may have cost the volume.
        if (made.volume.closed || made.volume.readOnly) made = kind.make();
        const root = `run${run++}`;
        made.volume.mkdirSync(root, { mode: 0o777 });
        made.volume.chmodSync(root, 0o700);
        const below = (on: Filesystem): Filesystem => prefixed(on, root);
        const node = onNode(oracle.path);
        for (const [each, asynchronous] of taken) {
          const volume = below((asynchronous ? onVolumeAsync : onVolume)(made.volume));
          expect(await outcome(each, volume)).toEqual(await outcome(each, node));
        }
        const expected = tree({
          ...node,
          statSync: (path) => fs.statSync(join(oracle.path, path)),
          lstatSync: (path) => fs.lstatSync(join(oracle.path, path)),
        });
        const seen = (): unknown =>
          tree({
            ...below(onVolume(made.volume)),
            statSync: (path) => made.volume.statSync(`${root}/${path}`),
            lstatSync: (path) => made.volume.lstatSync(`${root}/${path}`),
          });
        expect(seen()).toEqual(expected);
        made.remount();
        expect(seen()).toEqual(expected);
      }),
      { numRuns: Number(process.env["HOLDFAST_RUNS"] ?? 40), endOnFailure: false },
    );
    expect(made.volume.statistics().pinsHeld).toBe(0);
    expect(made.closeAndCheck()).toBe("");
    made[Symbol.dispose]();
  });
});
