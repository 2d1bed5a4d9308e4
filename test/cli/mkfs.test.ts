// `holdfast mkfs`: its options, what it prints, and how it ends.

import { statSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parseMkfsOptions } from "../../src/cli/mkfs/options.ts";
import { temporaryDirectory } from "../support/tools.ts";
import { inProcess } from "./program.ts";

const runMkfs = (...args: string[]) => inProcess(["mkfs", ...args]);

describe("holdfast mkfs", () => {
  test("where no file can be made, it says where, and why", async () => {
    using directory = temporaryDirectory();
    const { code, error } = await runMkfs(directory.file("none/disk.img"), "-s", "16M");
    expect(code).toBe(1);
    expect(error).toMatch(/'\S+none\/disk\.img' cannot be opened: no such file or directory\n$/);
  });

  test("--help documents every option, with examples, within 100 columns", async () => {
    const { code, out } = await runMkfs("--help");
    expect(code).toBe(0);
    for (const option of [
      ...["type", "size", "block-size", "label", "uuid", "features", "journal-size", "inodes"],
      ...["inode-ratio", "inode-size", "reserved", "hash-seed", "time", "from", "force", "json"],
    ]) {
      expect(out).toMatch(new RegExp(`^ {2}(-\\w, )?--${option}\\b`, "m"));
    }
    expect(out).toContain("Examples:");
    for (const line of out.split("\n")) expect(line.length, line).toBeLessThanOrEqual(100);
  });

  test("makes a volume and says what it is, without colour where that is no terminal", async () => {
    using directory = temporaryDirectory();
    const path = directory.file("disk.img");
    const { code, out, error } = await runMkfs(path, "-s", "64M", "-L", "data");
    expect({ code, error }).toEqual({ code: 0, error: "" });
    expect(out).toContain(`${path}: ext4, 64.0 MiB, labelled 'data'\n`);
    expect(out).toContain("65,536 blocks of 1024 bytes in 8 groups, 3,276 reserved");
    expect(out).not.toContain("\u001b");
    expect(statSync(path).size).toBe(64 * 2 ** 20);
  });

  test("--json prints one line of what was made, and nothing else", async () => {
    using directory = temporaryDirectory();
    const { code, out, error } = await runMkfs(directory.file("disk.img"), "-s", "8M", "--json");
    expect({ code, error }).toEqual({ code: 0, error: "" });
    expect(out.trimEnd().split("\n")).toHaveLength(1);
    expect(JSON.parse(out)).toMatchObject({ type: "ext4", blocks: 8192, mountable: "read-write" });
  });

  test("ends with 1 and one line where the volume cannot be made", async () => {
    using directory = temporaryDirectory();
    const path = directory.file("disk.img");
    await runMkfs(path, "-s", "8M");
    const again = await runMkfs(path, "-s", "8M");
    expect(again.code).toBe(1);
    expect(again.error).toMatch(/^holdfast: EEXIST: .* holds an ext2, ext3 or ext4 volume;.*\n$/);
    expect((await runMkfs(path, "-s", "8M", "--force")).code).toBe(0);
  });

  test.each([
    [[], /give one image/],
    [["a", "b"], /give one image/],
    [["a", "-s", "12X"], /--size takes a size/],
    [["a", "-t", "xfs"], /--type is ext2 or ext3 or ext4, not 'xfs'/],
    [["a", "-m", "60"], /--reserved takes a number from 0 to 50/],
    [["a", "-U", "1-2"], /--uuid takes a uuid/],
    [["a", "--labell", "x"], /did you mean '--label'/],
  ])("ends with 2 for wrong usage: %j", async (args, message) => {
    const { code, error } = await runMkfs(...args);
    expect(code).toBe(2);
    expect(error).toMatch(message);
    expect(error).toContain("Try 'holdfast mkfs --help'.");
  });

  test("takes its time from SOURCE_DATE_EPOCH, and --time before that", () => {
    const environment = { SOURCE_DATE_EPOCH: "1700000000" };
    expect(parseMkfsOptions(["a"], environment).options.time).toBe(1_700_000_000);
    expect(parseMkfsOptions(["a", "--time", "5"], environment).options.time).toBe(5);
    expect(parseMkfsOptions(["a"], {}).options.time).toBeUndefined();
    expect(() => parseMkfsOptions(["a"], { SOURCE_DATE_EPOCH: "now" })).toThrow(
      /SOURCE_DATE_EPOCH/,
    );
  });
});
