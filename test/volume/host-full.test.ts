// A sparse image on a filesystem that has no room left. Each store into one of its holes would take room there, and
// end the process by SIGBUS where there is none. The room is some pages more each time, until all goes well: until
// then operations answer ENOSPC, the process lives, and what was durable stays.

import { describe, expect } from "vitest";
import { type FaultyStorage, runFaulty } from "../support/faulty-storage.ts";
import { mkfsExt4, runOk, skipUnless, temporaryDirectory } from "../support/tools.ts";

const IMAGE_BYTES = 12 << 20;
const HOST_BYTES = 20 << 20;
const ROOM_PAGES_MAX = 400;
/** By how many pages the room grows. */
const ROOM_STEP = Number(process.env["HOLDFAST_ROOM_STEP"] ?? 9);

interface Outcome {
  readonly room: number;
  /** What each step ended with: "ok", or the error's code. */
  readonly steps: readonly string[];
  /** What e2fsck says afterwards, "" for nothing, and what is not there that was durable. */
  readonly fsck: string;
  readonly missing: readonly string[];
}

/**
 * Works on an image with room for more and more pages on the filesystem that holds it; then makes room there, and
 * unmounts.
 */
function useWithRoom(
  holdfast: typeof import("../../src/index.ts"),
  fs: typeof import("node:fs"),
  _storage: FaultyStorage,
  base: string,
  host: string,
  roomStep: number,
  roomMax: number,
): Outcome[] {
  const { spawnSync } = process.getBuiltinModule("node:child_process");
  const image = `${host}/image`;
  const ballast = `${host}/ballast`;
  const PAGE = 4096;

  const leaveRoom = (pages: number): void => {
    const { bavail, bsize } = fs.statfsSync(host);
    fs.writeFileSync(ballast, Buffer.alloc(bavail * bsize - pages * PAGE));
  };
  const use = (room: number): Outcome => {
    spawnSync("cp", ["--sparse=always", base, image]);
    leaveRoom(room);
    const steps: string[] = [];
    const attempt = (what: string, step: () => unknown): boolean => {
      try {
        step();
        steps.push(`${what} ok`);
        return true;
      } catch (error) {
        const { code, message } = error as Error & { code?: string };
        if (code === undefined) throw error;
        steps.push(
          `${what} ${code}${code === "ENOSPC" || code === "ENOENT" ? "" : `: ${message}`}`,
        );
        return false;
      }
    };
    const durable = new Map<string, number>();
    const work = (volume: InstanceType<typeof holdfast.Volume>): void => {
      const write = (path: string, byte: number, pages: number) => () => {
        const file = volume.openSync(path, "w+");
        try {
          let done = 0;
          while (done < pages * PAGE) {
            done += file.writeSync(Buffer.alloc(pages * PAGE - done, byte), done);
          }
        } finally {
          file.closeSync();
        }
      };
      const touch = (path: string, byte: number, pages: number) => () => {
        const file = volume.openSync(path, "r+");
        try {
          file.truncateSync(pages * PAGE);
          const view = file.map({ length: pages * PAGE });
          for (let page = 0; page < pages; page++) view.bytes[page * PAGE] = byte;
          const { lost } = view;
          view.close();
          if (lost !== null) throw Object.assign(new Error("lost"), { code: "ENOSPC" });
        } finally {
          file.closeSync();
        }
      };
      // Blocks that the volume has given a file, and that are holes of the image.
      attempt("read zeroes", () => volume.readFileSync("/zeroes"));
      attempt("overwrite zeroes", () => {
        const file = volume.openSync("/zeroes", "r+");
        try {
          file.writeSync(Buffer.alloc(2 * PAGE, 1), 0);
        } finally {
          file.closeSync();
        }
      });
      attempt("touch zeroes", touch("/zeroes", 2, 8));
      attempt("pin zeroes", () => {
        const file = volume.openSync("/zeroes", "r+");
        try {
          const pin = file.pinSync(4 * PAGE, 2 * PAGE, { write: true });
          try {
            for (const bytes of pin.buffers) bytes.fill(3);
          } finally {
            pin.release();
          }
        } finally {
          file.closeSync();
        }
      });
      if (attempt("write a", write("/a", 0x41, 5)) && attempt("sync", () => volume.syncSync())) {
        durable.set("/a", 0x41);
      }
      attempt("write holes", write("/holes", 0x42, 0));
      attempt("touch holes", touch("/holes", 0x43, 6));
      attempt("attribute", () => volume.setxattrSync("/zeroes", "user.long", Buffer.alloc(700, 7)));
      attempt("names", () => {
        volume.mkdirSync("/names");
        for (let name = 0; name < 120; name++)
          volume.writeFileSync(`/names/${"n".repeat(90)}${name}`, "");
      });
      attempt("directories", () => {
        for (let name = 0; name < 20; name++) volume.mkdirSync(`/directory${name}`);
      });
      if (attempt("write b", write("/b", 0x44, 9)) && attempt("sync", () => volume.syncSync())) {
        durable.set("/b", 0x44);
      }
      attempt("rename", () => volume.renameSync("/b", "/c"));
      if (attempt("sync", () => volume.syncSync()) && durable.delete("/b")) durable.set("/c", 0x44);
      attempt("unlink", () => volume.unlinkSync("/zeroes"));
    };

    let volume: InstanceType<typeof holdfast.Volume> | undefined;
    attempt("mount", () => {
      volume = holdfast.mountSync(image, { regionBytes: 2 ** 26 });
    });
    if (volume !== undefined) {
      work(volume);
      if (!attempt("unmount", () => volume!.closeSync())) {
        fs.rmSync(ballast);
        steps.push("room");
        attempt("sync", () => volume!.syncSync());
        attempt("unmount", () => volume!.closeSync());
      }
    }
    fs.rmSync(ballast, { force: true });
    const missing: string[] = [];
    const checked = spawnSync("e2fsck", ["-fn", image], { encoding: "utf8" });
    const reader = holdfast.mountSync(image, { regionBytes: 2 ** 26 });
    for (const [path, byte] of durable) {
      const bytes = reader.existsSync(path) ? reader.readFileSync(path) : new Uint8Array(0);
      const renamed = path === "/b" && reader.existsSync("/c");
      if (!renamed && (bytes.length === 0 || !bytes.every((each) => each === byte)))
        missing.push(path);
    }
    reader.closeSync();
    return { room, steps, fsck: checked.status === 0 ? "" : checked.stdout, missing };
  };

  const outcomes: Outcome[] = [];
  do outcomes.push(use(outcomes.length * roomStep));
  while (
    outcomes.at(-1)!.steps.some((step) => !step.endsWith(" ok")) &&
    outcomes.length * roomStep < roomMax
  );
  return outcomes;
}

describe.each([
  { args: ["-b", "4096"] },
  { args: ["-b", "1024"] },
  { args: ["-b", "4096", "-t", "ext2"] },
])("a sparse image made with $args", ({ args }) => {
  skipUnless(
    "root",
    "cc",
    "mount",
    "mkfs.ext4",
    "e2fsck",
    "debugfs",
  )(
    "answers ENOSPC where the filesystem that holds it is full, and loses nothing that was durable",
    { timeout: 600_000 },
    () => {
      using directory = temporaryDirectory();
      using host = temporaryDirectory();
      const base = directory.file("base");
      mkfsExt4(base, IMAGE_BYTES, ["-N", "256", ...args]);
      runOk("dd", [
        "if=/dev/zero",
        `of=${directory.file("zeroes")}`,
        "bs=4096",
        "count=8",
        "status=none",
      ]);
      runOk("debugfs", ["-w", "-R", `write ${directory.file("zeroes")} zeroes`, base]);
      runOk("mount", ["-t", "tmpfs", "-o", `size=${HOST_BYTES}`, "tmpfs", host.path]);
      try {
        const outcomes = runFaulty(useWithRoom, base, host.path, ROOM_STEP, ROOM_PAGES_MAX);
        for (const { room, steps, fsck, missing } of outcomes) {
          const told = `room for ${room} pages: ${steps.join(", ")}`;
          expect({ told, fsck, missing }).toEqual({ told, fsck: "", missing: [] });
          const odd = steps.filter((step) => !/ (ok|ENOSPC|ENOENT)$/.test(step) && step !== "room");
          expect({ told, odd }).toEqual({ told, odd: [] });
          expect({ told, last: steps.at(-1) }).toEqual({
            told,
            last: steps[0] === "mount ENOSPC" ? "mount ENOSPC" : "unmount ok",
          });
        }
        process.stdout.write(`${args.join(" ")}: ${outcomes.length} sizes of room\n`);
        const last = outcomes.at(-1)!;
        expect(last.steps.filter((step) => !step.endsWith(" ok"))).toEqual([]);
        expect(last.room).toBeGreaterThan(40);
      } finally {
        runOk("umount", [host.path]);
      }
    },
  );
});
