/** `holdfast tar`: directories of volumes as archives, and archives into volumes. */
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HoldfastError, openError } from "../../base/errors.ts";
import { Filler } from "../../volume/trees/fill.ts";
import { TarSource } from "../../volume/trees/source-tar.ts";
import { TarWriter } from "../../volume/trees/write-tar.ts";
import { type Job, volumeCommand } from "../job.ts";
import type { VolumePlace } from "../places.ts";
import { type CommandSpec, UsageError } from "../usage.ts";
import { bytesOfAll, complainer, namesIn, now, runSteps, sourceAt } from "./transfer.ts";

const SPEC: CommandSpec = {
  name: "tar",
  about:
    "Writes a directory of a volume as a tar archive, or puts what an archive has into a directory.",
  usage: ["out [OPTIONS] IMAGE[:/PATH] [ARCHIVE]", "in [OPTIONS] ARCHIVE IMAGE[:/PATH]"],
  completes: "any path",
  options: [
    ["-n, --no-clobber", "in: leave what is there as it is"],
    ["-f, --force", "out: write over an archive that is there"],
  ],
  notes: `ARCHIVE '-' is standard input or output; without it 'out' writes there. Archives are ustar and pax,
with sparse files, extended attributes, access control lists, devices and further names; names are
bytes. Archives that are compressed are not read: give what xz -dc or zstd -dc makes of them.`,
  examples: [
    "holdfast tar out disk.img:/etc etc.tar",
    "holdfast tar out disk.img | zstd > disk.tar.zst",
    "zstd -dc rootfs.tar.zst | holdfast tar in - disk.img:/",
  ],
};

async function tar(job: Job): Promise<void> {
  const [direction, ...rest] = job.operands;
  if (direction === "out") await tarOut(job, rest);
  else if (direction === "in") await tarIn(job, rest);
  else throw new UsageError("give 'in' or 'out': tar out disk.img:/etc etc.tar");
}

async function tarOut(job: Job, operands: readonly string[]): Promise<void> {
  const [from, archive = "-", ...rest] = operands;
  if (from === undefined || rest.length > 0) {
    throw new UsageError("give a directory of a volume, and at most one archive");
  }
  const place = job.places.volume(from, "image");
  const { volume } = job.places.mounted(place, "read");
  if (!volume.statSync(place.path).isDirectory()) {
    throw new HoldfastError("ENOTDIR", `'${place.shown}' is no directory`);
  }
  if (archive === "-" && job.terminal.isPerson) {
    throw new UsageError("an archive is nothing for a terminal; give a file, or a pipe");
  }
  const options = { follow: true, links: true, onError: complainer(job, place.shown) };
  const bytesTotal = bytesOfAll(job, () => sourceAt(job, place, { ...options, onError: () => {} }));
  using source = sourceAt(job, place, options);
  using output = new Output(job, archive);
  const write = (bytes: Uint8Array): void => output.write(bytes);
  const { onError } = options;
  await runSteps(job, new TarWriter(source, { write, bytesTotal, onError }).run());
}

/** A new file, or standard output. */
class Output implements Disposable {
  readonly #job: Job;
  readonly #fd: number | null;

  /** Throws: EEXIST where a file is there. */
  constructor(job: Job, path: string) {
    this.#job = job;
    const host = job.places.session === null ? path : path.replace(/^host:/, "");
    this.#fd = path === "-" ? null : openArchive(host, job.has("force"));
  }

  write(bytes: Uint8Array): void {
    if (this.#fd === null) {
      this.#job.terminal.write(Buffer.from(bytes));
      return;
    }
    for (let done = 0; done < bytes.length; ) {
      done += writeSync(this.#fd, bytes, done, bytes.length - done);
    }
  }

  [Symbol.dispose](): void {
    if (this.#fd !== null) closeSync(this.#fd);
  }
}

/** Throws: EEXIST; what open(2) answers. */
function openArchive(path: string, force: boolean): number {
  try {
    return openSync(path, force ? "w" : "wx");
  } catch (error) {
    const isThere = (error as NodeJS.ErrnoException).code === "EEXIST";
    if (!isThere) throw openError(error, path);
    throw new HoldfastError("EEXIST", `'${path}' is there already; --force writes over it`);
  }
}

async function tarIn(job: Job, operands: readonly string[]): Promise<void> {
  const [archive, to, ...rest] = operands;
  if (archive === undefined || to === undefined || rest.length > 0) {
    throw new UsageError("give an archive, and a directory of a volume: tar in etc.tar disk.img:/");
  }
  const place = job.places.volume(to, "image");
  const mounted = job.places.mounted(place, "write");
  if (!mounted.volume.statSync(place.path).isDirectory()) {
    throw new HoldfastError("ENOTDIR", `'${place.shown}' is no directory`);
  }
  using input = await Input.of(job, archive);
  await fillFrom(job, input.path, place);
}

async function fillFrom(job: Job, archive: string, place: VolumePlace): Promise<void> {
  const mounted = job.places.mounted(place, "write");
  const bytesTotal = bytesOfAll(job, () => new TarSource(archive));
  using source = new TarSource(archive);
  const filler = new Filler(mounted, source, {
    at: namesIn(mounted, place.path),
    time: now(),
    bytesTotal,
    preserve: true,
    keepsExisting: job.has("no-clobber"),
    onError: complainer(job, place.shown),
  });
  await runSteps(job, filler.run());
}

/** An archive that can be read at any place: standard input is kept in a file for so long. */
class Input implements Disposable {
  readonly path: string;
  readonly #directory: string | null;

  private constructor(path: string, directory: string | null) {
    this.path = path;
    this.#directory = directory;
  }

  static async of(job: Job, archive: string): Promise<Input> {
    if (archive !== "-") {
      return new Input(job.places.session === null ? archive : archive.replace(/^host:/, ""), null);
    }
    const directory = mkdtempSync(join(tmpdir(), "holdfast-tar-"));
    const input = new Input(join(directory, "archive"), directory);
    try {
      const fd = openSync(input.path, "wx", 0o600);
      try {
        await spool(job, fd);
      } finally {
        closeSync(fd);
      }
      return input;
    } catch (error) {
      input[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    if (this.#directory !== null) rmSync(this.#directory, { recursive: true });
  }
}

async function spool(job: Job, fd: number): Promise<void> {
  for await (const piece of process.stdin) {
    const bytes = piece as Buffer;
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
    await job.breathe();
  }
}

export const tarCommand = volumeCommand(SPEC, tar);
