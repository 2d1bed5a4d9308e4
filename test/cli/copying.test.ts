// cp and tar: what went through a volume is what it was, as the kernel and tar(1) see it.

import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
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
  writeSync,
} from "node:fs";
import { spawn } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { setAttribute } from "../interop/libc.ts";
import { differences, kernelPlace, type Seen, type Tree, treeOf } from "../interop/trees.ts";
import {
  e2fsckClean,
  isRoot,
  loopMount,
  mkfsExt4,
  run,
  runOk,
  skipUnless,
  temporaryDirectory,
  type TemporaryDirectory,
} from "../support/tools.ts";
import { holdfast, holdfastOk, onTerminal, program } from "./program.ts";

const MIB = 2 ** 20;
const mounted = skipUnless("root", "loop mounts", "e2fsck", "mkfs.ext4", "mknod");
const archived = skipUnless("root", "tar", "mknod", "mkfs.ext4");
const made = skipUnless("mkfs.ext4", "e2fsck");

/** What a copy is not asked to keep, or no tool can. */
const OTHER: readonly (keyof Seen)[] = ["ino", "atime", "ctime", "birthtime", "blocks"];

let directory: TemporaryDirectory;
let source: string;

beforeAll(() => {
  directory = temporaryDirectory();
  source = directory.file("source");
  mkdirSync(`${source}/a/b`, { recursive: true });
  writeFileSync(`${source}/a/file`, "content");
  linkSync(`${source}/a/file`, `${source}/a/b/second`);
  symlinkSync("../file", `${source}/a/b/up`);
  writeFileSync(Buffer.from(`${source}/caf\xe9`, "latin1"), "not UTF-8");
  writeFileSync(`${source}/${"n".repeat(250)}`, "a long name");
  writeFileSync(`${source}/large`, Buffer.alloc(3 * MIB + 17, "0123456789abc"));
  const sparse = openSync(`${source}/sparse`, "w");
  for (const at of [0, 5 * MIB, 9 * MIB + 4096]) writeSync(sparse, "data", at);
  ftruncateSync(sparse, 2 ** 31 + 5);
  closeSync(sparse);
  closeSync(openSync(`${source}/hole`, "w"));
  runOk("truncate", ["-s", "100M", `${source}/hole`]);
  utimesSync(`${source}/a/file`, 1_000_000_000, 1_000_000_000.5);
  setAttribute(`${source}/a/file`, "user.comment", Buffer.from([0, 1, 255]));
  chmodSync(`${source}/a/b`, 0o1751);
  chmodSync(`${source}/large`, 0o4711);
  if (!isRoot()) return;
  chownSync(`${source}/large`, 12, 34);
  runOk("mknod", [`${source}/device`, "c", "5", "300"]);
  runOk("mkfifo", [`${source}/fifo`]);
});

afterAll(() => directory[Symbol.dispose]());

function newImage(name: string, ...options: string[]): string {
  const image = directory.file(name);
  mkfsExt4(image, 64 * MIB, options);
  return image;
}

/** Directories have sizes of their filesystem's making. */
function treeAt(path: string): Tree {
  const isDirectory = ({ mode }: Seen): boolean => (mode & 0o170000) === 0o040000;
  return new Map(
    [...treeOf(kernelPlace(path))].map(([name, seen]) => [
      name,
      isDirectory(seen) ? { ...seen, size: 0 } : seen,
    ]),
  );
}

/** Nothing but what the two differ in. */
function compare(expected: string, actual: string): string[] {
  return differences(treeAt(expected), treeAt(actual), OTHER);
}

/** Bytes that a tree takes. */
const spaceOf = (path: string): number => Number(runOk("du", ["-sk", path]).split("\t")[0]);

describe("cp -a", () => {
  mounted.each([
    ["ext4", ["-b", "4096"]],
    ["ext4 with small blocks", ["-b", "1024"]],
    ["ext2", ["-t", "ext2", "-b", "2048"]],
  ])("a tree into %s is what the kernel finds there, holes and all", (name, options) => {
    const image = newImage(`${name}.img`, ...options);
    expect(holdfastOk("cp", "-a", source, `${image}:/copy`)).toBe("");
    expect(e2fsckClean(image)).toMatchObject({ clean: true });
    using place = temporaryDirectory();
    using _mount = loopMount(image, place.path, ["ro"]);
    expect(compare(source, `${place.path}/copy`)).toEqual([]);
    expect(spaceOf(`${place.path}/copy`)).toBeLessThan(4000);
  });

  mounted("a tree that the kernel wrote comes out as it was, holes and all", () => {
    const image = newImage("out.img");
    using place = temporaryDirectory();
    {
      using _mount = loopMount(image, place.path);
      runOk("cp", ["-a", source, `${place.path}/tree`]);
    }
    using out = temporaryDirectory();
    expect(holdfastOk("cp", "-a", `${image}:/tree`, out.file("tree"))).toBe("");
    expect(compare(source, out.file("tree"))).toEqual([]);
    expect(spaceOf(out.path)).toBeLessThan(4000);
  });

  mounted("within a volume and between volumes nothing is lost", () => {
    const [one, other] = [newImage("one.img"), newImage("other.img", "-b", "1024", "-t", "ext3")];
    holdfastOk("cp", "-a", source, `${one}:/`);
    holdfastOk("cp", "-a", `${one}:/source`, `${one}:/again`);
    holdfastOk("cp", "-a", `${one}:/again`, `${other}:/third`);
    for (const image of [one, other]) expect(e2fsckClean(image)).toMatchObject({ clean: true });
    using place = temporaryDirectory();
    using _mount = loopMount(other, place.path, ["ro"]);
    expect(compare(source, `${place.path}/third`)).toEqual([]);
  });

  made("the root of a volume, or 'tree/.', stands for what is in it", () => {
    const image = newImage("root.img");
    holdfastOk("cp", "-a", `${source}/a/.`, `${image}:/`);
    expect(holdfastOk("ls", image)).toBe("b\nfile\nlost+found\n");
    using out = temporaryDirectory();
    holdfastOk("cp", "-a", `${image}:/`, out.path);
    expect(readFileSync(out.file("file"), "utf8")).toBe("content");
    expect(statSync(out.file("file")).nlink).toBe(2);
  });
});

describe("cp", () => {
  made(
    "a file goes under its name into a directory, or gets a new one, and is this process's",
    () => {
      const image = newImage("plain.img");
      holdfastOk("mkfs", image, "--size", "32M", "--force");
      holdfastOk("cp", `${source}/large`, `${image}:/`);
      holdfastOk("cp", `${source}/a/b/up`, `${image}:/named`);
      expect(holdfastOk("cat", `${image}:/named`)).toBe("content");
      const [facts] = [JSON.parse(holdfastOk("stat", "--json", `${image}:/large`))];
      expect(facts).toMatchObject({ mode: "0711", uid: process.getuid!(), gid: process.getgid!() });
      using out = temporaryDirectory();
      holdfastOk("cp", `${image}:/large`, out.path);
      expect(readFileSync(out.file("large"))).toEqual(readFileSync(`${source}/large`));
      expect(e2fsckClean(image)).toMatchObject({ clean: true });
    },
  );

  made("what is there is replaced, and with -n it is left", () => {
    const image = newImage("again.img");
    holdfastOk("cp", `${source}/a/file`, `${image}:/file`);
    writeFileSync(directory.file("newer"), "newer");
    holdfastOk("cp", "-n", directory.file("newer"), `${image}:/file`);
    expect(holdfastOk("cat", `${image}:/file`)).toBe("content");
    expect(holdfastOk("cp", "-v", directory.file("newer"), `${image}:/file`)).toMatch(
      /newer -> file\n$/,
    );
    expect(holdfastOk("cat", `${image}:/file`)).toBe("newer");
    expect(e2fsckClean(image)).toMatchObject({ clean: true });
  });

  made("nothing is written behind a symlink that has a directory's name on the host", () => {
    const image = newImage("symlink.img");
    holdfastOk("cp", "-r", `${source}/a`, `${image}:/`);
    using out = temporaryDirectory();
    using elsewhere = temporaryDirectory();
    mkdirSync(out.file("a"));
    symlinkSync(elsewhere.path, out.file("a/b"));
    const { code, stderr } = holdfast("cp", "-a", `${image}:/a`, out.path);
    expect(code).toBe(1);
    expect(stderr).toMatch(/a\/b.*EEXIST/);
    expect(readdirSync(elsewhere.path)).toEqual([]);
    expect(readFileSync(out.file("a/file"), "utf8")).toBe("content");
  });

  made("what cannot be copied is a line each, and the rest is copied", () => {
    const image = newImage("errors.img");
    const at = (path: string) => `${image}:${path}`;
    holdfastOk("cp", "-r", `${source}/a`, at("/"));
    const failing: [string[], RegExp][] = [
      [["cp", source, at("/")], /source: is a directory; with -r it is copied \(EISDIR\)\n$/],
      [["cp", `${source}/none`, at("/")], /none: no such file or directory/],
      [["cp", "-r", at("/a"), at("/a/b/c")], /would be copied into itself \(EINVAL\)\n$/],
      [["cp", at("/a/file"), at("/a/file")], /is the same as what it goes to \(EINVAL\)\n$/],
      [["cp", `${source}/large`, at("/none/")], /is no directory; make it first\n$/],
      [
        ["cp", `${source}/large`, at("/none/x")],
        /no directory '\/none' to copy to; make it first \(ENOENT\)/,
      ],
      [["cp", "-r", `${source}/a/file`, at("/a")], /^$/],
      [
        ["cp", "-r", at("/a/file"), directory.file("no/where")],
        /no' to copy to; make it first \(ENOENT\)/,
      ],
    ];
    for (const [args, message] of failing) {
      const { code, stdout, stderr } = holdfast(...args);
      expect([args, stdout]).toEqual([args, ""]);
      expect(stderr).toMatch(message);
      expect(code).toBe(stderr === "" ? 0 : 1);
    }
    const both = holdfast("cp", `${source}/none`, `${source}/large`, at("/"));
    expect([both.code, both.stderr.split("\n").length]).toEqual([1, 2]);
    expect(holdfastOk("ls", image)).toContain("large\n");
    expect(e2fsckClean(image)).toMatchObject({ clean: true });
  });

  made("a volume that fills up says so, and is whole", () => {
    const image = directory.file("small.img");
    mkfsExt4(image, 2 * MIB, ["-O", "^has_journal"]);
    const { code, stderr } = holdfast("cp", `${source}/large`, `${image}:/`);
    expect(code).toBe(1);
    expect(stderr).toMatch(/large: .*\(ENOSPC\)\n$/);
    expect(e2fsckClean(image)).toMatchObject({ clean: true });
  });

  test.each([
    [["cp", "a", "b"], /none of these is in a volume; write IMAGE:\/PATH/],
    [["cp", "a"], /give what to copy, and where to/],
    [["tar", "sideways", "a"], /give 'in' or 'out'/],
    [["tar", "in", "a"], /give an archive, and a directory of a volume/],
    [["tar", "out"], /give a directory of a volume/],
  ])("wrong usage ends with 2: %j", (args, message) => {
    const { code, stdout, stderr } = holdfast(...args);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(message);
  });

  made("Ctrl-C ends it between two pieces, and the volume is clean", async () => {
    const image = directory.file("interrupted.img");
    holdfastOk("mkfs", image, "--size", "4G");
    const huge = directory.file("huge");
    writeFileSync(huge, Buffer.alloc(400 * MIB, 7));
    const child = spawn(process.execPath, [program, "cp", "-v", huge, huge, `${image}:/`]);
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    child.stdout.once("data", () => setTimeout(() => child.kill("SIGINT"), 100));
    const code = await new Promise((resolve) => child.once("close", resolve));
    expect([code, said]).toEqual([1, "holdfast: interrupted; what was done until then stays\n"]);
    expect(e2fsckClean(image)).toMatchObject({ clean: true });
    runOk("rm", [huge]);
  });

  skipUnless("mkfs.ext4", "script")("a long copy shows a bar on a terminal, which goes", () => {
    const image = directory.file("bar.img");
    holdfastOk("mkfs", image, "--size", "8G");
    const many = directory.file("many");
    mkdirSync(many);
    const piece = Buffer.alloc(150 * MIB, 7);
    for (let at = 0; at < 6; at++) writeFileSync(`${many}/${at}`, piece);
    const shown = onTerminal(["cp", "-r", many, `${image}:/`]);
    runOk("rm", ["-r", many, image]);
    // A machine that is done within a second shows none.
    if (shown !== "") expect(shown).toMatch(/copying \[=*-*\] \d+ %/);
    expect(shown.split("\n").length).toBeLessThan(3);
  });
});

describe("tar", () => {
  archived("tar(1) finds in an archive what went into it", () => {
    const image = newImage("tar-out.img");
    holdfastOk("cp", "-a", source, `${image}:/tree`);
    const archive = directory.file("out.tar");
    holdfastOk("tar", "out", `${image}:/tree`, archive);
    using out = temporaryDirectory();
    runOk("tar", ["--extract", "--xattrs", "--xattrs-include=*", "-f", archive, "-C", out.path]);
    expect(compare(source, out.path)).toEqual([]);
    expect(spaceOf(out.path)).toBeLessThan(4000);
    expect(statSync(archive).size).toBeLessThan(4 * MIB);
    const listed = runOk("tar", ["--list", "-f", archive]);
    const { stdout } = run("sh", [
      "-c",
      `'${process.execPath}' '${program}' tar out '${image}:/tree' | tar -tf -`,
    ]);
    expect(stdout).toBe(listed);
    const again = holdfast("tar", "out", `${image}:/tree`, archive);
    expect([again.code, again.stderr]).toEqual([1, expect.stringMatching(/EEXIST/)]);
    holdfastOk("tar", "out", "--force", `${image}:/tree`, archive);
  });

  archived("an archive of tar(1) goes in as tar(1) puts it on the host", () => {
    const archive = directory.file("in.tar");
    runOk("tar", [
      "--create",
      "--sparse",
      "--xattrs",
      "--format=pax",
      "-f",
      archive,
      "-C",
      source,
      ".",
    ]);
    const image = newImage("tar-in.img");
    holdfastOk("mkfs", "--force", image, "--size", "64M");
    const command = `'${process.execPath}' '${program}' tar in - '${image}:/' < '${archive}'`;
    expect(run("sh", ["-c", command])).toMatchObject({ code: 0, stdout: "", stderr: "" });
    expect(e2fsckClean(image)).toMatchObject({ clean: true });
    using out = temporaryDirectory();
    holdfastOk("cp", "-a", `${image}:/`, out.path);
    runOk("rmdir", [out.file("lost+found")]);
    utimesSync(out.path, statSync(source).atime, statSync(source).mtime);
    expect(compare(source, out.path).filter((line) => !line.startsWith(": mtime"))).toEqual([]);
  });

  made("a compressed archive, and one that is none, are refused with what to do", () => {
    const image = newImage("refused.img");
    const packed = directory.file("packed.tar.gz");
    writeFileSync(packed, Buffer.from("1f8b0800000000000003", "hex"));
    const { code, stderr } = holdfast("tar", "in", packed, image);
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/give what 'gzip -dc' makes of it\n$/),
    ]);
    const none = holdfast("tar", "in", directory.file("none.tar"), image);
    expect(none.code).toBe(1);
    expect(none.stderr).toMatch(/'\S+none\.tar' cannot be opened: no such file or directory\n$/);
    const again = holdfast("tar", "out", image, packed);
    expect(again.code).toBe(1);
    expect(again.stderr).toMatch(
      /'\S+packed\.tar\.gz' is there already; --force writes over it\n$/,
    );
    expect(existsSync(directory.file("none.tar"))).toBe(false);
    expect(e2fsckClean(image)).toMatchObject({ clean: true });
  });
});
