// Files that programs have mapped, and this process changes and reads: what the kernel keeps of them is recalled.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface, type Interface } from "node:readline";
import { Worker } from "node:worker_threads";
import { afterEach, beforeEach, describe, expect } from "vitest";
import type { KernelMount } from "../../src/fuse/index.ts";
import type { Volume } from "../../src/index.ts";
import { builtModule, skipUnless, type TemporaryDirectory } from "../support/tools.ts";
import { needs } from "./mounted.ts";
import { endShared, makeShared, mountInKernel, type Shared } from "./shared.ts";

const it = skipUnless(...needs, "python3");
const SIZE = 64 * 2 ** 20;
const PAGE = 4096;

/** Maps a file, and does what its lines of input say: "load AT LENGTH", "store AT TEXT", "sync". */
const PROGRAM = `
import mmap, os, sys
path, mode, length = sys.argv[1], sys.argv[2], int(sys.argv[3])
file = os.open(path, os.O_RDWR if mode == 'w' else os.O_RDONLY)
access = mmap.ACCESS_WRITE if mode == 'w' else mmap.ACCESS_READ
m = mmap.mmap(file, length, access=access)
os.close(file)
print('mapped', flush=True)
for line in sys.stdin:
    what, *rest = line.split()
    if what == 'load': print(m[int(rest[0]):int(rest[0]) + int(rest[1])].hex(), flush=True)
    elif what == 'store':
        at, text = int(rest[0]), rest[1].encode()
        m[at:at + len(text)] = text
        print('stored', flush=True)
    elif what == 'sync':
        m.flush()
        print('synced', flush=True)
`;

/** A program that has a file mapped. */
class Mapper implements AsyncDisposable {
  readonly #child;
  readonly #lines: Interface;
  readonly #answers: AsyncIterator<string>;

  private constructor(path: string, mode: "r" | "w", length: number) {
    this.#child = spawn("python3", ["-c", PROGRAM, path, mode, String(length)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#lines = createInterface(this.#child.stdout);
    this.#answers = this.#lines[Symbol.asyncIterator]();
  }

  static async start(path: string, mode: "r" | "w", length: number): Promise<Mapper> {
    const mapper = new Mapper(path, mode, length);
    expect(await mapper.#answer()).toBe("mapped");
    return mapper;
  }

  async #answer(): Promise<string> {
    const { value, done } = await this.#answers.next();
    if (done === true) throw new Error("the program that maps a file has ended");
    return value;
  }

  async #ask(line: string): Promise<string> {
    this.#child.stdin.write(`${line}\n`);
    return this.#answer();
  }

  async load(at: number, length: number): Promise<string> {
    return Buffer.from(await this.#ask(`load ${at} ${length}`), "hex").toString("latin1");
  }

  async store(at: number, text: string): Promise<void> {
    expect(await this.#ask(`store ${at} ${text}`)).toBe("stored");
  }

  async sync(): Promise<void> {
    expect(await this.#ask("sync")).toBe("synced");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin.end();
    if (this.#child.exitCode === null) await once(this.#child, "exit");
  }
}

/** Stores to and loads from mapped files until its time is over. */
const RESTLESS = `
import mmap, os, random, sys, time
end = time.time() + float(sys.argv[2])
while time.time() < end:
    file = os.open(os.path.join(sys.argv[1], 'f%d' % random.randrange(2)), os.O_RDWR)
    m = mmap.mmap(file, 65536)
    os.close(file)
    for _ in range(200):
        at = random.randrange(65528)
        if random.random() < 0.5: m[at:at + 8] = b'program!'
        else: m[at:at + 8]
    m.close()
`;

/** A thread that uses the same files through the API. */
const THREAD = `
const { workerData } = require("node:worker_threads");
void import(workerData.module).then(({ attach }) => {
  const volume = attach(workerData.handle);
  const bytes = Buffer.alloc(8192, "t");
  for (let turn = 0; ; turn++) {
    const file = volume.openSync("/f" + (turn % 2), "r+");
    file.writeSync(bytes, (turn * 4096) % 65536);
    file.readSync(bytes, (turn * 8192) % 65536);
    if (turn % 20 === 0) file.fallocateSync("punch-hole", 0, 4096);
    file.closeSync();
  }
});
`;

let shared: Shared;
let place: TemporaryDirectory;
let volume: Volume;
let kernelMount: KernelMount;

beforeEach(async () => {
  shared = await makeShared(SIZE);
  ({ place, volume } = shared);
  kernelMount = await mountInKernel(volume, place.path);
});

afterEach(async () => {
  await kernelMount.unmount({ force: true });
  await endShared(shared);
});

function mapped(mode: "r" | "w"): Promise<Mapper> {
  return Mapper.start(place.file("f"), mode, 4 * PAGE);
}

async function fill(letter: string): Promise<void> {
  await volume.writeFile("/f", letter.repeat(4 * PAGE));
}

describe("a program that has mapped a file", () => {
  it("sees what this process writes, at once, whatever it is written by", async () => {
    await fill("a");
    await using program = await mapped("r");
    await using file = await volume.open("/f", "r+");
    expect(await program.load(0, 4)).toBe("aaaa");
    file.writeSync(Buffer.from("sync"), 0);
    expect(await program.load(0, 4)).toBe("sync");
    await file.write(Buffer.from("wait"), PAGE);
    expect(await program.load(PAGE, 4)).toBe("wait");
    await fill("b");
    expect(await program.load(0, 4)).toBe("bbbb");
    volume.fs.writeFileSync("/f", Buffer.alloc(4 * PAGE, "c"));
    expect(await program.load(3 * PAGE, 4)).toBe("cccc");
    file.fallocateSync("punch-hole", PAGE, PAGE);
    expect(await program.load(PAGE, 4)).toBe("\0\0\0\0");
    await file.fallocate("zero-range", 0, PAGE);
    expect(await program.load(0, 4)).toBe("\0\0\0\0");
    file.truncateSync(2 * PAGE);
    file.truncateSync(4 * PAGE);
    expect(await program.load(2 * PAGE, 4)).toBe("\0\0\0\0");
    await volume.truncate("/f", 0);
    await volume.truncate("/f", 4 * PAGE);
    expect(await program.load(3 * PAGE, 4)).toBe("\0\0\0\0");
  });

  it("sees what is stored through windows and pins when the file is synced", async () => {
    await fill("a");
    await using program = await mapped("r");
    await using file = await volume.open("/f", "r+");
    expect(await program.load(0, 4)).toBe("aaaa");
    using window = file.map({ writable: true });
    window.bytes.set(Buffer.from("window"), 0);
    file.syncSync();
    expect(await program.load(0, 6)).toBe("window");
    const pin = await file.pin(PAGE, PAGE, { write: true });
    pin.buffers[0]!.set(Buffer.from("pinned"));
    pin.release();
    await file.sync();
    expect(await program.load(PAGE, 6)).toBe("pinned");
  });

  it("stores, and this process reads it at once", async () => {
    await fill("a");
    await using program = await mapped("w");
    await using file = await volume.open("/f", "r+");
    const read = (at: number): string => {
      const target = Buffer.alloc(4);
      file.readSync(target, at);
      return target.toString();
    };
    await program.store(0, "1111");
    expect(read(0)).toBe("1111");
    await program.store(0, "2222");
    expect((await volume.readFile("/f", "utf8")).slice(0, 4)).toBe("2222");
    await program.store(PAGE, "3333");
    expect(Buffer.from((await file.readFile()).subarray(PAGE, PAGE + 4)).toString()).toBe("3333");
    await program.store(2 * PAGE, "4444");
    const pin = file.pinSync(2 * PAGE, PAGE);
    expect(Buffer.from(pin.buffers[0]!.subarray(0, 4)).toString()).toBe("4444");
    pin.release();
    await program.store(3 * PAGE, "5555");
    using window = file.map();
    expect(Buffer.from(window.bytes.subarray(3 * PAGE, 3 * PAGE + 4)).toString()).toBe("5555");
  });

  it("stores beside what this process writes in the same page, and nothing is lost", async () => {
    await fill("a");
    await using program = await mapped("w");
    await using file = await volume.open("/f", "r+");
    for (let round = 0; round < 50; round++) {
      const digits = String(round).padStart(4, "0");
      await program.store(8, digits);
      if (round % 2 === 0) file.writeSync(Buffer.from(digits), 100);
      else await file.write(Buffer.from(digits), 100);
      expect(await program.load(100, 4)).toBe(digits);
    }
    await program.sync();
    const content = await volume.readFile("/f", "utf8");
    expect([content.slice(8, 12), content.slice(100, 104)]).toEqual(["0049", "0049"]);
  });

  it("has stored to what this process cuts off or punches out: that stays away", async () => {
    await fill("a");
    await using program = await mapped("w");
    await program.store(PAGE, "gone");
    await program.store(2 * PAGE, "gone");
    await using file = await volume.open("/f", "r+");
    await file.fallocate("punch-hole", PAGE, PAGE);
    await file.truncate(2 * PAGE);
    await file.truncate(4 * PAGE);
    await program.sync();
    const content = await volume.readFile("/f", "utf8");
    expect(content.slice(PAGE, 4 * PAGE)).toBe("\0".repeat(3 * PAGE));
    expect(content.slice(0, PAGE)).toBe("a".repeat(PAGE));
  });
});

it("threads that are ended while kernels give up pages leave nobody waiting", async () => {
  const SECONDS = 6;
  for (const name of ["/f0", "/f1"]) await volume.writeFile(name, Buffer.alloc(65536, "a"));
  const programs = [0, 1].map(() =>
    spawn("python3", ["-c", RESTLESS, place.path, String(SECONDS)], { stdio: "inherit" }),
  );
  const ends = programs.map((program) => once(program, "exit"));
  const workerData = { module: builtModule("index.ts").href };
  const errors: unknown[] = [];
  await using file = await volume.open("/f0", "r+");
  let deaths = 0;
  for (const end = Date.now() + SECONDS * 1000; Date.now() < end; deaths++) {
    const thread = new Worker(THREAD, {
      eval: true,
      workerData: { ...workerData, handle: volume.share() },
    });
    thread.on("error", (error) => errors.push(error));
    for (const stop = Date.now() + 700; Date.now() < stop; ) {
      await file.write(Buffer.from("process"), 0);
      await file.truncate(65536);
    }
    await thread.terminate();
  }
  expect(deaths).toBeGreaterThan(3);
  expect(errors).toEqual([]);
  expect((await Promise.all(ends)).map(([code]) => code)).toEqual([0, 0]);
});
