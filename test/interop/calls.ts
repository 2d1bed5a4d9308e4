// One vocabulary of operations on names, contents and attributes, for the kernel's filesystems (through node:fs and
// the C library) and for volumes; and steps of random programs over it. Suites compare what the steps answer.

import * as fs from "node:fs";
import fc from "fast-check";
import type { Stats, Volume } from "../../src/index.ts";
import {
  allocateFile,
  type FallocateMode,
  listAttributes,
  readAttribute,
  removeAttribute,
  setAttribute,
} from "./libc.ts";

/** What both sides can do, one argument list for both. Attributes are those of a symlink itself. */
export interface Filesystem {
  mkdir(path: string, mode: number, recursive: boolean): unknown;
  rmdir(path: string): unknown;
  unlink(path: string): unknown;
  rename(from: string, to: string): unknown;
  link(from: string, to: string): unknown;
  symlink(target: string, path: string): unknown;
  readlink(path: string): unknown;
  readdir(path: string): unknown;
  stat(path: string, follow: boolean): unknown;
  chmod(path: string, mode: number): unknown;
  chown(path: string, uid: number, gid: number): unknown;
  utimes(path: string, atime: number, mtime: number): unknown;
  truncate(path: string, size: number): unknown;
  write(path: string, flags: string, mode: number, bytes: Uint8Array, position: number): unknown;
  read(path: string, position: number, length: number): unknown;
  fallocate(path: string, mode: FallocateMode, offset: number, length: number): unknown;
  setAttribute(path: string, name: string, value: Uint8Array, only?: "create" | "replace"): unknown;
  getAttribute(path: string, name: string): unknown;
  listAttributes(path: string): unknown;
  removeAttribute(path: string, name: string): unknown;
}

/** What a file is, but for its times. Directories' sizes are the format's own. */
export function facts(stats: fs.Stats | Stats): unknown {
  const directory = stats.isDirectory();
  return {
    mode: stats.mode,
    nlink: stats.nlink,
    uid: stats.uid,
    gid: stats.gid,
    size: directory ? null : stats.size,
    kinds: [stats.isFile(), directory, stats.isSymbolicLink(), stats.isFIFO()],
  };
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

export function onNode(root: string): Filesystem {
  const at = (path: string): string => `${root}/${path}`;
  const withFile = <T>(path: string, flags: string, mode: number, use: (fd: number) => T): T => {
    const fd = fs.openSync(at(path), flags, mode);
    try {
      return use(fd);
    } finally {
      fs.closeSync(fd);
    }
  };
  return {
    mkdir: (path, mode, recursive) => {
      const made = fs.mkdirSync(at(path), { mode, recursive });
      return recursive ? made !== undefined : undefined;
    },
    rmdir: (path) => fs.rmdirSync(at(path)),
    unlink: (path) => fs.unlinkSync(at(path)),
    rename: (from, to) => fs.renameSync(at(from), at(to)),
    link: (from, to) => fs.linkSync(at(from), at(to)),
    symlink: (target, path) => fs.symlinkSync(target, at(path)),
    readlink: (path) => fs.readlinkSync(at(path)),
    readdir: (path) =>
      fs
        .readdirSync(at(path), { withFileTypes: true })
        .map((entry) => [entry.name, entry.isDirectory(), entry.isSymbolicLink()])
        .sort(),
    stat: (path, follow) => facts(follow ? fs.statSync(at(path)) : fs.lstatSync(at(path))),
    chmod: (path, mode) => fs.chmodSync(at(path), mode),
    chown: (path, uid, gid) => fs.chownSync(at(path), uid, gid),
    utimes: (path, atime, mtime) => {
      fs.utimesSync(at(path), atime, mtime);
      const stats = fs.statSync(at(path));
      return [stats.atimeMs, stats.mtimeMs];
    },
    truncate: (path, size) => fs.truncateSync(at(path), size),
    write: (path, flags, mode, bytes, position) =>
      withFile(path, flags, mode, (fd) => fs.writeSync(fd, bytes, 0, bytes.length, position)),
    read: (path, position, length) =>
      withFile(path, "r", 0o666, (fd) => {
        const target = new Uint8Array(length);
        return hex(target.subarray(0, fs.readSync(fd, target, 0, length, position)));
      }),
    fallocate: (path, mode, offset, length) =>
      withFile(path, "r+", 0o666, (fd) => allocateFile(fd, mode, offset, length)),
    setAttribute: (path, name, value, only) => setAttribute(at(path), name, value, only),
    getAttribute: (path, name) => hex(readAttribute(at(path), name)),
    listAttributes: (path) => listAttributes(at(path)).toSorted(),
    removeAttribute: (path, name) => removeAttribute(at(path), name),
  };
}

const noFollow = { followSymlinks: false } as const;

export function onVolume(volume: Volume): Filesystem {
  const withFile = <T>(
    path: string,
    flags: string,
    mode: number,
    use: (file: ReturnType<Volume["openSync"]>) => T,
  ): T => {
    using file = volume.openSync(`/${path}`, flags as "r", mode);
    return use(file);
  };
  return {
    mkdir: (path, mode, recursive) => {
      const made = volume.mkdirSync(`/${path}`, { mode, recursive });
      return recursive ? made !== undefined : undefined;
    },
    rmdir: (path) => volume.rmdirSync(`/${path}`),
    unlink: (path) => volume.unlinkSync(`/${path}`),
    rename: (from, to) => volume.renameSync(`/${from}`, `/${to}`),
    link: (from, to) => volume.linkSync(`/${from}`, `/${to}`),
    symlink: (target, path) => volume.symlinkSync(target, `/${path}`),
    readlink: (path) => volume.readlinkSync(`/${path}`),
    readdir: (path) =>
      volume
        .readdirSync(`/${path}`, { withFileTypes: true })
        .map((entry) => [entry.name, entry.isDirectory(), entry.isSymbolicLink()])
        .sort(),
    stat: (path, follow) =>
      facts(follow ? volume.statSync(`/${path}`) : volume.lstatSync(`/${path}`)),
    chmod: (path, mode) => volume.chmodSync(`/${path}`, mode),
    chown: (path, uid, gid) => volume.chownSync(`/${path}`, uid, gid),
    utimes: (path, atime, mtime) => {
      volume.utimesSync(`/${path}`, atime, mtime);
      const stats = volume.statSync(`/${path}`);
      return [stats.atimeMs, stats.mtimeMs];
    },
    truncate: (path, size) => volume.truncateSync(`/${path}`, size),
    write: (path, flags, mode, bytes, position) =>
      withFile(path, flags, mode, (file) => file.writeSync(bytes, position)),
    read: (path, position, length) =>
      withFile(path, "r", 0o666, (file) => {
        const target = new Uint8Array(length);
        return hex(target.subarray(0, file.readSync(target, position)));
      }),
    fallocate: (path, mode, offset, length) =>
      withFile(path, "r+", 0o666, (file) => file.fallocateSync(mode, offset, length)),
    setAttribute: (path, name, value, only) =>
      volume.setxattrSync(`/${path}`, name, value, only ? { ...noFollow, only } : noFollow),
    getAttribute: (path, name) => hex(volume.getxattrSync(`/${path}`, name, noFollow)),
    listAttributes: (path) => volume.listxattrSync(`/${path}`, noFollow).toSorted(),
    removeAttribute: (path, name) => volume.removexattrSync(`/${path}`, name, noFollow),
  };
}

/** The same, on the event loop where a volume has such a form. */
export function onVolumeAsync(volume: Volume): Filesystem {
  const withFile = async <T>(
    path: string,
    flags: string,
    mode: number,
    use: (file: Awaited<ReturnType<Volume["open"]>>) => Promise<T>,
  ): Promise<T> => {
    await using file = await volume.open(`/${path}`, flags as "r", mode);
    return await use(file);
  };
  return {
    mkdir: async (path, mode, recursive) => {
      const made = await volume.mkdir(`/${path}`, { mode, recursive });
      return recursive ? made !== undefined : undefined;
    },
    rmdir: (path) => volume.rmdir(`/${path}`),
    unlink: (path) => volume.unlink(`/${path}`),
    rename: (from, to) => volume.rename(`/${from}`, `/${to}`),
    link: (from, to) => volume.link(`/${from}`, `/${to}`),
    symlink: (target, path) => volume.symlink(target, `/${path}`),
    readlink: (path) => volume.readlink(`/${path}`),
    readdir: async (path) =>
      (await volume.readdir(`/${path}`, { withFileTypes: true }))
        .map((entry) => [entry.name, entry.isDirectory(), entry.isSymbolicLink()])
        .sort(),
    stat: async (path, follow) =>
      facts(await (follow ? volume.stat(`/${path}`) : volume.lstat(`/${path}`))),
    chmod: (path, mode) => volume.chmod(`/${path}`, mode),
    chown: (path, uid, gid) => volume.chown(`/${path}`, uid, gid),
    utimes: async (path, atime, mtime) => {
      await volume.utimes(`/${path}`, atime, mtime);
      const stats = await volume.stat(`/${path}`);
      return [stats.atimeMs, stats.mtimeMs];
    },
    truncate: (path, size) => volume.truncate(`/${path}`, size),
    write: (path, flags, mode, bytes, position) =>
      withFile(path, flags, mode, (file) => file.write(bytes, position)),
    read: (path, position, length) =>
      withFile(path, "r", 0o666, async (file) => {
        const target = new Uint8Array(length);
        return hex(target.subarray(0, await file.read(target, position)));
      }),
    fallocate: (path, mode, offset, length) =>
      withFile(path, "r+", 0o666, (file) => file.fallocate(mode, offset, length)),
    setAttribute: (path, name, value, only) =>
      volume.setxattr(`/${path}`, name, value, only ? { ...noFollow, only } : noFollow),
    getAttribute: async (path, name) => hex(await volume.getxattr(`/${path}`, name, noFollow)),
    listAttributes: async (path) => (await volume.listxattr(`/${path}`, noFollow)).toSorted(),
    removeAttribute: (path, name) => volume.removexattr(`/${path}`, name, noFollow),
  };
}

/** The same filesystem, below a directory: every path argument gets it in front. */
export function prefixed(on: Filesystem, root: string): Filesystem {
  const two: readonly string[] = ["rename", "link"] satisfies (keyof Filesystem)[];
  const entries = Object.entries(on).map(([key, run]) => [
    key,
    (...args: unknown[]) => {
      const isPath = (index: number): boolean =>
        key === "symlink" ? index === 1 : index === 0 || (index === 1 && two.includes(key));
      const given = args.map((value, index) => (isPath(index) ? `${root}/${value}` : value));
      return (run as (...given: unknown[]) => unknown)(...given);
    },
  ]);
  return Object.fromEntries(entries);
}

/** An operation with its arguments. */
export interface Step {
  readonly text: string;
  take(on: Filesystem): unknown;
}

/** A step that a counterexample can print. */
export function named(text: string, take: Step["take"]): Step {
  return { text, take, [fc.toStringMethod]: () => text } as Step;
}

function codeOf(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  if (code === undefined || code.startsWith("ERR_")) throw error;
  return code;
}

/** What a step answers, an error's code included, to be compared. */
export async function outcome(step: Step, on: Filesystem): Promise<unknown> {
  try {
    return { value: await step.take(on) };
  } catch (error) {
    return { code: codeOf(error) };
  }
}

/** As `outcome`, of a filesystem that answers at once. */
export function outcomeSync(step: Step, on: Filesystem): { value: unknown } | { code: string } {
  try {
    return { value: step.take(on) };
  } catch (error) {
    return { code: codeOf(error) };
  }
}

const name = fc.constantFrom("a", "b", "c", "dd", "long".repeat(20), "ü");
// A ".." only follows a name, so that the oracle never leaves its directory.
const part = fc.oneof(
  { weight: 10, arbitrary: name },
  { weight: 1, arbitrary: name.map((each) => `${each}/..`) },
  { weight: 1, arbitrary: fc.constant("a/.") },
);
const anyPath = fc
  .tuple(
    fc.array(part, { minLength: 1, maxLength: 3 }),
    fc.constantFrom("", "", "", "", "", "", "/"),
    fc.constantFrom("/", "/", "/", "//"),
  )
  .map(([parts, end, separator]) => parts.join(separator) + end);
/** Some often, so that steps meet. */
const path = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom("a", "b", "c", "dd", "a/a", "a/b", "a/c", "c/a/b") },
  { weight: 2, arbitrary: anyPath },
);
const target = fc.constantFrom("a", "b", "c", "a/b", "b/c", "dd", "a/", "no/such");
const mode = fc.constantFrom(0o777, 0o755, 0o700, 0o644, 0o600, 0o4755, 0o2775, 0o1777);
const flags = fc.constantFrom("w", "w+", "wx", "a", "a+", "ax", "r+", "r+");
const position = fc.oneof(fc.nat(20_000), fc.constantFrom(0, 4096, 1_000_000, 5_000_000));
const bytes = fc
  .tuple(fc.oneof(fc.nat(100), fc.constantFrom(0, 4096, 10_000, 70_000)), fc.nat(255))
  .map(([length, fill]) => new Uint8Array(length).fill(fill));
const seconds = fc.constantFrom(0, 1, 1_000_000_000.5, 1_700_000_000.25, 2_147_483_647);

const write = fc
  .tuple(path, flags, mode, bytes, position)
  .map(([p, f, m, b, at]) =>
    named(`write ${p} ${f} ${m} ${b.length}x${b[0]} at ${at}`, (on) => on.write(p, f, m, b, at)),
  );
const rename = fc
  .tuple(path, path)
  .map(([p, q]) => named(`rename ${p} ${q}`, (on) => on.rename(p, q)));

/** Steps that every filesystem knows: names, modes, owners, times, sizes, contents. */
export const steps: readonly fc.Arbitrary<Step>[] = [
  fc
    .tuple(path, mode, fc.boolean())
    .map(([p, m, r]) => named(`mkdir ${p} ${m} ${r}`, (on) => on.mkdir(p, m, r))),
  path.map((p) => named(`mkdir ${p}`, (on) => on.mkdir(p, 0o777, false))),
  path.map((p) => named(`rmdir ${p}`, (on) => on.rmdir(p))),
  path.map((p) => named(`unlink ${p}`, (on) => on.unlink(p))),
  rename,
  rename,
  fc.tuple(path, path).map(([p, q]) => named(`link ${p} ${q}`, (on) => on.link(p, q))),
  fc.tuple(target, path).map(([t, p]) => named(`symlink ${t} ${p}`, (on) => on.symlink(t, p))),
  path.map((p) => named(`readlink ${p}`, (on) => on.readlink(p))),
  path.map((p) => named(`readdir ${p}`, (on) => on.readdir(p))),
  fc.tuple(path, fc.boolean()).map(([p, f]) => named(`stat ${p} ${f}`, (on) => on.stat(p, f))),
  fc.tuple(path, mode).map(([p, m]) => named(`chmod ${p} ${m}`, (on) => on.chmod(p, m))),
  fc
    .tuple(path, fc.constantFrom(-1, 0, 7, 70_000))
    .map(([p, u]) => named(`chown ${p} ${u}`, (on) => on.chown(p, u, u))),
  fc
    .tuple(path, seconds, seconds)
    .map(([p, a, m]) => named(`utimes ${p} ${a} ${m}`, (on) => on.utimes(p, a, m))),
  fc.tuple(path, position).map(([p, s]) => named(`truncate ${p} ${s}`, (on) => on.truncate(p, s))),
  write,
  write,
  fc
    .tuple(path, position, fc.integer({ min: 1, max: 9000 }))
    .map(([p, at, n]) => named(`read ${p} ${at} ${n}`, (on) => on.read(p, at, n))),
];

/** Makes something at most of the paths that steps often take. */
export const populating: readonly Step[] = [
  named("mkdir a", (on) => on.mkdir("a", 0o755, false)),
  named("mkdir c/a", (on) => on.mkdir("c/a", 0o755, true)),
  ...["b", "dd", "a/a", "a/b", "c/a/b"].map((at, index) =>
    named(`write ${at}`, (on) => {
      const content = new Uint8Array(7000 * index + 1).fill(0x41 + index);
      return on.write(at, "wx", 0o644, content, 0);
    }),
  ),
  named("symlink b a/c", (on) => on.symlink("b", "a/c")),
];

/** Whole blocks of one of the sizes in most cases: some modes take nothing else. */
const range = fc
  .tuple(fc.constantFrom(1, 1024, 4096, 4096), fc.nat(20), fc.integer({ min: 1, max: 20 }))
  .map(([unit, offset, length]) => ({ offset: offset * unit, length: length * unit }));

/** Steps that change how a file's ranges are backed. */
export const fallocateStep: fc.Arbitrary<Step> = fc
  .tuple(
    path,
    fc.constantFrom<FallocateMode[]>(
      "allocate",
      "keep-size",
      "punch-hole",
      "zero-range",
      "collapse-range",
      "insert-range",
    ),
    range,
  )
  .map(([p, m, { offset, length }]) =>
    named(`fallocate ${p} ${m} ${offset} ${length}`, (on) => on.fallocate(p, m, offset, length)),
  );

const attributeName = fc.oneof(
  fc.constantFrom("user.a", "user.b", "trusted.a", "security.some", "user.caf\u00e9"),
  fc.constantFrom("user.", "other.a", "plain", "system.other", `user.${"n".repeat(251)}`),
  fc.nat(5).map((length) => `user.${"n".repeat(1 + length * 49)}`),
);
const attributeValue = fc.oneof(
  fc.uint8Array({ maxLength: 80 }),
  fc.nat(4200).map((size) => new Uint8Array(size).fill(size)),
  fc.constantFrom(65_536, 65_537).map((size) => new Uint8Array(size)),
);

/** Steps on the extended attributes of one of `paths`; by default, of any. */
export function attributeStep(paths: fc.Arbitrary<string> = path): fc.Arbitrary<Step> {
  return fc
    .record({
      do: fc.constantFrom("set", "set", "set", "create", "replace", "get", "remove", "list"),
      path: paths,
      name: attributeName,
      value: attributeValue,
    })
    .map(({ do: what, path, name, value }) =>
      named(`${what} ${path} ${name} (${value.length} bytes)`, (on) => {
        if (what === "get") return on.getAttribute(path, name);
        if (what === "remove") return on.removeAttribute(path, name);
        if (what === "list") return on.listAttributes(path);
        return on.setAttribute(path, name, value, what === "set" ? undefined : what);
      }),
    );
}
