/** What the lanes of one worker thread share: volume, source, board, and the counting. */
import { setMaxListeners } from "node:events";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { attach, type Volume, type VolumeHandle } from "../../index.ts";
import { type Activity, Board } from "./board.ts";
import { Claims } from "./claims.ts";
import type { Mix } from "./lanes.ts";
import { Random } from "./random.ts";
import { BLOCK_BYTES, type BlockFault, type FileMark } from "./stamp.ts";
import type { Survey } from "./survey.ts";
import { type Finding, Tally, type TallyData } from "./tally.ts";

/** What the main thread gives a worker. */
export interface WorkerSetup {
  readonly volume: VolumeHandle;
  readonly board: SharedArrayBuffer;
  readonly claims: SharedArrayBuffer;
  /** The part of the source that I/O uses, as it was when the run began. */
  readonly source: SharedArrayBuffer;
  readonly sourcePath: string;
  /** A directory outside the volume. */
  readonly scratch: string;
  readonly thread: number;
  /** How many threads of this number there were before. */
  readonly incarnation: number;
  /** The thread may be killed at any time. */
  readonly isMortal: boolean;
  readonly mix: Mix;
  /** Files share blocks. */
  readonly shares: boolean;
  readonly seed: number;
  /** When the run began, ms since the epoch. */
  readonly beganAt: number;
  readonly names: readonly string[];
  readonly directories: readonly string[];
  /** What the worker does: take part in the run, or check every file at the moment it names. */
  readonly role: { readonly collide: true } | { readonly survey: string };
}

/** What a worker posts. */
export type WorkerMessage =
  | { readonly kind: "tally"; readonly tally: TallyData }
  | { readonly kind: "finding"; readonly finding: Finding }
  | { readonly kind: "survey"; readonly survey: Survey }
  | { readonly kind: "finished"; readonly tally: TallyData };

/** What the main thread posts: give every wait up and say what it was for. */
export type MainMessage = { readonly kind: "explain" };

/** Findings that one worker describes; all are counted. */
const FINDINGS_MAX = 20;

export class Context {
  readonly setup: WorkerSetup;
  readonly volume: Volume;
  readonly board: Board;
  readonly claims: Claims;
  readonly source: Buffer;
  readonly sourceDescriptor: number;
  readonly tally = new Tally();
  readonly random: Random;
  /** Ends every wait, when the main thread asks why nothing moves. */
  readonly explain = new AbortController();
  readonly #post: (message: WorkerMessage) => void;
  #findings = 0;

  constructor(setup: WorkerSetup, post: (message: WorkerMessage) => void) {
    this.setup = setup;
    this.volume = attach(setup.volume);
    this.board = Board.attach(setup.board);
    this.claims = Claims.attach(setup.claims, setup.thread, setup.isMortal);
    this.source = Buffer.from(setup.source);
    this.sourceDescriptor = openSync(setup.sourcePath, "r");
    this.random = new Random(setup.seed).fork(setup.thread).fork(setup.incarnation);
    this.#post = post;
    setMaxListeners(0, this.explain.signal); // one for each lane that waits
  }

  get names(): readonly string[] {
    return this.setup.names;
  }

  scratchFile(name: string): string {
    return join(this.setup.scratch, `${name}-${this.setup.thread}`);
  }

  /** Whether an error is expected of whatever is called, in this run. */
  expects(code: string): boolean {
    return this.setup.mix === "full" && FULL_MIX_CODES.includes(code);
  }

  /** For every wait of the volume: ends it when the main thread asks why nothing moves. */
  get waits(): { readonly signal: AbortSignal } {
    return { signal: this.explain.signal };
  }

  /** Milliseconds since the run began. */
  nowMs(): number {
    return Date.now() - this.setup.beganAt;
  }

  report(kind: Finding["kind"], message: string, stack?: string): void {
    this.#findings++;
    if (this.#findings > FINDINGS_MAX) return;
    this.#post({ kind: "finding", finding: { kind, message, atMs: this.nowMs(), stack } });
  }

  postSurvey(survey: Survey): void {
    this.#post({ kind: "survey", survey });
  }

  postTally(): void {
    this.#post({ kind: "tally", tally: this.tally.data() });
  }

  /** The last message: everything is closed. */
  finish(): void {
    this.volume.closeSync();
    closeSync(this.sourceDescriptor);
    this.#post({ kind: "finished", tally: this.tally.data() });
  }
}

/** An error with one of these codes is expected here, and counted instead of reported. */
export type ExpectedCodes = readonly string[];

/** What every call may meet in the full mix: lost pages, and a lease of the thread that would block. */
const FULL_MIX_CODES: ExpectedCodes = ["EIO", "EDEADLK"];

export function codeOf(error: unknown): string | null {
  if (!(error instanceof Error) || !("code" in error)) return null;
  return typeof error.code === "string" ? error.code : null;
}

/** One of a thread's concurrent activities. */
export class Lane {
  readonly context: Context;
  readonly random: Random;
  /** Its number among the lanes of all threads. */
  readonly index: number;
  #failedWhile: Activity | null = null;

  constructor(context: Context, number: number) {
    this.context = context;
    this.index = context.setup.thread * context.board.lanesPerThread + number;
    this.random = context.random.fork(number + 1000);
  }

  /** Says what the lane does from now on. */
  enter(activity: Activity): void {
    this.context.board.enterActivity(this.index, activity, this.context.nowMs());
  }

  /** Says where the lane is at work. */
  enterRange(name: number, first: number, count: number): void {
    this.context.board.enterRange(this.index, name, first, count);
  }

  /** Runs steps until the run is stopped. What a step throws is a finding. */
  async run(step: (lane: Lane) => Promise<void>): Promise<void> {
    const { context } = this;
    while (!context.board.isStopped) {
      try {
        await step(this);
      } catch (error) {
        this.reportFailure(error);
        if (context.explain.signal.aborted) return;
      }
      this.enterRange(0, 0, 0);
      this.enter("idle");
      await turn();
    }
  }

  /** Keeps what the lane was doing when an error was thrown, before it lets go of what it holds. */
  noteFailure(): void {
    this.#failedWhile ??= this.context.board.lane(this.index).activity;
  }

  /** Reports an error that was not expected. */
  reportFailure(error: unknown): void {
    const { context } = this;
    this.noteFailure();
    const activity = this.#failedWhile;
    this.#failedWhile = null;
    const message = error instanceof Error ? error.message : String(error);
    if (codeOf(error) === "ABORT_ERR") {
      context.report("stuck", `thread ${context.setup.thread}, ${activity}: ${message}`);
    } else {
      const stack = error instanceof Error ? error.stack : undefined;
      context.report("failure", `unexpected error while ${activity}: ${message}`, stack);
    }
  }

  /**
   * Runs an operation on the volume. Returns what it returns, or null when it was refused with one
   * of the expected codes.
   */
  async attempt<T>(
    activity: Activity,
    expected: ExpectedCodes,
    operation: () => Promise<T> | T,
  ): Promise<T | null> {
    this.enter(activity);
    try {
      return await operation();
    } catch (error) {
      const code = codeOf(error);
      if (code === null || !(expected.includes(code) || this.context.expects(code))) {
        this.noteFailure();
        throw error;
      }
      this.context.tally.countRefusal(code);
      return null;
    }
  }

  /** Counts blocks that were judged at rest, and reports their faults: one finding for all. */
  judged(faults: readonly (BlockFault | null)[], mark: FileMark, first: number, how: string): void {
    const { tally } = this.context;
    tally.blocksJudged += faults.length;
    for (const kind of ["foreign", "unfinished"] as const) {
      const at = faults.findIndex((fault) => fault?.kind === kind);
      if (at < 0) continue;
      const count = faults.filter((fault) => fault?.kind === kind).length;
      if (kind === "foreign") tally.foreignBlocks += count;
      else tally.unfinishedBlocks += count;
      const more = count === 1 ? "" : `; ${count - 1} more of the ${faults.length} blocks there`;
      const where = `block ${first + at} of file #${mark.identity}, ${how}`;
      this.context.report(kind, `${where}: ${faults[at]!.reason}${more}`);
    }
  }
}

/** The first `count` blocks of `bytes`, as Buffers over the same memory. */
export function blocksOf(bytes: Uint8Array, count: number): Buffer[] {
  return Array.from({ length: count }, (_, index) =>
    Buffer.from(bytes.buffer, bytes.byteOffset + index * BLOCK_BYTES, BLOCK_BYTES),
  );
}
