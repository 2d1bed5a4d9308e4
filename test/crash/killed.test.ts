// A process is killed while it writes, at random moments. What fsync returned for in it is there afterwards.
// HOLDFAST_KILLS: how often.

import { type ChildProcess, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect } from "vitest";
import { dist } from "../../scripts/tree.js";
import { mountSync, type Volume } from "../../src/index.ts";
import { e2fsckClean, mkfsExt4, skipUnless, temporaryDirectory } from "../support/tools.ts";

const KILLS = Number(process.env["HOLDFAST_KILLS"] ?? 12);
const THREADS = 2;

/**
 * Two threads write files of numbered lines: append some, fsync, and tell how many lines are durable then; meanwhile
 * names come and go.
 */
const program = `
  import { Worker, isMainThread, workerData } from "node:worker_threads";
  import { writeSync } from "node:fs";
  import { attach, mountSync } from ${JSON.stringify(pathToFileURL(join(dist, "index.js")).href)};

  const line = (thread, number) => String(thread) + ":" + String(number).padStart(97, "0") + "\\n";

  // A write that was killed when its blocks were there and its bytes not yet has left zeroes at the end.
  function wholeLines(file, thread) {
    const text = Buffer.from(file.readFileSync()).toString("latin1");
    let count = 0;
    while (text.startsWith(line(thread, count), count * 100)) count++;
    return count;
  }

  function work(volume, thread) {
    const path = "/lines" + thread;
    const file = volume.openSync(path, volume.existsSync(path) ? "r+" : "wx+");
    let count = wholeLines(file, thread);
    for (let round = 0; ; round++) {
      const lines = 1 + ((round * 7) % 60);
      let text = "";
      for (let index = 0; index < lines; index++) text += line(thread, count + index);
      file.writeSync(Buffer.from(text), count * 100);
      count += lines;
      const name = "/dir" + thread + "/" + (round % 50);
      if (round % 50 === 0 && !volume.existsSync("/dir" + thread)) volume.mkdirSync("/dir" + thread);
      if (volume.existsSync(name)) volume.unlinkSync(name);
      else volume.writeFileSync(name, Buffer.alloc(3000, 48 + thread));
      if (round % 3 !== 0) continue;
      file.syncSync();
      writeSync(1, thread + " " + count + "\\n");
    }
  }

  if (isMainThread) {
    const volume = mountSync(process.argv[2], { regionBytes: 2 ** 27 });
    const handle = volume.share();
    for (let thread = 1; thread < ${THREADS}; thread++) {
      new Worker(new URL(import.meta.url), { workerData: { handle, thread } });
    }
    work(volume, 0);
  } else work(attach(workerData.handle), workerData.thread);
`;

/** Runs the program until it has told so many times of durable lines, and kills it. Returns how many are durable. */
async function runAndKill(script: string, image: string, tells: number): Promise<number[]> {
  const child: ChildProcess = spawn(process.execPath, [script, image], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const durable = new Array<number>(THREADS).fill(0);
  let told = 0;
  let rest = "";
  child.stdout!.setEncoding("latin1");
  child.stdout!.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      const [thread, count] = line.split(" ").map(Number) as [number, number];
      durable[thread] = count;
      if (++told === tells) child.kill("SIGKILL");
    }
  });
  await new Promise((resolve) => child.on("close", resolve));
  return durable;
}

/** Throws unless the lines that are durable are there, whole. */
function verify(volume: Volume, durable: readonly number[]): void {
  for (const [thread, count] of durable.entries()) {
    if (count === 0) continue;
    const text = Buffer.from(volume.readFileSync(`/lines${thread}`)).toString("latin1");
    expect(text.length).toBeGreaterThanOrEqual(count * 100);
    for (const [number, line] of text
      .slice(0, count * 100)
      .split("\n")
      .slice(0, -1)
      .entries()) {
      if (line !== `${thread}:${String(number).padStart(97, "0")}`) {
        expect(line).toBe(`line ${number} of thread ${thread}`);
      }
    }
    for (const name of volume.readdirSync(`/dir${thread}`)) {
      const content = volume.readFileSync(`/dir${thread}/${name}`);
      expect(content.every((byte) => byte === 48 + thread || byte === 0)).toBe(true);
    }
  }
}

/** So that the volume has room for the next round. */
function makeShort(volume: Volume, path: string): void {
  if (!volume.existsSync(path) || volume.statSync(path).size < 8 << 20) return;
  using file = volume.openSync(path, "r+");
  file.truncateSync(0);
}

skipUnless("mkfs.ext4", "e2fsck")(
  `a process that is killed ${KILLS} times loses nothing that fsync returned for`,
  { timeout: 3_600_000 },
  async () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    const script = directory.file("program.mjs");
    writeFileSync(script, program);
    mkfsExt4(image, 64 << 20, ["-b", "4096"]);
    for (let kill = 0; kill < KILLS; kill++) {
      const durable = await runAndKill(script, image, 1 + ((kill * 37) % 100));
      const volume = mountSync(image);
      expect(volume.readOnlyReason).toBe(null);
      verify(volume, durable);
      for (const thread of durable.keys()) makeShort(volume, `/lines${thread}`);
      volume.closeSync();
      expect(e2fsckClean(image)).toMatchObject({ clean: true });
    }
  },
);
