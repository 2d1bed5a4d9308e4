/** An open file of the promises' face, as fs.promises.FileHandle. */
import { EventEmitter } from "node:events";
import type * as nodeFs from "node:fs";
import type { ReadStream, WriteStream } from "node:fs";
import { createInterface, type Interface } from "node:readline";
import { Readable } from "node:stream";
import type { ReadableStream } from "node:stream/web";
import { HoldfastError } from "../../base/errors.ts";
import type { ExtentRange, FileExtent } from "../extents.ts";
import type { FallocateMode } from "../fallocate.ts";
import type { FileHandle } from "../file.ts";
import type { FilePin, PinOptions } from "../pin.ts";
import type { Stats } from "../stats.ts";
import { checkPosition, optionsOf } from "./arguments.ts";
import {
  checkLength,
  checkViews,
  readAt,
  readFile,
  readRange,
  readViews,
  sync,
  truncate,
  writeAt,
  writeFile,
  writeRange,
  writeViews,
} from "./contents.ts";
import type { WaitOptions } from "../arguments.ts";
import type { FileWindow, MapOptions } from "../window.ts";
import type { OpenFile } from "./descriptors.ts";
import { direct } from "./direct.ts";
import { type Host, close } from "./host.ts";
import { onHandle, runAsync } from "./script.ts";
import { type BigIntStats, statsFor } from "./stats.ts";
import {
  readInto,
  type TransferOptions,
  type TransferSource,
  type TransferTarget,
  writeFrom,
} from "./transfer.ts";

/** What makes streams of descriptors. */
export interface StreamMaker {
  createReadStream(path: string, options: object): ReadStream;
  createWriteStream(path: string, options: object): WriteStream;
}

/** What a FileHandle of a volume has beyond Node's: see docs/fs.md. */
export interface FileHandleAdditions {
  fallocate(
    mode: FallocateMode,
    offset: number,
    length: number,
    options?: WaitOptions,
  ): Promise<void>;
  fiemap(range?: ExtentRange): Promise<FileExtent[]>;
  map(options?: MapOptions): Promise<FileWindow>;
  pin(offset: number, length: number, options?: PinOptions): Promise<FilePin>;
  readInto(target: TransferTarget, options?: TransferOptions): Promise<number>;
  seekData(position: number): Promise<number>;
  seekHole(position: number): Promise<number>;
  writeFrom(source: TransferSource, options?: TransferOptions): Promise<number>;
}

/** All that Node's has: the compiler looks after the names. */
type FileHandleNames = Record<keyof nodeFs.promises.FileHandle, unknown>;

/** Emits "close". */
export class VolumeFileHandle
  extends EventEmitter
  implements FileHandleNames, FileHandleAdditions, AsyncDisposable
{
  readonly #host: Host;
  readonly #streams: StreamMaker;
  readonly #path: string;
  #fd: number;
  #closing: Promise<void> | null = null;

  /** Use `fs.promises.open`. */
  constructor(host: Host, streams: StreamMaker, fd: number) {
    super();
    this.#host = host;
    this.#streams = streams;
    this.#fd = fd;
    this.#path = host.descriptors.get(fd, "open").handle.path;
  }

  /** -1 when it is closed. */
  get fd(): number {
    return this.#fd;
  }

  #file(syscall: string): OpenFile {
    return this.#host.descriptors.get(this.#open(syscall), syscall);
  }

  #open(syscall: string): number {
    if (this.#fd >= 0) return this.#fd;
    throw new HoldfastError("EBADF", "the file is closed", { syscall });
  }

  /** One step on the file in promises only. */
  async #with<T>(syscall: string, work: (handle: FileHandle) => Promise<T>): Promise<T> {
    const { handle } = this.#file(syscall);
    const never = (): never => {
      throw new Error("a handle of promises does not block");
    };
    return runAsync(onHandle(syscall, { sync: never, async: () => work(handle) }));
  }

  async appendFile(data: unknown, options?: unknown): Promise<void> {
    await this.writeFile(data, options);
  }

  async writeFile(data: unknown, options?: unknown): Promise<void> {
    if (!isStreamed(data)) {
      await runAsync(writeFile(this.#host, this.#open("writeFile"), data, options, "w"));
      return;
    }
    for await (const chunk of data) {
      await runAsync(writeFile(this.#host, this.#open("writeFile"), chunk, options, "w"));
    }
  }

  async readFile(options?: unknown): Promise<string | Buffer> {
    return runAsync(readFile(this.#host, this.#open("readFile"), options));
  }

  async read(...args: unknown[]): Promise<{ bytesRead: number; buffer: ArrayBufferView }> {
    const { bytes, position, buffer } = readRange(args);
    const bytesRead = await runAsync(readAt(this.#file("read"), bytes, position));
    return { bytesRead, buffer };
  }

  async write(...args: unknown[]): Promise<{ bytesWritten: number; buffer: unknown }> {
    const { bytes, position, source } = writeRange(args);
    const bytesWritten = await runAsync(writeAt(this.#file("write"), bytes, position));
    return { bytesWritten, buffer: source };
  }

  async readv<T extends readonly ArrayBufferView[]>(
    buffers: T,
    position?: unknown,
  ): Promise<{ bytesRead: number; buffers: T }> {
    const [views, at] = [checkViews(buffers), checkPosition(position)];
    return { bytesRead: await runAsync(readViews(this.#file("read"), views, at)), buffers };
  }

  async writev<T extends readonly ArrayBufferView[]>(
    buffers: T,
    position?: unknown,
  ): Promise<{ bytesWritten: number; buffers: T }> {
    const [views, at] = [checkViews(buffers), checkPosition(position)];
    return { bytesWritten: await runAsync(writeViews(this.#file("write"), views, at)), buffers };
  }

  async stat(options?: unknown): Promise<Stats | BigIntStats> {
    return statsFor(await this.#with("fstat", (handle) => handle.stat()), options);
  }

  async truncate(length?: unknown): Promise<void> {
    await runAsync(truncate(this.#file("ftruncate"), checkLength(length)));
  }

  async sync(): Promise<void> {
    await runAsync(sync(this.#file("fsync")));
  }

  async datasync(): Promise<void> {
    await runAsync(sync(this.#file("fdatasync")));
  }

  async chmod(mode: number | string): Promise<void> {
    await this.#with("fchmod", (handle) => handle.chmod(mode));
  }

  async chown(uid: number, gid: number): Promise<void> {
    await this.#with("fchown", (handle) => handle.chown(uid, gid));
  }

  async utimes(atime: number | string | Date, mtime: number | string | Date): Promise<void> {
    await this.#with("futime", (handle) => handle.utimes(atime, mtime));
  }

  /** Closing twice waits for the first. */
  async close(): Promise<void> {
    if (this.#fd < 0) return this.#closing ?? undefined;
    const file = this.#host.descriptors.take(this.#fd, "close");
    this.#fd = -1;
    this.#closing = runAsync(close(file));
    await this.#closing;
    this.emit("close");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #streamOptions(options: unknown): object {
    const given = optionsOf<{ autoClose: boolean }>(options);
    const own = { fd: this.#open("createStream"), closeHandle: () => this.close() };
    return { ...given, ...own };
  }

  createReadStream(options?: unknown): ReadStream {
    return this.#streams.createReadStream(this.#path, this.#streamOptions(options));
  }

  createWriteStream(options?: unknown): WriteStream {
    return this.#streams.createWriteStream(this.#path, this.#streamOptions(options));
  }

  readLines(options?: unknown): Interface {
    const input = this.createReadStream(options);
    return createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY });
  }

  async fallocate(
    mode: FallocateMode,
    offset: number,
    length: number,
    options?: WaitOptions,
  ): Promise<void> {
    await runAsync(direct.fallocate(this.#file("fallocate"), mode, offset, length, options));
  }

  async fiemap(range?: ExtentRange): Promise<FileExtent[]> {
    return runAsync(direct.fiemap(this.#file("fiemap"), range));
  }

  async map(options?: MapOptions): Promise<FileWindow> {
    return runAsync(direct.map(this.#file("mmap"), options));
  }

  async pin(offset: number, length: number, options?: PinOptions): Promise<FilePin> {
    return runAsync(direct.pin(this.#file("pin"), offset, length, options));
  }

  async seekData(position: number): Promise<number> {
    return runAsync(direct.seekData(this.#file("lseek"), position));
  }

  async seekHole(position: number): Promise<number> {
    return runAsync(direct.seekHole(this.#file("lseek"), position));
  }

  async readInto(target: TransferTarget, options?: TransferOptions): Promise<number> {
    return this.#with("read", (handle) => readInto(handle, target, options));
  }

  async writeFrom(source: TransferSource, options?: TransferOptions): Promise<number> {
    return this.#with("write", (handle) => writeFrom(handle, source, options));
  }

  /** The handle stays open. */
  readableWebStream(): ReadableStream {
    const stream = this.createReadStream({ autoClose: false });
    return Readable.toWeb(stream) as ReadableStream;
  }
}

/** Whether data comes piece by piece. */
export function isStreamed(data: unknown): data is AsyncIterable<unknown> | Iterable<unknown> {
  if (typeof data !== "object" || data === null || ArrayBuffer.isView(data)) return false;
  return Symbol.asyncIterator in data || Symbol.iterator in data;
}
