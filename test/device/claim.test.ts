import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { reserveAddresses, unmapAddresses } from "../../src/device/address-space.ts";
import { openDevice } from "../../src/device/open.ts";
import { runOk, skipUnless, sparseFile, temporaryDirectory } from "../support/tools.ts";

const holder = fileURLToPath(new URL("./workers/claim.mjs", import.meta.url));

/** Another process that has claimed `path`; it lets go when its standard input ends. */
async function claimElsewhere(path: string, mode: "writing" | "read-only"): Promise<ChildProcess> {
  const child = spawn(process.execPath, [holder, path, mode], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  return child;
}

async function letGo(child: ChildProcess): Promise<void> {
  child.stdin?.end();
  await once(child, "exit");
}

function refusalNaming(who: string) {
  return expect.objectContaining({
    code: "EBUSY",
    message: expect.stringContaining(`is in use by ${who}`),
  });
}

describe("a claim for writing", () => {
  test("keeps this process's other opens away", () => {
    using directory = temporaryDirectory();
    sparseFile(directory.file("image"), 8192);
    const device = openDevice(directory.file("image"));
    const busy = refusalNaming("this process already");
    expect(() => openDevice(directory.file("image"))).toThrow(busy);
    expect(() => openDevice(directory.file("image"), { readOnly: true })).toThrow(busy);
    device.bytes(0, 1);
    device.close();
    openDevice(directory.file("image")).close();
  });

  test("keeps other processes away, naming the holder, until it ends", async () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    sparseFile(path, 8192);
    const child = await claimElsewhere(path, "writing");
    const busy = refusalNaming(`process ${child.pid} (`);
    expect(() => openDevice(path)).toThrow(busy);
    expect(() => openDevice(path, { readOnly: true })).toThrow(busy);
    await letGo(child);
    openDevice(path).close();
  });

  test("ends with the device, though a range of it is still shown somewhere", () => {
    using directory = temporaryDirectory();
    sparseFile(directory.file("image"), 8192);
    const device = openDevice(directory.file("image"));
    const address = reserveAddresses(8192);
    device.mapFixed(address, 0, 8192, "shared", true);
    device.close();
    openDevice(directory.file("image")).close();
    unmapAddresses(address, 8192);
  });

  test("ends with a holder that is killed", async () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    sparseFile(path, 8192);
    const child = await claimElsewhere(path, "writing");
    child.kill("SIGKILL");
    await once(child, "exit");
    openDevice(path).close();
  });

  test("names the right holder among images with equal inode numbers", async () => {
    using directory = temporaryDirectory();
    using other = temporaryDirectory();
    sparseFile(directory.file("a"), 8192);
    sparseFile(other.file("b"), 8192);
    const a = await claimElsewhere(directory.file("a"), "writing");
    const b = await claimElsewhere(other.file("b"), "writing");
    expect(() => openDevice(directory.file("a"))).toThrow(refusalNaming(`process ${a.pid} (`));
    expect(() => openDevice(other.file("b"))).toThrow(refusalNaming(`process ${b.pid} (`));
    await Promise.all([letGo(a), letGo(b)]);
  });
});

describe("a claim for reading", () => {
  test("is shared with readers and keeps writers away", async () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    sparseFile(path, 8192);
    const child = await claimElsewhere(path, "read-only");
    const reader = openDevice(path, { readOnly: true });
    expect(() => openDevice(path)).toThrow(expect.objectContaining({ code: "EBUSY" }));
    reader.close();
    expect(() => openDevice(path)).toThrow(refusalNaming(`process ${child.pid} (`));
    await letGo(child);
    openDevice(path).close();
  });
});

describe("a claim on a block device", () => {
  skipUnless("root", "losetup")("keeps other processes away, naming the holder", async () => {
    using directory = temporaryDirectory();
    sparseFile(directory.file("image"), 2 ** 20);
    const path = runOk("losetup", ["--find", "--show", directory.file("image")]).trim();
    try {
      const writer = await claimElsewhere(path, "writing");
      const busy = refusalNaming(`process ${writer.pid} (`);
      expect(() => openDevice(path)).toThrow(busy);
      expect(() => openDevice(path, { readOnly: true })).toThrow(busy);
      await letGo(writer);
      const reader = await claimElsewhere(path, "read-only");
      openDevice(path, { readOnly: true }).close();
      expect(() => openDevice(path)).toThrow(refusalNaming(`process ${reader.pid} (`));
      await letGo(reader);
      openDevice(path).close();
    } finally {
      runOk("losetup", ["--detach", path]);
    }
  });
});
