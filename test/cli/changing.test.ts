// mkdir, rm, mv, ln and edit: what they do is what the kernel and e2fsck find afterwards.

import { chmodSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { describe, expect, test } from "vitest";
import { mountSync } from "../../src/index.ts";
import {
  e2fsckClean,
  loopMount,
  mkfsExt4,
  run,
  runOk,
  skipUnless,
  temporaryDirectory,
  type TemporaryDirectory,
} from "../support/tools.ts";
import { holdfast, holdfastOk, program } from "./program.ts";

const MIB = 2 ** 20;
const made = skipUnless("mkfs.ext4", "e2fsck");
const mounted = skipUnless("root", "loop mounts", "mkfs.ext4", "e2fsck");

function newImage(directory: TemporaryDirectory): string {
  const image = directory.file("disk.img");
  mkfsExt4(image, 16 * MIB);
  return image;
}

describe("mkdir, rm, mv, ln", () => {
  mounted("what they make of a volume is what their namesakes make of the kernel's mount", () => {
    using directory = temporaryDirectory();
    const [own, other] = [directory.file("own.img"), directory.file("other.img")];
    for (const image of [own, other]) mkfsExt4(image, 16 * MIB);
    writeFileSync(directory.file("file"), "content");
    const at = (path: string) => `${own}:${path}`;
    holdfastOk("mkdir", "-p", at("/a/b/c"));
    holdfastOk("mkdir", "-m", "2750", at("/a/d"));
    holdfastOk("cp", directory.file("file"), at("/a/file"));
    holdfastOk("ln", at("/a/file"), at("/a/b/second"));
    holdfastOk("ln", "-s", "../file", at("/a/b/up"));
    holdfastOk("ln", "-sf", "file", at("/a/b/up"));
    holdfastOk("mv", at("/a/b/second"), at("/a/d"));
    holdfastOk("mv", at("/a/b"), at("/e"));
    holdfastOk("mkdir", at("/gone"), at("/gone/below"));
    holdfastOk("cp", directory.file("file"), at("/gone/below/file"));
    holdfastOk("rm", "-r", at("/gone"));
    holdfastOk("rm", at("/a/file"));
    using place = temporaryDirectory();
    const script = `set -e; umask ${process.umask().toString(8)}; cd '${place.path}'
      mkdir -p a/b/c; mkdir -m 2750 a/d; cp '${directory.file("file")}' a/file; ln a/file a/b/second
      ln -s ../file a/b/up; ln -sf file a/b/up; mv a/b/second a/d; mv a/b e; mkdir gone gone/below
      cp a/file gone/below/file; rm -r gone; rm a/file`;
    const list = (): string =>
      runOk("find", [place.path, "-printf", "%P %y %m %n %s %l\n"]).split("\n").sort().join("\n");
    let expected: string;
    {
      using _mount = loopMount(other, place.path);
      runOk("sh", ["-c", script]);
      expected = list();
    }
    expect(e2fsckClean(own)).toMatchObject({ clean: true });
    using _mount = loopMount(own, place.path, ["ro"]);
    expect(list()).toBe(expected);
  });

  made("-v says what is done, and what fails is a line while the rest is done", () => {
    using directory = temporaryDirectory();
    const image = newImage(directory);
    const at = (path: string) => `${image}:${path}`;
    expect(holdfastOk("mkdir", "-v", at("/a"), at("/b"))).toBe(
      `made ${at("/a")}\nmade ${at("/b")}\n`,
    );
    const again = holdfast("mkdir", at("/a"), at("/c"));
    expect(again).toMatchObject({ code: 1, stdout: "" });
    expect(again.stderr).toBe(`holdfast: ${at("/a")}: file already exists (EEXIST)\n`);
    expect(holdfastOk("rm", "-rv", at("/c"))).toBe(`removed ${at("/c")}\n`);
    expect(holdfastOk("rm", "-f", at("/none"))).toBe("");
    expect(holdfast("mv", at("/none"), at("/b")).stderr).toMatch(/none: no such file or directory/);
    expect(holdfast("mv", at("/a"), at("/a/inside")).stderr).toMatch(/\(EINVAL\)\n$/);
    expect(holdfastOk("mv", "-nv", at("/a"), at("/b"))).toContain("-> /b/a");
    expect(e2fsckClean(image)).toMatchObject({ clean: true });
  });

  made.each([
    [["rm", "/a"], /: is a directory; with -r it is removed with all below it \(EISDIR\)/, 1],
    [["rm", "-r", "/"], /: the root stays \(EINVAL\)/, 1],
    [["rm", "-rf", "/a/."], /: '\.' cannot be removed \(EINVAL\)/, 1],
    [["ln", "/a", "/b"], /: a directory gets no second name \(EPERM\)/, 1],
    [["ln", "/file", "/file"], /is the same file \(EEXIST\)/, 1],
    [["mv", "/file", "/a", "/new"], /is no directory; make it first/, 1],
    [["mkdir", "-m", "9", "/new"], /--mode takes bits in octal/, 2],
    [["mv", "/file"], /give what to move, and where to/, 2],
    [["ln", "-s", "/file"], /give what it leads to, and its name/, 2],
  ] as const)("%j is refused, and nothing is changed", (args, message, expected) => {
    using directory = temporaryDirectory();
    const image = newImage(directory);
    holdfastOk("mkdir", `${image}:/a`);
    writeFileSync(directory.file("file"), "content");
    holdfastOk("cp", directory.file("file"), `${image}:/`);
    const { code, stdout, stderr } = holdfast(
      ...args.map((each) => (each.startsWith("/") ? `${image}:${each}` : each)),
    );
    expect([code, stdout]).toEqual([expected, ""]);
    expect(stderr).toMatch(message);
    expect(holdfastOk("ls", image)).toBe("a\nfile\nlost+found\n");
  });

  made("where what is printed finds no room that is said, and the volume is clean", () => {
    using directory = temporaryDirectory();
    const image = newImage(directory);
    const command = `'${process.execPath}' '${program}' mkdir -v '${image}:/a' > /dev/full`;
    const { code, stderr } = run("sh", ["-c", command]);
    expect([code, stderr]).toEqual([
      1,
      "holdfast: standard output: no space left on device (ENOSPC)\n",
    ]);
    expect(e2fsckClean(image)).toMatchObject({ clean: true });
  });

  made("a volume that somebody has mounted is refused, and named", () => {
    using directory = temporaryDirectory();
    const image = newImage(directory);
    using _volume = mountSync(image);
    for (const args of [
      ["mkdir", `${image}:/x`],
      ["rm", `${image}:/x`],
      ["ls", image],
    ]) {
      const { code, stderr } = holdfast(...args);
      expect(code).toBe(1);
      expect(stderr).toMatch(/^holdfast: .*disk\.img.*\(EBUSY\)\n$/);
    }
  });

  made("an image on a read-only medium is looked at, and not written", () => {
    using directory = temporaryDirectory();
    const image = newImage(directory);
    runOk("tune2fs", ["-O", "read-only", image]);
    const { code, stderr } = holdfast("mkdir", `${image}:/x`);
    expect(code).toBe(1);
    expect(stderr).toMatch(/can only be read: .*\(EROFS\)\n$/);
    expect(holdfastOk("ls", image)).toBe("lost+found\n");
  });

  test("no volume is named: how to write one is said", () => {
    const { code, stderr } = holdfast("rm", "-r", "/nowhere/at/all");
    expect(code).toBe(2);
    expect(stderr).toMatch(/'\/nowhere\/at\/all' names no volume; write IMAGE:\/PATH, as in/);
  });
});

describe("edit", () => {
  /** An editor that does what a script says. */
  function editor(directory: TemporaryDirectory, script: string): string {
    const path = directory.file("editor");
    writeFileSync(path, `#!/bin/sh\n${script}\n`);
    chmodSync(path, 0o755);
    return path;
  }
  const copies = () => readdirSync(tmpdir()).filter((name) => name.startsWith("holdfast-edit-"));

  made("what the editor writes is the file's content, and all else stays", () => {
    using directory = temporaryDirectory();
    const image = newImage(directory);
    writeFileSync(directory.file("file.conf"), "one\n", { mode: 0o640 });
    holdfastOk("cp", "-p", directory.file("file.conf"), `${image}:/`);
    runOk("debugfs", ["-w", "-R", "ea_set /file.conf user.kept yes", image]);
    holdfastOk("ln", "-s", "file.conf", `${image}:/link`);
    const before = copies();
    holdfastOk(
      "edit",
      "-e",
      editor(directory, `basename "$1"; echo two >> "$1"`),
      `${image}:/link`,
    );
    expect(holdfastOk("cat", `${image}:/file.conf`)).toBe("one\ntwo\n");
    expect(holdfastOk("stat", `${image}:/file.conf`)).toMatch(/0640.*user\.kept = "yes"/s);
    expect(holdfastOk("stat", `${image}:/link`)).toContain("leads to   file.conf");
    expect(holdfastOk("ls", "-a", image)).not.toContain(".holdfast-");
    expect(e2fsckClean(image)).toMatchObject({ clean: true });
    expect(copies()).toEqual(before);
  });

  made("nothing is written where nothing was changed, or the editor fails", () => {
    using directory = temporaryDirectory();
    const image = newImage(directory);
    const file = `${image}:/file`;
    holdfastOk("edit", "-e", editor(directory, `echo new > "$1"`), file);
    expect(holdfastOk("cat", file)).toBe("new\n");
    const digest = readFileSync(image);
    expect(holdfast("edit", "-e", "true", file)).toMatchObject({
      code: 0,
      stderr: `${file}: not changed\n`,
    });
    const failed = holdfast("edit", "-e", editor(directory, `echo x > "$1"; exit 3`), file);
    expect(failed.code).toBe(1);
    const kept = /what was edited is in '(.*)'\n$/.exec(failed.stderr)![1]!;
    expect(readFileSync(kept, "utf8")).toBe("x\n");
    runOk("rm", [kept]);
    runOk("rmdir", [kept.replace(/\/[^/]*$/, "")]);
    const missing = holdfast("edit", "-e", "no-such-editor", file);
    expect(missing.code).toBe(2);
    expect(missing.stderr).toContain(
      "there is no editor 'no-such-editor'; set $EDITOR, or --editor",
    );
    expect(Buffer.compare(readFileSync(image), digest)).toBe(0);
  });

  made("what somebody else has changed meanwhile is kept, and so is the copy", () => {
    using directory = temporaryDirectory();
    const image = newImage(directory);
    writeFileSync(directory.file("file"), "old");
    writeFileSync(directory.file("other"), "of somebody else");
    holdfastOk("cp", directory.file("file"), `${image}:/file`);
    const command = `'${process.execPath}' '${program}' cp '${directory.file("other")}' '${image}:/file'`;
    const script = editor(directory, `${command}; echo mine > "$1"`);
    const { code, stderr } = holdfast("edit", "-e", script, `${image}:/file`);
    expect(code).toBe(1);
    const kept = /was changed by somebody else meanwhile; what was edited is in '(.*)'\n$/.exec(
      stderr,
    );
    expect(readFileSync(kept![1]!, "utf8")).toBe("mine\n");
    runOk("rm", ["-r", kept![1]!.replace(/\/[^/]*$/, "")]);
    expect(holdfastOk("cat", `${image}:/file`)).toBe("of somebody else");
  });

  made("further names keep the old content, which is said", () => {
    using directory = temporaryDirectory();
    const image = newImage(directory);
    writeFileSync(directory.file("file"), "old\n");
    holdfastOk("cp", directory.file("file"), `${image}:/file`);
    holdfastOk("ln", `${image}:/file`, `${image}:/second`);
    const { code, stderr } = holdfast(
      "edit",
      "-e",
      editor(directory, `echo new > "$1"`),
      `${image}:/file`,
    );
    expect([code, stderr]).toEqual([
      0,
      `${image}:/file: 1 further name of the file keeps the old content\n`,
    ]);
    expect(holdfastOk("cat", `${image}:/file`, `${image}:/second`)).toBe("new\nold\n");
  });
});
