/** What a run counts. Plain data, so that workers post it and the main thread adds it up. */
import { Histogram, type HistogramData } from "./histogram.ts";

/** The kinds of I/O, in the order of the final table. */
export const IO_KINDS = {
  fileToPages: "source file to pinned pages",
  socketToPages: "socket to pinned pages",
  pagesToFile: "pinned pages to a file",
  pagesToSocket: "pinned pages to a socket",
  windowToPages: "window to pinned pages",
  underLease: "source file under a lease",
  copiedIn: "copied in by write",
  copiedOut: "copied out by read",
} as const;

/** Ways to reach the storage that are too short to be called I/O. */
export const ACCESS_KINDS = {
  windowStores: "stores through windows",
  windowLoads: "loads through windows",
  momentaryPins: "pins held for a moment",
} as const;
export type IoKind = keyof typeof IO_KINDS | keyof typeof ACCESS_KINDS;
const ALL_KINDS = [...Object.keys(IO_KINDS), ...Object.keys(ACCESS_KINDS)] as IoKind[];

/** Layout changes, in the order of the final table. */
export const CUT_KINDS = {
  truncate: "truncate",
  extend: "extend",
  punch: "punch hole",
  collapse: "collapse range",
  insert: "insert range",
  zero: "zero range",
  allocate: "allocate",
  unlink: "unlink",
  create: "create",
  rename: "rename",
  clone: "clone",
  dedupe: "dedupe range",
  unshare: "unshare range",
} as const;
export type CutKind = keyof typeof CUT_KINDS;

/** What the full mix adds, in the order of the final table. */
export const TROUBLE_KINDS = {
  leasesReturned: "leases returned",
  leasesExpired: "leases expired",
  cutsAborted: "cuts aborted",
  lossesReported: "losses reported",
  lossesTold: "losses told of",
  writtenBack: "files written back",
  threadsKilled: "threads killed",
} as const;
export type TroubleKind = keyof typeof TROUBLE_KINDS;

/** Something that must not happen. */
export interface Finding {
  /**
   * `torn`: an I/O did not find in its pages what it sent. `foreign`: a file's block holds what is
   * not the file's. `stale`: a window does not show the file's storage. `unfinished`: a block that
   * some I/O left half written. `failure`: an error that nothing explains. `stuck`: a lane that no
   * longer moves. `leak`: pins or blocks that did not come back. `check`: e2fsck complains.
   */
  readonly kind:
    | "torn"
    | "foreign"
    | "stale"
    | "unfinished"
    | "failure"
    | "stuck"
    | "leak"
    | "check";
  /** A sentence without its full stop. */
  readonly message: string;
  /** Milliseconds since the run began. */
  readonly atMs: number;
  readonly stack?: string | undefined;
}

export interface TallyData {
  readonly io: Readonly<Partial<Record<IoKind, IoCount>>>;
  readonly cuts: Readonly<Partial<Record<CutKind, number>>>;
  readonly troubles: Readonly<Partial<Record<TroubleKind, number>>>;
  /** Expected errors, by code: a full volume, a name that another thread just took away. */
  readonly refusals: Readonly<Record<string, number>>;
  /** Durations of the layout changes that could not be made at once. */
  readonly waits: HistogramData;
  /** Durations of I/Os, from their pin to its release. */
  readonly pinned: HistogramData;
  readonly blocksJudged: number;
  readonly tornIos: number;
  readonly foreignBlocks: number;
  readonly unfinishedBlocks: number;
  readonly staleWindows: number;
}

export interface IoCount {
  readonly count: number;
  readonly bytes: number;
}

export class Tally {
  readonly #io = new Map<IoKind, IoCount>();
  readonly #cuts = new Map<CutKind, number>();
  readonly #troubles = new Map<TroubleKind, number>();
  readonly #refusals = new Map<string, number>();
  readonly waits = new Histogram();
  readonly pinned = new Histogram();
  blocksJudged = 0;
  tornIos = 0;
  foreignBlocks = 0;
  unfinishedBlocks = 0;
  staleWindows = 0;

  countIo(kind: IoKind, bytes: number, count = 1): void {
    const before = this.#io.get(kind) ?? { count: 0, bytes: 0 };
    this.#io.set(kind, { count: before.count + count, bytes: before.bytes + bytes });
  }

  countCut(kind: CutKind, count = 1): void {
    this.#cuts.set(kind, (this.#cuts.get(kind) ?? 0) + count);
  }

  countTrouble(kind: TroubleKind, count = 1): void {
    this.#troubles.set(kind, (this.#troubles.get(kind) ?? 0) + count);
  }

  countRefusal(code: string, count = 1): void {
    this.#refusals.set(code, (this.#refusals.get(code) ?? 0) + count);
  }

  add(other: TallyData): void {
    for (const kind of ALL_KINDS) {
      const more = other.io[kind];
      if (more !== undefined) this.countIo(kind, more.bytes, more.count);
    }
    for (const kind of Object.keys(CUT_KINDS) as CutKind[]) {
      const more = other.cuts[kind];
      if (more !== undefined) this.countCut(kind, more);
    }
    for (const kind of Object.keys(TROUBLE_KINDS) as TroubleKind[]) {
      const more = other.troubles[kind];
      if (more !== undefined) this.countTrouble(kind, more);
    }
    for (const [code, count] of Object.entries(other.refusals)) this.countRefusal(code, count);
    this.waits.add(other.waits);
    this.pinned.add(other.pinned);
    this.blocksJudged += other.blocksJudged;
    this.tornIos += other.tornIos;
    this.foreignBlocks += other.foreignBlocks;
    this.unfinishedBlocks += other.unfinishedBlocks;
    this.staleWindows += other.staleWindows;
  }

  io(kind: IoKind): IoCount {
    return this.#io.get(kind) ?? { count: 0, bytes: 0 };
  }

  cuts(kind: CutKind): number {
    return this.#cuts.get(kind) ?? 0;
  }

  troubles(kind: TroubleKind): number {
    return this.#troubles.get(kind) ?? 0;
  }

  get refusals(): ReadonlyMap<string, number> {
    return this.#refusals;
  }

  /** All I/O, without the other accesses. */
  get ioTotal(): IoCount {
    let [count, bytes] = [0, 0];
    for (const each of (Object.keys(IO_KINDS) as IoKind[]).map((kind) => this.io(kind))) {
      count += each.count;
      bytes += each.bytes;
    }
    return { count, bytes };
  }

  get cutTotal(): number {
    return [...this.#cuts.values()].reduce((sum, count) => sum + count, 0);
  }

  data(): TallyData {
    return {
      io: Object.fromEntries(this.#io),
      cuts: Object.fromEntries(this.#cuts),
      troubles: Object.fromEntries(this.#troubles),
      refusals: Object.fromEntries(this.#refusals),
      waits: this.waits.data(),
      pinned: this.pinned.data(),
      blocksJudged: this.blocksJudged,
      tornIos: this.tornIos,
      foreignBlocks: this.foreignBlocks,
      unfinishedBlocks: this.unfinishedBlocks,
      staleWindows: this.staleWindows,
    };
  }
}
