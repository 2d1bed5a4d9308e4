// A volume that is trimmed while threads use it, on a filesystem that has no room left afterwards. Each thread has
// noted which parts of the image have storage; what was discarded has none any more. Who believed his notes and
// stored there would end the process by SIGBUS.

import { describe, expect } from "vitest";
import { runFaulty } from "../support/faulty-storage.ts";
import { e2fsckClean, mkfsExt4, runOk, skipUnless, temporaryDirectory } from "../support/tools.ts";

const IMAGE_BYTES = 24 << 20;
const HOST_BYTES = 40 << 20;

interface Outcome {
  /** KiB that the image took: written, and discarded. */
  readonly written: number;
  readonly discarded: number;
  /** What each thread's writes ended with on the full host, and then with room for some. */
  readonly full: readonly string[];
  readonly withRoom: readonly string[];
}

async function useTrimmed(
  holdfast: typeof import("../../src/index.ts"),
  fs: typeof import("node:fs"),
  _storage: unknown,
  image: string,
  host: string,
  built: string,
  way: "trim" | "discard",
): Promise<Outcome> {
  const { Worker } = process.getBuiltinModule("node:worker_threads");
  const PAGE = 4096;
  const FILE_BYTES = 1 << 20;
  const FILES = 8;
  const kib = (): number => fs.statSync(image).blocks / 2;
  const discard = way === "discard";
  const volume = holdfast.mountSync(image, { regionBytes: 2 ** 26, commitSeconds: 0, discard });

  /** Runs in every thread, as text: it closes over nothing. */
  const step = (on: typeof volume, what: string, name: string, size: number, count: number) => {
    if (what === "remove") for (let i = 0; i < count; i++) on.unlinkSync(`/${name}${i}`);
    if (what !== "write" && what !== "touch") return "ok";
    try {
      for (let i = 0; i < count; i++) {
        const file = on.openSync(`/${name}${i}`, "w+");
        try {
          if (what === "write") {
            for (let done = 0; done < size; ) {
              done += file.writeSync(Buffer.alloc(size - done, i + 1), done);
            }
          } else {
            file.truncateSync(size);
            const view = file.map();
            for (let at = 0; at < size; at += 4096) view.bytes[at] = i + 1;
            const { lost } = view;
            view.close();
            if (lost !== null) return "lost";
          }
        } finally {
          file.closeSync();
        }
      }
      return "ok";
    } catch (error) {
      return (error as { code?: string }).code ?? String(error);
    }
  };
  const worker = new Worker(
    `const { workerData, parentPort } = process.getBuiltinModule("node:worker_threads");
     import(workerData.built).then(({ attach }) => {
       const volume = attach(workerData.handle);
       const step = ${step};
       parentPort.on("message", (args) => {
         if (args === "end") volume.closeSync();
         parentPort.postMessage(args === "end" ? "ended" : step(volume, ...args));
         if (args === "end") parentPort.close();
       });
       parentPort.postMessage("ready");
     });`,
    { eval: true, workerData: { handle: volume.share(), built } },
  );
  const answer = (): Promise<string> => new Promise((resolve) => worker.once("message", resolve));
  const inWorker = (what: string, name: string, size = 0, count = 0): Promise<string> => {
    worker.postMessage([what, name, size, count]);
    return answer();
  };
  await answer();

  // Both threads come to know that what they have written has storage.
  step(volume, "write", "main", FILE_BYTES, FILES);
  await inWorker("write", "worker", FILE_BYTES, FILES);
  volume.syncSync();
  const written = kib();
  // Each removes what the other one has written, so that each may get any of it.
  step(volume, "remove", "worker", 0, FILES);
  await inWorker("remove", "main", 0, FILES);
  if (discard) volume.syncSync();
  else volume.trimSync();
  const discarded = kib();

  const leaveRoom = (pages: number): void => {
    fs.rmSync(`${host}/ballast`, { force: true });
    const { bavail, bsize } = fs.statfsSync(host);
    fs.writeFileSync(`${host}/ballast`, Buffer.alloc(bavail * bsize - pages * PAGE));
  };
  const attempts = async (): Promise<string[]> => [
    step(volume, "write", "a", FILE_BYTES, FILES),
    await inWorker("write", "b", FILE_BYTES, FILES),
    await inWorker("touch", "c", FILE_BYTES, 1),
    step(volume, "touch", "d", FILE_BYTES, 1),
  ];
  leaveRoom(0);
  const full = await attempts();
  leaveRoom(300);
  const withRoom = await attempts();
  fs.rmSync(`${host}/ballast`);
  worker.postMessage("end");
  await answer();
  volume.closeSync();
  return { written, discarded, full, withRoom };
}

describe.each(["trim", "discard"] as const)("%s", (way) => {
  skipUnless(
    "root",
    "cc",
    "mount",
    "mkfs.ext4",
    "e2fsck",
  )(
    "no thread stores where it believes storage to be that was discarded: on a full host it answers ENOSPC",
    { timeout: 300_000 },
    () => {
      using host = temporaryDirectory();
      runOk("mount", ["-t", "tmpfs", "-o", `size=${HOST_BYTES}`, "tmpfs", host.path]);
      try {
        const image = host.file("image");
        mkfsExt4(image, IMAGE_BYTES, ["-b", "4096", "-N", "256"]);
        const built = new URL("../../dist/index.js", import.meta.url).href;
        const outcome = runFaulty(useTrimmed, image, host.path, built, way);
        expect(outcome.written - outcome.discarded).toBeGreaterThan(15 << 10);
        expect(outcome.full).toEqual(["ENOSPC", "ENOSPC", "lost", "lost"]);
        expect(outcome.withRoom).toContain("ENOSPC");
        expect(e2fsckClean(image)).toMatchObject({ clean: true });
      } finally {
        runOk("umount", [host.path]);
      }
    },
  );
});
