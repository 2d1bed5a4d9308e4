/** Trace records as people read them: a line each, and the counts at the end. */
import { describeArgs, type TraceRecord } from "../../volume/trace-events.ts";
import { formatCount, type Terminal } from "../terminal.ts";

type RecordLine = TraceRecord & { readonly volume: string };
/** A volume was mounted, or closed. */
interface VolumeLine {
  readonly trace?: { readonly volume: string };
  readonly end?: { readonly volume: string; readonly lost: number };
}

const EVENT_WIDTH = 26;

/** Takes the lines of a recording, whole or in parts, and prints what they tell. */
export class TracePrinter {
  readonly #terminal: Terminal;
  /** Records are the result, on standard output, or told beside a program's, on standard error. */
  readonly #beside: boolean;
  readonly #json: boolean;
  /** Prints the counts only. */
  readonly #quiet: boolean;
  readonly #counts = new Map<string, number>();
  readonly #volumes = new Set<string>();
  #firstMs: number | null = null;
  #lost = 0;
  #rest = "";

  constructor(terminal: Terminal, how: { beside: boolean; json: boolean; quiet: boolean }) {
    this.#terminal = terminal;
    this.#beside = how.beside;
    this.#json = how.json;
    this.#quiet = how.quiet;
  }

  /** More of the recording's text. Throws: an error for what is no recording. */
  take(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop()!;
    for (const line of lines) if (line !== "") this.#line(line);
  }

  #line(line: string): void {
    const read = parsedLine(line);
    if ("event" in read) this.#record(read, line);
    else if (read.trace !== undefined) this.#volumes.add(read.trace.volume);
    else this.#lost += read.end?.lost ?? 0;
  }

  #record(record: RecordLine, line: string): void {
    this.#counts.set(record.event, (this.#counts.get(record.event) ?? 0) + 1);
    this.#firstMs ??= record.timeMs;
    if (!this.#quiet) this.#print(this.#json ? line : this.#shown(record));
  }

  #print(line: string): void {
    if (this.#beside) this.#terminal.note(line);
    else this.#terminal.print(line);
  }

  #style(style: "dim" | "yellow", text: string): string {
    return this.#beside ? this.#terminal.styleNote(style, text) : this.#terminal.style(style, text);
  }

  #shown(record: RecordLine): string {
    const seconds = ((record.timeMs - this.#firstMs!) / 1000).toFixed(6).padStart(12);
    const thread = `thread-${record.threadId}`.padEnd(12);
    const padded = record.event.padEnd(EVENT_WIDTH);
    const event = /busy|lost/.test(record.event) ? this.#style("yellow", padded) : padded;
    const volume = this.#volumes.size > 1 ? ` on ${record.volume}` : "";
    return `${thread}${this.#style("dim", seconds)}  ${event}${describeArgs(record)}${volume}`.trimEnd();
  }

  /** The counts: on standard error, but where records are the result and not JSON. */
  finish(): void {
    if (this.#json && !this.#beside) return;
    if (this.#volumes.size === 0) {
      this.#terminal.note("no volume was mounted");
      return;
    }
    const counts = [...this.#counts].sort(([, a], [, b]) => b - a);
    this.#print("");
    for (const [event, count] of counts)
      this.#print(`${event.padEnd(EVENT_WIDTH)}${formatCount(count).padStart(12)}`);
    if (counts.length === 0) this.#print("no events");
    if (this.#lost > 0) {
      const hint = "; give more --records, or fewer --events";
      this.#print(this.#style("yellow", `${formatCount(this.#lost)} records were lost${hint}`));
    }
  }
}

function parsedLine(line: string): VolumeLine | RecordLine {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === "object" && value !== null) return value as VolumeLine | RecordLine;
  } catch {
    // told below
  }
  throw new Error(`not a recording of 'holdfast trace': ${line.slice(0, 60)}`);
}
