/**
 * Bytes between a file of the volume and something else, piece by piece, straight from and to pinned pages: no
 * buffer lies between.
 */
import { read, write } from "node:fs";
import type { Writable } from "node:stream";
import { promisify } from "node:util";
import { checkInteger, wrongType } from "../arguments.ts";
import type { FileHandle } from "../file.ts";
import { checkSignal, optionsOf, throwIfAborted } from "./arguments.ts";

/** What has node:fs/promises' way to read a file: a FileHandle of the host, or of another volume. */
interface Readable {
  read(
    memory: Uint8Array,
    offset: number,
    length: number,
    at: number | null,
  ): Promise<{ bytesRead: number }>;
}

interface Writeable {
  write(
    memory: Uint8Array,
    offset: number,
    length: number,
    at: number | null,
  ): Promise<{ bytesWritten: number }>;
}

/** Stores into `memory`; answers how many bytes, 0 at the end. The memory is the file's own only until then. */
type Fill = (memory: Uint8Array) => number | Promise<number>;

/** Takes what is in `memory`; when it is done, the memory is not its own any more. */
type Drain = (memory: Uint8Array) => unknown;

/**
 * Where bytes come from: a descriptor of the host's, a FileHandle, a function that stores them. Or what gives them
 * in memory of its own, as streams and sockets do: from there they are copied.
 */
export type TransferSource = number | Readable | AsyncIterable<Uint8Array> | Fill;

/** Where they go: a descriptor of the host's, a FileHandle, a stream or a socket, a function that takes them. */
export type TransferTarget = number | Writeable | Writable | Drain;

export interface TransferOptions {
  /** In the file. Default 0. */
  readonly position?: number;
  /** Bytes. Default: to the end, of the file or of the source. */
  readonly length?: number;
  /** Where to begin in the other file. Default: where that stands, which goes on. */
  readonly at?: number;
  /** Bytes that are pinned at a time. Default 1 MiB. */
  readonly pieceBytes?: number;
  /** Told after each piece. `total`: null where nobody knows. */
  readonly onProgress?: (done: number, total: number | null) => void;
  /** Ends it between two pieces, or while it waits for a pin, with an AbortError. What was done stays. */
  readonly signal?: AbortSignal;
}

const PIECE_BYTES = 2 ** 20;

interface Plan {
  readonly position: number;
  /** Infinity: until there is no more. */
  readonly length: number;
  readonly at: number | null;
  readonly pieceBytes: number;
  readonly signal: AbortSignal | undefined;
  readonly tell: (done: number) => void;
}

/** Throws: ERR_INVALID_ARG_TYPE, ERR_OUT_OF_RANGE. */
function planOf(options: unknown, length: number): Plan {
  const given = optionsOf<TransferOptions>(options);
  const { onProgress } = given;
  const position = checkInteger("options.position", given.position ?? 0);
  const most =
    given.length === undefined ? length - position : checkInteger("options.length", given.length);
  const bytes = Math.max(0, Math.min(most, length - position));
  if (onProgress !== undefined && typeof onProgress !== "function") {
    throw wrongType("options.onProgress", "of type function", onProgress);
  }
  return {
    position,
    length: bytes,
    at: given.at === undefined ? null : checkInteger("options.at", given.at),
    pieceBytes: checkInteger("options.pieceBytes", given.pieceBytes ?? PIECE_BYTES, 1),
    signal: checkSignal(given.signal),
    tell: (done) => onProgress?.(done, Number.isFinite(bytes) ? bytes : null),
  };
}

/**
 * Gives bytes of the file to `target`, out of its pages. Answers how many. Sleeps: for pins, and for the target.
 * Throws: AbortError; EBADF, EIO; what the target throws.
 */
export async function readInto(
  file: FileHandle,
  target: TransferTarget,
  options: TransferOptions = {},
): Promise<number> {
  const { size } = await file.stat();
  const plan = planOf(options, size);
  const drain = drainOf(target);
  let { at } = plan;
  let done = 0;
  while (done < plan.length) {
    throwIfAborted(plan.signal);
    const bytes = Math.min(plan.pieceBytes, plan.length - done);
    using pin = await file.pin(plan.position + done, bytes, { signal: plan.signal });
    for (const memory of pin.buffers) {
      await drain(memory, at);
      if (at !== null) at += memory.length;
    }
    done += bytes;
    plan.tell(done);
  }
  return done;
}

/**
 * Has `source` store bytes into the file, into its pages. The file grows by pieces, and ends with the last byte if
 * it grew. Answers how many. Sleeps: for pins, and for the source. Throws: AbortError; EBADF, ENOSPC, EIO; what the
 * source throws.
 */
export async function writeFrom(
  file: FileHandle,
  source: TransferSource,
  options: TransferOptions = {},
): Promise<number> {
  const plan = planOf(options, Number.POSITIVE_INFINITY);
  if (isIterable(source)) return copyFrom(file, source, plan);
  const fill = fillOf(source);
  let { at } = plan;
  let done = 0;
  let grownTo = 0;
  try {
    while (done < plan.length) {
      throwIfAborted(plan.signal);
      const bytes = Math.min(plan.pieceBytes, plan.length - done);
      const start = plan.position + done;
      if (start + bytes > (await file.stat()).size) {
        await file.truncate(start + bytes, { signal: plan.signal });
        grownTo = start + bytes;
      }
      let count = 0;
      {
        using pin = await file.pin(start, bytes, { write: true, signal: plan.signal });
        for (const memory of pin.buffers) {
          const stored = await fillAll(fill, memory, at);
          count += stored;
          if (at !== null) at += stored;
          if (stored < memory.length) break;
        }
      }
      done += count;
      plan.tell(done);
      if (count < bytes) break;
    }
    return done;
  } finally {
    const end = plan.position + done;
    if (end < grownTo && (await file.stat()).size === grownTo) await file.truncate(end);
    if (done > 0 && grownTo === 0) await touch(file);
  }
}

/** What is stored in pages sets no times, and is told to nobody. */
async function touch(file: FileHandle): Promise<void> {
  const { seconds, nanoseconds } = (await file.stat()).times.access;
  await file.utimes(seconds + nanoseconds / 1e9, new Date());
}

type FillAt = (memory: Uint8Array, at: number | null) => Promise<number>;

/** As full as the source makes it. */
async function fillAll(fill: FillAt, memory: Uint8Array, at: number | null): Promise<number> {
  let done = 0;
  while (done < memory.length) {
    const count = await fill(memory.subarray(done), at === null ? null : at + done);
    if (count === 0) break;
    done += count;
  }
  return done;
}

/** What has its bytes in memory of its own: no page is pinned while it is waited for. */
async function copyFrom(
  file: FileHandle,
  source: AsyncIterable<Uint8Array>,
  plan: Plan,
): Promise<number> {
  let done = 0;
  for await (const chunk of source) {
    throwIfAborted(plan.signal);
    const bytes = chunk.subarray(0, Math.min(chunk.length, plan.length - done));
    for (let written = 0; written < bytes.length; ) {
      const rest = bytes.subarray(written);
      const count = await file.write(rest, plan.position + done, { signal: plan.signal });
      written += count;
      done += count;
    }
    plan.tell(done);
    if (done >= plan.length) break;
  }
  return done;
}

function isIterable(value: unknown): value is AsyncIterable<Uint8Array> {
  return typeof value === "object" && value !== null && Symbol.asyncIterator in value;
}

const readHost = promisify(read);
const writeHost = promisify(write);

function fillOf(source: Exclude<TransferSource, AsyncIterable<Uint8Array>>): FillAt {
  if (typeof source === "number") {
    return async (memory, at) => (await readHost(source, memory, 0, memory.length, at)).bytesRead;
  }
  if (typeof source === "function") {
    return async (memory) => checkInteger("stored", await source(memory), 0, memory.length);
  }
  if (typeof source?.read === "function") {
    return async (memory, at) => (await source.read(memory, 0, memory.length, at)).bytesRead;
  }
  throw wrongType("source", "a descriptor, a FileHandle, a stream or a function", source);
}

/** All of the memory goes. */
function drainOf(target: TransferTarget): (memory: Uint8Array, at: number | null) => Promise<void> {
  if (typeof target === "function") {
    return async (memory) => {
      await target(memory);
    };
  }
  if (typeof target === "object" && target !== null && isStream(target)) {
    return (memory) => writeToStream(target, memory);
  }
  const writeOnce = writerOf(target);
  return async (memory, at) => {
    for (let done = 0; done < memory.length; ) {
      done += await writeOnce(memory.subarray(done), at === null ? null : at + done);
    }
  };
}

function writerOf(target: unknown): (memory: Uint8Array, at: number | null) => Promise<number> {
  if (typeof target === "number") {
    return async (memory, at) =>
      (await writeHost(target, memory, 0, memory.length, at)).bytesWritten;
  }
  const file = target as Writeable | null | undefined;
  if (typeof file?.write === "function") {
    return async (memory, at) => (await file.write(memory, 0, memory.length, at)).bytesWritten;
  }
  throw wrongType("target", "a descriptor, a FileHandle, a stream or a function", target);
}

function isStream(target: Writeable | Writable): target is Writable {
  return typeof (target as Partial<Writable>).end === "function";
}

/** Ends when the stream has no use of the memory any more. */
function writeToStream(stream: Writable, memory: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error?: Error | null): void => {
      reject(error ?? new Error("the stream was closed before all was written"));
    };
    const closed = (): void => fail();
    stream.once("close", closed);
    stream.write(memory, (error) => {
      stream.removeListener("close", closed);
      if (error === undefined || error === null) resolve();
      else fail(error);
    });
  });
}
