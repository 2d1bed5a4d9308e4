// The command line: help, options, exit codes, and what goes to which stream.

import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { describe, expect, test } from "vitest";
import { root } from "../../scripts/tree.js";
import { parseCollideOptions } from "../../src/cli/collide/options.ts";
import { COMMANDS } from "../../src/cli/command-table.ts";
import { formatBytes, formatCount, formatMs, plural, Terminal } from "../../src/cli/terminal.ts";
import { nearest } from "../../src/cli/usage.ts";
import { capture, inProcess } from "./program.ts";

describe("the program", () => {
  test("--help names every command and ends with 0", async () => {
    const { code, out, error } = await inProcess(["--help"]);
    expect(code).toBe(0);
    expect(error).toBe("");
    for (const name of Object.keys(COMMANDS)) expect(out).toContain(`  ${name}`);
  });

  test("no command at all is wrong usage", async () => {
    const { code, out, error } = await inProcess([]);
    expect(code).toBe(2);
    expect(out).toBe("");
    expect(error).toMatch(/^holdfast: give a command\n/);
  });

  test("a mistyped command is told the right one", async () => {
    const { code, error } = await inProcess(["colide"]);
    expect(code).toBe(2);
    expect(error).toBe(
      "holdfast: unknown command 'colide'; did you mean 'collide'?\nTry 'holdfast --help'.\n",
    );
  });

  test("--version prints the package's version", async () => {
    const { code, out } = await inProcess(["--version"]);
    expect(code).toBe(0);
    expect(out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  test.each(Object.keys(COMMANDS))(
    "%s --help has every option, examples and exit codes, within 100 columns, and is in docs/commands.md",
    async (name) => {
      const { code, out, error } = await inProcess([name, "--help"]);
      expect([code, error]).toEqual([0, ""]);
      const { spec } = await COMMANDS[name]!.load();
      expect(spec.name).toBe(name);
      for (const [flags] of spec.options) expect(out).toContain(`\n  ${flags}`);
      expect(out).toMatch(new RegExp(`^Usage: holdfast ${name} `, "m"));
      expect(out).toMatch(new RegExp(`\n\nExamples:\n  .*holdfast ${name}\\b`));
      expect(out).toMatch(/\n\nExit codes/);
      for (const line of out.split("\n")) expect(line.length, line).toBeLessThanOrEqual(100);
      expect(await inProcess(["help", name])).toMatchObject({ code: 0, out });
      expect(readFileSync(`${root}/docs/commands.md`, "utf8")).toContain(`\`${name}\``);
    },
  );

  test("mount --help has each word of -o on a line of its own", async () => {
    const { out } = await inProcess(["mount", "--help"]);
    const list = out.slice(out.indexOf("For -o"), out.indexOf("Examples:")).trim().split("\n");
    for (const word of ["ro, rw", "dax=always|inode|never", "threads=N", "writeback"]) {
      expect(list.filter((line) => line.startsWith(`  ${word} `))).toHaveLength(1);
    }
  });

  test("collide --help documents every option that it reads, within 100 columns", async () => {
    const { code, out } = await inProcess(["collide", "--help"]);
    expect(code).toBe(0);
    for (const option of [
      ...["driver", "seconds", "threads", "source", "seed", "size", "protect"],
      ...["json", "keep", "help"],
    ]) {
      expect(out).toMatch(new RegExp(`^ {2}--${option}\\b`, "m"));
    }
    for (const line of out.split("\n")) expect(line.length).toBeLessThanOrEqual(100);
    expect(await inProcess(["help", "collide"])).toMatchObject({ code: 0, out });
  });

  test("an error is one line; its stack is printed only for HOLDFAST_DEBUG", async () => {
    const args = ["collide", "--source", "/nowhere"];
    const plain = await inProcess(args);
    expect(plain.code).toBe(2);
    expect(plain.out).toBe("");
    expect(plain.error.split("\n")).toHaveLength(3);
    expect(plain.error).toContain("ENOENT");
    const debugging = await inProcess(args, false, { HOLDFAST_DEBUG: "1" });
    expect(debugging.error).toMatch(/\n {4}at /);
  });

  test("colour is for terminals only, and NO_COLOR turns it off there", async () => {
    expect((await inProcess(["nothing"])).error).not.toContain("\u001b");
    expect((await inProcess(["nothing"], true)).error).toContain("\u001b[31m");
    expect((await inProcess(["nothing"], true, { NO_COLOR: "1" })).error).not.toContain("\u001b");
  });
});

describe("collide's options", () => {
  test("defaults are those of the help", () => {
    const options = parseCollideOptions([]);
    expect(options).toMatchObject({
      driver: "ext4",
      seconds: 15,
      threads: availableParallelism(),
      source: process.execPath,
      protect: true,
      json: false,
      keep: false,
      volumeBytes: 64 * 2 ** 20,
    });
    expect(options.seed).toBeGreaterThanOrEqual(0);
    expect(options.seed).toBeLessThan(2 ** 32);
  });

  test("values are read in both spellings, sizes with their suffix", () => {
    const args = [
      "--driver=ram",
      "--seconds",
      "0.5",
      "--threads",
      "3",
      "--seed=0",
      "--protect=off",
    ];
    expect(parseCollideOptions([...args, "--size", "128MiB", "--json"])).toMatchObject({
      driver: "ram",
      seconds: 0.5,
      threads: 3,
      seed: 0,
      protect: false,
      json: true,
      volumeBytes: 128 * 2 ** 20,
    });
  });

  const wrong: [string, string[], RegExp][] = [
    [
      "an unknown option",
      ["--second", "3"],
      /unknown option '--second'; did you mean '--seconds'\?/,
    ],
    ["a stray argument", ["ram"], /unexpected argument 'ram'/],
    ["an option without its value", ["--seed"], /option '--seed <n>' argument missing/],
    ["a value for a switch", ["--json=yes"], /'--json' does not take an argument/],
    ["no seconds", ["--seconds", "0"], /--seconds takes a number above 0.*not '0'/],
    ["seconds that are no number", ["--seconds", "1e3"], /--seconds takes a number/],
    ["no threads", ["--threads", "0"], /--threads takes a whole number from 1 to 64/],
    ["half a thread", ["--threads", "1.5"], /--threads takes a whole number/],
    ["a negative seed", ["--seed=-1"], /--seed takes a whole number from 0 to 4294967295/],
    ["another driver", ["--driver", "xfs"], /--driver is ext4 or ram, not 'xfs'/],
    ["half protection", ["--protect", "maybe"], /--protect is on or off, not 'maybe'/],
    ["a tiny volume", ["--size", "1M"], /--size takes a size from 16M to 1024M/],
    ["a size in parsecs", ["--size", "64P"], /--size takes a size/],
    ["keeping what is in memory", ["--driver=ram", "--keep"], /--keep needs --driver ext4/],
  ];
  test.each(wrong)("%s is refused", async (_what, args, message) => {
    expect(() => parseCollideOptions(args)).toThrow(message);
    const { code, error, out } = await inProcess(["collide", ...args]);
    expect(code).toBe(2);
    expect(out).toBe("");
    expect(error).toMatch(/\nTry 'holdfast collide --help'\.\n$/);
  });
});

describe("what is printed", () => {
  test("the live line is rewritten, cut to the terminal, and gone before other output", () => {
    const [out, error] = [capture(true, 40), capture(true, 40)];
    const terminal = new Terminal(out, error, {});
    terminal.live("1 of 15 s");
    terminal.live("x".repeat(60));
    terminal.print("done");
    expect(error.text).toBe(`\r1 of 15 s\u001b[K\r${"x".repeat(38)}…\u001b[K\r\u001b[K`);
    expect(out.text).toBe("done\n");
  });

  test("there is no live line where nobody would see it rewritten", () => {
    const [out, error] = [capture(), capture()];
    new Terminal(out, error, {}).live("1 of 15 s");
    expect(error.text).toBe("");
  });

  test("numbers are written as people read them", () => {
    expect([0, 999, 1000, 1234567].map(formatCount)).toEqual(["0", "999", "1,000", "1,234,567"]);
    expect([512, 1536, 64 * 2 ** 20, 5e12].map(formatBytes)).toEqual([
      "512 B",
      "1.50 KiB",
      "64.0 MiB",
      "4.55 TiB",
    ]);
    expect([0.02, 12.345, 345.6, 3100].map(formatMs)).toEqual([
      "20 µs",
      "12.3 ms",
      "346 ms",
      "3.1 s",
    ]);
    expect([plural(1, "thread"), plural(2, "thread")]).toEqual(["1 thread", "2 threads"]);
  });

  test("a suggestion is made for a slip, not for a guess", () => {
    expect(nearest("protct", ["protect", "seed"])).toBe("protect");
    expect(nearest("colour", ["protect", "seed"])).toBeNull();
  });
});
