// holdfast trim: a volume's free blocks become holes of its image, told in a line or as JSON.

import { readFileSync, statSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { e2fsckClean, runOk, skipUnless, temporaryDirectory } from "../support/tools.ts";
import { inProcess } from "./program.ts";

const MIB = 2 ** 20;

const trim = (...args: string[]) => inProcess(["trim", ...args]);

/** An image that takes all of its bytes. */
function fullImage(path: string): void {
  writeFileSync(path, Buffer.alloc(32 * MIB, 1));
  runOk("mkfs.ext4", ["-q", "-F", "-E", "nodiscard", path]);
  writeFileSync(path, readFileSync(path));
}

describe("holdfast trim", () => {
  test("--help has examples and the exit codes, within 100 columns", async () => {
    const { code, out } = await trim("--help");
    expect(code).toBe(0);
    expect(out).toMatch(/Examples:\n/);
    expect(out).toMatch(/Exit codes: 0 done/);
    for (const line of out.split("\n")) expect(line.length).toBeLessThanOrEqual(100);
  });

  test.each([
    [[], /give an image file or a block device/],
    [["a", "b"], /give one image, not 2/],
    [["--jsn", "a"], /unknown option '--jsn'; did you mean '--json'\?/],
    [["--minimum", "much", "a"], /--minimum takes a size/],
  ])("wrong usage ends with 2: %j", async (args, message) => {
    const { code, out, error } = await trim(...args);
    expect([code, out]).toEqual([2, ""]);
    expect(error).toMatch(message);
    expect(error).toContain("Try 'holdfast trim --help'.");
  });

  skipUnless("mkfs.ext4", "e2fsck")(
    "says what was discarded, and what the file takes",
    async () => {
      using directory = temporaryDirectory();
      const image = directory.file("image");
      fullImage(image);
      const { code, out, error } = await trim(image);
      expect([code, error]).toEqual([0, ""]);
      expect(out).toMatch(
        /^\S+: 2\d\.\d MiB discarded; the file takes [\d.]+ MiB, 32\.0 MiB before \(.+\)\n$/,
      );
      expect(statSync(image).blocks * 512).toBeLessThan(12 * MIB);
      expect(e2fsckClean(image)).toMatchObject({ clean: true });
    },
  );

  skipUnless("mkfs.ext4")("--json is one line, and the limits are those of the call", async () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    fullImage(image);
    const before = statSync(image).blocks * 512;
    const { code, out } = await trim("--json", "--start", "16M", "--length", "8M", image);
    expect(code).toBe(0);
    expect(out.trim().split("\n")).toHaveLength(1);
    const { path, discarded, storedBefore, storedAfter } = JSON.parse(out);
    expect([path, storedBefore]).toEqual([image, before]);
    expect(discarded).toBeGreaterThan(3 * MIB);
    expect(discarded).toBeLessThanOrEqual(8 * MIB);
    expect(storedAfter).toBe(statSync(image).blocks * 512);
    const none = await trim("--json", "--minimum", "1T", image);
    expect(JSON.parse(none.out)).toMatchObject({ discarded: 0 });
  });

  test("what cannot be trimmed is one line, and exit code 1", async () => {
    using directory = temporaryDirectory();
    expect(await trim(directory.file("none"))).toMatchObject({ code: 1, out: "" });
    writeFileSync(directory.file("zeroes"), Buffer.alloc(MIB));
    const { code, error } = await trim(directory.file("zeroes"));
    expect(code).toBe(1);
    expect(error).toMatch(/^holdfast: EINVAL: .* holds no ext2, ext3 or ext4 volume.*\n$/);
  });
});
