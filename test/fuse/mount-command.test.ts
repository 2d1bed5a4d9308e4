// `holdfast mount` and `holdfast umount` as people use them, through the built program.

import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { chownSync, existsSync, readdirSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { describe, expect } from "vitest";
import { mountOn } from "../../src/fuse/mount-table.ts";
import { e2fsckClean, run, skipUnless, temporaryDirectory } from "../support/tools.ts";
import { holdfast, Mounted, needs, program } from "./mounted.ts";

const SIZE = 32 * 2 ** 20;

async function until(what: string, isSo: () => boolean): Promise<void> {
  for (const begin = Date.now(); Date.now() - begin < 20_000; ) {
    if (isSo()) return;
    await pause(50);
  }
  throw new Error(`it never came to be that ${what}`);
}

/** The process that serves a mount in the background. */
function serverOf({ image }: Mounted): number {
  const { stdout } = run("pgrep", ["-f", `^${process.execPath} .*mount .*${image} `]);
  return Number(stdout.trim().split("\n")[0]);
}

describe("in the background", () => {
  const it = skipUnless(...needs);

  it("it returns when the mount can be used, and umount when the volume is in order", () => {
    using mounted = new Mounted(SIZE);
    expect(holdfast("mount", mounted.image, mounted.directory)).toMatchObject({
      code: 0,
      stdout: "",
      stderr: "",
    });
    const { stdout } = run("df", ["-T", mounted.directory]);
    expect(stdout).toContain("fuse.holdfast");
    expect(stdout).toContain(mounted.image);
    writeFileSync(mounted.file("x"), "text");
    mounted.unmount();
    expect(readdirSync(mounted.directory)).toEqual([]);
    mounted.with(() => expect(readFileSync(mounted.file("x"), "utf8")).toBe("text"));
  });

  skipUnless(...needs, "mount.fuse3")("mount(8) and /etc/fstab mount it as a type", () => {
    using mounted = new Mounted(SIZE);
    using programs = temporaryDirectory();
    const script = `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`;
    writeFileSync(programs.file("holdfast"), script, { mode: 0o755 });
    const path = `PATH=${programs.path}:/usr/sbin:/sbin:/usr/bin:/bin`;
    const words = "rw,noexec,relatime,x-systemd.automount,noauto";
    const args = [mounted.image, mounted.directory, "-t", "fuse.holdfast", "-o", words];
    expect(run("env", [path, "mount.fuse3", ...args])).toMatchObject({ code: 0, stderr: "" });
    const { stdout } = run("findmnt", ["-no", "FSTYPE,OPTIONS", mounted.directory]);
    expect(stdout).toMatch(/^fuse\.holdfast rw,noexec,relatime,/);
    mounted.unmount();
    expect(run("env", [path, "mount.fuse3", ...args, "-o", "bad"])).toMatchObject({
      stderr: expect.stringContaining("-o does not know 'bad'"),
    });
    expect(mountOn(mounted.directory)).toBe(null);
  });

  it("remount changes what can be changed, and refuses the rest", () => {
    using mounted = new Mounted(SIZE);
    mounted.mount("-o", "dirsync,nodiratime");
    const { image, directory } = mounted;
    const remount = (words: string) =>
      holdfast("mount", "-o", `remount,${words}`, image, directory);
    const shown = (): string => mountOn(directory)?.options.join() ?? "";
    const before = shown();
    const file = openSync(mounted.file("x"), "w");
    expect(remount("ro")).toMatchObject({ code: 1, stderr: expect.stringContaining("are open") });
    closeSync(file);
    // As mount(8) does, with what the mount table says as well.
    expect(remount("ro,dirsync,allow_other,user_id=0")).toMatchObject({ code: 0, stderr: "" });
    expect(shown()).toBe(before.replaceAll("rw", "ro"));
    expect(() => writeFileSync(mounted.file("y"), "text")).toThrow("EROFS");
    expect(remount("rw,suid,noexec")).toMatchObject({ code: 0, stderr: "" });
    expect(shown()).toBe(before.replace("nosuid,nodev", "nodev,noexec"));
    writeFileSync(mounted.file("y"), "text");
    expect(remount("threads=2,discard")).toMatchObject({
      code: 0,
      stderr: "holdfast: remount does not change threads=2, discard\n",
    });
    for (const word of ["sync", "no-such-word"]) {
      expect(remount(word)).toMatchObject({
        code: 2,
        stderr: expect.stringContaining(`'${word}'`),
      });
    }
    mounted.unmount();
    mounted.mount("-o", "ro");
    const isRead = expect.stringContaining("is served to be read only");
    expect(remount("rw")).toMatchObject({ code: 1, stderr: isRead });
    expect(shown()).toContain("ro,");
    mounted.unmount();
    const stderr = expect.stringContaining("nothing is mounted");
    expect(remount("ro")).toMatchObject({ code: 1, stderr });
  });

  it("umount(8) unmounts it, too", async () => {
    using mounted = new Mounted(SIZE);
    mounted.mount();
    const server = serverOf(mounted);
    writeFileSync(mounted.file("x"), "text");
    expect(run("umount", [mounted.directory]).code).toBe(0);
    await until("the server ends", () => !existsSync(`/proc/${server}`));
    expect(e2fsckClean(mounted.image)).toMatchObject({ clean: true });
  });

  it("what is mounted, and its type, are shown as they were asked for", () => {
    using mounted = new Mounted(SIZE);
    mounted.mount("-o", "fsname=some\\name,subtype=");
    const entry = mountOn(mounted.directory);
    expect(entry).toMatchObject({ type: "fuse", source: "some\\name" });
    mounted.unmount();
  });

  it("read-only it changes nothing", () => {
    using mounted = new Mounted(SIZE);
    const before = readFileSync(mounted.image);
    mounted.mount("-o", "ro");
    expect(() => writeFileSync(mounted.file("x"), "")).toThrow("EROFS");
    mounted.unmount();
    expect(Buffer.compare(readFileSync(mounted.image), before)).toBe(0);
  });

  it("what cannot be is refused in one line, with an exit code that tells", () => {
    using mounted = new Mounted(SIZE);
    const { image, directory } = mounted;
    const cases: readonly (readonly [string[], number, RegExp])[] = [
      [["mount", `${image}.no`, directory], 1, /ENOENT/],
      [["mount", image, `${directory}/no`], 1, /ENOENT/],
      [["mount", image, image], 1, /ENOTDIR/],
      [["mount", "-o", "rw,bogus", image, directory], 2, /-o does not know 'bogus'/],
      [["mount", image], 2, /directory/],
      [["umount", directory], 1, /nothing is mounted/],
      [["umount", "/"], 1, /use umount/],
    ];
    for (const [args, code, message] of cases) {
      const outcome = holdfast(...args);
      expect(outcome).toMatchObject({ code, stdout: "" });
      expect(outcome.stderr).toMatch(message);
    }
    mounted.mount();
    const twice = holdfast("mount", image, directory);
    expect(twice.code).toBe(1);
    expect(twice.stderr).toMatch(/in use by process \d+/);
    mounted.unmount();
  });

  it("while it is in use umount refuses, or ends what uses it", () => {
    using mounted = new Mounted(SIZE);
    mounted.mount();
    writeFileSync(mounted.file("x"), "text");
    const fd = openSync(mounted.file("x"), "r+");
    const refused = holdfast("umount", mounted.directory);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/in use/);
    expect(holdfast("umount", "--force", mounted.directory)).toMatchObject({ code: 0, stderr: "" });
    expect(mountOn(mounted.directory)).toBe(null);
    closeSync(fd);
    expect(e2fsckClean(mounted.image)).toMatchObject({ clean: true });
    mounted.with(() => expect(readFileSync(mounted.file("x"), "utf8")).toBe("text"));
  });

  it("a server that is killed leaves no mount behind, and a volume that can be mounted", async () => {
    using mounted = new Mounted(SIZE);
    mounted.mount();
    writeFileSync(mounted.file("x"), "text");
    const fd = openSync(mounted.directory, "r");
    run("sync", ["-f", mounted.directory]);
    const kept = openSync(mounted.file("x"), "r");
    run("python3", ["-c", "import os,sys; os.fsync(os.open(sys.argv[1], 0))", mounted.file("x")]);
    closeSync(kept);
    closeSync(fd);
    process.kill(serverOf(mounted), "SIGKILL");
    await until("the mount is gone", () => mountOn(mounted.directory) === null);
    expect(readdirSync(mounted.directory)).toEqual([]);
    mounted.with(() => expect(readFileSync(mounted.file("x"), "utf8")).toBe("text"));
  });

  it("a signal to the server unmounts, also while programs use it", async () => {
    using mounted = new Mounted(SIZE);
    for (const isUsed of [false, true]) {
      mounted.mount();
      writeFileSync(mounted.file("x"), "text");
      const fd = isUsed ? openSync(mounted.file("x"), "r") : null;
      const server = serverOf(mounted);
      process.kill(server, "SIGTERM");
      await until("the server ends", () => !existsSync(`/proc/${server}`));
      if (fd !== null) closeSync(fd);
      expect(mountOn(mounted.directory)).toBe(null);
      expect(e2fsckClean(mounted.image)).toMatchObject({ clean: true });
    }
  });
});

describe("in the foreground", () => {
  skipUnless(...needs)("it lasts until Ctrl-C, and ends with 0", async () => {
    using mounted = new Mounted(SIZE);
    const args = [program, "mount", "-f", mounted.image, mounted.directory];
    const child: ChildProcess = spawn(process.execPath, args, {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let said = "";
    child.stderr!.on("data", (chunk: Buffer) => {
      said += chunk.toString();
    });
    const exited = new Promise((resolve) => child.on("exit", resolve));
    await until("it says that it is mounted", () => said.includes("is mounted on"));
    mkdirSync(mounted.file("made"));
    child.kill("SIGINT");
    expect(await exited).toBe(0);
    expect(e2fsckClean(mounted.image)).toMatchObject({ clean: true });
  });
});

describe("by who is not root", () => {
  const it = skipUnless(...needs, "fuse for all", "fusermount3", "su");

  it("it is mounted by fusermount3, for its user alone", () => {
    using mounted = new Mounted(SIZE, ["-E", "root_owner=65534:65534"]);
    for (const path of [mounted.image, mounted.directory, dirname(mounted.image)]) {
      chownSync(path, 65534, 65534);
    }
    const asNobody = (line: string) => run("su", ["-s", "/bin/sh", "nobody", "-c", line]);
    const command = `'${process.execPath}' '${program}'`;
    const mount = asNobody(`${command} mount '${mounted.image}' '${mounted.directory}'`);
    expect(mount).toMatchObject({ code: 0, stderr: "" });
    expect(asNobody(`echo text > '${mounted.file("x")}'`).code).toBe(0);
    expect(() => readdirSync(mounted.directory)).toThrow("EACCES");
    expect(asNobody(`${command} umount '${mounted.directory}'`)).toMatchObject({ code: 0 });
    expect(e2fsckClean(mounted.image)).toMatchObject({ clean: true });
  });
});
