/** `holdfast find`. */
import { statSync } from "node:fs";
import type { FileType } from "../../iomap/contract.ts";
import { type Job, someOperands, volumeCommand } from "../job.ts";
import { type CommandSpec, JSON_LINES, UsageError, wholeNumber } from "../usage.ts";
import { globPattern } from "./glob.ts";
import { factsOf, nameFor, octal, printLine, textOf } from "./lines.ts";
import { type Found, nameOf, walk } from "./walk.ts";

const SPEC: CommandSpec = {
  name: "find",
  about: "Finds files of a volume: those of which everything holds that is asked for.",
  usage: ["IMAGE[:/PATH]... [TESTS]"],
  completes: "volume path",
  options: [
    ["--name <glob>", "the last name, as in '*.log'"],
    ["--iname <glob>", "the same, in whatever case"],
    ["--path <glob>", "the path as it is printed; * goes over slashes"],
    ["--type <letters>", "f file, d directory, l symlink, p FIFO, s socket, b and c devices: f,l"],
    ["--size <n>", "so many units, rounded up: +2M more, -2M fewer; b c w k M G as in find(1)"],
    ["--newer <path>", "modified after that file, of the volume or the host"],
    ["--perm <mode>", "permission bits in octal; -mode: all of these"],
    ["--uid <n>", "the owner's number"],
    ["--links <n>", "so many names; +n, -n"],
    ["--inum <n>", "the inode's number"],
    ["--empty", "empty files and directories"],
    ["--maxdepth <n>", "so many levels below what was given, at most"],
    ["--mindepth <n>", "so many levels below it, at least"],
    ["--print0", "end each path with a zero byte"],
    JSON_LINES,
  ],
  notes: "Tests may be written with one dash as well, as find(1) has them.",
  examples: [
    "holdfast find disk.img:/var -name '*.log' -size +1M",
    "holdfast find disk.img:/ -type f -perm -4000",
    "holdfast find disk.img:/ -newer disk.img:/etc/hostname -print0 | xargs -0 -n1 echo",
  ],
};

const TESTS = new Set(
  SPEC.options.map(([flags]) => flags.replace(/ .*/, "")).filter((flag) => flag !== "--json"),
);

/** One dash is two. */
function twoDashes(args: readonly string[]): readonly string[] {
  return args.map((each) => (TESTS.has(`-${each}`) ? `-${each}` : each));
}

type Test = (found: Found) => boolean;

const DEPTH_MAX = 1000;
const TYPE_OF: Readonly<Record<string, FileType>> = {
  f: "file",
  d: "directory",
  l: "symlink",
  p: "fifo",
  s: "socket",
  b: "block-device",
  c: "character-device",
};
const UNITS: Readonly<Record<string, number>> = {
  "": 512,
  b: 512,
  c: 1,
  w: 2,
  k: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
};

/** "+5": more than 5. Throws: UsageError. */
function compared(option: string, text: string): (value: number) => boolean {
  const match = /^([+-]?)(\d+)$/.exec(text);
  if (match === null) throw new UsageError(`--${option} takes 5, +5 or -5, not '${text}'`);
  const limit = Number(match[2]);
  if (match[1] === "+") return (value) => value > limit;
  return match[1] === "-" ? (value) => value < limit : (value) => value === limit;
}

function sizeTest(text: string): Test {
  const match = /^([+-]?\d+)([bcwkMG]?)$/.exec(text);
  if (match === null)
    throw new UsageError(`--size takes a size such as +2M or 100c, not '${text}'`);
  const unit = UNITS[match[2]!]!;
  const holds = compared("size", match[1]!);
  return ({ stats }) => holds(Math.ceil(stats.size / unit));
}

function typeTest(text: string): Test {
  const types = text.split(",").map((letter) => {
    const type = TYPE_OF[letter];
    if (type !== undefined) return type;
    throw new UsageError(`--type takes letters of f, d, l, p, s, b, c, not '${letter}'`);
  });
  return ({ stats }) => types.includes(stats.type);
}

function permTest(text: string): Test {
  const match = /^(-?)([0-7]{1,4})$/.exec(text);
  if (match === null) throw new UsageError(`--perm takes bits in octal, not '${text}'`);
  const bits = Number.parseInt(match[2]!, 8);
  return match[1] === "-"
    ? ({ stats }) => (stats.mode & bits) === bits
    : ({ stats }) => octal(stats.mode) === octal(bits);
}

function newerTest(job: Job, text: string): Test {
  const place = job.places.resolve(text, "host");
  const { seconds, nanoseconds } =
    place.kind === "volume"
      ? job.places.mounted(place, "read").volume.statSync(place.path).times.modify
      : hostTime(place.path);
  return ({ stats }) => {
    const { modify } = stats.times;
    return (
      modify.seconds > seconds || (modify.seconds === seconds && modify.nanoseconds > nanoseconds)
    );
  };
}

function hostTime(path: string): { seconds: number; nanoseconds: number } {
  const { mtimeNs } = statSync(path, { bigint: true });
  const seconds = Number(mtimeNs / 1_000_000_000n);
  return { seconds, nanoseconds: Number(mtimeNs % 1_000_000_000n) };
}

/** Throws: UsageError. */
function testsOf(job: Job, isEmptyDirectory: Test): Test[] {
  const tests: Test[] = [];
  const add = (option: string, make: (text: string) => Test): void => {
    const text = job.value(option);
    if (text !== null) tests.push(make(text));
  };
  const number = (option: string, of: (found: Found) => number): void =>
    add(option, (text) => {
      const holds = compared(option, text);
      return (found) => holds(of(found));
    });
  const glob = (option: string, of: (found: Found) => Uint8Array, ignoreCase: boolean): void =>
    add(option, (text) => {
      const pattern = globPattern(text, { ignoreCase });
      return (found) => pattern.test(textOf(of(found)));
    });
  glob("name", ({ shown }) => nameOf(shown), false);
  glob("iname", ({ shown }) => nameOf(shown), true);
  glob("path", ({ shown }) => shown, false);
  add("type", typeTest);
  add("size", sizeTest);
  add("perm", permTest);
  number("uid", ({ stats }) => stats.uid);
  number("links", ({ stats }) => stats.nlink);
  number("inum", ({ stats }) => stats.ino);
  add("newer", (text) => newerTest(job, text));
  if (job.has("empty")) {
    tests.push((found) =>
      found.stats.isDirectory()
        ? isEmptyDirectory(found)
        : found.stats.isFile() && found.stats.size === 0,
    );
  }
  return tests;
}

async function find(job: Job): Promise<void> {
  const depth = (name: string, otherwise: number): number => {
    const text = job.value(name);
    return text === null ? otherwise : wholeNumber(name, text, 0, DEPTH_MAX);
  };
  const [depthMin, depthMax] = [depth("mindepth", 0), depth("maxdepth", Infinity)];
  const given = job.operands.length === 0 && job.places.session !== null ? ["."] : null;
  for (const text of given ?? someOperands(job, "where to begin, as in disk.img:/")) {
    const place = job.places.volume(text, "image");
    const volume = job.attempt(place.shown, () => job.places.mounted(place, "read").volume);
    if (volume === null) continue;
    const tests = testsOf(job, ({ path, shown }) => {
      const names = job.attempt(textOf(shown), () => volume.readdirSync(path));
      return names?.length === 0;
    });
    for (const found of walk(job, volume, place, { depthMax })) {
      await job.breathe();
      if (found.depth < depthMin || !tests.every((holds) => holds(found))) continue;
      if (job.json) job.terminal.print(JSON.stringify(factsOf(found.shown, found.stats)));
      else if (job.has("print0")) job.terminal.write(Buffer.concat([found.shown, Buffer.of(0)]));
      else printLine(job.terminal, nameFor(job.terminal, found.shown));
    }
  }
}

export const findCommand = volumeCommand(SPEC, find, twoDashes);
