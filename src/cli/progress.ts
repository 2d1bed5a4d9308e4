/** How far a command is: a bar on a terminal, where it takes longer than a second; nothing elsewhere. */
import { SingleBar } from "cli-progress";
import type { Terminal } from "./terminal.ts";

/** Nothing is shown of work that ends sooner. */
const QUIET_MS = 1000;
/** Updates that the time left is told by. */
const UPDATES = 200;

export class Progress implements Disposable {
  readonly #terminal: Terminal;
  readonly #begin = performance.now();
  #bar: SingleBar | null = null;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  /** `done` and `total` are of one unit. `what` is done; `detail`: with which file, or how many bytes. */
  update(what: string, done: number, total: number, detail: string): void {
    if (!this.#terminal.isLive || performance.now() - this.#begin < QUIET_MS) return;
    this.#bar ??= this.#start(total, done);
    this.#bar.setTotal(Math.max(total, 1));
    this.#bar.update(done, { what, detail });
    this.#terminal.noteLive();
  }

  #start(total: number, done: number): SingleBar {
    const bar = new SingleBar({
      stream: this.#terminal.liveStream,
      format: "{what} [{bar}] {percentage} % {eta_formatted} {detail}",
      formatTime: (seconds: unknown) =>
        typeof seconds === "number" ? `${shortTime(seconds)} left` : "",
      barsize: 24,
      etaBuffer: UPDATES,
      clearOnComplete: true,
      gracefulExit: false, // interrupt.ts sees to Ctrl-C
    });
    bar.start(total, done, { what: "", detail: "" });
    return bar;
  }

  [Symbol.dispose](): void {
    this.#bar?.stop();
    this.#bar = null;
    this.#terminal.endLive();
  }
}

function shortTime(seconds: number): string {
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
