/** Single steps and values, in words. */
import type { Step, Story } from "./story.ts";

/** In a pin count (pages/pages.ts): somebody waits for it to fall to zero; its type's registrar is told then. */
const MARKS = [
  { bit: 0x40000000, name: "WAITED" },
  { bit: 0x20000000, name: "TELLS" },
] as const;

/** A word's value as people read it: a pin count with its marks apart. */
export function valueInWords(word: string, value: number): string {
  if (!/\bpins?\b/.test(word) || value < 0) return String(value);
  const marks = MARKS.filter(({ bit }) => (value & bit) !== 0);
  const count = marks.reduce((rest, { bit }) => rest & ~bit, value);
  const shown = marks.map(({ name }) => name);
  return [...(count === 0 && shown.length > 0 ? [] : [String(count)]), ...shown].join("|");
}

/** "0 -> 1", or "0" where nothing changed. */
export function changeInWords(word: string, before: number, after: number): string {
  const first = valueInWords(word, before);
  return before === after ? first : `${first} -> ${valueInWords(word, after)}`;
}

/** "the pins of page 0", "the guard of the io lock of inode 2"; names with an article stay. */
export function withArticle(word: string): string {
  const part = /^(.+?): (.+)$/.exec(word);
  if (part !== null) return `${withArticle(part[2]!)} of ${withArticle(part[1]!)}`;
  const isName = /^(the |an? |\w+ \d)|'s /.test(word) || !/^[a-z]/.test(word);
  return isName ? word : `the ${word}`;
}

/** The lock that a word belongs to, or null: "io lock of inode 2" of "io lock of inode 2: guard". */
export function lockOf(word: string): string | null {
  return /^([^:]*\block\b(?: of [^:]*)?)(?:: .+)?$/.exec(word)?.[1] ?? null;
}

/** What is slept on: a lock, or the word itself. */
export function sleptOn(word: string): string {
  return withArticle(word.replace(/: wake$/, ""));
}

export function actorName(story: Story, actor: number): string {
  return story.actors[actor] ?? `actor ${actor}`;
}

/** One step by itself: "pins of page 0: 0 -> 1", "sleeps on pins of page 0". */
export function stepInWords(story: Story, step: Step): string {
  const { word } = step;
  const value = changeInWords(word, step.before, step.after);
  switch (step.kind) {
    case "read":
      return `${word}: ${value}`;
    case "write":
    case "update":
      return `${word}: ${value}${step.before === step.after ? " (unchanged)" : ""}`;
    case "sleep":
      return `sleeps on ${word}`;
    case "resume":
      return `wakes up on ${word}: ${value}`;
    case "wake":
      return `wakes all on ${word}`;
    case "kill":
      return `kills ${actorName(story, step.target)}`;
    case "abort":
      return `aborts ${actorName(story, step.target)}`;
    case "pass":
      return "lets time pass";
  }
}

/** How the schedule ended, in one sentence. */
export function endInWords(story: Story): string {
  const { failure } = story;
  if (failure === null) return "no failure in this schedule";
  const where = failure.actor < 0 ? "" : ` (in ${actorName(story, failure.actor)})`;
  return `${failure.kind}: ${failure.message}${where}`;
}

/** The command that runs the schedule again. */
export function replayCommand(story: Story): string {
  const variant = story.variant === null ? "" : ` --variant ${story.variant}`;
  return `holdfast check ${story.scenario}${variant} --replay "${story.schedule}"`;
}
