// ls, tree, cat, stat, df, du and find: what they tell is what the kernel's mount of the image tells, and the image
// stays as it was.

import { createHash } from "node:crypto";
import {
  chmodSync,
  closeSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { setAttribute } from "../interop/libc.ts";
import {
  loopMount,
  run,
  runOk,
  skipUnless,
  temporaryDirectory,
  type TemporaryDirectory,
} from "../support/tools.ts";
import { holdfast, holdfastOk, jsonLines, onTerminal, program } from "./program.ts";

const mounted = skipUnless("root", "loop mounts");

let directory: TemporaryDirectory;
let image: string;
let source: string;

beforeAll(() => {
  directory = temporaryDirectory();
  source = directory.file("source");
  image = directory.file("disk.img");
  mkdirSync(`${source}/etc/deep/er`, { recursive: true });
  writeFileSync(`${source}/etc/hosts`, "127.0.0.1 localhost\n");
  writeFileSync(`${source}/etc/big.log`, Buffer.alloc(300_000, "log line\n"));
  writeFileSync(`${source}/.hidden`, "");
  writeFileSync(`${source}/with space`, "x".repeat(5000));
  writeFileSync(Buffer.from(`${source}/etc/caf\xe9`, "latin1"), "not UTF-8");
  writeFileSync(`${source}/etc/deep/er/tab\tand\u001b[31m`, "");
  symlinkSync("etc/hosts", `${source}/link`);
  linkSync(`${source}/etc/hosts`, `${source}/second`);
  chmodSync(`${source}/with space`, 0o4755);
  chmodSync(`${source}/etc/deep`, 0o1777);
  const sparse = openSync(`${source}/sparse`, "w");
  ftruncateSync(sparse, 50_000_000);
  closeSync(sparse);
  setAttribute(`${source}/etc/hosts`, "user.comment", Buffer.from("by hand"));
  utimesSync(`${source}/etc/hosts`, 1_000_000_000, 1_000_000_000.25);
  holdfastOk("mkfs", image, "--size", "32M", "--from", source);
});

afterAll(() => directory[Symbol.dispose]());

function digest(path: string): string {
  return createHash("sha256").update(readFileSync(path)).digest("hex");
}

describe("ls", () => {
  test("names are those of the directory, one a line in a pipe", () => {
    const names = readdirSync(source).filter((name) => !name.startsWith("."));
    expect(holdfastOk("ls", image).split("\n").slice(0, -1)).toEqual(
      [...names, "lost+found"].sort(),
    );
    expect(holdfastOk("ls", "-a", `${image}:/`).split("\n").slice(0, 3)).toEqual([
      ".",
      "..",
      ".hidden",
    ]);
  });

  test("the long form has the attributes, a symlink's target, and sizes for people", () => {
    const lines = holdfastOk("ls", "-lh", `${image}:/`).split("\n");
    expect(lines.find((line) => line.endsWith("with space"))).toMatch(
      /^-rwsr-xr-x 1 \d+ \d+ +4\.9K \d{4}-\d\d-\d\d \d\d:\d\d with space$/,
    );
    expect(lines.find((line) => line.includes("link ->"))).toMatch(
      /^lrwxrwxrwx .* link -> etc\/hosts$/,
    );
    expect(holdfastOk("ls", "-ld", `${image}:/etc/deep`)).toMatch(/^drwxrwxrwt 3 /);
  });

  test("names that are not UTF-8 go out as the bytes that they are", () => {
    const { stdout } = run("sh", [
      "-c",
      `'${process.execPath}' '${program}' ls '${image}:/etc' | od -An -c`,
    ]);
    expect(stdout.replace(/\s+/g, " ")).toContain("c a f 351 \\n");
  });

  skipUnless("script")(
    "on a terminal names are in columns and in colours, and move no cursor",
    () => {
      const shown = onTerminal(["ls", `${image}:/`], 60);
      expect(shown).toContain("\u001b[34metc\u001b[39m");
      expect(shown.trimEnd().split("\n").length).toBeLessThan(3);
      expect(onTerminal(["ls", `${image}:/etc/deep/er`])).toContain("tab\\x09and\\x1b[31m");
    },
  );

  mounted("-R -i tells the inodes and names that the kernel finds", () => {
    using place = temporaryDirectory();
    using _mount = loopMount(image, place.path, ["ro", "noload"]);
    const kernel = runOk("ls", ["-RiA1", place.path]).replaceAll(place.path, `${image}:`);
    const own = holdfastOk("ls", "-Ria", `${image}:/`)
      .split("\n")
      .filter((line) => !/^ *\d+ \.\.?$/.test(line))
      .join("\n");
    const lines = (text: string) =>
      text
        .split("\n")
        .map((line) =>
          line
            .trim()
            .replace(/^(.*:)\/+/, "$1/")
            .replace(/\/:$/, ":"),
        )
        .filter((line) => line !== "");
    expect(new Set(lines(own))).toEqual(new Set(lines(kernel)));
  });
});

describe("tree and cat", () => {
  test("a tree is drawn, and as JSON it is one line", () => {
    const drawn = holdfastOk("tree", "-a", `${image}:/etc`);
    expect(drawn).toContain("├── deep\n│   └── er\n│       └── tab\tand");
    expect(drawn).toMatch(/\n2 directories, 4 files\n$/);
    const [root] = jsonLines(holdfastOk("tree", "--json", `${image}:/etc`));
    expect(root.children.map(({ name }: { name: string }) => name)).toContain("hosts");
    expect(holdfastOk("tree", "-L", "1", "-d", image)).toMatch(/\n2 directories\n$/);
  });

  test("cat gives the bytes of all files, and goes on behind one that is missing", () => {
    const both = [`${image}:/etc/hosts`, `${image}:/etc/big.log`];
    const expected = Buffer.concat([
      readFileSync(`${source}/etc/hosts`),
      readFileSync(`${source}/etc/big.log`),
    ]).toString();
    expect(holdfastOk("cat", ...both)).toBe(expected);
    const { code, stdout, stderr } = holdfast("cat", `${image}:/nothing`, ...both);
    expect([code, stdout]).toEqual([1, expected]);
    expect(stderr).toBe(`holdfast: ${image}:/nothing: no such file or directory (ENOENT)\n`);
  });

  test("whoever reads may stop: cat ends without a word", () => {
    const command = `'${process.execPath}' '${program}' cat '${image}:/sparse' | head -c 10 | od -An -c`;
    const { stdout, stderr } = run("sh", ["-c", command]);
    expect([stdout.replace(/\s+/g, " "), stderr]).toEqual([` ${"\\0 ".repeat(10)}`, ""]);
  });
});

describe("stat, df, du", () => {
  test("stat tells times to the nanosecond, and extended attributes", () => {
    const shown = holdfastOk("stat", `${image}:/etc/hosts`);
    expect(shown).toContain("modified   2001-09-09T01:46:40.250000000Z");
    expect(shown).toContain('attribute  user.comment = "by hand"');
    expect(shown).toMatch(/links {6}2\n/);
    const [facts] = jsonLines(holdfastOk("stat", "--json", `${image}:/link`));
    expect(facts).toMatchObject({ type: "symlink", target: "etc/hosts", mode: "0777" });
    expect(jsonLines(holdfastOk("stat", "-L", "--json", `${image}:/link`))[0].size).toBe(20);
  });

  mounted("df, du and stat agree with the kernel", () => {
    using place = temporaryDirectory();
    using _mount = loopMount(image, place.path, ["ro", "noload"]);
    const [kernel] = runOk("df", ["-B1", "--output=size,used,avail,itotal,iavail", place.path])
      .trim()
      .split("\n")
      .slice(1)
      .map((line) => line.trim().split(/\s+/).map(Number));
    const [own] = jsonLines(holdfastOk("df", "--json", image));
    const [size, used, available, inodes, inodesFree] = kernel!;
    expect([own.size, own.size - own.free, own.inodes, own.inodesFree]).toEqual([
      ...[size, used],
      ...[inodes, inodesFree],
    ]);
    // The kernel keeps a fiftieth back for its own delayed writes while it has the volume mounted.
    expect(own.available - available!).toBeGreaterThanOrEqual(0);
    expect(own.available - available!).toBeLessThanOrEqual((32 * 2 ** 20) / 50);
    const du = runOk("du", ["-ak", place.path]).replaceAll(place.path, `${image}:`);
    const sorted = (text: string) =>
      text
        .trim()
        .split("\n")
        .map((line) => line.replace(/:\/?$/, ":/"))
        // Which of two names is counted depends on the order.
        .filter((line) => !/etc$|hosts$|second$/.test(line))
        .sort();
    expect(sorted(holdfastOk("du", "-a", image))).toEqual(sorted(du));
    for (const name of ["etc/hosts", "sparse", "etc/deep", "with space"]) {
      const [facts] = jsonLines(holdfastOk("stat", "--json", `${image}:/${name}`));
      const { ino, nlink, size, blocks, mode } = statSync(`${place.path}/${name}`);
      expect(facts).toMatchObject({ ino, nlink, size, allocated: blocks * 512 });
      expect(Number.parseInt(facts.mode, 8)).toBe(mode & 0o7777);
    }
  });
});

describe("find", () => {
  const cases: readonly (readonly string[])[] = [
    [],
    ["-name", "*.log"],
    ["-iname", "*HOST*"],
    ["-name", "[c-h]*"],
    ["-type", "f", "-size", "+4k"],
    ["-type", "d"],
    ["-type", "l,d"],
    ["-perm", "-4000"],
    ["-maxdepth", "1"],
    ["-mindepth", "2", "-maxdepth", "2"],
    ["-empty"],
    ["-links", "2", "-type", "f"],
    ["-size", "-1"],
    ["-size", "20c"],
  ];
  mounted.each(cases.map((tests) => [tests] as const))("%j finds what find(1) finds", (tests) => {
    using place = temporaryDirectory();
    using _mount = loopMount(image, place.path, ["ro", "noload"]);
    const kernel = runOk("find", [place.path, ...tests]).replaceAll(place.path, `${image}:`);
    const sorted = (text: string) =>
      text
        .split("\n")
        .map((line) => (line.endsWith(":") ? `${line}/` : line))
        .sort();
    expect(sorted(holdfastOk("find", image, ...tests))).toEqual(sorted(kernel));
  });

  test("-newer compares with a file of the volume or of the host; -print0 ends with zero bytes", () => {
    const than = `${image}:/etc/hosts`;
    const newer = holdfastOk("find", `${image}:/etc`, "-newer", than, "-print0").split("\0");
    expect(newer).toContain(`${image}:/etc/big.log`);
    expect(newer).not.toContain(than);
    const never = directory.file("future");
    writeFileSync(never, "");
    utimesSync(never, 4_000_000_000, 4_000_000_000);
    expect(holdfastOk("find", image, "-newer", never)).toBe("");
  });

  test.each([
    [["-size", "x"], /--size takes a size such as/],
    [["-type", "q"], /--type takes letters/],
    [["-nmae", "x"], /unknown option '-nmae'/],
    [["--nmae", "x"], /unknown option '--nmae'; did you mean '--name'\?/],
  ])("wrong tests are wrong usage: %j", (tests, message) => {
    const { code, stderr } = holdfast("find", image, ...tests);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
  });
});

describe("what is damaged is a line on standard error, and the rest is told", () => {
  let damaged: string;
  const sound = ["lost+found", "ok"];

  beforeAll(() => {
    damaged = directory.file("damaged.img");
    const tree = directory.file("damaged");
    mkdirSync(`${tree}/directory`, { recursive: true });
    for (const name of ["file", "ok"]) writeFileSync(`${tree}/${name}`, "");
    symlinkSync("ok", `${tree}/link`);
    holdfastOk("mkfs", damaged, "--size", "16M", "--from", tree);
    for (const change of ["/file mode 0", "/link size 0", "/directory block[0] 0"]) {
      runOk("debugfs", ["-w", "-R", `sif ${change}`, damaged]);
    }
  });

  skipUnless("debugfs").each([
    [
      ["ls", "-l"],
      ["file", "link"],
    ],
    [
      ["ls", "--json"],
      ["file", "link"],
    ],
    [["tree"], ["directory", "file", "link"]],
    [
      ["tree", "--json"],
      ["directory", "file", "link"],
    ],
    [
      ["find", "--empty"],
      ["directory", "directory", "file"],
    ],
  ])("%j", (command, names) => {
    const { code, stdout, stderr } = holdfast(...command, damaged);
    expect(code).toBe(1);
    for (const name of sound) expect(stdout).toContain(name);
    const told = [...stderr.matchAll(/^holdfast: (\S+): .* \(EUCLEAN\)$/gm)].map(
      ([, path]) => path,
    );
    expect(told).toEqual(names.map((name) => `${damaged}:/${name}`));
    expect(stderr.trimEnd().split("\n")).toHaveLength(names.length);
  });
});

describe("what looks changes nothing", () => {
  test("an image that is read-only is looked at, and not one byte of any changes", () => {
    const before = digest(image);
    chmodSync(image, 0o444);
    for (const command of ["ls", "tree", "stat", "df", "du", "find"]) holdfastOk(command, image);
    holdfastOk("cat", `${image}:/etc/hosts`);
    chmodSync(image, 0o644);
    expect(digest(image)).toBe(before);
  });

  test("a path without its slash is told, with what to write", () => {
    const { code, stdout, stderr } = holdfast("ls", `${image}:etc`);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain(`'${image}:etc' lacks a slash; write '${image}:/etc'`);
    expect(holdfast("cp", image, `${image}:etc`).code).toBe(2);
  });

  test.each(["ls", "tree", "cat", "stat", "df", "du", "find"])(
    "%s names what is missing",
    (command) => {
      const none = directory.file("none.img");
      const { code, stdout, stderr } = holdfast(command, `${none}:/x`);
      expect([code, stdout]).toEqual([1, ""]);
      expect(stderr).toMatch(
        /^holdfast: \S+none\.img:\/x: '\S+none\.img' cannot be opened: no such file or directory \(ENOENT\)\n$/,
      );
      const wrong = holdfast(command);
      expect(wrong.code).toBe(2);
      expect(wrong.stderr).toMatch(/^holdfast: give .*\nTry 'holdfast \w+ --help'\.\n$/);
      const help = holdfastOk(command, "--help");
      expect(help).toMatch(/\n\nExamples:\n {2}holdfast /);
      for (const line of help.split("\n")) expect(line.length).toBeLessThanOrEqual(100);
    },
  );
});
