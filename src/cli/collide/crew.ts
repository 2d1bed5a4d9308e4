/** The worker threads of a run, as the main thread sees them. */
import { setTimeout as pause } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import type { Board } from "./board.ts";
import type { Claims } from "./claims.ts";
import type { MainMessage, WorkerMessage, WorkerSetup } from "./context.ts";
import type { Survey } from "./survey.ts";
import { type Finding, Tally, type TallyData } from "./tally.ts";

/** A lane that does one thing for this long is stuck: no I/O of a run takes a tenth of a second. */
const STUCK_AFTER_MS = 30_000;
/** How long stuck threads have to say what they wait for. */
const EXPLAIN_MS = 1_000;
/** A thread that posts nothing for this long is blocked: it posts its tally four times a second. */
const SILENT_MS = 3_000;

/** A mortal thread lives for this long, and up to as long again. */
const LIFE_MS = 400;

/** What all threads of a crew are given alike. */
export type CrewSetup = Omit<WorkerSetup, "thread" | "incarnation" | "isMortal" | "claims">;

/** A lane as it was seen last. */
interface Seen {
  turns: number;
  sinceMs: number;
}

export class Crew {
  readonly #board: Board;
  readonly #claims: Claims;
  /** Threads that stay; those with greater numbers are killed again and again. */
  readonly #threads: number;
  readonly #setup: CrewSetup;
  readonly #findings: Finding[];
  readonly #workers: (Worker | null)[] = [];
  readonly #tallies: (TallyData | null)[] = [];
  /** What threads had counted that were killed. */
  readonly #past = new Tally();
  readonly #seen: Seen[] = [];
  /** When each thread was heard of last. */
  readonly #heardMs: number[] = [];
  #running = 0;
  #survey: Survey | null = null;
  #isStuck = false;

  constructor(
    board: Board,
    claims: Claims,
    threads: { readonly lasting: number; readonly mortal: number },
    findings: Finding[],
    setup: CrewSetup,
  ) {
    this.#board = board;
    this.#claims = claims;
    this.#threads = threads.lasting;
    this.#setup = setup;
    this.#findings = findings;
    const all = threads.lasting + threads.mortal;
    for (let thread = 0; thread < all; thread++) this.#start(thread, 0);
  }

  #start(thread: number, incarnation: number): void {
    const isMortal = thread >= this.#threads;
    const claims = this.#claims.buffer;
    const worker = new Worker(new URL("worker.js", import.meta.url), {
      workerData: { ...this.#setup, claims, thread, incarnation, isMortal } satisfies WorkerSetup,
      name: `collide ${thread}`,
      execArgv: [],
    });
    this.#workers[thread] = worker;
    this.#tallies[thread] = null;
    this.#heardMs[thread] = performance.now();
    this.#running++;
    let hasFinished = false;
    let isKilled = false;
    const kill = (): void => {
      if (hasFinished || this.#board.isStopped) return;
      isKilled = true;
      void worker.terminate();
    };
    worker.on("message", (message: WorkerMessage) => {
      if (isMortal && this.#tallies[thread] === null)
        setTimeout(kill, LIFE_MS * (1 + Math.random())).unref();
      this.#heardMs[thread] = performance.now();
      if (message.kind === "finding") this.#findings.push(message.finding);
      else if (message.kind === "survey") this.#survey = message.survey;
      else this.#tallies[thread] = message.tally;
      if (message.kind === "finished") hasFinished = true;
    });
    worker.on("error", (error) => {
      this.#find("failure", `thread ${thread} failed: ${error.message}`, error.stack);
    });
    worker.on("exit", (code) => {
      this.#workers[thread] = null;
      this.#running--;
      if (hasFinished) return;
      if (isKilled) {
        this.#bury(thread);
        if (!this.#board.isStopped) this.#start(thread, incarnation + 1);
        return;
      }
      this.#find("failure", `thread ${thread} ended before its time, with code ${code}`);
      this.stop();
    });
  }

  /** What a thread that was killed leaves behind, of the run's own. */
  #bury(thread: number): void {
    const tally = this.#tallies[thread];
    if (tally) this.#past.add(tally);
    this.#tallies[thread] = null;
    this.#past.countTrouble("threadsKilled");
    this.#claims.giveBackOf(thread);
    this.#board.idle(thread, Date.now() - this.#setup.beganAt);
  }

  get isRunning(): boolean {
    return this.#running > 0;
  }

  /** What a crew that was sent to survey has found; null until then. */
  get survey(): Survey | null {
    return this.#survey;
  }

  /** Some lane no longer moves, and has been reported. */
  get isStuck(): boolean {
    return this.#isStuck;
  }

  /** Asks every lane to end after what it is doing. */
  stop(): void {
    this.#board.stop();
  }

  /** What all threads have counted, as far as they have told. */
  tally(): Tally {
    const sum = new Tally();
    sum.add(this.#past.data());
    for (const tally of this.#tallies) if (tally !== null) sum.add(tally);
    return sum;
  }

  /**
   * Reports lanes that have done one thing for too long: what the board says of them, and what they
   * wait for, if their thread can still say it.
   */
  async lookForStuckLanes(): Promise<void> {
    if (this.#isStuck) return;
    const now = performance.now();
    const stuck: number[] = [];
    const isSilent = (thread: number): boolean =>
      this.#workers[thread] !== null && now - this.#heardMs[thread]! >= STUCK_AFTER_MS;
    const lanes = this.#board.threads * this.#board.lanesPerThread;
    for (let lane = 0; lane < lanes; lane++) {
      const { turns } = this.#board.lane(lane);
      const seen = this.#seen[lane];
      if (seen === undefined || seen.turns !== turns || this.#hasEnded(lane)) {
        this.#seen[lane] = { turns, sinceMs: now };
      } else if (now - seen.sinceMs >= STUCK_AFTER_MS) {
        stuck.push(lane);
      }
    }
    if (stuck.length === 0 && !this.#workers.some((_, thread) => isSilent(thread))) return;
    this.#isStuck = true;
    const explain: MainMessage = { kind: "explain" };
    for (const worker of this.#workers) worker?.postMessage(explain);
    await pause(EXPLAIN_MS);
    for (let thread = 0; thread < this.#workers.length; thread++) this.#reportBlocked(thread);
    for (const lane of stuck) this.#reportStuck(lane);
  }

  /** Reports a thread whose event loop no longer turns: what it began last is what blocks it. */
  #reportBlocked(thread: number): void {
    if (this.#workers[thread] === null) return;
    const silentMs = performance.now() - this.#heardMs[thread]!;
    if (silentMs < SILENT_MS) return;
    const { lanesPerThread } = this.#board;
    let last = thread * lanesPerThread;
    for (let lane = last; lane < (thread + 1) * lanesPerThread; lane++) {
      if (this.#board.lane(lane).sinceMs > this.#board.lane(last).sinceMs) last = lane;
    }
    const what = `${this.#board.lane(last).activity}${this.#where(last)}`;
    const seconds = (silentMs / 1000).toFixed(1);
    this.#find("stuck", `thread ${thread} is blocked in a call while ${what}, for ${seconds} s`);
  }

  /** A lane that is idle after the stop has ended; so has one whose thread has. */
  #hasEnded(lane: number): boolean {
    const thread = Math.floor(lane / this.#board.lanesPerThread);
    if ((this.#workers[thread] ?? null) === null) return true;
    return this.#board.isStopped && this.#board.lane(lane).activity === "idle";
  }

  #reportStuck(lane: number): void {
    const { activity, sinceMs } = this.#board.lane(lane);
    const thread = Math.floor(lane / this.#board.lanesPerThread);
    const seconds = ((Date.now() - this.#setup.beganAt - sinceMs) / 1000).toFixed(1);
    const what = `${activity}${this.#where(lane)}`;
    this.#find("stuck", `thread ${thread} has been ${what} for ${seconds} s`);
  }

  /** Where a lane is at work, for a message. */
  #where(lane: number): string {
    const { name, first, count } = this.#board.lane(lane);
    if (count === 0) return "";
    return ` (${this.#setup.names[name]}, blocks ${first} to ${first + count - 1})`;
  }

  #find(kind: Finding["kind"], message: string, stack?: string): void {
    const atMs = Date.now() - this.#setup.beganAt;
    this.#findings.push({ kind, message, atMs, stack });
  }
}
