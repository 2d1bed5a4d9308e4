/** A story as text: one column per actor, one line per happening, from top to bottom in time. */
import { type Happening, type HappeningKind, happeningsOf, sleepersAtEnd } from "./happenings.ts";
import type { Story } from "./story.ts";
import { actorName, endInWords, replayCommand, stepInWords } from "./values.ts";

export type StyleName = "bold" | "dim" | "red" | "green" | "yellow";

export interface TextOptions {
  /** Columns of the terminal; 100 when not given. */
  readonly width?: number;
  /** Puts text in a style. Not given: plain text. */
  readonly style?: (name: StyleName, text: string) => string;
  /** Every access on a line of its own, instead of happenings. */
  readonly raw?: boolean;
}

const WIDTH = 100;
const GAP = 2;
/** An actor's column narrower than this is not readable. */
const ACTOR_WIDTH_MIN = 14;
const STATE_WIDTH_MAX = 22;
/** What is repeated so often at the end of an endless story is told once. */
const REPEATS_MIN = 4;

type Style = NonNullable<TextOptions["style"]>;

export function storyAsText(story: Story, options: TextOptions = {}): string {
  const { width = WIDTH, style = (_name, text) => text, raw = false } = options;
  const body = raw ? rawLines(story, style) : happeningLines(story, width, style);
  const lines = [...headLines(story, width, style), "", ...body, "", ...endLines(story, style)];
  return `${lines.join("\n")}\n`;
}

function headLines(story: Story, width: number, style: Style): string[] {
  const lines = [style("bold", story.scenario), ...indented(story.about, width)];
  if (story.variant === null) return lines;
  lines.push(style("yellow", `variant ${story.variant}`));
  return story.variantAbout === null ? lines : [...lines, ...indented(story.variantAbout, width)];
}

function indented(text: string, width: number): string[] {
  return wrap(text, Math.max(1, width - GAP)).map((line) => " ".repeat(GAP) + line);
}

/** Not wrapped: they are copied, or searched for. */
function endLines(story: Story, style: Style): string[] {
  const sleepers = sleepersAtEnd(story);
  const asleep = sleepers.length > 0 ? [style("yellow", `asleep: ${sleepers.join(", ")}`)] : [];
  const end = style(story.failure === null ? "green" : "red", endInWords(story));
  return [...asleep, end, `replay: ${replayCommand(story)}`];
}

function rawLines(story: Story, style: Style): string[] {
  const number = String(story.steps.length).length;
  const rows = story.steps.map((step, index) => ({
    number: String(index + 1).padStart(number),
    actor: actorName(story, step.actor),
    function: step.stack[step.stack.length - 1]?.function ?? "",
    text: stepInWords(story, step),
    state: stateChanges(story, index - 1, index).join(", "),
    said: step.said,
  }));
  const actor = Math.max(0, ...rows.map((row) => row.actor.length));
  const site = Math.max(0, ...rows.map((row) => row.function.length));
  return rows.flatMap((row) => {
    const lead = `${row.number}  ${row.actor.padEnd(actor)}`;
    const state = row.state === "" ? "" : `  ${style("dim", `[${row.state}]`)}`;
    return [
      ...row.said.map(
        (said) => `${" ".repeat(number)}  ${row.actor.padEnd(actor)}  ${style("bold", said)}`,
      ),
      `${lead}  ${row.function.padEnd(site)}  ${row.text}${state}`,
    ];
  });
}

/** What of the watched state differs after step `index` from what it was after step `before`. */
export function stateChanges(story: Story, before: number, index: number): string[] {
  const state = story.steps[index]?.state ?? [];
  const former = story.steps[before]?.state;
  return state.flatMap((value, at) =>
    value === former?.[at] ? [] : [`${story.watched[at] ?? `state ${at}`}: ${value}`],
  );
}

interface Row {
  readonly number: string;
  readonly actor: number;
  readonly text: string;
  readonly style: StyleName | null;
  readonly state: readonly string[];
}

const STYLES: Readonly<Record<HappeningKind, StyleName | null>> = {
  said: "bold",
  activity: null,
  sleep: "yellow",
  resume: "yellow",
  kill: "red",
  abort: "red",
  pass: "yellow",
};

function rowOf(story: Story, happening: Happening): Row {
  const { kind, actor, first, last, text } = happening;
  const isSaid = last < first;
  return {
    number: isSaid ? "" : String(first + 1),
    actor,
    text,
    style: STYLES[kind],
    state: isSaid ? [] : stateChanges(story, first - 1, last),
  };
}

/** The rows of a story. Of what an endless one does again and again at its end, the first round. */
function told(story: Story): Row[] {
  const rows = happeningsOf(story).map((happening) => rowOf(story, happening));
  if (story.failure?.kind !== "livelock") return rows;
  // The last row is cut off.
  const keys = rows.slice(0, -1).map((row) => JSON.stringify([row.actor, row.text, row.state]));
  for (let round = 1; round <= keys.length / REPEATS_MIN; round++) {
    let first = keys.length - round;
    while (first > 0 && keys[first - 1] === keys[first - 1 + round]) first--;
    const again = Math.floor((keys.length - first) / round) - 1;
    if (again + 1 < REPEATS_MIN) continue;
    const { actor, number } = rows[first + round]!;
    const text = `... and so on, the same ${again} times again`;
    return [...rows.slice(0, first + round), { number, actor, text, style: "red", state: [] }];
  }
  return rows;
}

function happeningLines(story: Story, width: number, style: Style): string[] {
  const rows = told(story);
  const names = story.actors;
  const number = String(story.steps.length).length;
  const state = Math.min(STATE_WIDTH_MAX, longest(rows.flatMap((row) => row.state)));
  const room = width - number - (state > 0 ? state + GAP : 0);
  const wanted = names.map((name, actor) =>
    longest([name, ...rows.filter((row) => row.actor === actor).map(({ text }) => text)]),
  );
  const widths = shareOut(wanted, room - GAP * names.length);
  if (widths.some((given, actor) => given < Math.min(ACTOR_WIDTH_MIN, wanted[actor]!))) {
    return listLines(rows, names, width, style);
  }
  const columns = [number, ...widths, ...(state > 0 ? [state] : [])];
  const title = (text: string): Cell => ({ lines: [text], style: "bold" });
  const lines = tableLines([{ lines: [""], style: null }, ...names.map(title)], columns, style);
  for (const row of rows) {
    const cells: Cell[] = columns.map(() => ({ lines: [], style: null }));
    cells[0] = { lines: [row.number.padStart(number)], style: "dim" };
    const at = row.actor + 1;
    cells[at] = { lines: wrap(row.text, columns[at]!), style: row.style };
    if (state > 0) {
      cells[names.length + 1] = {
        lines: row.state.flatMap((text) => wrap(text, state)),
        style: "dim",
      };
    }
    lines.push(...tableLines(cells, columns, style));
  }
  return lines;
}

/** Gives each column what it wants, or an equal share of what the modest ones leave. */
function shareOut(wanted: readonly number[], room: number): number[] {
  const given = wanted.map(() => 0);
  let rest = room;
  const order = wanted.map((_, index) => index).sort((a, b) => wanted[a]! - wanted[b]!);
  for (const [position, index] of order.entries()) {
    given[index] = Math.min(wanted[index]!, Math.floor(rest / (order.length - position)));
    rest -= given[index];
  }
  return given;
}

interface Cell {
  readonly lines: readonly string[];
  readonly style: StyleName | null;
}

function tableLines(cells: readonly Cell[], widths: readonly number[], style: Style): string[] {
  const height = Math.max(1, ...cells.map(({ lines }) => lines.length));
  return Array.from({ length: height }, (_, index) => {
    let line = "";
    let end = 0;
    let start = 0;
    for (const [column, cell] of cells.entries()) {
      const text = cell.lines[index] ?? "";
      if (text !== "") {
        line += " ".repeat(start - end) + styled(style, cell.style, text);
        end = start + text.length;
      }
      start += widths[column]! + GAP;
    }
    return line;
  });
}

function styled(style: Style, name: StyleName | null, text: string): string {
  return name === null || text.trim() === "" ? text : style(name, text);
}

/** One column, each happening with its actor's name in front. */
function listLines(
  rows: readonly Row[],
  names: readonly string[],
  width: number,
  style: Style,
): string[] {
  const number = longest(rows.map((row) => row.number));
  const actor = longest(names);
  const room = Math.max(1, width - number - actor - 2 * GAP);
  const columns = [number, actor, room];
  return rows.flatMap((row) => {
    const lead: Cell[] = [
      { lines: [row.number.padStart(number)], style: "dim" },
      { lines: [names[row.actor] ?? `actor ${row.actor}`], style: "bold" },
    ];
    const text: Cell = { lines: wrap(row.text, room), style: row.style };
    const lines = tableLines([...lead, text], columns, style);
    if (row.state.length === 0) return lines;
    const none: Cell = { lines: [], style: null };
    const state: Cell = { lines: wrap(`[${row.state.join(", ")}]`, room), style: "dim" };
    return [...lines, ...tableLines([none, none, state], columns, style)];
  });
}

function longest(texts: readonly string[]): number {
  return texts.reduce((most, text) => Math.max(most, text.length), 0);
}

/** Breaks text into lines at spaces; what is longer than a line is cut. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (let word of piecesOf(text, width)) {
    if (line !== "" && line.length + 1 + word.length <= width) {
      line += ` ${word}`;
      continue;
    }
    if (line !== "") lines.push(line);
    while (word.length > width) {
      lines.push(word.slice(0, width));
      word = word.slice(width);
    }
    line = word;
  }
  if (line !== "") lines.push(line);
  return lines;
}

/** The words of a text; "0 -> 1" and "page 0" stay together where a line is long enough for them. */
function piecesOf(text: string, width: number): string[] {
  const pieces: string[] = [];
  for (const word of text.split(/\s+/)) {
    const before = pieces[pieces.length - 1];
    const belongs =
      before !== undefined &&
      (word === "->" || before.endsWith(" ->") || (/^\d/.test(word) && /[a-z]$/.test(before)));
    if (belongs && before.length + 1 + word.length <= width) {
      pieces[pieces.length - 1] = `${before} ${word}`;
    } else {
      pieces.push(word);
    }
  }
  return pieces;
}
