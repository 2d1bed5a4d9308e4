// The threads that serve a mount: what waits holds up nothing else, what they share is right, and one that dies ends the
// mount.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import type { Worker } from "node:worker_threads";
import { afterEach, describe, expect, vi } from "vitest";
import { type KernelMount, mountOn } from "../../src/fuse/index.ts";
import type { Volume } from "../../src/index.ts";
import { skipUnless, type TemporaryDirectory } from "../support/tools.ts";
import { needs } from "./mounted.ts";
import { endShared, makeShared, mountInKernel, type Shared, shellIn } from "./shared.ts";

const it = skipUnless(...needs);
const SIZE = 128 * 2 ** 20;
/** Of four threads that serve two, and the one behind them that passes recalls on. */
const ENDED = [0, 2, 4];

let shared: Shared;
let place: TemporaryDirectory;
let volume: Volume;
let kernelMount: KernelMount;
/** The threads that serve, in the order of their start. */
let servers: Worker[];

async function mountIt(options: Parameters<typeof mountInKernel>[2]): Promise<void> {
  servers = [];
  const note = (worker: Worker): void => {
    servers.push(worker);
  };
  volume.share(); // which starts a thread that is none of theirs, and is told of a turn later
  await pause(0);
  process.on("worker", note);
  try {
    kernelMount = await mountInKernel(volume, place.path, options);
  } finally {
    process.off("worker", note);
  }
}

async function begin(options: Parameters<typeof mountInKernel>[2] = {}): Promise<void> {
  shared = await makeShared(SIZE);
  ({ place, volume } = shared);
  await mountIt(options);
}

/** What a shell command prints that runs in the mount. */
function shell(script: string): Promise<string> {
  return shellIn(place.path, script);
}

afterEach(async () => {
  await kernelMount.unmount({ force: true }).catch(() => {});
  await endShared(shared);
});

describe("truncations that wait for a pin", () => {
  it("hold up no other program, but on as many threads as there are", async () => {
    await begin({ threads: 4 });
    await using file = await volume.open("/f", "w+");
    await file.truncate(2 ** 20);
    const pin = await file.pin(0, 2 ** 20, { write: true });
    const order: string[] = [];
    const waiting = [1, 2, 3].map(async (size) => {
      await shell(`truncate -s ${size} f`);
      order.push("truncated");
    });
    await pause(300);
    expect(await shell("mkdir d; seq 1000 > d/g; cat d/g | wc -l; mv d e; rm -r e; ls")).toBe(
      "1000\nf\nlost+found\n",
    );
    expect(order).toEqual([]);
    order.push("released");
    pin.release();
    await Promise.all(waiting);
    expect(order).toEqual(["released", "truncated", "truncated", "truncated"]);
  });

  it("are ended by a signal, and nothing is changed", async () => {
    await begin({ threads: 2 });
    await using file = await volume.open("/f", "w+");
    await file.writeFile("x".repeat(10_000));
    const pin = await file.pin(0, 10_000, { write: true });
    for (let round = 0; round < 3; round++) {
      const program = spawn("truncate", ["-s", "0", "f"], { cwd: place.path });
      await pause(200);
      expect(program.exitCode).toBe(null);
      const killed = once(program, "exit");
      program.kill("SIGTERM");
      expect(await killed).toEqual([null, "SIGTERM"]);
    }
    expect(await shell("stat -c %s f")).toBe("10000\n");
    pin.release();
    expect(await shell("truncate -s 5 f; cat f")).toBe("xxxxx");
  });

  it("are told EINTR where the program handles the signal", async () => {
    await begin({ threads: 2 });
    await using file = await volume.open("/f", "w+");
    await file.truncate(10_000);
    using _pin = await file.pin(0, 10_000, { write: true });
    const script = `python3 -c "
import ctypes, signal
libc = ctypes.CDLL(None, use_errno=True)
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.2)
print(libc.truncate(b'f', ctypes.c_long(0)), ctypes.get_errno())"`;
    expect(await shell(script)).toBe("-1 4\n");
  });

  it("do not keep a mount whose use is ended by force", async () => {
    await begin({ threads: 2 });
    await using file = await volume.open("/f", "w+");
    await file.truncate(10_000);
    const pin = await file.pin(0, 10_000, { write: true });
    const waiting = shell("truncate -s 0 f");
    const failed = expect(waiting).rejects.toMatchObject({ code: 1 });
    await pause(300);
    await kernelMount.unmount({ force: true });
    await failed;
    expect((await file.stat()).size).toBe(10_000);
    pin.release();
  });
});

describe.each([{}, { alone: true }, { alone: true, writeback: true }])(
  "mounted with %j",
  (options) => {
    it("many programs at once leave the trees that each of them made", async () => {
      await begin({ threads: 4, ...options });
      const worker = (name: number): string => `
      mkdir -p t${name}
      for round in 1 2 3; do
        cp -a /usr/include/linux/netfilter t${name}/a$round
        find t${name} -type f | wc -l > /dev/null
        cp -a t${name}/a$round t${name}/b$round
        diff -r t${name}/a$round t${name}/b$round
        rm -rf t${name}/a$round
        diff -r /usr/include/linux/netfilter t${name}/b$round
        [ $round = 3 ] || rm -rf t${name}/b$round
      done`;
      const both = `
      mkdir -p shared
      for i in $(seq 30); do
        echo text > shared/name || true; mv shared/name shared/other 2> /dev/null || true
        ln -f shared/other shared/third 2> /dev/null || true; cat shared/* > /dev/null 2>&1 || true
        rm -f shared/name shared/third
      done`;
      const looks = `for i in 1 2 3; do find . -ls > /dev/null 2>&1 || true; du -s . > /dev/null 2>&1 || true; done`;
      await Promise.all([worker(1), worker(2), both, both, looks].map(shell));
      expect(
        await shell("diff -r t1 t2; diff -r /usr/include/linux/netfilter t1/b3; echo same"),
      ).toBe("same\n");
      expect(await shell("ls t1 t2; rm -rf t1 t2 shared; ls")).toBe(
        "t1:\nb3\n\nt2:\nb3\nlost+found\n",
      );
    });
  },
);

it("the blocks of files that are gone are free when the last program has closed them, whatever threads were told", async () => {
  await begin({ threads: 4, alone: true });
  const free = async (): Promise<number> => Number(await shell("stat -fc %f ."));
  const before = await free();
  for (let round = 0; round < 4; round++) {
    const rounds = ["a", "b", "c"].map((name) =>
      shell(
        `exec 3<> ${name}; head -c 20000000 /dev/zero >&3; ls -l ${name} > /dev/null; rm ${name}; stat -L /dev/fd/3 > /dev/null`,
      ),
    );
    await Promise.all(rounds);
  }
  // RELEASE and FORGET are not waited for by whoever closes.
  await vi.waitFor(async () => expect(await free()).toBe(before), { timeout: 20_000 });
});

it("what the threads share is there again for the next mount", async () => {
  await begin({ threads: 3 });
  for (let round = 0; round < 3; round++) {
    await shell(
      `mkdir d${round}; cp /usr/include/linux/netfilter/*.h d${round}; ls d* > /dev/null`,
    );
    await kernelMount.unmount();
    await mountIt({ threads: round + 1 });
    // And one that passes recalls on.
    expect(servers).toHaveLength(round + 2);
  }
  expect(await shell("diff -r d0 d1; diff -r d1 d2; echo same")).toBe("same\n");
});

it.each(ENDED)("when thread %d dies, the mount ends, and what used it fails", async (index) => {
  await begin({ threads: 4 });
  await using file = await volume.open("/f", "w+");
  await file.truncate(2 ** 20);
  const pin = await file.pin(0, 2 ** 20, { write: true });
  const waiting = shell("truncate -s 0 f");
  const failed = expect(waiting).rejects.toMatchObject({ code: 1 });
  await pause(300);
  const reader = spawn("sh", ["-c", "while cat f > /dev/null && ls -la > /dev/null; do :; done"], {
    cwd: place.path,
    stdio: "ignore",
  });
  const readerEnds = once(reader, "exit");
  await pause(300);
  void servers[index]!.terminate();
  await expect(kernelMount.ended).rejects.toMatchObject({ code: "EIO" });
  await failed;
  await readerEnds;
  expect(mountOn(place.path)).toBe(null);
  // What the kernel knew is nobody's any more.
  pin.release();
  expect((await file.stat()).size).toBe(2 ** 20);
  await file.truncate(0);
  await volume.writeFile("/g", "text");
  await mountIt({ threads: 2 });
  expect(await shell("cat g; rm f g; ls")).toBe("textlost+found\n");
});

it("a number of threads that cannot be is refused", async () => {
  await begin({ threads: 1 });
  expect(await shell("echo text > f; cat f")).toBe("text\n");
  for (const threads of [0, 17, 1.5]) {
    await expect(mountInKernel(volume, "/mnt", { threads })).rejects.toMatchObject({
      code: "ERR_OUT_OF_RANGE",
    });
  }
});
