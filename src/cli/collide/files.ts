/** The files of a run as one thread has them open. */
import type { FileHandle, FileWindow } from "../../index.ts";
import { type Context, codeOf, type Lane } from "./context.ts";
import { BLOCK_BYTES, type FileMark } from "./stamp.ts";

/** Once in so many uses a cached file is closed, and whatever has the name then is opened. */
const REOPEN_ONE_IN = 12;

/** An open file. It stays the same file when its name goes to another. */
export class OpenFile {
  readonly handle: FileHandle;
  readonly mark: FileMark;
  /** Index of the name that it was opened by. */
  readonly name: number;
  readonly #blocksMax: number;
  #window: FileWindow | null = null;
  users = 0;
  isRetired = false;

  constructor(handle: FileHandle, mark: FileMark, name: number, blocksMax: number) {
    this.handle = handle;
    this.mark = mark;
    this.name = name;
    this.#blocksMax = blocksMax;
  }

  /** The file's memory, from its first byte to as far as any file of the run reaches. */
  window(): Uint8Array {
    this.#window ??= this.handle.map({ length: this.#blocksMax * BLOCK_BYTES, writable: true });
    return this.#window.bytes;
  }

  async close(): Promise<void> {
    this.#window?.close();
    this.#window = null;
    await this.handle.close();
  }
}

/** What can go wrong for a name that others rename and unlink, on a full volume. */
const NAME_CODES = ["ENOENT", "ENOSPC"];

/** A clone waits for the pins of all of its origin. */
const CLONE_MS_MAX = 500;
const CLONE_CODES = ["ENOSPC", "ETIMEDOUT"];

/** How files are called before they have the name that others open. */
export const UNNAMED = "/new-";

export class Files {
  readonly #context: Context;
  readonly #cached = new Map<number, OpenFile>();
  #made = 0;

  constructor(context: Context) {
    this.#context = context;
  }

  /** The file behind a name, made when there is none; null when that was refused. */
  async take(lane: Lane, name: number): Promise<OpenFile | null> {
    let file = this.#cached.get(name);
    if (file !== undefined && lane.random.oneIn(REOPEN_ONE_IN)) {
      this.#cached.delete(name);
      file.isRetired = true;
      if (file.users === 0) await this.#close(lane, file);
      file = undefined;
    }
    if (file === undefined) {
      const opened = await this.openAnew(lane, name);
      if (opened === null) return null;
      file = opened;
      if (this.#cached.has(name)) file.isRetired = true;
      else this.#cached.set(name, file);
    }
    file.users++;
    return file;
  }

  /** Gives a taken file back; the last one to do so closes it, if it is no longer cached. */
  async giveBack(lane: Lane, file: OpenFile): Promise<void> {
    file.users--;
    if (file.isRetired && file.users === 0) await this.#close(lane, file);
  }

  /** Opens a name, creating the file when there is none; not cached. */
  async openAnew(lane: Lane, name: number): Promise<OpenFile | null> {
    const { volume, names, waits } = this.#context;
    const path = names[name]!;
    const handle = await lane.attempt("opening a file", ["ENOENT"], () =>
      lane.random.oneIn(2)
        ? volume.openSync(path, "r+")
        : volume.open(path, "r+", undefined, waits),
    );
    if (handle === null) return await this.#create(lane, name);
    const identity = this.#context.board.identityOf(handle.ino);
    if (identity === 0) throw new Error(`${path} is a file that nobody made (inode ${handle.ino})`);
    const { board, claims } = this.#context;
    return new OpenFile(handle, board.markOf(identity), name, claims.blocksMax);
  }

  /**
   * Makes a file under a name that only this thread uses, gives it its identity, and only then the
   * name that others open. A file that has the name loses it. `origin`: makes it a clone of that.
   */
  async #create(
    lane: Lane,
    name: number,
    origin: OpenFile | null = null,
  ): Promise<OpenFile | null> {
    const { volume, board, setup, tally, claims, waits } = this.#context;
    const own = `${UNNAMED}${setup.thread}-${setup.incarnation}-${this.#made++}`;
    const handle = await lane.attempt("creating", NAME_CODES, () =>
      volume.open(own, "wx+", undefined, waits),
    );
    if (handle === null) return null;
    const identity =
      origin === null ? board.nextIdentity() : await this.#clone(lane, handle, origin);
    if (identity !== null) {
      board.setIdentity(handle.ino, identity);
      const isNamed = await lane.attempt("renaming", NAME_CODES, async () => {
        await volume.rename(own, this.#context.names[name]!);
        return true;
      });
      if (isNamed !== null) {
        tally.countCut(origin === null ? "create" : "clone");
        return new OpenFile(handle, board.markOf(identity), name, claims.blocksMax);
      }
    }
    await lane.attempt("closing", [], () => handle.close());
    await lane.attempt("unlinking", [], () => volume.unlink(own));
    return null;
  }

  /** Makes a file that nobody else has a clone. Returns the clone's identity; null when that was refused. */
  async #clone(lane: Lane, handle: FileHandle, origin: OpenFile): Promise<number | null> {
    const { board, waits } = this.#context;
    return await lane.attempt("cloning a file", CLONE_CODES, async () => {
      await handle.cloneRange(origin.handle, { ...waits, timeoutMs: CLONE_MS_MAX });
      return board.nextClone(origin.mark);
    });
  }

  /** Replaces whatever has the name by a new file: empty, or a clone of another one. */
  async replace(lane: Lane, name: number, origin: OpenFile | null = null): Promise<void> {
    const file = await this.#create(lane, name, origin);
    if (file !== null) await this.#close(lane, file);
  }

  async #close(lane: Lane, file: OpenFile): Promise<void> {
    await lane.attempt("closing", [], () => file.close());
  }

  /** At the end, when no lane is at work. */
  async closeAll(): Promise<void> {
    for (const file of this.#cached.values()) {
      try {
        await file.close();
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        this.#context.report("failure", `closing a file: ${message} (${codeOf(error)})`);
      }
    }
    this.#cached.clear();
  }
}
