/** A run from the outside: make the volume, start the workers, watch them, and check everything. */
import { setTimeout as pause } from "node:timers/promises";
import { mount, mountRam, type Volume } from "../../index.ts";
import { plural, type Terminal } from "../terminal.ts";
import { Board } from "./board.ts";
import type { WorkerSetup } from "./context.ts";
import { Crew } from "./crew.ts";
import { checkExt4Image, makeExt4Image, Scratch, type Verdict } from "./image.ts";
import { LANES } from "./lanes.ts";
import { Claims } from "./claims.ts";
import type { CollideOptions } from "./options.ts";
import { progressLine } from "./report.ts";
import { readSource } from "./source.ts";
import { BLOCK_BYTES } from "./stamp.ts";
import { removeFiles, type Survey } from "./survey.ts";
import { type Finding, Tally } from "./tally.ts";

const DIRECTORIES = ["/left", "/right"] as const;
const NAMES: readonly string[] = Array.from(
  { length: 12 },
  (_, index) => `${DIRECTORIES[index % DIRECTORIES.length]}/file-${index}`,
);
/** Takes up the rest of the volume, so that it is nearly full and freed blocks are used at once. */
const BALLAST = "/ballast";
/** The share of the volume that the run's files have to themselves, and its limit in blocks. */
const ROOM_SHARE = 0.25;
const ROOM_BLOCKS_MAX = 4096;
/** Blocks that one thread's I/Os hold at a time, about. */
const ROOM_BLOCKS_PER_THREAD = 256;
/** A file's limit: beyond 2 MiB, so that huge entries are possible. */
const FILE_BLOCKS_MAX = 1536;
/** A run that has found this much has shown its point. */
const FINDINGS_MAX = 20;
const WATCH_EVERY_MS = 100;
/** A step of the checking that takes longer than this will not end any more. */
const STEP_MS_MAX = 60_000;
const STUCK = Symbol("stuck");
const MORTALS = 1;
/** Signals that end a run early and in good order; the second one ends it as it always does. */
const INTERRUPTS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** What a run found out. */
export interface Outcome {
  readonly options: CollideOptions;
  /** How the volume came to be, in words. */
  readonly volumeMade: string;
  /** Where the image was left, with --keep. */
  readonly image: string | null;
  readonly seconds: number;
  readonly interrupted: boolean;
  readonly tally: Tally;
  readonly faults: number;
  readonly revocations: number;
  /** Waits for pins, by the volume's own count. */
  readonly pinWaits: number;
  readonly leakedPins: number;
  readonly blocksFreeBefore: number;
  /** null: it did not come to that. */
  readonly blocksFreeAfter: number | null;
  readonly survey: Survey;
  /** With the files in place, and after their removal; empty for other drivers. */
  readonly verdicts: readonly Verdict[];
  readonly findings: readonly Finding[];
}

/** One run's volume, and what is found out about it step by step. */
export class Run {
  readonly options: CollideOptions;
  readonly #terminal: Terminal;
  readonly #source: SharedArrayBuffer;
  readonly #scratch: Scratch;
  readonly #image: string;
  readonly #board: Board;
  readonly #claims = Claims.create(FILE_BLOCKS_MAX);
  readonly #beganAt = Date.now();
  readonly findings: Finding[] = [];
  #volumeMade = "in memory";
  #seconds = 0;
  #interrupted = false;
  #tally = new Tally();
  #statistics = { faults: 0, revocations: 0, breakWaits: 0, pinsHeld: 0 };
  #freeBefore = 0;
  #freeAfter: number | null = null;
  #survey: Survey = { files: 0, blocks: 0, foreignBlocks: 0 };
  readonly #verdicts: Verdict[] = [];

  constructor(options: CollideOptions, terminal: Terminal) {
    this.options = options;
    this.#terminal = terminal;
    this.#source = readSource(options.source);
    this.#scratch = new Scratch(options.volumeBytes * 2);
    this.#image = this.#scratch.file("volume");
    const threads = options.threads + this.#mortals;
    this.#board = Board.create(threads, LANES[options.mix].length);
  }

  /** Threads that are killed again and again. */
  get #mortals(): number {
    return this.options.mix === "full" ? MORTALS : 0;
  }

  /** Runs to the end. Throws what keeps it from starting; what goes wrong later is a finding. */
  async run(): Promise<Outcome> {
    const interrupt = (): void => {
      this.#interrupted = true;
    };
    for (const signal of INTERRUPTS) process.once(signal, interrupt);
    try {
      const volume = await this.#mountFirst();
      this.#announce();
      for (const directory of DIRECTORIES) await volume.mkdir(directory);
      this.#freeBefore = (await volume.statfs()).bfree;
      await this.#fill(volume);
      const threads = { lasting: this.options.threads, mortal: this.#mortals };
      const crew = this.#crewOf(volume, threads, { collide: true });
      await this.#watchCollisions(crew);
      this.#noteStatistics(volume, crew);
      if (!crew.isStuck) await this.#checkAll(volume);
      return this.#outcome();
    } finally {
      for (const signal of INTERRUPTS) process.off(signal, interrupt);
      if (this.options.keep) this.#scratch.keep();
      this.#scratch.remove();
    }
  }

  /** Everything that can be looked at when the threads have ended. */
  async #checkAll(first: Volume): Promise<void> {
    if (await this.#surveyNow(first, "at the end")) return;
    let volume: Volume | null = first;
    if (this.options.driver === "ext4") {
      volume = await this.#attempt("mounting again", () => this.#remount(first));
      if (volume === null || (await this.#surveyNow(volume, "mounted again"))) return;
    }
    const last = volume;
    await this.#attempt("removing the files", () => this.#removeAll(last));
    await this.#attempt("unmounting", () => last.close());
    this.#checkImage("after the files were removed");
  }

  async #mountFirst(): Promise<Volume> {
    const { driver, protect, volumeBytes } = this.options;
    if (driver === "ram") return await mountRam({ size: volumeBytes, protect });
    this.#volumeMade = makeExt4Image(this.#image, volumeBytes);
    return await mount(this.#image, { protect });
  }

  #announce(): void {
    const { json, seconds, threads, driver, seed } = this.options;
    if (json) return;
    const who = plural(threads, "thread");
    this.#terminal.note(`colliding on ${driver} for ${seconds} s with ${who}, seed ${seed}`);
  }

  /** Gives all but the files' room to the ballast. */
  async #fill(volume: Volume): Promise<void> {
    const inFlight = ROOM_BLOCKS_PER_THREAD * this.#board.threads;
    const share = Math.min(this.#freeBefore * ROOM_SHARE, ROOM_BLOCKS_MAX);
    const room = Math.max(share, Math.min(inFlight, this.#freeBefore / 2));
    const ballast = await volume.open(BALLAST, "wx");
    const blocks = Math.floor(this.#freeBefore - room);
    await ballast.fallocate("allocate", 0, blocks * BLOCK_BYTES);
    await ballast.close();
  }

  #crewOf(
    volume: Volume,
    threads: { readonly lasting: number; readonly mortal: number },
    role: WorkerSetup["role"],
  ): Crew {
    return new Crew(this.#board, this.#claims, threads, this.findings, {
      volume: volume.share(),
      mix: this.options.mix,
      shares: this.options.mix === "full" && this.options.driver === "ram",
      board: this.#board.buffer,
      source: this.#source,
      sourcePath: this.options.source,
      scratch: this.#scratch.path,
      seed: this.options.seed,
      beganAt: this.#beganAt,
      names: NAMES,
      directories: DIRECTORIES,
      role,
    });
  }

  async #watchCollisions(crew: Crew): Promise<void> {
    const startedMs = performance.now();
    const endMs = startedMs + this.options.seconds * 1000;
    try {
      await this.#watch(crew, (nowMs) => {
        const foundEnough = this.findings.length >= FINDINGS_MAX;
        if (nowMs >= endMs || this.#interrupted || foundEnough) crew.stop();
        const seconds = (nowMs - startedMs) / 1000;
        const tally = crew.tally();
        this.#terminal.live(progressLine(seconds, this.options.seconds, tally, this.findings));
      });
    } finally {
      this.#terminal.endLive();
      this.#seconds = (performance.now() - startedMs) / 1000;
      this.#tally = crew.tally();
    }
  }

  /** Waits until the crew has ended or is stuck. */
  async #watch(crew: Crew, look: (nowMs: number) => void): Promise<void> {
    while (crew.isRunning && !crew.isStuck) {
      await pause(WATCH_EVERY_MS);
      look(performance.now());
      await crew.lookForStuckLanes();
    }
  }

  #noteStatistics(volume: Volume, crew: Crew): void {
    const { faults, revocations, breakWaits, pinsHeld } = volume.statistics();
    this.#statistics = { faults, revocations, breakWaits, pinsHeld };
    if (pinsHeld > 0 && !crew.isStuck) {
      this.#find("leak", `${pinsHeld} pins are still held after every thread has let go`);
    }
  }

  /** In a thread of its own: if that gets stuck, this one can say so. Returns whether it did. */
  async #surveyNow(volume: Volume, when: string): Promise<boolean> {
    const crew = this.#crewOf(volume, { lasting: 1, mortal: 0 }, { survey: when });
    await this.#watch(crew, () => {});
    if (crew.survey === null) return crew.isStuck;
    const { files, blocks, foreignBlocks } = crew.survey;
    this.#survey = {
      files,
      blocks: this.#survey.blocks + blocks,
      foreignBlocks: this.#survey.foreignBlocks + foreignBlocks,
    };
    return crew.isStuck;
  }

  /** Unmounts, lets e2fsck look, and mounts what is on the device. */
  async #remount(volume: Volume): Promise<Volume> {
    await volume.close();
    this.#checkImage("with the files in place");
    return await mount(this.#image, { protect: this.options.protect });
  }

  async #removeAll(volume: Volume): Promise<void> {
    await removeFiles(volume, DIRECTORIES);
    await volume.unlink(BALLAST);
    for (const directory of DIRECTORIES) await volume.mkdir(directory);
    this.#freeAfter = (await volume.statfs()).bfree;
    if (this.#freeAfter === this.#freeBefore) return;
    const lost = this.#freeBefore - this.#freeAfter;
    this.#find("leak", `${lost} blocks are not free again after every file was removed`);
  }

  #checkImage(when: string): void {
    if (this.options.driver !== "ext4") return;
    const verdict = checkExt4Image(this.#image);
    this.#verdicts.push(verdict);
    if (verdict.isClean === false) {
      this.#find("check", `e2fsck -fn ${when}: ${verdict.complaints.slice(0, 3).join("; ")}`);
    }
  }

  #find(kind: Finding["kind"], message: string, stack?: string): void {
    this.findings.push({ kind, message, atMs: Date.now() - this.#beganAt, stack });
  }

  /** Runs a step of the checking at the end; when it fails, that is a finding, and we go on. */
  async #attempt<T>(what: string, step: () => Promise<T>): Promise<T | null> {
    const giveUp = new AbortController();
    const late = pause(STEP_MS_MAX, STUCK, { signal: giveUp.signal, ref: false });
    late.catch(() => {}); // given up itself, when the step has ended
    try {
      const result = await Promise.race([step(), late]);
      if (result !== STUCK) return result as T;
      this.#find("stuck", `${what} has not ended after ${STEP_MS_MAX / 1000} s`);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      const stack = error instanceof Error ? error.stack : undefined;
      this.#find("failure", `${what} failed: ${message}`, stack);
    } finally {
      giveUp.abort();
    }
    return null;
  }

  #outcome(): Outcome {
    return {
      options: this.options,
      volumeMade: this.#volumeMade,
      image: this.options.keep ? this.#image : null,
      seconds: this.#seconds,
      interrupted: this.#interrupted,
      tally: this.#tally,
      faults: this.#statistics.faults,
      revocations: this.#statistics.revocations,
      pinWaits: this.#statistics.breakWaits,
      leakedPins: this.#statistics.pinsHeld,
      blocksFreeBefore: this.#freeBefore,
      blocksFreeAfter: this.#freeAfter,
      survey: this.#survey,
      verdicts: this.#verdicts,
      findings: this.findings,
    };
  }
}
