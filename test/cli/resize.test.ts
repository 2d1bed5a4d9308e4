// holdfast resize: the volume in an image is made larger, and the image with it.

import { statSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { mountSync } from "../../src/index.ts";
import { e2fsckClean, mkfsExt4, skipUnless, temporaryDirectory } from "../support/tools.ts";
import { inProcess } from "./program.ts";

const resize = (args: readonly string[]) => inProcess(["resize", ...args]);

const MIB = 2 ** 20;

describe("holdfast resize", () => {
  test("--help has examples and the exit codes, within 100 columns", async () => {
    const { code, out } = await resize(["--help"]);
    expect(code).toBe(0);
    expect(out).toMatch(/Examples:\n/);
    expect(out).toMatch(/Exit codes: 0/);
    for (const line of out.split("\n")) expect(line.length).toBeLessThanOrEqual(100);
  });

  test.each([
    [[], /give an image file or a block device/],
    [["a", "1G", "b"], /give one image, and one size/],
    [["a", "large"], /SIZE takes a size from 4K to 16T \(such as 64M\), not 'large'/],
    [["--jsn", "a"], /unknown option '--jsn'; did you mean '--json'\?/],
  ])("wrong usage ends with 2: %j", async (args, message) => {
    const { code, out, error } = await resize(args);
    expect([code, out]).toEqual([2, ""]);
    expect(error).toMatch(message);
    expect(error).toContain("Try 'holdfast resize --help'.");
  });

  skipUnless("mkfs.ext4", "e2fsck")("an image grows with its volume", async () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    mkfsExt4(image, 20 * MIB, ["-b", "1024"]);
    const { code, out, error } = await resize([image, "100M"]);
    expect([code, error]).toEqual([0, ""]);
    expect(out).toMatch(/: ext4, 100 MiB \(20\.0 MiB before, made larger in .+\)\n$/);
    expect(statSync(image).size).toBe(100 * MIB);
    expect(e2fsckClean(image)).toMatchObject({ clean: true });
    const again = await resize(["--json", image]);
    expect(again.code).toBe(0);
    expect(JSON.parse(again.out)).toMatchObject({
      path: image,
      type: "ext4",
      sizeBefore: 100 * MIB,
      size: 100 * MIB,
    });
    expect((await resize([image])).out).toMatch(/100 MiB \(as before\)\n$/);
  });

  skipUnless("mkfs.ext4")("what cannot be done ends with 1, and says why", async () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    mkfsExt4(image, 20 * MIB);
    const smaller = await resize([image, "10M"]);
    expect([smaller.code, smaller.out]).toEqual([1, ""]);
    expect(smaller.error).toMatch(/cannot be made smaller/);
    using volume = mountSync(image);
    expect(volume.size).toBe(20 * MIB);
    const busy = await resize([image, "30M"]);
    expect([busy.code, busy.out]).toEqual([1, ""]);
    expect(busy.error).toMatch(/EBUSY/);
  });
});
