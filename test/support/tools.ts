// What tests need of the machine: Debian's filesystem tools, loop mounts, and directories that vanish.

import { spawnSync } from "node:child_process";
import {
  accessSync,
  constants,
  existsSync,
  mkdtempSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { pathToFileURL } from "node:url";
import { test } from "vitest";
import { dist } from "../../scripts/tree.js";

export interface Outcome {
  /** Exit code, or null when a signal ended the program. */
  code: number | null;
  stdout: string;
  stderr: string;
}

// Debian keeps the filesystem tools where an ordinary user's PATH does not look.
const searchPath = [process.env["PATH"] ?? "", "/usr/sbin", "/sbin"].join(delimiter);

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Whether a program of this name is installed. */
export function hasTool(name: string): boolean {
  return searchPath.split(delimiter).some((directory) => isExecutable(join(directory, name)));
}

export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/** Who is not root opens /dev/fuse by its permissions. */
function isFuseForAll(): boolean {
  const stats = statSync("/dev/fuse", { throwIfNoEntry: false });
  return stats !== undefined && (stats.mode & 0o006) === 0o006;
}

function missingNeed(need: string): string | null {
  if (need === "root") return isRoot() ? null : "this needs root";
  if (need === "loop mounts") return canLoopMount() ? null : "this machine refuses loop mounts";
  if (need === "fuse") return existsSync("/dev/fuse") ? null : "this machine has no /dev/fuse";
  if (need === "fuse for all") return isFuseForAll() ? null : "/dev/fuse is not for all users here";
  return hasTool(need) ? null : `${need} is not installed`;
}

const reasonsPrinted = new Set<string>();

/**
 * `test`, or `test.skip` when a need is not met; the reason is printed once per file. A need is the name of
 * a program, or "root", "fuse", "fuse for all" or "loop mounts": `skipUnless("root", "e2fsck")("verdict", () => …)`.
 */
export function skipUnless(...needs: string[]): typeof test | typeof test.skip {
  const reasons = needs.map(missingNeed).filter((reason) => reason !== null);
  for (const reason of reasons) {
    if (!reasonsPrinted.has(reason)) process.stderr.write(`tests skipped: ${reason}\n`);
    reasonsPrinted.add(reason);
  }
  return reasons.length === 0 ? test : test.skip;
}

/** Runs a program to its end and captures what it printed. Throws only when it cannot be started. */
export function run(
  command: string,
  args: readonly string[],
  input?: string | Uint8Array,
): Outcome {
  const result = spawnSync(command, args, {
    encoding: "utf8",
    env: { ...process.env, PATH: searchPath, LC_ALL: "C" },
    maxBuffer: 256 * 1024 * 1024,
    ...(input === undefined ? {} : { input }),
  });
  if (result.error !== undefined) throw result.error;
  return { code: result.status, stdout: result.stdout, stderr: result.stderr };
}

/** Like `run`, but a program that fails is an error that shows what it printed. Returns its stdout. */
export function runOk(
  command: string,
  args: readonly string[],
  input?: string | Uint8Array,
): string {
  const { code, stdout, stderr } = run(command, args, input);
  if (code !== 0) {
    throw new Error(`${[command, ...args].join(" ")} ended with ${code}\n${stdout}${stderr}`);
  }
  return stdout;
}

export interface TemporaryDirectory extends Disposable {
  readonly path: string;
  /** A path inside the directory. */
  file(name: string): string;
}

const directoriesToRemove = new Set<string>();
process.on("exit", () => {
  for (const path of directoriesToRemove) rmSync(path, { recursive: true, force: true });
});

/**
 * A fresh directory, in memory (/dev/shm) where the machine has that. It goes when it is disposed, and
 * when the process ends at the latest.
 */
export function temporaryDirectory(parent?: string): TemporaryDirectory {
  const inMemory = "/dev/shm";
  const path = mkdtempSync(
    join(parent ?? (isExecutable(inMemory) ? inMemory : tmpdir()), "holdfast-"),
  );
  directoriesToRemove.add(path);
  return {
    path,
    file: (name) => join(path, name),
    [Symbol.dispose]() {
      rmSync(path, { recursive: true, force: true });
      directoriesToRemove.delete(path);
    },
  };
}

/** Makes a sparse image file of the given size, all zeroes. */
export function sparseFile(path: string, sizeBytes: number): void {
  writeFileSync(path, "");
  truncateSync(path, sizeBytes);
}

/** Makes an ext image with mke2fs. For ext2 and ext3 pass ["-t", "ext2"]; later options win. */
export function mkfsExt4(path: string, sizeBytes: number, extraArgs: readonly string[] = []): void {
  sparseFile(path, sizeBytes);
  runOk("mkfs.ext4", ["-q", "-F", ...extraArgs, path]);
}

/** Forced, read-only check. Clean means e2fsck found nothing to say: exit code 0. */
export function e2fsckClean(path: string): { clean: boolean; output: string } {
  const { code, stdout, stderr } = run("e2fsck", ["-f", "-n", path]);
  return { clean: code === 0, output: stdout + stderr };
}

export interface LoopMount extends Disposable {
  readonly directory: string;
  unmount(): void;
}

/**
 * Mounts an image with the kernel's own driver; root only. Options are those of `mount -o`, for example
 * ["ro", "noload"]. Unmounts when disposed.
 */
export function loopMount(
  image: string,
  directory: string,
  options: readonly string[] = [],
): LoopMount {
  runOk("mount", ["-o", ["loop", ...options].join(","), image, directory]);
  let isMounted = true;
  const unmount = (): void => {
    if (!isMounted) return;
    runOk("umount", [directory]);
    isMounted = false;
  };
  return { directory, unmount, [Symbol.dispose]: unmount };
}

let loopMountsWork: boolean | undefined;

/** Whether this machine lets us mount an ext4 image: a container often does not, even as root. */
export function canLoopMount(): boolean {
  loopMountsWork ??= isRoot() && hasTool("mkfs.ext4") && tryLoopMount();
  return loopMountsWork;
}

function tryLoopMount(): boolean {
  using scratch = temporaryDirectory();
  using place = temporaryDirectory();
  mkfsExt4(scratch.file("image"), 4 * 1024 * 1024);
  try {
    loopMount(scratch.file("image"), place.path).unmount();
    return true;
  } catch {
    return false;
  }
}

/**
 * The address of a built module, for `new Worker(…)`. Pass its path below src: "window/pager.ts".
 */
export function builtModule(path: string): URL {
  return pathToFileURL(join(dist, path.replace(/\.ts$/, ".js")));
}
