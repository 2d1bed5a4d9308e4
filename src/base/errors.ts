/** Errors shaped like Node's own (`code`, `errno`, `syscall`, `path`), saying what to do. */
import { getSystemErrorMap } from "node:util";

/** Linux error numbers, by name: what `errno` carries, negated, as in Node. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOTTY: 25,
  EFBIG: 27,
  ENOSPC: 28,
  ESPIPE: 29,
  EROFS: 30,
  EMLINK: 31,
  ERANGE: 34,
  EDEADLK: 35,
  ENAMETOOLONG: 36,
  ENOLCK: 37,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENODATA: 61,
  EPROTO: 71,
  EOVERFLOW: 75,
  EOPNOTSUPP: 95,
  ETIMEDOUT: 110,
  ESTALE: 116,
  EUCLEAN: 117,
  ECANCELED: 125,
  EOWNERDEAD: 130,
} as const;

export type ErrorCode = keyof typeof ERRNO;

/** A pin that somebody holds. */
export interface PinHolder {
  /** The worker's id (`threadId` of node:worker_threads; 0 is the main thread). */
  readonly threadId: number;
  /** The pinned pages, in bytes of the file. */
  readonly offset: number;
  readonly length: number;
  /** Whether its holder may store into them. */
  readonly write: boolean;
  /**
   * Milliseconds that it is held, at least: since the end of the turn of the event loop in which it was
   * taken. Null while its thread is still in that turn.
   */
  readonly heldMs: number | null;
}

export interface ErrorContext {
  readonly syscall?: string | undefined;
  readonly path?: string | undefined;
  readonly dest?: string | undefined;
  readonly cause?: unknown;
}

/** An error of the world: a full disk, a missing file, a busy device. `message` says what to do. */
export class HoldfastError extends Error {
  override readonly name: string = "HoldfastError";
  readonly code: ErrorCode;
  readonly errno: number;
  syscall: string | undefined;
  path: string | undefined;
  dest: string | undefined;
  /** Of a wait for pins that a deadline ended: who held them. Else null. */
  holders: readonly PinHolder[] | null = null;

  constructor(code: ErrorCode, message: string, context: ErrorContext = {}) {
    super(
      `${code}: ${message}`,
      context.cause === undefined ? undefined : { cause: context.cause },
    );
    this.code = code;
    this.errno = -ERRNO[code];
    this.syscall = context.syscall;
    this.path = context.path;
    this.dest = context.dest;
  }
}

export interface Damage {
  /** The on-disk structure, by its format's own name: "ext4_extent_header". */
  readonly structure: string;
  /** The field that is wrong, as the format names it. */
  readonly field: string;
  /** What was found there. */
  readonly value: number | bigint | string;
  /** The structure's first byte on the device, where it is known. */
  readonly deviceByte?: number | undefined;
  /** What would have been right, or why it is wrong. */
  readonly expected: string;
}

/** Damage found on a device (EUCLEAN): names the structure, the field, its value and its place. */
export class CorruptionError extends HoldfastError {
  override readonly name = "CorruptionError";
  readonly damage: Damage;

  constructor(damage: Damage, context: ErrorContext = {}) {
    const at = damage.deviceByte === undefined ? "" : ` at device byte ${damage.deviceByte}`;
    super(
      "EUCLEAN",
      `${damage.structure}${at}: ${damage.field} is ${damage.value}, ${damage.expected}; ` +
        "check the volume with its own fsck",
      context,
    );
    this.damage = damage;
  }
}

/** The error for a wait that a signal ended: carries the signal's reason, as Node's own do. */
export class AbortError extends Error {
  override readonly name = "AbortError";
  readonly code = "ABORT_ERR";
  /** Of a wait for pins: who held them. Else null. */
  holders: readonly PinHolder[] | null = null;
  constructor(message = "The operation was aborted", reason?: unknown) {
    super(message, reason === undefined ? undefined : { cause: reason });
  }
}

const codeOfErrno = new Map<number, ErrorCode>(
  (Object.entries(ERRNO) as [ErrorCode, number][]).map(([code, number]) => [number, code]),
);

/** The error for a failed system call, from the errno it left (positive). */
export function systemError(errno: number, syscall: string, context: ErrorContext = {}) {
  const code = codeOfErrno.get(errno);
  return code === undefined
    ? new HoldfastError("EIO", `${syscall} failed with errno ${errno}`, { ...context, syscall })
    : new HoldfastError(code, `${syscall} failed`, { ...context, syscall });
}

/** An error of node:fs as one of ours that says `what`; any other as it is. */
export function fromSystem(error: unknown, what: string, context: ErrorContext): unknown {
  const { errno } = error as NodeJS.ErrnoException;
  if (errno === undefined) return error;
  const { code } = systemError(-errno, "");
  return new HoldfastError(code, what, { ...context, cause: error });
}

/** The same, of a file that cannot be opened. */
export function openError(error: unknown, path: string): unknown {
  const { errno, message } = error as NodeJS.ErrnoException;
  const why = getSystemErrorMap().get(errno ?? 0)?.[1] ?? message;
  const what = `'${path}' cannot be opened: ${why}`;
  return fromSystem(error, what, { syscall: "open", path });
}

/** Fills in `syscall` and paths where the layer that threw could not know them. */
export function withContext(error: unknown, context: ErrorContext): unknown {
  if (error instanceof HoldfastError) {
    error.syscall ??= context.syscall;
    error.path ??= context.path;
    error.dest ??= context.dest;
    if (context.path !== undefined && error.path === context.path && !error.message.includes("'")) {
      const dest = error.dest === undefined ? "" : ` -> '${error.dest}'`;
      error.message += `, ${error.syscall ?? "operation"} '${context.path}'${dest}`;
    }
  }
  return error;
}
