import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect } from "vitest";
import { mountSync } from "../../src/index.ts";
import { type FaultyStorage, runFaulty } from "../support/faulty-storage.ts";
import {
  e2fsckClean,
  mkfsExt4,
  run,
  runOk,
  skipUnless,
  temporaryDirectory,
} from "../support/tools.ts";

const EIO = 5;
const ENXIO = 6;
const ENODEV = 19;

interface Outcome {
  /** What each step ended with: "ok", or the error's code and whether the device is gone. */
  readonly steps: readonly string[];
  readonly failed: boolean;
}

/**
 * Writes, syncs and closes while a call fails, and tries once more whatever fails; for the first call,
 * then the second, until none fails. On ram, or on copies of `image`: `image` with the call's number.
 */
function useVolumes(
  holdfast: typeof import("../../src/index.ts"),
  fs: typeof import("node:fs"),
  { failAt }: FaultyStorage,
  image: string | null,
  errno: number,
): Outcome[] {
  const mounted = (call: number) => {
    if (image === null) return holdfast.mountRamSync({ size: 16 << 20 });
    fs.copyFileSync(image, `${image}${call}`);
    return holdfast.mountSync(`${image}${call}`);
  };
  const use = (call: number): Outcome => {
    const volume = mounted(call);
    const steps: string[] = [];
    const attempt = (what: string, step: () => void): boolean => {
      try {
        step();
        steps.push(`${what} ok`);
        return true;
      } catch (error) {
        const { code, message } = error as Error & { code: string };
        steps.push(`${what} ${code}${message.includes("the device was removed") ? " gone" : ""}`);
        return false;
      }
    };
    const tried = (what: string, step: () => void) => attempt(what, step) || attempt(what, step);
    const file = volume.openSync("/file", "wx+");
    failAt(call, errno, false);
    tried("write", () => file.writeSync(Buffer.alloc(3 * 4096, "A"), 0));
    tried("fsync", () => file.syncSync());
    tried("store", () => {
      const view = file.map({ length: 3 * 4096 });
      view.bytes.fill(66, 4096, 2 * 4096);
      view.close();
    });
    tried("fsync", () => file.syncSync());
    tried("sync", () => volume.syncSync());
    attempt("close file", () => file.closeSync());
    tried("unmount", () => volume.closeSync());
    if (!volume.closed) steps.push("is still mounted");
    return { steps, failed: steps.some((step) => !step.endsWith(" ok")) };
  };
  const outcomes: Outcome[] = [];
  do outcomes.push(use(outcomes.length));
  while (outcomes.at(-1)!.failed && outcomes.length < 100);
  failAt(-1, 0, false);
  return outcomes;
}

const isGone = (step: string): boolean => step.endsWith(" EIO gone");
const isOk = (step: string): boolean => step.endsWith(" ok");

/** Steps from the first on that found the device removed: all fail but for giving back what is open. */
function expectGone({ steps, failed }: Outcome): readonly string[] {
  const first = steps.findIndex(isGone);
  const rest = first < 0 ? [] : steps.slice(first);
  expect(failed).toBe(first >= 0);
  for (const step of rest)
    if (!["close file ok", "unmount ok"].includes(step)) expect(isGone(step)).toBe(true);
  expect(steps).not.toContain("is still mounted");
  return rest;
}

describe("storage that does not persist", () => {
  skipUnless("cc")("is told by EIO, on ram, and the next try succeeds", () => {
    const outcomes = runFaulty(useVolumes, null, EIO);
    expect(outcomes.length).toBeGreaterThan(3);
    for (const { steps, failed } of outcomes) {
      expect(steps.filter((step) => !isOk(step))).toHaveLength(failed ? 1 : 0);
      expect(steps.some(isGone)).toBe(false);
    }
  });

  skipUnless("cc", "mkfs.ext4")("without a journal, is told by EIO, and nothing is lost", () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    mkfsExt4(image, 16 << 20, ["-b", "4096", "-O", "^has_journal"]);
    const outcomes = runFaulty(useVolumes, image, EIO);
    expect(outcomes.length).toBeGreaterThan(3);
    for (const [call, { steps, failed }] of outcomes.entries()) {
      expect(steps.filter((step) => !isOk(step))).toHaveLength(failed ? 1 : 0);
      expect(e2fsckClean(`${image}${call}`)).toMatchObject({ clean: true });
      const volume = mountSync(`${image}${call}`, { readOnly: true });
      expect([...volume.readFileSync("/file").subarray(4095, 4097)]).toEqual([65, 66]);
      volume.closeSync();
    }
  });

  skipUnless("cc", "mkfs.ext4")(
    "ends the journal's use, and what fsync returned for is there",
    () => {
      using directory = temporaryDirectory();
      const image = directory.file("image");
      mkfsExt4(image, 16 << 20, ["-b", "4096"]);
      let aborted = 0;
      for (const [call, { steps, failed }] of runFaulty(useVolumes, image, EIO).entries()) {
        expect(steps.at(-1)).toBe("unmount ok");
        const [first, ...rest] = steps.filter((step) => !isOk(step));
        expect(first === undefined || / EIO$/.test(first)).toBe(true);
        // Storage that fails a write-back alone is tried again; one that fails a commit is not written any more.
        const isAborted = rest.some((step) => / EROFS$/.test(step));
        expect(failed && !isAborted ? rest : []).toEqual([]);
        if (isAborted) {
          aborted++;
          const kept = mountSync(`${image}${call}`);
          expect(kept.readOnlyReason).toMatch(/given up .*e2fsck/);
          kept.closeSync();
          expect(run("e2fsck", ["-fy", `${image}${call}`]).code).toBeLessThan(2);
        }
        expect(e2fsckClean(`${image}${call}`)).toMatchObject({ clean: true });
        const volume = mountSync(`${image}${call}`, { readOnly: true });
        const synced = steps.filter((step) => /^f?sync ok$/.test(step)).length;
        const stored = steps.indexOf("store ok") < steps.lastIndexOf("fsync ok");
        if (synced > 0) expect(volume.readFileSync("/file")[4095]).toBe(65);
        if (synced > 0 && stored) expect(volume.readFileSync("/file")[4096]).toBe(66);
        volume.closeSync();
      }
      expect(aborted).toBeGreaterThan(0);
    },
  );

  skipUnless("cc", "mkfs.ext4")(
    "is read when its journal has ended, also after a last close",
    () => {
      using directory = temporaryDirectory();
      const image = directory.file("image");
      mkfsExt4(image, 16 << 20, ["-b", "4096"]);
      const told = runFaulty(
        (holdfast, _fs, { failAt }, path: string, errno: number) => {
          const volume = holdfast.mountSync(path);
          volume.writeFileSync("/kept", "kept");
          volume.syncSync();
          const open = volume.openSync("/open", "wx+");
          open.writeSync(Buffer.alloc(9000, 1), 0);
          volume.unlinkSync("/open");
          const tell = (step: () => unknown): string => {
            try {
              return String(step());
            } catch (error) {
              return (error as Error & { code: string }).code;
            }
          };
          failAt(0, errno, false);
          const answers = [tell(() => volume.syncSync()), tell(() => open.closeSync())];
          answers.push(tell(() => volume.readFileSync("/kept", "utf8")));
          answers.push(tell(() => volume.writeFileSync("/new", "new")));
          answers.push(
            String(volume.readOnly),
            tell(() => volume.closeSync()),
          );
          return { answers, reason: volume.readOnlyReason };
        },
        image,
        EIO,
      );
      expect(told.answers).toEqual(["EIO", "undefined", "kept", "EROFS", "true", "EROFS"]);
      expect(told.reason).toMatch(/read-only since its journal met an I\/O error/);
    },
  );

  skipUnless("cc", "mkfs.ext4")("is a removed device once it answers ENODEV, on ext4", () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    mkfsExt4(image, 16 << 20, ["-b", "4096"]);
    for (const [call, outcome] of runFaulty(useVolumes, image, ENODEV).entries()) {
      const rest = expectGone(outcome);
      // The mark is written when all else is persistent: if it is there, it is true.
      const features = readFileSync(`${image}${call}`).readUInt32LE(1024 + 0x60); // s_feature_incompat
      const isClean = (features & 0x4) === 0;
      if (outcome.failed && isClean) expect(rest).toEqual(["unmount EIO gone", "unmount ok"]);
      mountSync(`${image}${call}`).closeSync();
      expect(e2fsckClean(`${image}${call}`)).toMatchObject({ clean: true });
    }
  });

  skipUnless("cc")("is a removed device once it answers ENXIO, on ram", () => {
    for (const outcome of runFaulty(useVolumes, null, ENXIO)) expectGone(outcome);
  });
});

describe("a loop device whose backing file finds no room", () => {
  skipUnless(
    "root",
    "loop mounts",
    "losetup",
    "mkfs.ext4",
  )("answers EIO; the volume stays mounted, and can be taken for removed", () => {
    using directory = temporaryDirectory();
    runOk("mount", ["-t", "tmpfs", "-o", "size=8M", "tmpfs", directory.path]);
    let loop = "";
    try {
      writeFileSync(directory.file("back"), "");
      runOk("truncate", ["-s", "32M", directory.file("back")]);
      loop = runOk("losetup", ["-f", "--show", directory.file("back")]).trim();
      runOk("mkfs.ext4", ["-q", "-F", "-b", "4096", "-J", "size=4", loop]);
      const volume = mountSync(loop);
      const file = volume.openSync("/file", "wx+");
      file.writeSync(Buffer.alloc(16 << 20, "A"), 0);
      expect(() => file.syncSync()).toThrow(expect.objectContaining({ code: "EIO" }));
      expect(volume.failure.removed).toBe(null);
      expect(file.readSync(new Uint8Array(4096), 0)).toBe(4096);
      volume.failure.removeDeviceSync("its backing file is full");
      expect(() => file.readSync(new Uint8Array(4096), 0)).toThrow("its backing file is full");
      file.closeSync();
      expect(() => volume.closeSync()).toThrow("what was not persistent is lost");
    } finally {
      if (loop !== "") run("losetup", ["-d", loop]);
      runOk("umount", [directory.path]);
    }
  });
});
