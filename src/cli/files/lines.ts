/** How commands show names and attributes. */
import type { FileType } from "../../iomap/contract.ts";
import type { Stats } from "../../volume/stats.ts";
import type { Style, Terminal } from "../terminal.ts";

/** Text, or bytes that need not be UTF-8. */
export type Part = string | Uint8Array;

export function bytesOf(parts: readonly Part[]): Buffer {
  return Buffer.concat(
    parts.map((part) => (typeof part === "string" ? Buffer.from(part) : Buffer.from(part))),
  );
}

/** A line of the result. Names go out as the bytes that they are. */
export function printLine(terminal: Terminal, ...parts: Part[]): void {
  terminal.write(bytesOf([...parts, "\n"]));
}

export function isText(bytes: Uint8Array): boolean {
  return Buffer.compare(Buffer.from(textOf(bytes)), bytes) === 0;
}

export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8");
}

/** A name: on a terminal without what would move its cursor, elsewhere as it is. */
export function nameFor(terminal: Terminal, name: Uint8Array): Part {
  if (!terminal.isPerson) return name;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not reach a terminal
  return textOf(name).replace(/[\u0000-\u001f\u007f-\u009f]/g, (each) => {
    return `\\x${each.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
}

const STYLES: Partial<Record<FileType, Style>> = {
  directory: "blue",
  symlink: "cyan",
  fifo: "yellow",
  socket: "yellow",
  "block-device": "yellow",
  "character-device": "yellow",
};

/** A name in the colour of its type. */
export function colouredName(
  terminal: Terminal,
  name: Uint8Array,
  type: FileType,
  mode: number,
): Part {
  const shown = nameFor(terminal, name);
  const style = STYLES[type] ?? ((mode & 0o111) !== 0 && type === "file" ? "green" : undefined);
  return style === undefined || typeof shown !== "string" ? shown : terminal.style(style, shown);
}

const TYPE_LETTERS: Record<FileType, string> = {
  file: "-",
  directory: "d",
  symlink: "l",
  fifo: "p",
  socket: "s",
  "block-device": "b",
  "character-device": "c",
};

/** As ls shows it: "drwxr-sr-x". */
export function modeText(type: FileType, mode: number): string {
  const bit = (mask: number, letter: string): string => ((mode & mask) !== 0 ? letter : "-");
  const execute = (mask: number, special: number, letter: string): string => {
    if ((mode & special) === 0) return bit(mask, "x");
    return (mode & mask) !== 0 ? letter : letter.toUpperCase();
  };
  return [
    TYPE_LETTERS[type],
    bit(0o400, "r"),
    bit(0o200, "w"),
    execute(0o100, 0o4000, "s"),
    bit(0o040, "r"),
    bit(0o020, "w"),
    execute(0o010, 0o2000, "s"),
    bit(0o004, "r"),
    bit(0o002, "w"),
    execute(0o001, 0o1000, "t"),
  ].join("");
}

/** Permission bits as chmod takes them: "0644". */
export function octal(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, "0");
}

const HUMAN_UNITS = ["", "K", "M", "G", "T", "P"] as const;

/** A size as `ls -h` has it: rounded up, three characters or four. */
export function humanSize(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < HUMAN_UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  if (unit === 0) return String(bytes);
  const shown = value < 10 ? (Math.ceil(value * 10) / 10).toFixed(1) : String(Math.ceil(value));
  return `${shown === "10.0" ? "10" : shown}${HUMAN_UNITS[unit]}`;
}

/** In local time, to the minute: "2026-11-22 19:48". */
export function minuteText(date: Date): string {
  const two = (value: number): string => String(value).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}`;
}

/** What `--json` says of a file. Times are of UTC. */
export function factsOf(path: Uint8Array, stats: Stats): Record<string, unknown> {
  const { type } = stats;
  return {
    path: textOf(path),
    ...(isText(path) ? {} : { pathBase64: Buffer.from(path).toString("base64") }),
    type,
    ino: stats.ino,
    mode: octal(stats.mode),
    nlink: stats.nlink,
    uid: stats.uid,
    gid: stats.gid,
    size: stats.size,
    allocated: stats.blocks * 512,
    ...(type.endsWith("device") ? { device: stats.device } : {}),
    mtime: stats.mtime.toISOString(),
  };
}
