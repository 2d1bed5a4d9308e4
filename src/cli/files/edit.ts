/** `holdfast edit`: a file of a volume in the user's editor. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { HoldfastError } from "../../base/errors.ts";
import type { Volume } from "../../volume/volume.ts";
import { isOfWorld, type Job, oneOperand, volumeCommand } from "../job.ts";
import type { VolumePlace } from "../places.ts";
import { type CommandSpec, UsageError } from "../usage.ts";

const SPEC: CommandSpec = {
  name: "edit",
  about: `Edits a file of a volume: $VISUAL, $EDITOR or vi gets a copy, and what it has changed is written back
in one step.`,
  usage: ["[OPTIONS] IMAGE:/PATH"],
  completes: "volume path",
  options: [["-e, --editor <command>", "the editor", "$VISUAL, $EDITOR, vi"]],
  notes: `While the editor runs the volume is not mounted. A file that is not there is made. The new content is a
new file that takes the old one's name, with its owner, mode and extended attributes: whoever reads
finds all of the old or all of the new. Further names of the old file keep the old content, which is
said. Where the file was changed meanwhile, nothing is written, and the copy stays.`,
  examples: [
    "holdfast edit disk.img:/etc/fstab",
    "EDITOR='code --wait' holdfast edit disk.img:/etc/motd",
  ],
};

const SIZE_MAX = 2 ** 28;

/** A file as it was when the editor began. */
interface Before {
  /** Null: there was none. */
  readonly content: Uint8Array | null;
  readonly nlink: number;
  /** Without symlinks. */
  readonly path: string;
}

async function edit(job: Job): Promise<void> {
  const place = job.places.volume(oneOperand(job, "a file, as in disk.img:/etc/fstab"));
  const { session } = job.places;
  const before = readBefore(job, place);
  if (session === null) job.places[Symbol.dispose]();
  const directory = mkdtempSync(join(tmpdir(), "holdfast-edit-"));
  const copy = join(directory, basename(before.path));
  let isDone = false;
  try {
    writeFileSync(copy, before.content ?? "", { mode: 0o600 });
    await runEditor(editorOf(job), copy);
    const content = readFileSync(copy);
    const isSame = Buffer.compare(content, before.content ?? Buffer.alloc(0)) === 0;
    if (isSame) job.terminal.note(`${place.shown}: not changed`);
    else writeBack(job, place, before, content);
    isDone = true;
  } catch (error) {
    if (isOfWorld(error)) error.message += `; what was edited is in '${copy}'`;
    else isDone = true;
    throw error;
  } finally {
    if (isDone) rmSync(directory, { recursive: true });
  }
}

function readBefore(job: Job, place: VolumePlace): Before {
  const { volume } = job.places.mounted(place, "read");
  const path = realPath(volume, place.path);
  if (!volume.existsSync(path)) return { content: null, nlink: 0, path };
  const stats = volume.statSync(path);
  if (!stats.isFile()) throw new HoldfastError("EINVAL", `'${place.shown}' is a ${stats.type}`);
  if (stats.size > SIZE_MAX) {
    throw new HoldfastError(
      "EFBIG",
      `'${place.shown}' is too large for an editor; use holdfast cp`,
    );
  }
  return { content: volume.readFileSync(path), nlink: stats.nlink, path };
}

/** Of a file that may not be there: of its directory. Throws: ENOENT. */
function realPath(volume: Volume, path: string): string {
  if (volume.existsSync(path)) return volume.fs.realpathSync(path);
  const directory = volume.fs.realpathSync(dirname(path));
  return join(directory, basename(path));
}

function editorOf(job: Job): string {
  const { VISUAL, EDITOR } = process.env;
  return job.value("editor") || VISUAL || EDITOR || "vi";
}

/** As git runs it: by the shell, since it may have arguments. Throws: ECANCELED where the editor fails. */
async function runEditor(editor: string, file: string): Promise<void> {
  const code = await new Promise<number | null>((resolve, reject) => {
    const child = spawn("/bin/sh", ["-c", `${editor} "$@"`, editor, file], { stdio: "inherit" });
    child.once("error", reject);
    child.once("close", resolve);
  });
  if (code === 0) return;
  if (code === 127)
    throw new UsageError(`there is no editor '${editor}'; set $EDITOR, or --editor`);
  throw new HoldfastError("ECANCELED", `the editor '${editor}' failed, and nothing was written`);
}

function writeBack(job: Job, place: VolumePlace, before: Before, content: Uint8Array): void {
  const { volume } = job.places.mounted(place, "write");
  const { path } = before;
  const now = volume.existsSync(path) ? volume.readFileSync(path) : null;
  const isSame =
    now === null || before.content === null
      ? now === before.content
      : Buffer.compare(now, before.content) === 0;
  if (!isSame) {
    throw new HoldfastError("ESTALE", `'${place.shown}' was changed by somebody else meanwhile`);
  }
  const fresh = join(dirname(path), `.holdfast-${randomBytes(6).toString("hex")}`);
  try {
    writeNew(volume, fresh, content, now === null ? null : path);
    volume.renameSync(fresh, path);
  } catch (error) {
    if (volume.existsSync(fresh)) volume.unlinkSync(fresh);
    throw error;
  }
  volume.syncSync();
  if (before.nlink > 1) {
    const others = before.nlink - 1;
    job.terminal.note(
      `${place.shown}: ${others} further ${others === 1 ? "name of the file keeps" : "names of the file keep"} the old content`,
    );
  }
}

/** A file on the medium, with the attributes of the one that it is to replace. */
function writeNew(volume: Volume, path: string, content: Uint8Array, as: string | null): void {
  using file = volume.openSync(path, "wx");
  file.writeFileSync(content);
  if (as !== null) {
    const { mode, uid, gid } = volume.statSync(as);
    file.chownSync(uid, gid);
    file.chmodSync(mode & 0o7777);
    for (const name of volume.listxattrSync(as)) {
      file.setxattrSync(name, volume.getxattrSync(as, name));
    }
  }
  file.syncSync();
}

export const editCommand = volumeCommand(SPEC, edit);
