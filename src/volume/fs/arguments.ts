/** Arguments of the node:fs face, checked as Node checks its own. */
import { fileURLToPath } from "node:url";
import { AbortError } from "../../base/errors.ts";
import { checkPath, outOfRange, wrongType, wrongValue } from "../arguments.ts";

export type FsPath = string | Uint8Array | URL;

/** A path as bytes. Throws: ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE. */
export function pathBytes(name: string, value: unknown): Uint8Array {
  return checkPath(name, value instanceof URL ? fileURLToPath(value) : value);
}

export function pathString(value: unknown): string {
  if (value instanceof URL) return fileURLToPath(value);
  return value instanceof Uint8Array ? Buffer.from(value).toString("utf8") : String(value);
}

/** A name, or content, in the encoding that was asked for; null: bytes. */
export type Encoding = BufferEncoding | null;

/** "buffer" and null: bytes. Throws: ERR_INVALID_ARG_VALUE. */
export function checkEncoding(value: unknown, otherwise: Encoding): Encoding {
  if (value === undefined) return otherwise;
  if (value === null || value === "buffer") return null;
  if (typeof value === "string" && Buffer.isEncoding(value)) return value;
  throw wrongValue("encoding", "is invalid encoding", value);
}

/** Options that may also be the encoding alone. */
export function optionsOf<O extends object>(options: unknown): Partial<O> & { encoding?: unknown } {
  if (options === undefined || options === null || typeof options === "function") return {};
  if (typeof options === "string")
    return { encoding: options } as Partial<O> & { encoding: string };
  if (typeof options !== "object")
    throw wrongType("options", "of type string or an instance of Object", options);
  return options as Partial<O>;
}

/** Of a name: never null, as Node has it. */
export function nameEncoding(options: unknown): Encoding {
  const { encoding } = optionsOf(options);
  return checkEncoding(encoding ?? undefined, "utf8");
}

export function encoded(bytes: Uint8Array, encoding: Encoding): string | Buffer {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return encoding === null ? buffer : buffer.toString(encoding);
}

/** What is to be written: text by its encoding, or any view of bytes. */
export function dataBytes(name: string, data: unknown, encoding: Encoding): Uint8Array {
  if (typeof data === "string") return Buffer.from(data, encoding ?? "utf8");
  return viewBytes(name, data, "of type string or an instance of Buffer, TypedArray, or DataView");
}

/** The memory of a view. */
export function viewBytes(
  name: string,
  view: unknown,
  expected = "an instance of Buffer, TypedArray, or DataView",
): Uint8Array {
  if (!ArrayBuffer.isView(view)) throw wrongType(name, expected, view);
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** A position in a file: a number, a bigint; null where the file's own counts. */
export function checkPosition(value: unknown): number | null {
  if (value === undefined || value === null) return null;
  if (typeof value !== "number" && typeof value !== "bigint") {
    throw wrongType("position", "of type bigint or integer", value);
  }
  const position = Number(value);
  if (!Number.isSafeInteger(position)) throw outOfRange("position", "an integer", value);
  return position < 0 ? null : position;
}

export function checkBoolean(name: string, value: unknown, otherwise: boolean): boolean {
  if (value === undefined) return otherwise;
  if (typeof value !== "boolean") throw wrongType(name, "of type boolean", value);
  return value;
}

/** Throws: AbortError. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new AbortError(undefined, signal.reason);
}

export function checkSignal(signal: unknown): AbortSignal | undefined {
  if (signal === undefined || signal === null) return undefined;
  if (!(signal instanceof AbortSignal)) {
    throw wrongType("options.signal", "an instance of AbortSignal", signal);
  }
  return signal;
}
