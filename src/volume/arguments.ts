/** Checks of what programs pass in: errors as Node gives them, naming the argument and its value. */
import type { SleepOptions } from "../sync/sleep.ts";
import type { Time } from "../iomap/contract.ts";
import { PERMISSIONS } from "./mode-bits.ts";

function withCode<E extends Error>(error: E, code: string): E {
  return Object.assign(error, { code });
}

/** A short rendering of a value for a message. */
function shown(value: unknown): string {
  if (typeof value === "string") return `'${value.slice(0, 100)}'`;
  if (typeof value === "object" && value !== null) {
    return `an instance of ${value.constructor?.name ?? "Object"}`;
  }
  return typeof value === "function" ? "a function" : String(value);
}

export function wrongType(name: string, expected: string, value: unknown): TypeError {
  return withCode(
    new TypeError(`The "${name}" argument must be ${expected}. Received ${shown(value)}`),
    "ERR_INVALID_ARG_TYPE",
  );
}

export function wrongValue(name: string, expected: string, value: unknown): TypeError {
  return withCode(
    new TypeError(`The argument '${name}' ${expected}. Received ${shown(value)}`),
    "ERR_INVALID_ARG_VALUE",
  );
}

export function outOfRange(name: string, expected: string, value: unknown): RangeError {
  return withCode(
    new RangeError(
      `The value of "${name}" is out of range. It must be ${expected}. Received ${shown(value)}`,
    ),
    "ERR_OUT_OF_RANGE",
  );
}

/** A whole number from `least` to `most`. Throws: ERR_INVALID_ARG_TYPE, ERR_OUT_OF_RANGE. */
export function checkInteger(
  name: string,
  value: unknown,
  least = 0,
  most = Number.MAX_SAFE_INTEGER,
): number {
  if (typeof value !== "number") throw wrongType(name, "a number", value);
  if (!Number.isInteger(value)) throw outOfRange(name, "an integer", value);
  if (value < least || value > most) throw outOfRange(name, `>= ${least} && <= ${most}`, value);
  return value;
}

/** Bytes to read into or write from. */
export function checkBytes(name: string, value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array)) throw wrongType(name, "a Buffer or Uint8Array", value);
  return value;
}

/** A path as bytes. Throws: ERR_INVALID_ARG_TYPE; ERR_INVALID_ARG_VALUE for a null byte inside. */
export function checkPath(name: string, value: unknown): Uint8Array {
  let bytes: Uint8Array;
  if (typeof value === "string") bytes = Buffer.from(value, "utf8");
  else if (value instanceof Uint8Array)
    bytes = new Uint8Array(value); // the caller may change its own
  else throw wrongType(name, "a string or Uint8Array", value);
  if (bytes.includes(0)) {
    throw wrongValue(name, "must be a string or Uint8Array without null bytes", value);
  }
  return bytes;
}

/** A path for messages. */
export function pathText(path: unknown): string {
  return path instanceof Uint8Array ? Buffer.from(path).toString("utf8") : String(path);
}

/** Permission bits: a number, or a string in octal. */
export function checkMode(name: string, value: unknown, otherwise: number): number {
  if (value === undefined || value === null) return otherwise;
  if (typeof value === "string") {
    if (!/^[0-7]+$/.test(value)) {
      throw wrongValue(name, "must be a 32-bit unsigned integer or an octal string", value);
    }
    return Number.parseInt(value, 8) & PERMISSIONS;
  }
  return checkInteger(name, value, 0, 2 ** 32 - 1) & PERMISSIONS;
}

/** Seconds since 1970 (fractions allowed), or a Date. */
export function checkTime(name: string, value: unknown): Time {
  const milliseconds = value instanceof Date ? value.getTime() : Number(value) * 1000;
  const known =
    value instanceof Date ||
    typeof value === "number" ||
    (typeof value === "string" && value !== "");
  if (!known || !Number.isFinite(milliseconds)) {
    throw wrongType(name, "a Date or a time in seconds", value);
  }
  const seconds = Math.floor(milliseconds / 1000);
  // Half a microsecond up: a fraction of a second in a double is that little short of it.
  const microseconds = Math.floor((milliseconds - seconds * 1000) * 1000 + 0.5);
  return microseconds >= 1_000_000
    ? { seconds: seconds + 1, nanoseconds: 0 }
    : { seconds, nanoseconds: microseconds * 1000 };
}

/** A user or group number; -1 leaves it as it is. */
export function checkOwner(name: string, value: unknown): number {
  return checkInteger(name, value, -1, 2 ** 32 - 2);
}

/** How waits may end. */
export interface WaitOptions {
  /** Ends the operation, while it waits, with an AbortError; the file is as it was. */
  readonly signal?: AbortSignal | undefined;
  /** Ends it with ETIMEDOUT this many milliseconds after its start. */
  readonly timeoutMs?: number | undefined;
}

export function checkWaitOptions(options: WaitOptions | undefined): SleepOptions | undefined {
  if (options === undefined || options === null) return undefined;
  if (typeof options !== "object") throw wrongType("options", "an object", options);
  const { signal, timeoutMs } = options;
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw wrongType("options.signal", "an AbortSignal", signal);
  }
  if (timeoutMs !== undefined && !(typeof timeoutMs === "number" && timeoutMs >= 0)) {
    throw outOfRange("options.timeoutMs", "a number >= 0", timeoutMs);
  }
  return options;
}
