// The shell: lines run on one mount, relative to a current directory; at a terminal with completion and a history.

import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { splitLine } from "../../src/cli/shell/words.ts";
import { candidates } from "../../src/cli/completion/candidates.ts";
import {
  e2fsckClean,
  run,
  runOk,
  skipUnless,
  temporaryDirectory,
  type TemporaryDirectory,
} from "../support/tools.ts";
import { holdfast, holdfastOk, holdfastWith, program } from "./program.ts";

let template: TemporaryDirectory;
let directory: TemporaryDirectory;
let image: string;

beforeAll(() => {
  template = temporaryDirectory();
  mkdirSync(template.file("source/etc/conf.d"), { recursive: true });
  writeFileSync(template.file("source/etc/hosts"), "localhost\n");
  writeFileSync(template.file("source/etc/host name"), "holdfast\n");
  writeFileSync(template.file("source/etc/conf.d/a.conf"), "a");
  writeFileSync(template.file("source/etc/conf.d/b.conf"), "b");
  const made = template.file("disk.img");
  holdfastOk("mkfs", made, "--size", "16M", "--from", template.file("source"));
  return () => template[Symbol.dispose]();
});

beforeEach(() => {
  directory = temporaryDirectory();
  image = directory.file("disk.img");
  runOk("cp", ["-r", template.file("source"), template.file("disk.img"), directory.path]);
  return () => directory[Symbol.dispose]();
});

describe("lines from a pipe", () => {
  test("paths begin at the current directory, patterns stand for names, and the volume is clean", () => {
    const lines = `
      cd etc      # a comment
      pwd
      cat hosts 'host name' host\\ name
      cd conf.d
      cat *.conf
      cat /etc/conf.d/[b]*
      find .. -name '*.conf'
      mkdir -p "/new/a b"
      cp a.conf /new
      cp host:${directory.file("source/etc/hosts")} /new/copied
      mv /new/a.conf /new/renamed
      ls /new
      cp /new/copied host:${directory.file("out")}
      df --json
    `;
    const { code, stdout, stderr } = holdfastWith(lines, "shell", image);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout.split("\n").slice(0, -2)).toEqual([
      ...["/etc", "localhost", "holdfast", "holdfast", "abb../conf.d/a.conf", "../conf.d/b.conf"],
      ...["a b", "copied", "renamed"],
    ]);
    expect(readFileSync(directory.file("out"), "utf8")).toBe("localhost\n");
    expect(e2fsckClean(image)).toMatchObject({ clean: true });
  });

  test("what fails is told, the rest is done, and the exit code says so", () => {
    const { code, stdout, stderr } = holdfastWith(
      "cd nowhere\nls | head\ncat 'open\nlss\nmkfs x\npwd\n",
      "shell",
      image,
    );
    expect([code, stdout]).toEqual([2, "/\n"]);
    expect(stderr.split("\n")).toEqual([
      "holdfast: nowhere: no such file or directory (ENOENT)",
      "holdfast: there is no '|' here; quote it if it is a name",
      "holdfast: the quote ' does not end",
      "holdfast: there is no command 'lss' here; did you mean 'ls'?",
      "holdfast: there is no command 'mkfs' here; 'help' lists them",
      "",
    ]);
    expect(holdfast("shell", "-c", "cat nothing", "-c", "exit", "-c", "pwd", image)).toMatchObject({
      code: 1,
      stdout: "",
    });
  });

  test("with -r nothing can be changed", () => {
    const before = readFileSync(image);
    const { code, stderr } = holdfast("shell", "-r", "-c", "mkdir x", image);
    expect(code).toBe(1);
    expect(stderr).toMatch(/\(EROFS\)\n$/);
    expect(Buffer.compare(readFileSync(image), before)).toBe(0);
  });

  test.each([[[]], [["a", "b"]]])("wrong usage: %j", (args) => {
    expect(holdfast("shell", ...args)).toMatchObject({ code: 2, stdout: "" });
  });
});

/** Types lines at a terminal, each when the one before has been answered. Returns what the terminal shows. */
async function typed(lines: readonly string[]): Promise<{ shown: string; code: number | null }> {
  const command = `stty cols 100; XDG_STATE_HOME='${directory.path}' '${process.execPath}' '${program}' shell '${image}'`;
  const child = spawn("script", ["-qec", command, "/dev/null"]);
  let shown = "";
  const prompts = (): number => shown.split("> ").length - 1;
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    shown += text;
  });
  const until = async (holds: () => boolean): Promise<void> => {
    const end = Date.now() + 60_000;
    while (!holds() && Date.now() < end) await new Promise((done) => setTimeout(done, 20));
  };
  const closed = new Promise<number | null>((done) => child.once("close", done));
  let isClosed = false;
  void closed.then(() => {
    isClosed = true;
  });
  await until(() => prompts() > 0);
  for (const line of lines) {
    const before = prompts();
    for (const part of line.split(/(?<=\t)/)) {
      const shownBefore = shown.length;
      child.stdin.write(part);
      await until(() => shown.length > shownBefore || isClosed);
      await new Promise((done) => setTimeout(done, 300));
    }
    await until(() => prompts() > before || isClosed);
  }
  if (!isClosed) setTimeout(() => child.kill("SIGKILL"), 20_000).unref();
  return { shown, code: await closed };
}

describe("at a terminal", () => {
  skipUnless("script")(
    "tab completes commands and paths, arrows bring lines back, Ctrl-C ends one",
    async () => {
      const { shown, code } = await typed([
        "cd et\t\r",
        "cat host\\ \t\r",
        "pw\t\r",
        "half a line\u0003",
        "\u001b[A\u001b[A\r",
        "nonsense\r",
        "exit\r",
      ]);
      expect(shown).toContain("ext4 volume; 'help' lists");
      expect(shown).toMatch(/:\/etc\S*> /);
      expect(shown.split("holdfast\r\n").length).toBe(3); // printed, and printed again
      expect(shown).toContain("\r\n/etc\r\n");
      expect(shown).toContain("there is no command 'nonsense' here");
      expect(code).toBe(0);
      const history = readFileSync(directory.file("holdfast/history"), "utf8");
      expect(history).toBe("cd etc/\npwd \ncat host\\ name \nnonsense\nexit\n");
      expect(e2fsckClean(image)).toMatchObject({ clean: true });
    },
  );

  skipUnless("script")("the end of input unmounts the volume", async () => {
    const { code } = await typed(["mkdir x\r", "\u0004"]);
    expect(code).toBe(0);
    expect(holdfastOk("ls", "-d", `${image}:/x`)).toBe(`${image}:/x\n`);
    expect(e2fsckClean(image)).toMatchObject({ clean: true });
  });
});

describe("words", () => {
  test.each([
    ["a  b", ["a", "b"], null],
    ["'a b' \"c 'd\"", ["a b", "c 'd"], null],
    ["a\\ b\\\\ '\\'", ["a b\\", "\\"], null],
    ["a#b #c", ["a#b"], null],
    ['"" x', ["", "x"], null],
    ["a 'b", ["a", "b"], "'"],
  ])("%j", (line, words, open) => {
    const split = splitLine(line);
    expect([split.words.map(({ text }) => text), split.open]).toEqual([words, open]);
  });
});

describe("completion", () => {
  test("commands, options, images and paths inside them are known", async () => {
    expect(await candidates(["m"], null)).toEqual(["map", "mkdir", "mkfs", "mount", "mv"]);
    expect(await candidates(["ls", "--a"], null)).toContain("--all");
    expect(await candidates(["find", image, "-na"], null)).toEqual(["-name"]);
    expect(await candidates(["fsck", `${directory.path}/d`], null)).toEqual([image]);
    expect(await candidates(["cat", `${directory.path}/d`], null)).toEqual([`${image}:/`]);
    expect(await candidates(["cat", `${image}:/e`], null)).toEqual([`${image}:/etc/`]);
    expect(await candidates(["cat", `${image}:/etc/h`], null)).toEqual([
      `${image}:/etc/host name`,
      `${image}:/etc/hosts`,
    ]);
    expect(await candidates(["tar", "o"], null)).toEqual(["out"]);
    expect(await candidates(["mkfs", "--from", `${directory.path}/s`], null)).toEqual([
      `${directory.path}/source/`,
    ]);
    expect(await candidates(["nothing", "x"], null)).toEqual([]);
    expect(await candidates(["cat", "/nowhere.img:/x"], null)).toEqual([]);
  });

  test("bash completes a path inside an image, though it breaks words at the colon", () => {
    const script = `
      holdfast() { '${process.execPath}' '${program}' "$@"; }
      source <(holdfast completion bash)
      try() { COMP_LINE=$1 COMP_POINT=\${#1}; COMPREPLY=(); _holdfast; printf '%s|' "\${COMPREPLY[@]}"; echo; }
      try 'holdfast fs'
      try 'holdfast cat ${image}:/etc/h'
      try 'holdfast ls ${image}:/'
      try 'holdfast '
    `;
    const [commands, inside, root, all] = runOk("bash", ["-c", script]).split("\n");
    expect(commands).toBe("fsck|");
    expect(inside).toBe("/etc/host name|/etc/hosts|");
    expect(root).toBe("/etc/|/lost+found/|");
    expect(all).toContain("|trim|");
  });

  skipUnless("zsh")("the script for zsh is one", () => {
    expect(run("zsh", ["-n"], holdfastOk("completion", "zsh")).stderr).toBe("");
  });

  skipUnless("fish")("fish completes with its script", () => {
    const script = `function holdfast; '${process.execPath}' '${program}' $argv; end
      holdfast completion fish | source
      complete -C 'holdfast cat ${image}:/etc/h'`;
    expect(runOk("fish", ["-c", script])).toContain("/etc/hosts");
  });

  test("an unknown shell is wrong usage", () => {
    expect(holdfast("completion", "tcsh")).toMatchObject({ code: 2, stdout: "" });
    expect(holdfast("completion").stderr).toMatch(/give a shell: bash, zsh, fish/);
  });
});
