/** `holdfast mkdir`, `rm`, `mv` and `ln`: what changes names of a volume. */
import { HoldfastError } from "../../base/errors.ts";
import type { Volume } from "../../volume/volume.ts";
import { type Job, someOperands, volumeCommand } from "../job.ts";
import type { VolumePlace } from "../places.ts";
import { type CommandSpec, UsageError } from "../usage.ts";
import { textOf } from "./lines.ts";
import { below, nameOf, walk } from "./walk.ts";

const MKDIR: CommandSpec = {
  name: "mkdir",
  about: "Makes directories in a volume.",
  usage: ["[OPTIONS] IMAGE:/PATH..."],
  completes: "volume path",
  options: [
    ["-p, --parents", "also those on the way that are missing; what is there is no error"],
    ["-m, --mode <bits>", "permission bits in octal, whatever the umask", "0777, less the umask"],
    ["-v, --verbose", "say what is made"],
  ],
  examples: ["holdfast mkdir disk.img:/srv", "holdfast mkdir -p -m 0750 disk.img:/srv/www/html"],
};

/** Throws: UsageError. */
function modeOf(text: string): number {
  if (/^[0-7]{1,4}$/.test(text)) return Number.parseInt(text, 8);
  throw new UsageError(`--mode takes bits in octal, such as 0750, not '${text}'`);
}

async function mkdir(job: Job): Promise<void> {
  const text = job.value("mode");
  const mode = text === null ? null : modeOf(text);
  for (const operand of someOperands(job, "a directory to make, as in disk.img:/srv")) {
    const place = job.places.volume(operand);
    await job.breathe();
    job.attempt(place.shown, () => {
      const { volume } = job.places.mounted(place, "write");
      const wasThere = job.has("parents") && volume.existsSync(place.path);
      volume.mkdirSync(place.path, { recursive: job.has("parents") });
      if (wasThere) return;
      if (mode !== null) volume.chmodSync(place.path, mode);
      if (job.has("verbose")) job.terminal.print(`made ${place.shown}`);
    });
  }
}

const RM: CommandSpec = {
  name: "rm",
  about: "Removes files of a volume.",
  usage: ["[OPTIONS] IMAGE:/PATH..."],
  completes: "volume path",
  options: [
    ["-r, --recursive", "directories, with all below them"],
    ["-f, --force", "what is not there is no error"],
    ["-v, --verbose", "say what is removed"],
  ],
  notes: "Blocks that become free are not wiped: holdfast trim gives them back.",
  examples: ["holdfast rm disk.img:/var/log/old.log", "holdfast rm -rf disk.img:/tmp/build"],
};

async function rm(job: Job): Promise<void> {
  for (const operand of someOperands(job, "what to remove, as in disk.img:/tmp/file")) {
    const place = job.places.volume(operand);
    const volume = job.attempt(place.shown, () => {
      const { volume } = job.places.mounted(place, "write");
      const stats = lstatIf(volume, place.path, job.has("force"));
      if (stats === null) return null;
      if (!stats.isDirectory()) {
        volume.unlinkSync(place.path);
        told(job, place.shown);
        return null;
      }
      assertRemovable(job, volume, place.path);
      return volume;
    });
    if (volume !== null) await removeTree(job, volume, place);
  }
}

/** Throws: EISDIR without -r, EINVAL for what cannot be meant. */
function assertRemovable(job: Job, volume: Volume, path: string): void {
  if (!job.has("recursive")) {
    throw new HoldfastError("EISDIR", "is a directory; with -r it is removed with all below it");
  }
  const last = textOf(nameOf(Buffer.from(path)));
  const isRoot = volume.fs.realpathSync(path) === "/";
  if (!isRoot && last !== "." && last !== "..") return;
  throw new HoldfastError("EINVAL", isRoot ? "the root stays" : `'${last}' cannot be removed`);
}

async function removeTree(job: Job, volume: Volume, place: VolumePlace): Promise<void> {
  for (const { path, shown, stats } of walk(job, volume, place, { order: "after" })) {
    await job.breathe();
    job.attempt(textOf(shown), () => {
      if (stats.isDirectory()) volume.rmdirSync(path);
      else volume.unlinkSync(path);
      told(job, textOf(shown));
    });
  }
}

function told(job: Job, shown: string): void {
  if (job.has("verbose")) job.terminal.print(`removed ${shown}`);
}

/** Null: nothing is there, and that is no error. */
function lstatIf(volume: Volume, path: string, mayMiss: boolean) {
  try {
    return volume.lstatSync(path);
  } catch (error) {
    if (mayMiss && (error as { code?: unknown }).code === "ENOENT") return null;
    throw error;
  }
}

const MV: CommandSpec = {
  name: "mv",
  about: "Renames files of a volume, or moves them to another of its directories.",
  usage: ["[OPTIONS] IMAGE:/SOURCE... IMAGE:/TARGET"],
  completes: "volume path",
  options: [
    ["-n, --no-clobber", "leave what is there as it is"],
    ["-v, --verbose", "say what is moved"],
  ],
  notes: `Where TARGET is a directory, SOURCE goes into it under its own name. What has the name already is
replaced, and nobody ever finds neither. To another volume, or from or to the host, copy with
'holdfast cp -a', and remove with 'holdfast rm -r'.`,
  examples: [
    "holdfast mv disk.img:/etc/motd disk.img:/etc/motd.old",
    "holdfast mv disk.img:/a disk.img:/b disk.img:/srv",
  ],
};

/** The last operand is the target; the others are of the same volume. Throws: UsageError. */
function pairs(job: Job, what: string): { from: VolumePlace; to: VolumePlace; volume: Volume }[] {
  const target = job.operands.at(-1);
  const sources = job.operands.slice(0, -1);
  if (target === undefined || sources.length === 0) throw new UsageError(`give ${what}`);
  const to = job.places.volume(target);
  const { volume } = job.places.mounted(to, "write");
  const isDirectory = volume.existsSync(to.path) && volume.statSync(to.path).isDirectory();
  if (!isDirectory && sources.length > 1) {
    throw new HoldfastError("ENOTDIR", `'${target}' is no directory; make it first`);
  }
  return sources.map((text) => {
    const from = job.places.volume(text);
    if (job.places.mounted(from, "write").volume !== volume) {
      throw new UsageError(
        `'${text}' is in another volume; copy it with 'holdfast cp -a', and remove it there`,
      );
    }
    if (!isDirectory) return { from, to, volume };
    const name = nameOf(Buffer.from(from.path));
    return { from, to: { ...to, path: textOf(below(Buffer.from(to.path), name)) }, volume };
  });
}

async function mv(job: Job): Promise<void> {
  for (const { from, to, volume } of pairs(job, "what to move, and where to")) {
    await job.breathe();
    job.attempt(from.shown, () => {
      volume.lstatSync(from.path);
      if (job.has("no-clobber") && lstatIf(volume, to.path, true) !== null) return;
      volume.renameSync(from.path, to.path);
      if (job.has("verbose")) job.terminal.print(`${from.shown} -> ${to.path}`);
    });
  }
}

const LN: CommandSpec = {
  name: "ln",
  about: "Gives a file of a volume another name, or makes a symlink.",
  usage: ["[OPTIONS] IMAGE:/FILE... IMAGE:/NAME", "-s [OPTIONS] TEXT IMAGE:/NAME"],
  completes: "volume path",
  options: [
    ["-s, --symbolic", "a symlink: TEXT is what it leads to, as it is"],
    ["-f, --force", "replace what has the name already"],
    ["-v, --verbose", "say what is made"],
  ],
  examples: [
    "holdfast ln disk.img:/bin/busybox disk.img:/bin/sh",
    "holdfast ln -s ../usr/lib disk.img:/lib",
  ],
};

async function ln(job: Job): Promise<void> {
  if (job.has("symbolic")) {
    const [text, name, ...rest] = job.operands;
    if (text === undefined || name === undefined || rest.length > 0) {
      throw new UsageError(
        "give what it leads to, and its name, as in: ln -s ../lib disk.img:/lib",
      );
    }
    const place = job.places.volume(name);
    job.attempt(place.shown, () => {
      const { volume } = job.places.mounted(place, "write");
      makeWay(job, volume, place.path);
      volume.symlinkSync(text, place.path);
      if (job.has("verbose")) job.terminal.print(`${place.shown} -> ${text}`);
    });
    return;
  }
  for (const { from, to, volume } of pairs(job, "a file, and its other name")) {
    await job.breathe();
    job.attempt(from.shown, () => {
      const stats = volume.lstatSync(from.path);
      if (lstatIf(volume, to.path, true)?.ino === stats.ino) {
        throw new HoldfastError("EEXIST", `'${to.path}' is the same file`);
      }
      makeWay(job, volume, to.path);
      volume.linkSync(from.path, to.path);
      if (job.has("verbose")) job.terminal.print(`${to.path} => ${from.shown}`);
    });
  }
}

/** With -f what has the name goes; directories stay. */
function makeWay(job: Job, volume: Volume, path: string): void {
  if (job.has("force") && lstatIf(volume, path, true) !== null) volume.unlinkSync(path);
}

export const mkdirCommand = volumeCommand(MKDIR, mkdir);
export const rmCommand = volumeCommand(RM, rm);
export const mvCommand = volumeCommand(MV, mv);
export const lnCommand = volumeCommand(LN, ln);
