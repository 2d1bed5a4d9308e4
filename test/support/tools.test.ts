import { existsSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import {
  builtModule,
  e2fsckClean,
  hasTool,
  loopMount,
  mkfsExt4,
  run,
  runOk,
  skipUnless,
  temporaryDirectory,
} from "./tools.ts";

test("a tool that does not exist is not found, and the shell is", () => {
  expect(hasTool("no-such-tool")).toBe(false);
  expect(hasTool("sh")).toBe(true);
});

test("a program's output and exit code are captured", () => {
  expect(run("sh", ["-c", "cat; echo wrong >&2; exit 3"], "said")).toEqual({
    code: 3,
    stdout: "said",
    stderr: "wrong\n",
  });
  expect(() => runOk("sh", ["-c", "echo why; exit 1"])).toThrow("why");
});

test("a temporary directory goes when its scope ends", () => {
  let path: string;
  {
    using directory = temporaryDirectory();
    path = directory.path;
    writeFileSync(directory.file("x"), "x");
    expect(existsSync(path)).toBe(true);
  }
  expect(existsSync(path)).toBe(false);
});

test("a built module's address is a file of dist", () => {
  expect(builtModule("sync/x.ts").pathname).toMatch(/\/dist\/sync\/x\.js$/);
});

skipUnless(
  "mkfs.ext4",
  "e2fsck",
  "debugfs",
)("e2fsck tells a clean image from a damaged one", () => {
  using directory = temporaryDirectory();
  const image = directory.file("image");
  mkfsExt4(image, 8 * 1024 * 1024, ["-b", "4096"]);
  expect(e2fsckClean(image)).toMatchObject({ clean: true });
  runOk("debugfs", ["-w", "-R", "set_inode_field <2> links_count 99", image]);
  expect(e2fsckClean(image)).toMatchObject({ clean: false });
});

skipUnless("loop mounts")("a loop mount ends with its scope", () => {
  using directory = temporaryDirectory();
  using place = temporaryDirectory();
  mkfsExt4(directory.file("image"), 8 * 1024 * 1024);
  {
    using mounted = loopMount(directory.file("image"), place.path, ["noatime"]);
    writeFileSync(`${mounted.directory}/file`, "x");
    expect(existsSync(`${place.path}/lost+found`)).toBe(true);
  }
  expect(existsSync(`${place.path}/file`)).toBe(false);
});
