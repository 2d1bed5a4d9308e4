// A volume that is used by this process and, through the kernel, by programs at the same time: `mountInKernel`.
// Another thread serves the mount, so this one may wait for programs.

import { execFile } from "node:child_process";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, vi } from "vitest";
import { type KernelMount, mountOn } from "../../src/fuse/index.ts";
import type { Volume } from "../../src/index.ts";
import { builtModule, skipUnless, type TemporaryDirectory } from "../support/tools.ts";
import { needs } from "./mounted.ts";
import {
  endShared,
  makeShared,
  mount,
  mountInKernel,
  mountRam,
  type Shared,
  shellIn,
} from "./shared.ts";

const it = skipUnless(...needs);
const SIZE = 64 * 2 ** 20;

let shared: Shared;
let place: TemporaryDirectory;
let volume: Volume;
let kernelMount: KernelMount;

/** What a shell command prints that runs in the mount. */
function shell(script: string): Promise<string> {
  return shellIn(place.path, script);
}

async function begin(options: Parameters<typeof mountInKernel>[2] = {}): Promise<void> {
  shared = await makeShared(SIZE);
  ({ place, volume } = shared);
  kernelMount = await mountInKernel(volume, place.path, options);
}

afterEach(async () => {
  await kernelMount.unmount({ force: true });
  await endShared(shared);
});

describe("a volume shared with programs", () => {
  beforeEach(() => begin());

  it("what is changed through the API is seen by programs at once", async () => {
    for (let round = 0; round < 5; round++) {
      await volume.writeFile("/f", `text ${round}`);
      expect(await shell("cat f; stat -c %s f")).toBe(`text ${round}6\n`);
      await volume.chmod("/f", 0o600 + round);
      expect(await shell("stat -c %a f")).toBe(`60${round}\n`);
      await volume.rename("/f", "/g");
      expect(await shell("ls; test ! -e f && echo gone")).toBe("g\nlost+found\ngone\n");
      await volume.unlink("/g");
      expect(await shell("test ! -e g && echo gone")).toBe("gone\n");
    }
  });

  it("what programs change is seen through the API at once, and through windows", async () => {
    await shell("mkdir d; printf text > d/f; ln -s f d/s; truncate -s 8192 d/f");
    expect(await volume.readdir("/d")).toEqual(expect.arrayContaining(["f", "s"]));
    await using file = await volume.open("/d/f", "r+");
    const window = file.map({ writable: true });
    expect(Buffer.from(window.bytes.subarray(0, 4)).toString()).toBe("text");
    await shell("printf TEXT | dd of=d/f conv=notrunc status=none");
    expect(Buffer.from(window.bytes.subarray(0, 4)).toString()).toBe("TEXT");
    window.bytes.set(Buffer.from("seen"), 4096);
    expect(await shell("dd if=d/f bs=4096 skip=1 count=1 status=none | head -c 4")).toBe("seen");
    window.close();
  });

  it("watchers hear what programs do", async () => {
    await volume.writeFile("/f", "text");
    const heard: string[] = [];
    const watcher = volume.fs.watch("/", (event, name) => {
      heard.push(`${event} ${name}`);
    });
    const expectHeard = async (script: string, expected: string): Promise<void> => {
      await shell(script);
      await vi.waitFor(() => expect(heard).toContain(expected), { timeout: 20_000 });
      // What came late of this step is of no later one.
      await wait(50);
      heard.length = 0;
    };
    await expectHeard("printf TEXT | dd of=f conv=notrunc status=none", "change f");
    await expectHeard("truncate -s 100000 f", "change f");
    await expectHeard("fallocate -p -o 4096 -l 4096 f", "change f");
    await expectHeard("fallocate -z -n -o 4096 -l 4096 f", "change f");
    await expectHeard("chmod 600 f", "change f");
    await expectHeard("mv f g", "rename g");
    await expectHeard("printf new > h", "rename h");
    watcher.close();
  });

  it("both append to one file, and no line is lost", async () => {
    await volume.writeFile("/log", "");
    const programs = shell("for i in $(seq 200); do echo from a program >> log; done");
    await using file = await volume.open("/log", "a");
    for (let line = 0; line < 200; line++) {
      await file.write(Buffer.from("from the process\n"), 0);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await programs;
    const lines = (await volume.readFile("/log", "utf8")).trimEnd().split("\n");
    expect(lines.filter((line) => line === "from a program")).toHaveLength(200);
    expect(lines.filter((line) => line === "from the process")).toHaveLength(200);
  });

  it("programs map files as shared, and what they store is in the volume when they sync it", async () => {
    await volume.writeFile("/f", "a".repeat(8192));
    const script = `python3 -c "
import mmap
with open('f', 'r+b') as f:
    m = mmap.mmap(f.fileno(), 0); m[5000:5004] = b'mmap'; m.flush(); print(m[0:1].decode())"`;
    expect(await shell(script)).toBe("a\n");
    expect((await volume.readFile("/f", "utf8")).slice(4999, 5005)).toBe("ammapa");
  });

  it("a truncation by a program waits for a pin of this process", async () => {
    await using file = await volume.open("/f", "w+");
    await file.truncate(2 ** 20);
    const pin = await file.pin(0, 2 ** 20, { write: true });
    const order: string[] = [];
    const truncated = shell("truncate -s 0 f").then(() => order.push("truncated"));
    await new Promise((resolve) => setTimeout(resolve, 300));
    order.push("released");
    pin.release();
    await truncated;
    expect(order).toEqual(["released", "truncated"]);
  });

  it("it cannot be closed while it is mounted, and can afterwards", async () => {
    await shell("echo text > f");
    await expect(volume.close()).rejects.toMatchObject({ code: "EBUSY" });
    await kernelMount.unmount();
    expect(kernelMount.isOver).toBe(true);
    expect(await volume.readFile("/f", "utf8")).toBe("text\n");
  });
});

describe("a volume for programs alone", () => {
  beforeEach(() => begin({ alone: true, writeback: true, source: "an image", subtype: "other" }));

  it("is shown as it was asked for, and its files are there when it is unmounted", async () => {
    expect(await shell("df -T . | tail -1")).toMatch(/^an image +fuse\.other/);
    await shell("mkdir d; seq 100000 > d/numbers; mv d e");
    await kernelMount.unmount();
    const numbers = await volume.readFile("/e/numbers", "utf8");
    expect(numbers.trimEnd().split("\n")).toHaveLength(100_000);
  });

  it("unmounting it while it is used is refused, or waits for its last user", async () => {
    const reader = shell("sleep 1; echo done > f");
    await new Promise((resolve) => setTimeout(resolve, 300));
    await expect(kernelMount.unmount()).rejects.toMatchObject({ code: "EBUSY" });
    await kernelMount.unmount({ lazy: true });
    await reader;
    expect(await volume.readFile("/f", "utf8")).toBe("done\n");
  });
});

it("what cannot be mounted is refused", async () => {
  await begin();
  using ram = await mountRam({ size: SIZE });
  await expect(mountInKernel(ram, "/mnt")).rejects.toMatchObject({ code: "EOPNOTSUPP" });
  await expect(mountInKernel(volume, "/nowhere")).rejects.toMatchObject({ code: "ENOENT" });
  for (const options of [
    { writeback: true },
    { accessTimes: "often" as "always" },
    { synchronous: "often" as "all" },
  ]) {
    await expect(mountInKernel(volume, "/mnt", options)).rejects.toMatchObject({ code: "EINVAL" });
  }
});

it("a process that ends without unmounting leaves no mount behind, and does not hang", async () => {
  await begin();
  await kernelMount.unmount();
  await volume.close();
  const [index, fuse] = ["index.ts", "fuse/index.ts"].map((path) => builtModule(path).href);
  const program = `
    const { mount } = await import("${index}");
    const { mountInKernel } = await import("${fuse}");
    await mountInKernel(await mount(process.argv[1]), process.argv[2]);
    process.exit(3);`;
  const args = ["--input-type=module", "-e", program, shared.scratch.file("image"), place.path];
  const ended = promisify(execFile)(process.execPath, args, { timeout: 60_000 });
  await expect(ended).rejects.toMatchObject({ code: 3 });
  expect(mountOn(place.path)).toBe(null);
});

it("what is written by O_SYNC and O_DSYNC is there when the server is killed at once", async () => {
  await begin();
  await kernelMount.unmount();
  await volume.close();
  const [index, fuse] = ["index.ts", "fuse/index.ts"].map((path) => builtModule(path).href);
  const writes = `import os, sys
for name, flag in ("dsync", os.O_DSYNC), ("sync", os.O_SYNC):
    os.write(os.open(name, os.O_CREAT | os.O_WRONLY | flag), name.encode() * 1000)`;
  const program = `
    import { execFile } from "node:child_process";
    import { promisify } from "node:util";
    const { mount } = await import("${index}");
    const { mountInKernel } = await import("${fuse}");
    const [, image, place] = process.argv;
    await mountInKernel(await mount(image, { commitSeconds: 0 }), place);
    await promisify(execFile)("python3", ["-c", ${JSON.stringify(writes)}], { cwd: place });
    process.kill(process.pid, "SIGKILL");`;
  const image = shared.scratch.file("image");
  const args = ["--input-type=module", "-e", program, image, place.path];
  const ended = promisify(execFile)(process.execPath, args, { timeout: 60_000 });
  await expect(ended).rejects.toMatchObject({ signal: "SIGKILL" });
  await vi.waitFor(() => expect(mountOn(place.path)).toBe(null), { timeout: 20_000 });
  volume = await mount(image);
  for (const name of ["dsync", "sync"]) {
    expect(await volume.readFile(`/${name}`, "utf8")).toBe(name.repeat(1000));
  }
  await volume.close();
});

it("each reading by programs sets the time of access where that is asked for, and none by the API", async () => {
  await begin({ accessTimes: "always" });
  await volume.writeFile("/f", "text");
  const changes = async (read: () => Promise<unknown>): Promise<boolean> => {
    const before = (await volume.stat("/f")).atimeMs;
    await wait(15);
    await read();
    return (await volume.stat("/f")).atimeMs !== before;
  };
  expect(await changes(() => volume.readFile("/f"))).toBe(false);
  for (let turn = 0; turn < 2; turn++) expect(await changes(() => shell("cat f"))).toBe(true);
  expect(await changes(() => shell("stat f"))).toBe(false);
});
