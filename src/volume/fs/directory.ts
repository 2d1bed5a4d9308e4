/** A directory that is read entry by entry, as fs.Dir. */
import type * as nodeFs from "node:fs";
import { checkInteger } from "../arguments.ts";
import { type Encoding, nameEncoding, optionsOf, pathString } from "./arguments.ts";
import type { Host } from "./host.ts";
import { type Dirent, direntOf, list, type Listed } from "./names.ts";
import {
  as,
  type Callback,
  checkCallback,
  runAsync,
  runSync,
  runWithCallback,
  type Script,
} from "./script.ts";

/** The entries are those of the moment in which it was opened. */
export class Dir implements Record<keyof nodeFs.Dir, unknown>, AsyncIterable<Dirent> {
  readonly path: string;
  readonly #encoding: Encoding;
  readonly #entries: readonly Listed[];
  #next = 0;
  #closed = false;

  /** Use `opendir`. */
  constructor(path: string, entries: readonly Listed[], encoding: Encoding) {
    this.path = path;
    this.#entries = entries;
    this.#encoding = encoding;
  }

  *#read(): Script<Dirent | null> {
    this.#assertOpen();
    const entry = this.#entries[this.#next];
    if (entry === undefined) return null;
    this.#next++;
    return direntOf(entry, this.#encoding);
  }

  #assertOpen(): void {
    if (!this.#closed) return;
    throw Object.assign(new Error("Directory handle was closed"), { code: "ERR_DIR_CLOSED" });
  }

  *#close(): Script<void> {
    this.#assertOpen();
    this.#closed = true;
  }

  read(): Promise<Dirent | null>;
  read(callback: (error: unknown, entry: Dirent | null) => void): void;
  read(callback?: Callback): Promise<Dirent | null> | undefined {
    if (callback === undefined) return runAsync(this.#read());
    runWithCallback(this.#read(), checkCallback(callback), (entry) => [entry]);
    return undefined;
  }

  readSync(): Dirent | null {
    return runSync(this.#read());
  }

  close(): Promise<void>;
  close(callback: (error: unknown) => void): void;
  close(callback?: Callback): Promise<void> | undefined {
    if (callback === undefined) return runAsync(this.#close());
    runWithCallback(this.#close(), checkCallback(callback));
    return undefined;
  }

  closeSync(): void {
    runSync(this.#close());
  }

  /** Closes it at its end, also an early one. */
  async *[Symbol.asyncIterator](): AsyncIterableIterator<Dirent> {
    try {
      for (let entry = await this.read(); entry !== null; entry = await this.read()) yield entry;
    } finally {
      if (!this.#closed) await this.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#closed) await this.close();
  }
}

export function* opendir(host: Host, path: unknown, options: unknown): Script<Dir> {
  const encoding = nameEncoding(options);
  const { recursive, bufferSize } = optionsOf<{ recursive: boolean; bufferSize: number }>(options);
  // All entries are read at once, so it decides nothing.
  checkInteger("options.bufferSize", bufferSize ?? 32, 1, 2 ** 32 - 1);
  const context = { syscall: "opendir", path: pathString(path) };
  const entries = yield* as(context, list(host, path, Boolean(recursive)));
  return new Dir(pathString(path), entries, encoding);
}
