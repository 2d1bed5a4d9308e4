// holdfast fsck: what is wrong with a volume is told in lines or as JSON, with the exit codes of fsck(8).

import { execFileSync } from "node:child_process";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { root } from "../../scripts/tree.js";
import { FINDING_CODES } from "../../src/drivers/ext/index.ts";
import { mkfsExt4, runOk, skipUnless, temporaryDirectory } from "../support/tools.ts";
import { inProcess } from "./program.ts";

const fsck = (args: readonly string[], isTTY = false) => inProcess(["fsck", ...args], isTTY);

const MIB = 2 ** 20;

describe("holdfast fsck", () => {
  test("--help has examples and the exit codes, within 100 columns", async () => {
    const { code, out } = await fsck(["--help"]);
    expect(code).toBe(0);
    expect(out).toMatch(/Examples:\n/);
    expect(out).toMatch(/0 clean; 4 errors/);
    for (const line of out.split("\n")) expect(line.length).toBeLessThanOrEqual(100);
  });

  test.each([
    [[], /give an image file or a block device/],
    [["a", "b"], /give one image, not 2/],
    [["--jsn", "a"], /unknown option '--jsn'; did you mean '--json'\?/],
    [["--max", "many", "a"], /--max takes a whole number/],
  ])("wrong usage ends with 16: %j", async (args, message) => {
    const { code, out, error } = await fsck(args);
    expect([code, out]).toEqual([16, ""]);
    expect(error).toMatch(message);
    expect(error).toContain("Try 'holdfast fsck --help'.");
  });

  skipUnless("mkfs.ext4")("a clean volume is one line and exit code 0", async () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    mkfsExt4(image, 16 * MIB);
    const { code, out, error } = await fsck([image]);
    expect([code, error]).toEqual([0, ""]);
    expect(out).toMatch(
      /^\S+: clean \(16\.0 MiB, 4 inodes, 2 directories in use, checked in .+\)\n$/,
    );
    expect((await fsck([image], true)).out).toContain("\u001b[32mclean\u001b[39m");
  });

  skipUnless("mkfs.ext4", "debugfs")("errors are a line each and exit code 4", async () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    mkfsExt4(image, 16 * MIB);
    const file = directory.file("file");
    writeFileSync(file, "content");
    const commands = `mkdir sub\nwrite ${file} sub/name\nsif sub/name links_count 7\nsif sub/name size 50000000\n`;
    runOk("debugfs", ["-w", "-f", "-", image], commands);
    runOk("debugfs", ["-w", "-R", "sif sub/name blocks 9", image]);
    const { code, out } = await fsck([image]);
    expect(code).toBe(4);
    expect(out.split("\n")).toEqual([
      expect.stringMatching(
        /^inode \d+: i_blocks is 9, expected \d \(\/sub\/name\) \[inode-blocks\]$/,
      ),
      expect.stringMatching(
        /^inode \d+: i_links_count is 7, .* 1 times \(\/sub\/name\) \[link-count\]$/,
      ),
      "",
      expect.stringMatching(/^\S+: 2 errors; e2fsck repairs them \(/),
      "",
    ]);
    const short = await fsck(["--max", "1", image]);
    expect(short.out).toMatch(/\[inode-blocks\]\nand 1 more; --max N prints N of them\n\n/);
    const json = await fsck(["--json", image]);
    expect([json.code, json.error]).toEqual([4, ""]);
    expect(json.out.trim().split("\n")).toHaveLength(1);
    expect(JSON.parse(json.out)).toMatchObject({
      verdict: "errors",
      findingsTotal: 2,
      findings: [
        { code: "inode-blocks", path: "/sub/name", field: "i_blocks", value: 9 },
        { code: "link-count", path: "/sub/name", field: "i_links_count", value: 7, expected: 1 },
      ],
    });
  });

  test("what is no volume, and what is not there, end with 8", async () => {
    using directory = temporaryDirectory();
    const file = directory.file("zeroes");
    writeFileSync(file, "");
    truncateSync(file, MIB);
    const refused = await fsck([file]);
    expect(refused.code).toBe(8);
    expect(refused.out).toMatch(/: cannot be checked: no ext superblock was found/);
    const missing = await fsck([directory.file("missing")]);
    expect([missing.code, missing.out]).toEqual([8, ""]);
    expect(missing.error).toMatch(/^holdfast: ENOENT: /);
  });

  skipUnless("mkfs.ext4")("the program itself ends with these codes", () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    mkfsExt4(image, 16 * MIB);
    const main = join(root, "dist/cli/main.js");
    expect(execFileSync(process.execPath, [main, "fsck", image], { encoding: "utf8" })).toContain(
      ": clean (",
    );
  });

  test("docs/fsck.md lists every code with what it says", () => {
    const page = readFileSync(join(root, "docs/fsck.md"), "utf8");
    for (const [code, says] of Object.entries(FINDING_CODES)) {
      expect(page).toContain(`| \`${code}\` | ${says} |`);
    }
    expect(page.match(/^\| `[a-z-]+` \|/gm)).toHaveLength(Object.keys(FINDING_CODES).length);
  });
});
