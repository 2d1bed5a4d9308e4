// holdfast trace: what a program's volumes do is told beside the program, or recorded and told later.

import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { root } from "../../scripts/tree.js";
import { type Outcome, temporaryDirectory } from "../support/tools.ts";
import { holdfast } from "./program.ts";

/** Pins a page, truncates the file meanwhile; a second volume only if asked. */
const PROGRAM = `
  import { mountRamSync } from "${root}/dist/index.js";
  import { setTimeout as sleep } from "node:timers/promises";
  const volume = mountRamSync({ size: 2 ** 24, regionBytes: 2 ** 28 });
  const file = volume.openSync("/data", "w+");
  file.writeSync(new Uint8Array(8192).fill(1), 0);
  const pin = file.pinSync(0, 4096);
  const truncated = file.truncate(0);
  await sleep(20);
  pin.release();
  await truncated;
  console.log("told by the program");
  if (process.argv[2] === "blocked") {
    const until = performance.now() + 100;
    while (performance.now() < until) file.truncateSync(0);
  }
  if (process.argv[2] === "killed") process.kill(process.pid, "SIGKILL");
  if (process.argv[2] !== "left") {
    file.closeSync();
    volume.closeSync();
  }
  process.exitCode = 7;
`;

const trace = (...args: string[]): Outcome => holdfast("trace", ...args);

interface Line {
  readonly event: string;
  readonly timeMs: number;
}

const recordsOf = (text: string): Line[] =>
  text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Line)
    .filter(({ event }) => event !== undefined);

describe("holdfast trace", () => {
  test("tells events beside the program's own output, then the counts, and ends as the program does", () => {
    using directory = temporaryDirectory();
    const program = directory.file("program.mjs");
    writeFileSync(program, PROGRAM);
    const { code, stdout, stderr } = trace("--", process.execPath, program);
    expect(code).toBe(7);
    expect(stdout).toBe("told by the program\n");
    expect(stderr).toMatch(/^thread-0 +0\.000000 {2}transaction_begin$/m);
    expect(stderr).toMatch(/break_busy +ino 2 page 0 to the end busyPage 0$/m);
    expect(stderr).toMatch(/^break_busy +1$/m);
    expect(stderr).not.toContain("\u001b");
  });

  test("records to a file what was asked for, all of it, though the program blocks and does not close", () => {
    using directory = temporaryDirectory();
    const program = directory.file("program.mjs");
    const file = directory.file("trace");
    writeFileSync(program, PROGRAM);
    for (const how of ["closed", "left", "blocked"]) {
      const asked = ["--events", "pin,break", "-o", file, "--", process.execPath, program, how];
      const { code, stderr } = trace(...asked);
      expect(code).toBe(7);
      expect(stderr).toMatch(/^unpin +1$/m);
      expect(stderr).not.toContain("thread-0");
      const recorded = readFileSync(file, "utf8");
      const records = recordsOf(recorded);
      expect(records.slice(0, 7).map(({ event }) => event)).toEqual([
        "pin_slow",
        "break_announce",
        "break_busy",
        "unpin",
        "break_wake",
        "break_announce",
        "break_done",
      ]);
      expect(recorded).toContain('{"end":{"volume":"memory","lost":0}}');
      const read = trace("--read", file);
      expect(read.code).toBe(0);
      expect(read.stdout).toMatch(/^thread-0 +0\.000000 {2}pin_slow +ino 2 page 0 pages 1 read$/m);
      const json = trace("--read", file, "--json");
      expect(recordsOf(json.stdout)).toEqual(records);
    }
  });

  test("a program that a signal ends gives 128 and its number", () => {
    using directory = temporaryDirectory();
    const program = directory.file("program.mjs");
    writeFileSync(program, PROGRAM);
    const { code } = trace("--", process.execPath, program, "killed");
    expect(code).toBe(128 + 9);
  });

  test("says so when no volume was mounted, and when the program cannot be run", () => {
    expect(trace("--", process.execPath, "-e", "0")).toMatchObject({
      code: 0,
      stderr: "no volume was mounted\n",
    });
    expect(trace("--", "no-such-program")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("cannot run 'no-such-program'"),
    });
  });

  test("wrong usage ends with 2 and says what to give", () => {
    for (const [args, message] of [
      [[], "give a program after '--', or a file with --read"],
      [["--read", "file", "--", "node"], "--read prints a file; it runs no program"],
      [["--read", "file", "-o", "other"], "--read writes no file"],
      [["--events", "pins", "--", "node"], "did you mean 'pin'?"],
      [["--records", "0", "--", "node"], "--records takes a whole number"],
    ] as const) {
      const { code, stderr } = trace(...args);
      expect(code).toBe(2);
      expect(stderr).toContain(message);
    }
  });

  test("a file that is no recording is refused", () => {
    using directory = temporaryDirectory();
    const file = directory.file("other");
    writeFileSync(file, "something else\n");
    expect(trace("--read", file)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("not a recording of 'holdfast trace': something else"),
    });
    expect(trace("--read", directory.file("none"))).toMatchObject({ code: 1 });
  });

  test("--help documents every option, within 100 columns", () => {
    const { code, stdout } = trace("--help");
    expect(code).toBe(0);
    for (const option of ["--events", "--records", "-o, --output", "--read", "--json", "--help"]) {
      expect(stdout).toMatch(new RegExp(`^ {2}${option}\\b`, "m"));
    }
    for (const line of stdout.split("\n")) expect(line.length).toBeLessThanOrEqual(100);
  });
});
