/** A line of the shell taken apart: words, quotes, and patterns of names. */
import type { Volume } from "../../volume/volume.ts";
import { globPattern } from "../files/glob.ts";

export interface Word {
  readonly text: string;
  /** Where it begins in the line. */
  readonly start: number;
  /** Patterns in it are none where they were quoted: each letter of the text, whether it was. */
  readonly quoted: readonly boolean[];
}

export interface Line {
  readonly words: readonly Word[];
  /** The quote that does not end, or null. */
  readonly open: string | null;
}

/** As sh has it: '…', "…", and a backslash before what is meant itself; a # begins a comment. */
export function splitLine(line: string): Line {
  const words: Word[] = [];
  let open: string | null = null;
  let word: { text: string; start: number; quoted: boolean[] } | null = null;
  for (let at = 0; at < line.length; at++) {
    const letter = line[at]!;
    if (open === null && /\s/.test(letter)) {
      if (word !== null) words.push(word);
      word = null;
      continue;
    }
    if (word === null && letter === "#") break;
    word ??= { text: "", start: at, quoted: [] };
    if (letter === open) open = null;
    else if (open === null && (letter === "'" || letter === '"')) open = letter;
    else {
      const isEscape = letter === "\\" && open !== "'" && at + 1 < line.length;
      word.text += isEscape ? line[++at] : letter;
      word.quoted.push(isEscape || open !== null);
    }
  }
  if (word !== null) words.push(word);
  return { words, open };
}

/** A word as it is written: letters that mean something get a backslash. */
export function escaped(text: string): string {
  return text.replace(/[\s'"\\*?[\]#]/g, "\\$&");
}

/** The paths of a volume that a word with a pattern stands for; itself, where it has none or nothing matches. */
export function expanded({ text, quoted }: Word, volume: Volume, directory: string): string[] {
  const isPattern = [...text].some((letter, at) => "*?[".includes(letter) && quoted[at] === false);
  if (!isPattern || text.startsWith("-") || text.startsWith("host:")) return [text];
  // What was quoted in it is meant itself.
  let glob = "";
  for (let at = 0; at < text.length; at++) {
    glob += quoted[at] === true && "*?[\\".includes(text[at]!) ? `\\${text[at]}` : text[at];
  }
  let found: string[] = [text.startsWith("/") ? "/" : ""];
  for (const part of glob.split("/").filter((each) => each !== "")) {
    found = found.flatMap((before) => matching(volume, directory, before, part));
  }
  return found.length === 0 ? [text] : found.sort();
}

function matching(volume: Volume, directory: string, before: string, part: string): string[] {
  const join = (name: string): string =>
    before === "" || before.endsWith("/") ? `${before}${name}` : `${before}/${name}`;
  if (!/[*?[\\]/.test(part)) {
    const path = join(part);
    return volume.existsSync(path.startsWith("/") ? path : `${directory}/${path}`) ? [path] : [];
  }
  const pattern = globPattern(part);
  const place = before.startsWith("/") ? before : `${directory}/${before}`;
  try {
    return volume
      .readdirSync(place)
      .filter((name) => pattern.test(name) && (part.startsWith(".") || !name.startsWith(".")))
      .map(join);
  } catch {
    return [];
  }
}
