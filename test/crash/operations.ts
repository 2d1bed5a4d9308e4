// Operations of which crash tests are made: each changes a volume in one step, as its user sees it.

import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import type { OpenMode, Volume } from "../../src/index.ts";
import {
  formatAcl,
  TAG_GROUP_OBJECT,
  TAG_MASK,
  TAG_OTHER,
  TAG_USER,
  TAG_USER_OBJECT,
} from "../../src/iomap/posix-acl.ts";

export interface Operation {
  readonly name: string;
  run(volume: Volume): void;
  /** All that was done before it returns is durable then. */
  readonly syncs?: boolean;
}

const NOBODY = 0xffffffff;
const ACL_NAME = "system.posix_acl_access";

/** An access control list with a named user, so that it cannot be told by the mode alone. */
const acl = (permissions: number): Uint8Array =>
  formatAcl([
    { tag: TAG_USER_OBJECT, permissions: 6, id: NOBODY },
    { tag: TAG_USER, permissions, id: 1000 },
    { tag: TAG_GROUP_OBJECT, permissions: 4, id: NOBODY },
    { tag: TAG_MASK, permissions: 7, id: NOBODY },
    { tag: TAG_OTHER, permissions: 0, id: NOBODY },
  ]);

/** Names that make a directory of blocks of 1 KiB need some. */
const LONG_NAMES = Array.from({ length: 30 }, (_, index) => `${"n".repeat(90)}${index}`);

/**
 * What every sequence begins with: two directories, a file of some blocks in the first, a link in the other; files
 * with attributes in the inode and in a block; an empty file, and an empty directory of several blocks.
 */
export function prepare(volume: Volume): void {
  volume.mkdirSync("/A");
  volume.mkdirSync("/B");
  volume.writeFileSync("/A/foo", Buffer.alloc(3 * 4096 + 700, "f"));
  volume.writeFileSync("/A/bar", Buffer.alloc(9000, "b"));
  volume.linkSync("/A/bar", "/B/link");
  volume.symlinkSync("/A/foo", "/B/symlink");
  volume.setxattrSync("/A/bar", "user.short", "short");
  volume.setxattrSync("/A/bar", "user.long", Buffer.alloc(600, "l"));
  volume.setxattrSync("/B", ACL_NAME, acl(5));
  volume.writeFileSync("/A/empty", "");
  volume.mkdirSync("/B/large");
}

/**
 * Commits that fill the journal's log until it has gone home so many times, and is `rest` commits short of the next
 * time. They leave the volume as it was, and have blocks of a directory's, which are revoked when that goes.
 * `stores`: how often the device was stored to.
 */
export function fillLog(
  volume: Volume,
  stores: () => number,
  { times, rest }: { readonly times: number; readonly rest: number },
): void {
  const { mode } = volume.statSync("/A/bar");
  const commit = (): number => {
    const before = stores();
    volume.chmodSync("/A/bar", 0o600);
    volume.chmodSync("/A/bar", mode & 0o7777);
    volume.syncSync();
    return stores() - before;
  };
  commit();
  const usual = commit();
  /** Commits until one that stores more: it has copied the log home. */
  const untilHome = (): number => {
    for (let count = 1; ; count++) if (commit() > usual) return count;
  };
  untilHome();
  let between = untilHome();
  for (let time = 2; time < times; time++) between = untilHome();
  const before = stores();
  for (const name of LONG_NAMES) volume.writeFileSync(`/B/large/${name}`, "");
  volume.syncSync();
  for (const name of LONG_NAMES) volume.unlinkSync(`/B/large/${name}`);
  volume.syncSync();
  while (stores() - before < (between - rest) * usual) commit();
}

const onFile =
  (path: string, work: (file: ReturnType<Volume["openSync"]>) => void, flags: OpenMode = "r+") =>
  (volume: Volume): void => {
    using file = volume.openSync(path, flags);
    work(file);
  };

export const operations: readonly Operation[] = [
  { name: "create", run: onFile("/A/new", () => {}, "wx") },
  {
    name: "overwrite",
    run: onFile("/A/foo", (file) => file.writeSync(Buffer.alloc(5000, "O"), 1000)),
  },
  {
    name: "append",
    run: onFile("/A/foo", (file) => file.writeSync(Buffer.alloc(3000, "P"), 3 * 4096 + 700)),
  },
  {
    name: "write beyond the end",
    run: onFile("/A/foo", (file) => file.writeSync(Buffer.alloc(900, "E"), 40_000)),
  },
  { name: "cut", run: onFile("/A/foo", (file) => file.truncateSync(4096)) },
  { name: "cut to nothing", run: onFile("/A/bar", (file) => file.truncateSync(0)) },
  { name: "grow", run: onFile("/A/bar", (file) => file.truncateSync(30_000)) },
  {
    name: "punch",
    run: onFile("/A/foo", (file) => file.fallocateSync("punch-hole", 4096, 4096)),
  },
  {
    name: "preallocate",
    run: onFile("/A/foo", (file) => file.fallocateSync("allocate", 16_384, 8192)),
  },
  { name: "mkdir", run: (volume) => void volume.mkdirSync("/A/dir") },
  { name: "unlink", run: (volume) => volume.unlinkSync("/A/foo") },
  { name: "unlink one of two names", run: (volume) => volume.unlinkSync("/A/bar") },
  { name: "rename", run: (volume) => volume.renameSync("/A/bar", "/A/baz") },
  { name: "rename elsewhere", run: (volume) => volume.renameSync("/A/foo", "/B/foo") },
  { name: "rename over", run: (volume) => volume.renameSync("/A/foo", "/A/bar") },
  { name: "rename a directory", run: (volume) => volume.renameSync("/A", "/B/A") },
  { name: "link", run: (volume) => volume.linkSync("/A/foo", "/B/second") },
  { name: "symlink", run: (volume) => volume.symlinkSync("x".repeat(80), "/A/long") },
  { name: "chmod", run: (volume) => volume.chmodSync("/A/foo", 0o600) },
  { name: "chown", run: (volume) => volume.chownSync("/A/foo", 1000, 70_000) },
  { name: "rmdir", run: (volume) => volume.rmdirSync("/B/large") },
  {
    name: "fill",
    run: onFile("/A/empty", (file) => file.writeSync(Buffer.alloc(24_000, "F"), 0)),
  },
  {
    name: "set an attribute",
    run: (volume) => volume.setxattrSync("/A/foo", "user.short", "value"),
  },
  {
    name: "set a long attribute",
    run: (volume) => volume.setxattrSync("/A/foo", "user.long", Buffer.alloc(500, "L")),
  },
  {
    name: "set another value",
    run: (volume) => volume.setxattrSync("/A/bar", "user.long", Buffer.alloc(650, "M")),
  },
  { name: "remove an attribute", run: (volume) => volume.removexattrSync("/A/bar", "user.long") },
  {
    name: "set an access control list",
    run: (volume) => volume.setxattrSync("/A/foo", ACL_NAME, acl(6)),
  },
  {
    name: "change an access control list",
    run: (volume) => volume.setxattrSync("/B", ACL_NAME, acl(7)),
  },
  { name: "chmod with an access control list", run: (volume) => volume.chmodSync("/B", 0o710) },
  {
    name: "remove an access control list",
    run: (volume) => volume.removexattrSync("/B", ACL_NAME),
  },
  { name: "fsync", run: onFile("/A/foo", (file) => file.syncSync()), syncs: true },
  { name: "sync", run: (volume) => volume.syncSync(), syncs: true },
];

/** What volumes have besides, of a feature: what they begin with, and what is done to it. */
export interface Special {
  /** What mke2fs fills the volume with, at a directory of the system. */
  readonly source?: (root: string) => void;
  readonly prepare?: (volume: Volume) => void;
  readonly operations: readonly Operation[];
}

/** Names for a directory that lies in its inode, of 256 bytes: with one more as long it no longer does. */
const INLINE_NAMES = Array.from({ length: 4 }, (_, index) => `name-that-is-long-${index}`);

/** Files and directories in their inodes (inline_data), as mke2fs makes them. */
export const inline: Special = {
  source: (root) => {
    for (const path of ["/I", "/I/names", "/I/none"]) mkdirSync(`${root}${path}`);
    writeFileSync(`${root}/I/short`, Buffer.alloc(40, "s"));
    writeFileSync(`${root}/I/long`, Buffer.alloc(100, "l"));
    for (const name of INLINE_NAMES) writeFileSync(`${root}/I/names/${name}`, name);
  },
  operations: [
    {
      name: "write into an inode",
      run: onFile("/I/long", (file) => file.writeSync(Buffer.alloc(20, "W"), 50)),
    },
    {
      name: "write more than an inode holds",
      run: onFile("/I/short", (file) => file.writeSync(Buffer.alloc(6000, "M"), 40)),
    },
    {
      name: "write far behind an inode's",
      run: onFile("/I/long", (file) => file.writeSync(Buffer.alloc(900, "B"), 30_000)),
    },
    { name: "cut an inode's", run: onFile("/I/long", (file) => file.truncateSync(30)) },
    { name: "cut an inode's to nothing", run: onFile("/I/short", (file) => file.truncateSync(0)) },
    { name: "grow an inode's", run: onFile("/I/short", (file) => file.truncateSync(2000)) },
    {
      name: "preallocate behind an inode's",
      run: onFile("/I/long", (file) => file.fallocateSync("allocate", 0, 8192)),
    },
    {
      name: "set an attribute beside an inode's",
      run: (volume) => volume.setxattrSync("/I/short", "user.a", "of few bytes"),
    },
    {
      name: "set a long attribute beside an inode's",
      run: (volume) => volume.setxattrSync("/I/long", "user.b", Buffer.alloc(300, "A")),
    },
    {
      name: "remove an attribute beside an inode's",
      run: (volume) => volume.removexattrSync("/I/short", "user.a"),
    },
    {
      name: "set an attribute of an inode's directory",
      run: (volume) => volume.setxattrSync("/I/names", "user.c", Buffer.alloc(30, "C")),
    },
    { name: "create in an inode", run: onFile("/I/none/new", () => {}, "wx") },
    { name: "mkdir in an inode", run: (volume) => void volume.mkdirSync("/I/none/directory") },
    {
      name: "create more than an inode holds",
      run: onFile(`/I/names/${"n".repeat(60)}`, () => {}, "wx"),
    },
    {
      name: "rename to more than an inode holds",
      run: (volume) => volume.renameSync("/A/bar", `/I/names/${"r".repeat(60)}`),
    },
    {
      name: "unlink in an inode",
      run: (volume) => volume.unlinkSync(`/I/names/${INLINE_NAMES[1]}`),
    },
    {
      name: "rename over in an inode",
      run: (volume) =>
        volume.renameSync(`/I/names/${INLINE_NAMES[0]}`, `/I/names/${INLINE_NAMES[2]}`),
    },
    { name: "unlink an inode's", run: (volume) => volume.unlinkSync("/I/short") },
    { name: "rmdir an inode's", run: (volume) => volume.rmdirSync("/I/none") },
    { name: "move an inode's directory", run: (volume) => volume.renameSync("/I/names", "/A/I") },
    { name: "fsync an inode's", run: onFile("/I/long", (file) => file.syncSync()), syncs: true },
  ],
};

/**
 * A symlink whose target is such data. Not of a volume with quotas: there e2fsck (1.47.0) does not count its inode, as
 * the kernel does, and writes down one too few.
 */
export const inlineSymlink: Special = {
  source: (root) => symlinkSync("t".repeat(90), `${root}/symlink`),
  operations: [
    { name: "unlink an inode's symlink", run: (volume) => volume.unlinkSync("/symlink") },
    {
      name: "rename an inode's symlink",
      run: (volume) => volume.renameSync("/symlink", "/A/symlink"),
    },
    {
      name: "rename over an inode's symlink",
      run: (volume) => volume.renameSync("/A/bar", "/symlink"),
    },
  ],
};

const VALUE = Buffer.alloc(5000, "v");

/** Values of attributes in inodes of their own (ea_inode), one of which two files have. */
export const values: Special = {
  prepare: (volume) => {
    volume.mkdirSync("/V");
    for (const name of ["one", "other", "none"]) volume.writeFileSync(`/V/${name}`, name);
    volume.setxattrSync("/V/one", "user.value", VALUE);
    volume.setxattrSync("/V/other", "user.value", VALUE);
    volume.setxattrSync("/V/other", "user.own", Buffer.alloc(9000, "o"));
  },
  operations: [
    {
      name: "set a value",
      run: (volume) => volume.setxattrSync("/V/none", "user.value", Buffer.alloc(20_000, "V")),
    },
    {
      name: "set a value that others have",
      run: (volume) => volume.setxattrSync("/V/none", "user.value", VALUE),
    },
    {
      name: "set another value of two's",
      run: (volume) => volume.setxattrSync("/V/one", "user.value", Buffer.alloc(7000, "w")),
    },
    {
      name: "set another value of one's",
      run: (volume) => volume.setxattrSync("/V/other", "user.own", Buffer.alloc(3000, "p")),
    },
    {
      name: "set a short value for a large one",
      run: (volume) => volume.setxattrSync("/V/other", "user.own", "short"),
    },
    { name: "remove a value of two's", run: (v) => v.removexattrSync("/V/one", "user.value") },
    { name: "remove a value of one's", run: (v) => v.removexattrSync("/V/other", "user.own") },
    { name: "unlink what has one's values", run: (volume) => volume.unlinkSync("/V/other") },
    { name: "unlink what has two's value", run: (volume) => volume.unlinkSync("/V/one") },
    { name: "rename over values", run: (volume) => volume.renameSync("/V/none", "/V/other") },
    {
      name: "set a value of a directory",
      run: (volume) => volume.setxattrSync("/V", "user.value", Buffer.alloc(4000, "D")),
    },
    { name: "sync values", run: (volume) => volume.syncSync(), syncs: true },
  ],
};
