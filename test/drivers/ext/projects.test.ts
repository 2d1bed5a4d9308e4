// Project ids: passed on by directories, kept by whatever happens to an inode, and a border for names. The
// semantics are those of Linux's ext4 (fs/ext4/ialloc.c and namei.c, in what they do). A kernel without
// quotas mounts such volumes read-only: what it then reads is compared.

import { expect } from "vitest";
import { mountSync } from "../../../src/index.ts";
import { referee, shown } from "../../fsck/referee.ts";
import {
  hasTool,
  loopMount,
  mkfsExt4,
  runOk,
  skipUnless,
  temporaryDirectory,
} from "../../support/tools.ts";
import { bytesOf, DirectoryImage, errorOf, newInode, rootIno } from "./directory-image.ts";

const MIB = 2 ** 20;
const INHERIT = 0x20000000;
const EXTENTS = 0x80000;

/** An image with directories of projects 7 and 4,000,000,000 that pass them on, one that does not, and files. */
function makeImage(path: string, more: readonly string[] = []): void {
  mkfsExt4(path, 16 * MIB, ["-O", "project", "-I", "256", ...more]);
  const image = new DirectoryImage(path);
  for (const name of ["seven", "large", "mute", "plain"]) {
    image.create(rootIno, name, newInode("directory"));
  }
  image.create(rootIno, "file", newInode("file"));
  image.close();
  const set = [
    "sif /seven projid 7",
    `sif /seven flags ${INHERIT | EXTENTS}`,
    "sif /large projid 4000000000",
    `sif /large flags ${INHERIT | EXTENTS}`,
    "sif /mute projid 9",
  ];
  runOk("debugfs", ["-w", "-f", "-", path], `${set.join("\n")}\n`);
}

function expectClean(path: string): void {
  const { ours, theirs, report, said } = referee(path);
  expect(theirs, said).toBe("clean");
  expect(ours, shown(report.findings)).toBe("clean");
}

const withTools = skipUnless("mkfs.ext4", "debugfs", "e2fsck");

withTools("what is made in a directory gets the project that the directory passes on", () => {
  using directory = temporaryDirectory();
  using place = temporaryDirectory();
  const path = directory.file("image");
  makeImage(path);
  const expected = new Map<string, number>([
    ["/seven", 7],
    ["/large", 4_000_000_000],
    ["/mute", 9],
    ["/file", 0],
  ]);
  {
    using volume = mountSync(path);
    for (const [parent, project] of [
      ["/seven", 7],
      ["/large", 4_000_000_000],
      ["/mute", 0],
      ["/plain", 0],
    ] as const) {
      volume.mkdirSync(`${parent}/directory`);
      volume.writeFileSync(`${parent}/directory/file`, "x".repeat(5000));
      volume.symlinkSync("somewhere", `${parent}/link`);
      volume.mknodSync(`${parent}/pipe`, "fifo");
      for (const name of ["directory", "directory/file", "link", "pipe"]) {
        expected.set(`${parent}/${name}`, project);
      }
    }
    // It stays with the inode.
    volume.writeFileSync("/seven/kept", "");
    volume.renameSync("/seven/kept", "/plain/kept");
    volume.chmodSync("/plain/kept", 0o600);
    volume.chownSync("/plain/kept", 5, 6);
    volume.setxattrSync("/plain/kept", "user.large", Buffer.alloc(800, 1));
    volume.writeFileSync("/plain/kept", "y".repeat(100_000));
    volume.linkSync("/plain/kept", "/mute/other");
    expected.set("/plain/kept", 7).set("/mute/other", 7);
    for (const [name, project] of expected) expect(volume.lstatSync(name).project).toBe(project);
  }
  expectClean(path);
  {
    using volume = mountSync(path, { readOnly: true });
    for (const [name, project] of expected) expect(volume.lstatSync(name).project).toBe(project);
  }
  if (!hasTool("lsattr") || process.getuid?.() !== 0) return;
  using mounted = loopMount(path, place.path, ["ro"]);
  const shown = runOk("lsattr", ["-R", "-p", "-d", mounted.directory]);
  expect(shown).not.toBe("");
  for (const [name, project] of expected) {
    // It tells of files and directories alone.
    if (/link|pipe/.test(name)) continue;
    const line = runOk("lsattr", ["-p", "-d", `${mounted.directory}${name}`]);
    expect(Number(line.trim().split(/\s+/)[0]), name).toBe(project);
    const inherits = /seven$|large$|(seven|large)\/directory$/.test(name);
    expect(
      line.split(/\s+/).some((flags) => /^[-A-Za-z]*P[-A-Za-z]*$/.test(flags)),
      name,
    ).toBe(inherits);
  }
});

withTools("a name of another project's inode is refused with EXDEV, wherever it comes from", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  makeImage(path);
  const image = new DirectoryImage(path);
  const inoOf = (name: string) => image.find(rootIno, name)!.ino;
  const [seven, large, mute, plain] = ["seven", "large", "mute", "plain"].map(inoOf) as [
    ReturnType<typeof inoOf>,
    ReturnType<typeof inoOf>,
    ReturnType<typeof inoOf>,
    ReturnType<typeof inoOf>,
  ];
  const inSeven = image.create(seven, "file", newInode("file"));
  image.create(seven, "directory", newInode("directory"));
  const codeOf = (work: () => void) => errorOf(work)?.code ?? null;
  // Out of a project, and between places that pass none on, all may go.
  expect(codeOf(() => image.link(plain, "linked", inSeven))).toBe(null);
  expect(codeOf(() => image.link(mute, "linked", inSeven))).toBe(null);
  expect(codeOf(() => image.rename(seven, "directory", plain, "directory"))).toBe(null);
  // Back it may go as well: it is still of that project.
  expect(codeOf(() => image.rename(plain, "directory", seven, "directory"))).toBe(null);
  // Into another one nothing goes.
  expect(codeOf(() => image.link(seven, "linked", inoOf("file")))).toBe("EXDEV");
  expect(codeOf(() => image.link(large, "linked", inSeven))).toBe("EXDEV");
  expect(codeOf(() => image.rename(rootIno, "file", seven, "moved"))).toBe("EXDEV");
  expect(codeOf(() => image.rename(seven, "directory", large, "directory"))).toBe("EXDEV");
  // Nor over what is there: that stays.
  expect(codeOf(() => image.rename(rootIno, "file", seven, "file"))).toBe("EXDEV");
  expect(image.find(seven, "file")!.ino).toBe(inSeven);
  expect(codeOf(() => image.rename(seven, "file", seven, "renamed"))).toBe(null);
  expect(image.names(large)).toEqual([]);
  image.close();
  expectClean(path);
});

withTools(
  "the flag alone is no border on a volume without projects, and old inodes have no project",
  () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    for (const options of [
      ["-O", "^project"],
      ["-I", "128"],
    ]) {
      mkfsExt4(path, 16 * MIB, options);
      const made = new DirectoryImage(path);
      made.create(rootIno, "d", newInode("directory"));
      made.create(rootIno, "file", newInode("file"));
      made.close();
      runOk("debugfs", ["-w", "-R", `sif /d flags ${INHERIT | EXTENTS}`, path]);
      if (options[0] === "-O") runOk("debugfs", ["-w", "-R", "sif /d projid 7", path]);
      const image = new DirectoryImage(path);
      const { ino } = image.find(rootIno, "d")!;
      expect(image.driver.readInode(ino).project).toBe(0);
      image.rename(rootIno, "file", ino, "file");
      const made2 = image.create(ino, "new", newInode("file"));
      expect(image.driver.readInode(made2).project).toBe(0);
      expect(image.driver.lookup(ino, bytesOf("new"))!.ino).toBe(made2);
      image.close();
      expectClean(path);
    }
  },
);
