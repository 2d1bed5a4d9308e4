/** `holdfast cp`: into a volume, out of it, within it, and from one to another. */
import { realpathSync, statSync } from "node:fs";
import { basename, dirname } from "node:path";
import { HoldfastError } from "../../base/errors.ts";
import { Filler } from "../../volume/trees/fill.ts";
import { PrefixedSource, type Source } from "../../volume/trees/source.ts";
import { HostWriter } from "../../volume/trees/write-host.ts";
import { isOfWorld, type Job, volumeCommand } from "../job.ts";
import type { Place } from "../places.ts";
import { type CommandSpec, UsageError } from "../usage.ts";
import { bytesOfAll, complainer, namesIn, now, runSteps, sourceAt } from "./transfer.ts";

const SPEC: CommandSpec = {
  name: "cp",
  about: `Copies files: from the host into a volume, from a volume to the host, within a volume, and from one
volume to another. Holes stay holes.`,
  usage: ["[OPTIONS] SOURCE... TARGET"],
  completes: "any path",
  options: [
    ["-r, --recursive", "directories, with all below them"],
    [
      "-a, --archive",
      "-r, and what is copied keeps owner, mode, times, extended attributes, its other names, and is what it is: device, FIFO, symlink",
    ],
    ["-p, --preserve", "keep owner, mode, times and extended attributes"],
    ["-n, --no-clobber", "leave what is there as it is"],
    ["-v, --verbose", "say what is copied"],
  ],
  notes: `SOURCE and TARGET are paths of the host, or of volumes, as in disk.img:/etc. Where TARGET is a
directory, SOURCE goes into it under its own name; 'tree/.', and the root of a volume, stand for what
is in them. What has the name already is replaced by a new file, but directories are gone into.
Access times are those of modification in what comes from the host. Sockets are not copied to it.`,
  examples: [
    "holdfast cp -a tree disk.img:/srv          into the volume",
    "holdfast cp disk.img:/etc/hosts .          out of it",
    "holdfast cp -r disk.img:/etc disk.img:/etc.old",
    "holdfast cp -a old.img:/ new.img:/         from one to another",
  ],
};

/** A target: a directory that is there, and the name in it; null: what is copied goes into the directory itself. */
interface Target {
  readonly directory: Place;
  readonly name: string | null;
}

async function cp(job: Job): Promise<void> {
  const target = job.operands.at(-1);
  const sources = job.operands.slice(0, -1);
  if (target === undefined || sources.length === 0) {
    throw new UsageError("give what to copy, and where to, as in: tree disk.img:/srv");
  }
  const to = job.places.resolve(target, "host");
  const from = sources.map((text) => job.places.resolve(text, "host"));
  if (job.places.session === null && [to, ...from].every(({ kind }) => kind === "host")) {
    throw new UsageError("none of these is in a volume; write IMAGE:/PATH, as in disk.img:/etc");
  }
  // What is written must be mounted so before anything of it is read.
  const isDirectory = isDirectoryAt(job, to);
  if (!isDirectory && (from.length > 1 || target.endsWith("/"))) {
    throw new HoldfastError("ENOTDIR", `'${target}' is no directory; make it first`);
  }
  for (const each of from) {
    try {
      await copyOne(job, each, to, isDirectory);
    } catch (error) {
      if (!isOfWorld(error)) throw error;
      job.complain(each.shown, error);
    }
  }
}

function isDirectoryAt(job: Job, place: Place): boolean {
  if (place.kind === "host") {
    return statSync(place.path, { throwIfNoEntry: false })?.isDirectory() === true;
  }
  const { volume } = job.places.mounted(place, "write");
  return volume.existsSync(place.path) && volume.statSync(place.path).isDirectory();
}

/** The last name of a path; null of what stands for all in it: a root, or a path that ends with a dot. */
function nameOf(path: string): string | null {
  const name = basename(path);
  return name === "" || name === "." || name === ".." ? null : name;
}

function targetOf(from: Place, to: Place, isDirectory: boolean): Target {
  if (isDirectory) return { directory: to, name: nameOf(from.path) };
  const parent = dirname(to.path);
  return { directory: { ...to, path: parent }, name: basename(to.path) };
}

async function copyOne(job: Job, from: Place, to: Place, isDirectory: boolean): Promise<void> {
  const isTree = job.has("recursive") || job.has("archive");
  const preserve = job.has("archive") || job.has("preserve");
  const { directory, name } = targetOf(from, to, isDirectory);
  if (!isDirectory && !isDirectoryAt(job, directory)) {
    const what = `there is no directory '${directory.path}' to copy to; make it first`;
    throw new HoldfastError("ENOENT", what);
  }
  assertCopies(job, from, directory, name, isTree);
  const prefix = name === null ? [] : [Buffer.from(name)];
  const make = (onError: ((error: unknown, path: string) => void) | null): Source => {
    const options = { follow: !isTree, links: job.has("archive"), onError };
    return new PrefixedSource(sourceAt(job, from, options), prefix);
  };
  const bytesTotal = bytesOfAll(job, () => make(() => {}));
  const onError = complainer(job, from.shown);
  using source = new Told(make(onError), job, from);
  const shared = {
    bytesTotal,
    preserve,
    keepsExisting: job.has("no-clobber"),
    onError: (error: unknown, path: string) => onError(error, withoutPrefix(path, name)),
  };
  if (directory.kind === "host") {
    await runSteps(job, new HostWriter(source, { ...shared, at: directory.path }).run());
    return;
  }
  const mounted = job.places.mounted(directory, "write");
  const at = namesIn(mounted, directory.path);
  const filler = new Filler(mounted, source, { ...shared, at, time: now() });
  const { attributesSkipped } = await runSteps(job, filler.run());
  if (attributesSkipped > 0) {
    const what = `${attributesSkipped} extended attributes left out, which the volume has no place for`;
    job.terminal.note(`holdfast: ${from.shown}: ${what}`);
  }
}

function withoutPrefix(path: string, name: string | null): string {
  if (name === null || !path.startsWith(name)) return path;
  return path.slice(name.length).replace(/^\//, "");
}

/** A source that tells of each of its entries, where that is asked for. */
class Told implements Source {
  readonly path: string;
  readonly #source: Source;
  readonly #job: Job;
  readonly #from: Place;

  constructor(source: Source, job: Job, from: Place) {
    this.path = source.path;
    this.#source = source;
    this.#job = job;
    this.#from = from;
  }

  *entries() {
    for (const entry of this.#source.entries()) {
      if (this.#job.has("verbose")) {
        const names = entry.names.map((name) => Buffer.from(name).toString("utf8"));
        this.#job.terminal.print(`${this.#from.shown} -> ${names.join("/") || "."}`);
      }
      yield entry;
    }
  }

  read(at: number, target: Uint8Array): number {
    return this.#source.read(at, target);
  }

  [Symbol.dispose](): void {
    this.#source[Symbol.dispose]();
  }
}

/** Throws: EISDIR for a directory without -r; EINVAL for one that would go into itself, or a file onto itself. */
function assertCopies(
  job: Job,
  from: Place,
  directory: Place,
  name: string | null,
  isTree: boolean,
): void {
  const isDirectory = sourceIsDirectory(job, from, isTree);
  if (isDirectory && !isTree) {
    throw new HoldfastError("EISDIR", "is a directory; with -r it is copied");
  }
  const [real, into] = [realPlace(job, from), realPlace(job, directory)];
  if (real === null || into === null) return;
  const end = name === null ? into : `${into === "/" ? "" : into}/${name}`;
  const isSame = sameVolume(job, from, directory);
  if (isSame && end === real) throw new HoldfastError("EINVAL", "is the same as what it goes to");
  const inside = real === "/" ? "/" : `${real}/`;
  if (isSame && isDirectory && `${end}/`.startsWith(inside)) {
    throw new HoldfastError("EINVAL", "would be copied into itself");
  }
}

function sourceIsDirectory(job: Job, from: Place, isTree: boolean): boolean {
  if (from.kind === "host") return statSync(from.path).isDirectory();
  const { volume } = job.places.mounted(from, "read");
  const stats = isTree ? volume.lstatSync(from.path) : volume.statSync(from.path);
  return stats.isDirectory();
}

function sameVolume(job: Job, from: Place, to: Place): boolean {
  if (from.kind !== "volume" || to.kind !== "volume") return from.kind === to.kind;
  return job.places.mounted(from, "read").core === job.places.mounted(to, "write").core;
}

function realPlace(job: Job, place: Place): string | null {
  try {
    if (place.kind === "host") return realpathSync(place.path);
    return job.places.mounted(place, "read").volume.fs.realpathSync(place.path);
  } catch {
    return null; // who opens it says why
  }
}

export const cpCommand = volumeCommand(SPEC, cp);
