// Changes of names and attributes on storage that fails at each call in turn, once or from then on, and on media that
// cannot be written at all.

import { readFileSync } from "node:fs";
import { describe, expect } from "vitest";
import { mountSync } from "../../src/index.ts";
import { type FaultyStorage, runFaulty } from "../support/faulty-storage.ts";
import { mkfsExt4, run, runOk, skipUnless, temporaryDirectory } from "../support/tools.ts";

const EIO = 5;

interface Outcome {
  /** What each step ended with: "ok", or the error's code. */
  readonly steps: readonly string[];
  readonly failed: boolean;
  /** What the volume held at the start and after each operation, and the last of these that is durable. */
  readonly states: readonly string[];
  readonly durable: number;
  /** What it holds when it is mounted again, by the mount alone, and after `e2fsck -fy`. */
  readonly recovered: string;
  readonly repaired: string;
  /** The exit code of the `e2fsck -fn` after that, and of the one that repairs. */
  readonly check: number | null;
  readonly repair: number | null;
}

/**
 * Operations, each followed by a sync, on copies of `image`: of each the n-th call to the storage fails, until none
 * does.
 */
function useMetadata(
  holdfast: typeof import("../../src/index.ts"),
  fs: typeof import("node:fs"),
  { failAt }: FaultyStorage,
  image: string,
  errno: number,
  forGood: boolean,
): Outcome[] {
  const { spawnSync } = process.getBuiltinModule("node:child_process");
  type Volume = InstanceType<typeof holdfast.Volume>;
  const changes: readonly ((volume: Volume) => unknown)[] = [
    (volume) => volume.mkdirSync("/directory"),
    (volume) => volume.openSync("/directory/file", "wx").closeSync(),
    (volume) => volume.truncateSync("/directory/file", 20_000),
    (volume) => volume.linkSync("/directory/file", "/linked"),
    (volume) => volume.symlinkSync("t".repeat(100), "/directory/symlink"),
    (volume) => volume.chmodSync("/linked", 0o640),
    (volume) => volume.chownSync("/linked", 12, 34),
    (volume) => volume.utimesSync("/linked", 1, 2),
    (volume) => volume.setxattrSync("/linked", "user.long", Buffer.alloc(700, 1)),
    (volume) => volume.removexattrSync("/linked", "user.long"),
    (volume) => volume.mknodSync("/directory/fifo", "fifo"),
    (volume) => volume.renameSync("/linked", "/directory/file2"),
    (volume) => volume.renameSync("/directory", "/renamed"),
    (volume) => volume.unlinkSync("/renamed/file"),
    (volume) => volume.unlinkSync("/renamed/file2"),
    (volume) => volume.mkdirSync("/empty"),
    (volume) => volume.rmdirSync("/empty"),
  ];
  const stateOf = (volume: Volume): string => {
    const seen: string[] = [];
    const visit = (path: string): void => {
      const stats = volume.lstatSync(path === "" ? "/" : path);
      const { mode, nlink, uid, gid } = stats;
      const size = stats.isDirectory() ? 0 : stats.size;
      const names = volume.listxattrSync(path === "" ? "/" : path, { followSymlinks: false });
      seen.push(`${path} ${mode} ${nlink} ${uid} ${gid} ${size} ${names}`);
      if (!stats.isDirectory()) return;
      for (const name of volume.readdirSync(path === "" ? "/" : path).sort())
        visit(`${path}/${name}`);
    };
    visit("");
    return seen.join("\n");
  };
  const stateIn = (path: string): string => {
    const volume = holdfast.mountSync(path, { readOnly: true, regionBytes: 2 ** 26 });
    const state = stateOf(volume);
    volume.closeSync();
    return state;
  };
  const use = (call: number): Outcome => {
    const copy = `${image}-copy`;
    fs.copyFileSync(image, copy);
    const volume = holdfast.mountSync(copy, { regionBytes: 2 ** 26 });
    const steps: string[] = [];
    const attempt = (what: string, step: () => unknown): boolean => {
      try {
        step();
        steps.push(`${what} ok`);
        return true;
      } catch (error) {
        const { code } = error as Error & { code?: string };
        if (code === undefined) throw error;
        steps.push(`${what} ${code}`);
        return false;
      }
    };
    const states = [stateOf(volume)];
    let durable = 0;
    failAt(call, errno, forGood);
    for (const [index, change] of changes.entries()) {
      if (!attempt(`change ${index}`, () => change(volume))) continue;
      states.push(stateOf(volume));
      if (attempt(`sync ${index}`, () => volume.syncSync())) durable = states.length - 1;
    }
    const isUnmounted = attempt("unmount", () => volume.closeSync());
    const failed = steps.some((step) => !step.endsWith(" ok"));
    failAt(-1, 0, false);
    if (!volume.closed) attempt("unmount again", () => volume.closeSync());
    if (isUnmounted && !volume.closed) throw new Error("it is unmounted and not closed");
    const recovered = stateIn(copy);
    const repair = spawnSync("e2fsck", ["-fy", copy]).status;
    const repaired = stateIn(copy);
    const check = spawnSync("e2fsck", ["-fn", copy]).status;
    return { steps, failed, states, durable, recovered, repaired, check, repair };
  };
  const outcomes: Outcome[] = [];
  do outcomes.push(use(outcomes.length));
  while (outcomes.at(-1)!.failed && outcomes.length < 300);
  return outcomes;
}

describe.each([
  { args: ["-b", "1024"], hasJournal: true },
  { args: ["-b", "2048", "-t", "ext2"], hasJournal: false },
])("metadata of a volume made with $args", ({ args, hasJournal }) => {
  skipUnless("cc", "mkfs.ext4", "e2fsck").each([
    ["once", false],
    ["from then on", true],
  ])(
    "is as after one of the operations when the storage fails at any call, %s",
    (_when, forGood) => {
      using directory = temporaryDirectory();
      const image = directory.file("image");
      mkfsExt4(image, 12 << 20, ["-N", "128", ...args]);
      const outcomes = runFaulty(useMetadata, image, EIO, forGood);
      for (const [call, outcome] of outcomes.entries()) {
        const { steps, states, durable, recovered, repaired, check, repair } = outcome;
        const told = `call ${call}: ${steps.filter((step) => !step.endsWith(" ok")).join(", ")}`;
        const allowed = states.slice(durable);
        expect({ told, known: allowed.includes(recovered) }).toEqual({ told, known: true });
        expect({ told, repaired }).toEqual({ told, repaired: recovered });
        expect({ told, check }).toEqual({ told, check: 0 });
        expect(repair).toBeLessThan(2);
        const first = steps.findIndex((step) => !step.endsWith(" ok"));
        if (first >= 0) expect(steps[first]).toMatch(/ EIO$/);
        // A journal that met an error is given up: nothing changes any more. Without one what has failed is tried again.
        if (hasJournal && first >= 0) {
          const isOfChange = (step: string): boolean => step.startsWith("change");
          const later = steps
            .slice(first)
            .filter((step) => isOfChange(step) && step.endsWith(" ok"));
          expect({ told, later }).toEqual({ told, later: [] });
        }
        if (!hasJournal) expect(recovered).toBe(states.at(-1));
      }
      expect(outcomes.length).toBeGreaterThan(30);
      expect(outcomes.at(-1)!.failed).toBe(false);
    },
  );
});

describe("media that cannot be written", () => {
  skipUnless(
    "root",
    "mount",
    "losetup",
    "mkfs.ext4",
  )("are refused with EROFS or EACCES, naming the way out, and are read", () => {
    using host = temporaryDirectory();
    runOk("mount", ["-t", "tmpfs", "-o", "size=16M", "tmpfs", host.path]);
    let loop = "";
    try {
      const image = host.file("image");
      mkfsExt4(image, 8 << 20);
      const first = mountSync(image, { regionBytes: 2 ** 26 });
      first.writeFileSync("/file", "kept");
      first.closeSync();
      const before = readFileSync(image);
      runOk("mount", ["-o", "remount,ro", host.path]);
      loop = runOk("losetup", ["-r", "-f", "--show", image]).trim();
      for (const path of [image, loop]) {
        expect(() => mountSync(path)).toThrow(/^(EROFS|EACCES): .* open it read-only/);
        const volume = mountSync(path, { readOnly: true, regionBytes: 2 ** 26 });
        expect(volume.readFileSync("/file", "utf8")).toBe("kept");
        const refused = (change: () => unknown): void =>
          expect(change).toThrow(expect.objectContaining({ code: "EROFS" }));
        refused(() => volume.writeFileSync("/file", "changed"));
        refused(() => volume.mkdirSync("/directory"));
        refused(() => volume.unlinkSync("/file"));
        refused(() => volume.renameSync("/file", "/other"));
        refused(() => volume.linkSync("/file", "/other"));
        refused(() => volume.symlinkSync("/file", "/other"));
        refused(() => volume.chmodSync("/file", 0o600));
        refused(() => volume.chownSync("/file", 1, 1));
        refused(() => volume.utimesSync("/file", 1, 1));
        refused(() => volume.truncateSync("/file", 1));
        refused(() => volume.setxattrSync("/file", "user.a", "a"));
        refused(() => volume.removexattrSync("/file", "user.a"));
        volume.syncSync();
        volume.closeSync();
      }
      expect(readFileSync(image).equals(before)).toBe(true);
    } finally {
      if (loop !== "") run("losetup", ["-d", loop]);
      runOk("umount", [host.path]);
    }
  });
});
