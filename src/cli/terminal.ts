/** What a command writes to: colour, a line that is rewritten, and numbers as people read them. */

/** Where a command prints. Tests give their own. */
export interface Output {
  write(text: string | Uint8Array): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}

export type Style = "bold" | "dim" | "red" | "green" | "yellow" | "blue" | "cyan";
const CODES: Readonly<Record<Style, readonly [number, number]>> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  blue: [34, 39],
  cyan: [36, 39],
};

export class Terminal {
  readonly #out: Output;
  readonly #error: Output;
  readonly #environment: NodeJS.ProcessEnv;
  #liveLine = "";
  /** Whoever read standard output has gone, as in `holdfast ls … | head`. */
  isGone = false;

  constructor(out: Output, error: Output, environment: NodeJS.ProcessEnv) {
    this.#out = out;
    this.#error = error;
    this.#environment = environment;
  }

  static ofProcess(): Terminal {
    return new Terminal(process.stdout, process.stderr, process.env);
  }

  /** Whether stacks are wanted: HOLDFAST_DEBUG is set. */
  get debugs(): boolean {
    return isSet(this.#environment["HOLDFAST_DEBUG"]);
  }

  /** A line of the result, on standard output. */
  print(line = ""): void {
    this.#clearLive();
    this.#out.write(`${line}\n`);
  }

  /** Bytes of the result, as they are. */
  write(bytes: string | Uint8Array): void {
    this.#clearLive();
    this.#out.write(bytes);
  }

  /** Whether the result is read by a person. */
  get isPerson(): boolean {
    return this.#out.isTTY === true;
  }

  /** Characters in a line of the result. */
  get columns(): number {
    return this.#out.columns || 80;
  }

  /** A line about the run, on standard error. */
  note(line: string): void {
    this.#clearLive();
    this.#error.write(`${line}\n`);
  }

  /** Whether a live line would be seen. */
  get isLive(): boolean {
    return this.#error.isTTY === true;
  }

  /** Rewrites the line at the bottom of a terminal; does nothing elsewhere. */
  live(line: string): void {
    if (!this.isLive) return;
    // A terminal that does not know its width says 0.
    const width = (this.#error.columns || 80) - 1;
    const shown = line.length > width ? `${line.slice(0, Math.max(0, width - 1))}…` : line;
    if (shown === this.#liveLine) return;
    this.#error.write(`\r${shown}\u001b[K`);
    this.#liveLine = shown;
  }

  /** Where a live line is written. */
  get liveStream(): NodeJS.WritableStream {
    return this.#error as NodeJS.WritableStream;
  }

  /** Something else has written a live line there. */
  noteLive(): void {
    this.#liveLine = "live";
  }

  #clearLive(): void {
    if (this.#liveLine === "") return;
    this.#error.write("\r\u001b[K");
    this.#liveLine = "";
  }

  /** Takes the live line away. */
  endLive(): void {
    this.#clearLive();
  }

  /** Text for standard output, styled when that is a terminal and NO_COLOR is not set. */
  style(style: Style, text: string): string {
    return this.#styled(this.#out, style, text);
  }

  /** The same for standard error. */
  styleNote(style: Style, text: string): string {
    return this.#styled(this.#error, style, text);
  }

  #styled(output: Output, style: Style, text: string): string {
    const wanted = output.isTTY === true && !isSet(this.#environment["NO_COLOR"]);
    if (!wanted || this.#environment["TERM"] === "dumb") return text;
    const [on, off] = CODES[style];
    return `\u001b[${on}m${text}\u001b[${off}m`;
  }
}

/** As no-color.org says: present and not empty. */
function isSet(value: string | undefined): boolean {
  return value !== undefined && value !== "";
}

/** 1234567 as "1,234,567". */
export function formatCount(value: number): string {
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ",");
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

/** Bytes with three significant digits: "1.21 GiB". */
export function formatBytes(bytes: number): string {
  let unit = 0;
  while (bytes >= 1024 && unit < UNITS.length - 1) {
    bytes /= 1024;
    unit++;
  }
  const digits = unit === 0 || bytes >= 100 ? 0 : bytes >= 10 ? 1 : 2;
  return `${bytes.toFixed(digits)} ${UNITS[unit]}`;
}

/** What a volume is, in a few words: "disk.img: ext4, 16.0 MiB, labelled 'root'". */
export function volumeTitle(
  path: string,
  { type, size, label }: { readonly type: string; readonly size: number; readonly label: string },
): string {
  const labelled = label === "" ? "" : `, labelled '${label}'`;
  return `${path}: ${type}, ${formatBytes(size)}${labelled}`;
}

/** A duration with its fitting unit: "870 µs", "12.4 ms", "3.1 s". */
export function formatMs(milliseconds: number): string {
  if (milliseconds < 1) return `${Math.round(milliseconds * 1000)} µs`;
  if (milliseconds < 1000) return `${milliseconds.toFixed(milliseconds < 100 ? 1 : 0)} ms`;
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

/** "1 file", "2 files". */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}
