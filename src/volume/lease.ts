/** Leases as programs hold them. */
import { HoldfastError } from "../base/errors.ts";
import { PAGE_SIZE } from "../base/quantities.ts";
import {
  graceLeft,
  type Lease,
  LeaseKind,
  LeaseState,
  reasonOfRecall,
  Reason,
  recallWord,
  returnLease,
  serialOfLease,
  stateOfLease,
} from "../layout/lease.ts";
import { type Mapping, PAGE_INDEX_MAX } from "../mapping/mapping.ts";
import { untilChanged } from "../sync/runners.ts";
import { checkInteger, type WaitOptions, wrongType, wrongValue } from "./arguments.ts";
import type { OpenThing, VolumeCore } from "./core.ts";

const GRACE_MS_DEFAULT = 5000;
const GRACE_MS_MAX = 3_600_000;

/**
 * Why a lease is recalled. "write": a write call of another thread, to what is leased exclusively or
 * into a hole; "unmap": a change of the layout (truncate, punch, collapse and so on), also of this
 * thread; "lease": another lease that conflicts; "removal": the device is gone, and the lease has expired.
 */
export type RecallReason = "write" | "unmap" | "lease" | "removal";

const REASONS: Readonly<Record<Reason, RecallReason>> = {
  [Reason.write]: "write",
  [Reason.unmap]: "unmap",
  [Reason.lease]: "lease",
  [Reason.removal]: "removal",
};

export interface LeaseOptions extends WaitOptions {
  /** First byte. Default 0. Leases are of whole pages: the range is widened to them. */
  readonly offset?: number;
  /** Bytes. Default: to the end of any file. May reach beyond the end. */
  readonly length?: number;
  /** Shared leases go together, an exclusive one with no other that overlaps. Default "shared". */
  readonly kind?: "shared" | "exclusive";
  /**
   * How many milliseconds the holder may take to return the lease once it is recalled. Then it has
   * expired: the layout changes without it. Default 5000, at most an hour.
   */
  readonly graceMs?: number;
  /** Called once, on this thread's event loop, when the lease is recalled: end I/O, then release it. */
  readonly onRecall?: (reason: RecallReason, lease: FileLease) => void;
}

/** What was asked for, checked. */
export interface LeaseRange {
  readonly offset: number;
  /** Infinity: to the end of any file. */
  readonly length: number;
  readonly first: number;
  readonly last: number;
  readonly kind: LeaseKind;
  readonly graceMs: number;
}

/** Throws: ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE, ERR_OUT_OF_RANGE. */
export function checkLeaseOptions(options: LeaseOptions): LeaseRange {
  const offset = checkInteger("options.offset", options.offset ?? 0);
  const length =
    options.length === undefined ? Infinity : checkInteger("options.length", options.length, 1);
  const kind = options.kind ?? "shared";
  if (kind !== "shared" && kind !== "exclusive") {
    throw wrongValue("options.kind", "must be one of shared, exclusive", kind);
  }
  const grace = options.graceMs ?? GRACE_MS_DEFAULT;
  const graceMs = checkInteger("options.graceMs", grace, 0, GRACE_MS_MAX);
  if (options.onRecall !== undefined && typeof options.onRecall !== "function") {
    throw wrongType("options.onRecall", "a function", options.onRecall);
  }
  const first = Math.min(Math.floor(offset / PAGE_SIZE), PAGE_INDEX_MAX);
  const last = Math.min(Math.ceil((offset + length) / PAGE_SIZE) - 1, PAGE_INDEX_MAX);
  return { offset, length, first, last, kind: LeaseKind[kind], graceMs };
}

/** A lease granted after the device's removal, that is, after all were made to expire, goes back. Throws: EIO. */
export function returnIfGone(core: VolumeCore, lease: Lease): void {
  if (!core.dax.device.isGone) return;
  returnLease(core.thread, lease);
  core.assertPresent();
}

/**
 * A lease: until it is recalled, the layout of its range stays; an exclusive one also keeps write calls
 * of other threads out. It says nothing of what others store through windows and pins.
 */
export class FileLease implements OpenThing, Disposable, AsyncDisposable {
  /** Its number, as messages name it. */
  readonly id: number;
  /** First byte that was asked for. */
  readonly offset: number;
  /** Bytes that were asked for; Infinity: to the end of any file. */
  readonly length: number;
  readonly kind: "shared" | "exclusive";
  readonly #core: VolumeCore;
  readonly #mapping: Mapping;
  readonly #range: LeaseRange;
  #lease: Lease;
  #pins = 0;
  readonly #endUse: () => void;

  /** Use `FileHandle.lease`. */
  constructor(
    core: VolumeCore,
    mapping: Mapping,
    lease: Lease,
    range: LeaseRange,
    onRecall: LeaseOptions["onRecall"],
    endUse: () => void,
  ) {
    this.#core = core;
    this.#mapping = mapping;
    this.#lease = lease;
    this.#range = range;
    this.#endUse = endUse;
    this.id = serialOfLease(core.thread, lease);
    this.offset = range.offset;
    this.length = range.length;
    this.kind = range.kind === LeaseKind.exclusive ? "exclusive" : "shared";
    core.open.add(this);
    if (onRecall !== undefined) void this.#watch(onRecall);
  }

  async #watch(onRecall: NonNullable<LeaseOptions["onRecall"]>): Promise<void> {
    await untilChanged(this.#core.thread, recallWord(this.#lease), LeaseState.granted);
    const reason = this.recalled;
    if (reason !== null) onRecall(reason, this);
  }

  /** Whether `release` was called. */
  get released(): boolean {
    return this.#lease === 0;
  }

  /** Why the lease was recalled; null while it was not, and after the release. One atomic load. */
  get recalled(): RecallReason | null {
    if (this.#lease === 0) return null;
    const reason = reasonOfRecall(this.#core.thread, this.#lease);
    return reason === null ? null : REASONS[reason];
  }

  /** Whether it was recalled and not returned in time: it protects nothing any more. */
  get expired(): boolean {
    if (this.#lease === 0) return false;
    return stateOfLease(this.#core.thread, this.#lease) === LeaseState.expired;
  }

  /** Milliseconds in which a recalled lease must be returned; null when it was not recalled. */
  get graceLeftMs(): number | null {
    if (this.recalled === null) return null;
    return Math.max(0, graceLeft(this.#core.thread, this.#lease));
  }

  /**
   * The lease under which a long-term pin of the range is to be held.
   * Throws: EBADF when it is released, EINVAL when it is another file's or does not cover the range.
   */
  forPin(mapping: Mapping, offset: number, length: number): Lease {
    if (this.#lease === 0) throw new HoldfastError("EBADF", `lease ${this.id} has been released`);
    const { first, last } = this.#range;
    const end = (last + 1) * PAGE_SIZE;
    if (mapping !== this.#mapping) {
      throw new HoldfastError("EINVAL", `lease ${this.id} is of another file`);
    }
    if (offset < first * PAGE_SIZE || offset + length > end) {
      throw new HoldfastError(
        "EINVAL",
        `lease ${this.id} covers [${first * PAGE_SIZE}, ${end}), and not all of the pin's ` +
          `[${offset}, ${offset + length})`,
      );
    }
    return this.#lease;
  }

  /** One more long-term pin is held under it; call what is answered when it is released. */
  holdPin(): () => void {
    this.#pins++;
    return () => {
      this.#pins--;
    };
  }

  /**
   * Returns the lease: who waits for it goes on. Twice does nothing. Sleeps: never, unless this was the
   * last use of a file without a name, which is freed. Throws: EBUSY while long-term pins are held under it.
   */
  release(): void {
    const lease = this.#lease;
    if (lease === 0) return;
    if (this.#pins > 0) {
      const pins = `${this.#pins} long-term pin${this.#pins === 1 ? " is" : "s are"}`;
      const message = `${pins} held under lease ${this.id}; release them first`;
      throw new HoldfastError("EBUSY", message);
    }
    this.#lease = 0;
    this.#core.open.delete(this);
    returnLease(this.#core.thread, lease);
    this.#endUse();
    if (this.#core.inodes.hasDoomed) this.#core.settleSync();
  }

  closeSync(): void {
    this.release();
  }

  [Symbol.dispose](): void {
    this.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.release();
  }
}
