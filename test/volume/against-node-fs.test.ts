// One suite, every driver, and the real node:fs as oracle: random programs of operations on names and
// contents must give the same answers and errors, and leave the same tree.

import * as fs from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Stats, Volume } from "../../src/index.ts";
import { temporaryDirectory } from "../support/tools.ts";
import { blockPointerKinds, volumeKinds } from "./volumes.ts";

type Subject = {
  statSync(path: string): fs.Stats | Stats;
  lstatSync(path: string): fs.Stats | Stats;
};

/** What both sides can do, one argument list for both. */
interface Filesystem {
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
}

function facts(stats: fs.Stats | Stats): unknown {
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

function onNode(root: string): Filesystem {
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
        const count = fs.readSync(fd, target, 0, length, position);
        return Buffer.from(target.subarray(0, count)).toString("hex");
      }),
  };
}

function onVolume(volume: Volume): Filesystem {
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
        const count = file.readSync(target, position);
        return Buffer.from(target.subarray(0, count)).toString("hex");
      }),
  };
}

/** The same, on the event loop where a volume has such a form. */
function onVolumeAsync(volume: Volume): Filesystem {
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
        const count = await file.read(target, position);
        return Buffer.from(target.subarray(0, count)).toString("hex");
      }),
  };
}

type Step = (on: Filesystem) => unknown;

async function outcome(step: Step, on: Filesystem): Promise<unknown> {
  try {
    return { value: await step(on) };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined || code.startsWith("ERR_")) throw error;
    return { code };
  }
}

/** Every name below the root, with what is there. */
function tree(root: Subject & Pick<Filesystem, "readdir" | "readlink" | "read">): unknown {
  const visit = (path: string): unknown => {
    const stats = root.lstatSync(path);
    const shape = facts(stats);
    if (stats.isSymbolicLink()) return { shape, target: root.readlink(path) };
    if (stats.isFile()) return { shape, content: root.read(path, 0, stats.size) };
    const names = root.readdir(path) as [string, boolean, boolean][];
    return {
      shape,
      entries: names
        .filter(([name]) => name !== "lost+found")
        .map(([name]) => [name, visit(path === "" ? name : `${path}/${name}`)]),
    };
  };
  const { entries } = visit("") as { entries: unknown };
  return entries;
}

const name = fc.constantFrom("a", "b", "c", "dd", "long".repeat(20), "ü");
// A ".." only follows a name, so that the oracle never leaves its directory.
const part = fc.oneof(
  { weight: 10, arbitrary: name },
  { weight: 1, arbitrary: name.map((each) => `${each}/..`) },
  { weight: 1, arbitrary: fc.constant("a/.") },
);
const path = fc
  .tuple(
    fc.array(part, { minLength: 1, maxLength: 3 }),
    fc.constantFrom("", "", "", "", "", "", "/"),
    fc.constantFrom("/", "/", "/", "//"),
  )
  .map(([parts, end, separator]) => parts.join(separator) + end);
const target = fc.constantFrom("a", "b", "c", "a/b", "b/c", "dd", "a/", "no/such");
const mode = fc.constantFrom(0o777, 0o755, 0o700, 0o644, 0o600, 0o4755, 0o2775, 0o1777);
const flags = fc.constantFrom("w", "w+", "wx", "a", "a+", "ax", "r+", "r+");
const position = fc.oneof(fc.nat(20_000), fc.constantFrom(0, 4096, 1_000_000, 5_000_000));
const bytes = fc
  .tuple(fc.oneof(fc.nat(100), fc.constantFrom(0, 4096, 10_000)), fc.nat(255))
  .map(([length, fill]) => new Uint8Array(length).fill(fill));
const seconds = fc.constantFrom(0, 1, 1_000_000_000.5, 1_700_000_000.25, 2_147_483_647);

const step: fc.Arbitrary<Step> = fc.oneof(
  fc
    .tuple(path, mode, fc.boolean())
    .map(([p, m, r]) => named(`mkdir ${p} ${m} ${r}`, (on) => on.mkdir(p, m, r))),
  path.map((p) => named(`mkdir ${p}`, (on) => on.mkdir(p, 0o777, false))),
  path.map((p) => named(`rmdir ${p}`, (on) => on.rmdir(p))),
  path.map((p) => named(`unlink ${p}`, (on) => on.unlink(p))),
  fc.tuple(path, path).map(([p, q]) => named(`rename ${p} ${q}`, (on) => on.rename(p, q))),
  fc.tuple(path, path).map(([p, q]) => named(`rename ${p} ${q}`, (on) => on.rename(p, q))),
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
  fc
    .tuple(path, flags, mode, bytes, position)
    .map(([p, f, m, b, at]) =>
      named(`write ${p} ${f} ${m} ${b.length}x${b[0]} at ${at}`, (on) => on.write(p, f, m, b, at)),
    ),
  fc
    .tuple(path, flags, mode, bytes, position)
    .map(([p, f, m, b, at]) =>
      named(`write ${p} ${f} ${m} ${b.length}x${b[0]} at ${at}`, (on) => on.write(p, f, m, b, at)),
    ),
  fc
    .tuple(path, position, fc.integer({ min: 1, max: 9000 }))
    .map(([p, at, n]) => named(`read ${p} ${at} ${n}`, (on) => on.read(p, at, n))),
);

/** A step that a counterexample can print. */
function named(text: string, run: Step): Step {
  return Object.assign(run, { [fc.toStringMethod]: () => text });
}

const program = fc.array(fc.tuple(step, fc.boolean()), {
  minLength: 20,
  maxLength: 120,
  size: "max",
});

describe.each([...volumeKinds, ...blockPointerKinds])("$name", (kind) => {
  test("a random program answers as node:fs does, and leaves the same tree", async () => {
    let made = kind.make();
    // Programs run one after another on the same volume, each in a directory of its own.
    let run = 0;
    await fc.assert(
      fc.asyncProperty(program, async (steps) => {
        using oracle = temporaryDirectory();
        // A program that failed, tried again in a shorter form, may have cost the volume.
        if (made.volume.closed || made.volume.readOnly) made = kind.make();
        const root = `run${run++}`;
        made.volume.mkdirSync(root, { mode: 0o777 });
        made.volume.chmodSync(root, 0o700);
        const below = (on: Filesystem): Filesystem => prefixed(on, root);
        const node = onNode(oracle.path);
        for (const [each, asynchronous] of steps) {
          const volume = below((asynchronous ? onVolumeAsync : onVolume)(made.volume));
          expect(await outcome(each, volume)).toEqual(await outcome(each, node));
        }
        const expected = tree({
          ...node,
          statSync: (path) => fs.statSync(join(oracle.path, path)),
          lstatSync: (path) => fs.lstatSync(join(oracle.path, path)),
        });
        const seen = (): unknown =>
          tree({
            ...below(onVolume(made.volume)),
            statSync: (path) => made.volume.statSync(`${root}/${path}`),
            lstatSync: (path) => made.volume.lstatSync(`${root}/${path}`),
          });
        expect(seen()).toEqual(expected);
        made.remount();
        expect(seen()).toEqual(expected);
      }),
      { numRuns: Number(process.env["HOLDFAST_RUNS"] ?? 40), endOnFailure: false },
    );
    expect(made.volume.statistics().pinsHeld).toBe(0);
    expect(made.closeAndCheck()).toBe("");
    made[Symbol.dispose]();
  });
});

/** The same filesystem, below a directory: every path argument gets it in front. */
function prefixed(on: Filesystem, root: string): Filesystem {
  const paths: Record<keyof Filesystem, readonly number[]> = {
    mkdir: [0],
    rmdir: [0],
    unlink: [0],
    rename: [0, 1],
    link: [0, 1],
    symlink: [1],
    readlink: [0],
    readdir: [0],
    stat: [0],
    chmod: [0],
    chown: [0],
    utimes: [0],
    truncate: [0],
    write: [0],
    read: [0],
  };
  const entries = Object.entries(on).map(([key, run]) => [
    key,
    (...args: unknown[]) => {
      const given = args.map((value, index) =>
        paths[key as keyof Filesystem].includes(index) ? `${root}/${value}` : value,
      );
      return (run as (...given: unknown[]) => unknown)(...given);
    },
  ]);
  return Object.fromEntries(entries);
}
