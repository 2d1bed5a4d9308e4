/** Reading and writing of the face: at positions, by descriptors, and of whole files. */
import { constants } from "node:fs";
import { checkInteger, outOfRange, wrongType } from "../arguments.ts";
import { newBuffer } from "../buffer.ts";
import { unlink } from "../calls.ts";
import { PERMISSIONS } from "../mode-bits.ts";
import { isDirectory } from "../names.ts";
import {
  checkBoolean,
  checkEncoding,
  checkPosition,
  checkSignal,
  dataBytes,
  encoded,
  type Encoding,
  optionsOf,
  pathBytes,
  pathString,
  throwIfAborted,
  viewBytes,
} from "./arguments.ts";
import type { OpenFile } from "./descriptors.ts";
import { type FsOpenFlags, parseFlags } from "./flags.ts";
import type { Host } from "./host.ts";
import { as, onHandle, type Script, take } from "./script.ts";

/** Bytes of the buffer that `read` makes where it is given none. */
const READ_BYTES_DEFAULT = 16 * 1024;
const COPY_BYTES = 2 ** 20;

/** Reads once; `position` null: where the file stands, which goes on. */
export function* readAt(
  file: OpenFile,
  target: Uint8Array,
  position: number | null,
): Script<number> {
  const at = position ?? file.position;
  const { handle } = file;
  const count = yield* onHandle("read", {
    sync: () => handle.readSync(target, at),
    async: () => handle.read(target, at),
  });
  if (position === null) file.position = at + count;
  return count;
}

/** Writes once; as `readAt`. */
export function* writeAt(
  file: OpenFile,
  source: Uint8Array,
  position: number | null,
): Script<number> {
  const at = position ?? file.position;
  const { handle, flags } = file;
  const count = yield* onHandle("write", {
    sync: () => handle.writeSync(source, at),
    async: () => handle.write(source, at),
  });
  if (flags.synchronous) yield* sync(file);
  if (position !== null) return count;
  file.position = flags.append ? yield* sizeOf(file) : at + count;
  return count;
}

export function* writeAll(file: OpenFile, source: Uint8Array): Script<void> {
  for (let done = 0; done < source.length; ) {
    done += yield* writeAt(file, source.subarray(done), null);
  }
}

export function* sync({ handle }: OpenFile): Script<void> {
  yield* onHandle("fsync", { sync: () => handle.syncSync(), async: () => handle.sync() });
}

function* sizeOf({ handle }: OpenFile): Script<number> {
  const { size } = yield* take({ sync: () => handle.statSync(), async: () => handle.stat() });
  return size;
}

/** From where the file stands to its end. */
export function* readRest(file: OpenFile, signal: AbortSignal | undefined): Script<Uint8Array> {
  let bytes = newBuffer(Math.max((yield* sizeOf(file)) - file.position, 0) + 1);
  let done = 0;
  for (;;) {
    throwIfAborted(signal);
    if (done === bytes.length) {
      const larger = newBuffer(2 * bytes.length);
      larger.set(bytes);
      bytes = larger;
    }
    const count = yield* readAt(file, bytes.subarray(done), null);
    if (count === 0) return bytes.subarray(0, done);
    done += count;
  }
}

/** What `read` and its like were told, in one of their forms. */
interface Range {
  readonly bytes: Uint8Array;
  readonly position: number | null;
}

/** Throws: ERR_OUT_OF_RANGE. */
function rangeOf(view: Uint8Array, offset: unknown, length: unknown, position: unknown): Range {
  if (length === 0) return { bytes: view.subarray(0, 0), position: checkPosition(position) };
  const from = offset === undefined || offset === null ? 0 : checkInteger("offset", offset);
  if (from > view.length) throw outOfRange("offset", `>= 0 && <= ${view.length}`, from);
  const most = view.length - from;
  const count =
    length === undefined || length === null ? most : checkInteger("length", length, 0, most);
  return { bytes: view.subarray(from, from + count), position: checkPosition(position) };
}

/** `(buffer, offset, length, position)`, `(buffer, options)` or `(options)`. */
export function readRange(args: readonly unknown[]): Range & { readonly buffer: ArrayBufferView } {
  let [buffer, offset, length, position] = args;
  const isBuffer = ArrayBuffer.isView(buffer);
  const options = isBuffer ? offset : buffer;
  if (typeof options === "object" && options !== null) {
    const given = options as Record<string, unknown>;
    ({ offset, length, position } = given);
    if (!isBuffer) buffer = given["buffer"];
  }
  if (!isBuffer && (buffer === undefined || buffer === null)) {
    buffer = Buffer.alloc(READ_BYTES_DEFAULT);
    if (typeof offset === "object") offset = undefined;
  }
  const view = viewBytes("buffer", buffer);
  return { ...rangeOf(view, offset, length, position), buffer: buffer as ArrayBufferView };
}

/** `(buffer, offset, length, position)`, `(buffer, options)` or `(string, position, encoding)`. */
export function writeRange(args: readonly unknown[]): Range & { readonly source: unknown } {
  const [source, second, third, fourth] = args;
  if (typeof source === "string") {
    const encoding = checkEncoding(third, "utf8");
    return {
      bytes: dataBytes("buffer", source, encoding),
      position: checkPosition(second),
      source,
    };
  }
  const view = viewBytes("buffer", source);
  if (typeof second === "object" && second !== null) {
    const { offset, length, position } = second as Record<string, unknown>;
    return { ...rangeOf(view, offset, length, position), source };
  }
  return { ...rangeOf(view, second, third, fourth), source };
}

export function checkViews(value: unknown): Uint8Array[] {
  if (!Array.isArray(value)) throw wrongType("buffers", "an instance of ArrayBufferView[]", value);
  return value.map((each) => viewBytes("buffers", each, "an instance of ArrayBufferView[]"));
}

/** One after the other, until one is not filled. */
export function* readViews(
  file: OpenFile,
  views: readonly Uint8Array[],
  position: number | null,
): Script<number> {
  let done = 0;
  for (const view of views) {
    const count = yield* readAt(file, view, position === null ? null : position + done);
    done += count;
    if (count < view.length) break;
  }
  return done;
}

export function* writeViews(
  file: OpenFile,
  views: readonly Uint8Array[],
  position: number | null,
): Script<number> {
  let done = 0;
  for (const view of views) {
    const count = yield* writeAt(file, view, position === null ? null : position + done);
    done += count;
    if (count < view.length) break;
  }
  return done;
}

/** Whether it stands for an open file, and not for a path. */
function isDescriptor(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0;
}

interface ContentOptions {
  readonly encoding: Encoding;
  readonly flags: FsOpenFlags;
  readonly mode: number | string | undefined;
  readonly signal: AbortSignal | undefined;
  readonly flush: boolean;
}

function contentOptions(options: unknown, encoding: Encoding, flag: string): ContentOptions {
  const given = optionsOf<Record<string, unknown>>(options);
  return {
    encoding: checkEncoding(given.encoding ?? undefined, encoding),
    flags: parseFlags(given["flag"], flag),
    mode: given["mode"] as number | string | undefined,
    signal: checkSignal(given["signal"]),
    flush: checkBoolean("options.flush", given["flush"] ?? undefined, false),
  };
}

/** Of a path or a descriptor: text with an encoding. */
export function* readFile(host: Host, from: unknown, options: unknown): Script<string | Buffer> {
  const { encoding, flags, signal } = contentOptions(options, null, "r");
  if (isDescriptor(from)) {
    const bytes = yield* readRest(host.descriptors.get(from, "read"), signal);
    return encoded(bytes, encoding);
  }
  const bytes = yield* host.withFile(pathBytes("path", from), flags, undefined, ({ handle }) =>
    onHandle("read", {
      sync: () => handle.readFileSync(),
      async: () => handle.readFile(signal === undefined ? {} : { signal }),
    }),
  );
  return encoded(bytes, encoding);
}

/** `flag`: how it is opened where the options do not say. */
export function* writeFile(
  host: Host,
  to: unknown,
  data: unknown,
  options: unknown,
  flag: "w" | "a",
): Script<void> {
  const { encoding, flags, mode, flush, signal } = contentOptions(options, "utf8", flag);
  const source = dataBytes("data", data, encoding);
  throwIfAborted(signal);
  const write = function* (file: OpenFile): Script<void> {
    yield* writeAll(file, source);
    if (flush) yield* sync(file);
  };
  if (isDescriptor(to)) yield* write(host.descriptors.get(to, "write"));
  else yield* host.withFile(pathBytes("path", to), flags, mode, write);
}

const { COPYFILE_EXCL, COPYFILE_FICLONE, COPYFILE_FICLONE_FORCE } = constants;
const COPY_MODES = COPYFILE_EXCL | COPYFILE_FICLONE | COPYFILE_FICLONE_FORCE;

/** Clones where it may and the volume can, else copies; holes stay holes. */
export function* copyFile(host: Host, from: unknown, to: unknown, mode: unknown): Script<void> {
  const [source, target] = [pathBytes("src", from), pathBytes("dest", to)];
  const bits = mode === undefined || mode === null ? 0 : checkInteger("mode", mode, 0, COPY_MODES);
  const context = { syscall: "copyfile", path: pathString(from), dest: pathString(to) };
  yield* as(context, copyContent(host, source, target, bits));
}

function* copyContent(
  host: Host,
  source: Uint8Array,
  target: Uint8Array,
  bits: number,
): Script<void> {
  const isClone = (bits & (COPYFILE_FICLONE | COPYFILE_FICLONE_FORCE)) !== 0;
  const isForced = (bits & COPYFILE_FICLONE_FORCE) !== 0;
  yield* host.withFile(source, parseFlags("r", "r"), undefined, function* (read) {
    const { handle } = read;
    const stats = yield* take({ sync: () => handle.statSync(), async: () => handle.stat() });
    if (stats.isDirectory()) throw isDirectory();
    const flags = parseFlags((bits & COPYFILE_EXCL) === 0 ? "r+" : "wx", "w");
    yield* host.withFile(
      target,
      { ...flags, create: true },
      stats.mode & PERMISSIONS,
      function* (write) {
        if (write.handle.ino === handle.ino) return;
        try {
          yield* truncate(write, 0);
          yield* giveMode(write, stats.mode & PERMISSIONS);
          if (isClone && (yield* clone(read, write, isForced))) return;
          yield* copyBytes(read, write, stats.size);
        } catch (error) {
          // Also one that was there before: so Node does.
          yield* host.call(unlink(target));
          throw error;
        }
      },
    );
  });
}

/** The mode as it is, umask or not, also of a file that was there before: so Node does. */
function* giveMode({ handle }: OpenFile, mode: number): Script<void> {
  yield* take({ sync: () => handle.chmodSync(mode), async: () => handle.chmod(mode) });
}

/** False: the volume cannot, and need not. */
function* clone(read: OpenFile, write: OpenFile, isForced: boolean): Script<boolean> {
  const [source, target] = [read.handle, write.handle];
  try {
    yield* take({
      sync: () => target.cloneRangeSync(source),
      async: () => target.cloneRange(source),
    });
    return true;
  } catch (error) {
    if (isForced || (error as { code?: string }).code !== "ENOTSUP") throw error;
    return false;
  }
}

export function* truncate({ handle }: OpenFile, size: number): Script<void> {
  yield* onHandle("ftruncate", {
    sync: () => handle.truncateSync(size),
    async: () => handle.truncate(size),
  });
}

/** What is zeroes in a whole piece is left a hole. */
function* copyBytes(read: OpenFile, write: OpenFile, size: number): Script<void> {
  const buffer = newBuffer(Math.min(COPY_BYTES, Math.max(size, 1)));
  for (let at = 0; ; ) {
    const count = yield* readAt(read, buffer, at);
    if (count === 0) {
      yield* truncate(write, at);
      return;
    }
    const piece = buffer.subarray(0, count);
    if (piece.some((byte) => byte !== 0)) {
      for (let done = 0; done < count; ) {
        done += yield* writeAt(write, piece.subarray(done), at + done);
      }
    }
    at += count;
  }
}

/** Throws: ERR_INVALID_ARG_TYPE, ERR_OUT_OF_RANGE; EINVAL for less than nothing. */
export function checkLength(value: unknown): number {
  if (value === undefined || value === null) return 0;
  if (typeof value !== "number") throw wrongType("len", "of type number", value);
  if (!Number.isInteger(value)) throw outOfRange("len", "an integer", value);
  return Math.max(value, 0);
}
