/**
 * From steps to happenings: what one actor does in one go, in words. Steps of one actor that follow
 * one another in the same activity are one happening; where another actor comes in between, an
 * activity is told in several, the cuts marked by "…".
 */
import { activityOf, isBookkeeping, type Phrase } from "./phrases.ts";
import type { Step, Story } from "./story.ts";
import {
  actorName,
  changeInWords,
  lockOf,
  sleptOn,
  stepInWords,
  valueInWords,
  withArticle,
} from "./values.ts";

export type HappeningKind = "said" | "activity" | "sleep" | "resume" | "kill" | "abort" | "pass";

export interface Happening {
  readonly kind: HappeningKind;
  readonly actor: number;
  /** Its steps. Something said has none: it comes before step `first`, and `last` is less. */
  readonly first: number;
  readonly last: number;
  readonly text: string;
}

/** Values told in one line. */
const VALUES_MAX = 3;

/** A happening before it is put into words. */
interface Group {
  readonly kind: HappeningKind;
  readonly actor: number;
  readonly first: number;
  last: number;
  readonly said: string;
  readonly phrase: Phrase | null;
  /** What the phrase is about: a lock, a word, or nothing. */
  readonly object: string;
  /** Words it changed that are not bookkeeping, in order, with the values at its start and end. */
  readonly changes: Map<string, { before: number; after: number }>;
  /** Its last step that is not bookkeeping, if that only read. */
  lastRead: Step | null;
  /** Who slept on a word that it woke; null when it woke nothing. */
  woken: Set<number> | null;
  /** The same actor's group before and after this one. */
  before: Group | null;
  after: Group | null;
}

export function happeningsOf(story: Story): Happening[] {
  const name = nameShortener(story);
  return groupsOf(story).map((group) => ({
    kind: group.kind,
    actor: group.actor,
    first: group.first,
    last: group.last,
    text: group.kind === "said" ? group.said : name(inWords(story, group)),
  }));
}

/** Leaves out " of inode 2" where the story has one inode only. */
function nameShortener(story: Story): (text: string) => string {
  const inodes = new Set(story.steps.flatMap(({ word }) => / of inode \d+/.exec(word) ?? []));
  const [only] = inodes;
  if (only === undefined || inodes.size > 1) return (text) => text;
  return (text) => text.replaceAll(new RegExp(`${only}\\b`, "g"), "");
}

function groupsOf(story: Story): Group[] {
  const groups: Group[] = [];
  const latest = new Map<number, Group>();
  const asleep = new Map<number, string>();
  const open = (group: Group): Group => {
    const before = latest.get(group.actor) ?? null;
    if (before !== null) before.after = group;
    group.before = before;
    latest.set(group.actor, group);
    groups.push(group);
    return group;
  };
  for (const [index, step] of story.steps.entries()) {
    for (const sentence of step.said) open(newGroup("said", step.actor, index, sentence));
    const kind = kindOf(step);
    if (kind !== "activity") {
      open(newGroup(kind, step.actor, index)).last = index;
    } else {
      const activity = activityOf(step.stack);
      const phrase = activity?.phrase ?? null;
      const own = latest.get(step.actor);
      const object = objectOf(phrase, step, own);
      const present = groups[groups.length - 1];
      const goesOn =
        phrase !== null && present === own && own !== undefined && isSame(own, phrase, object);
      const group = goesOn
        ? own
        : open(newGroup("activity", step.actor, index, "", phrase, object));
      group.last = index;
      noteStep(group, step, activity !== null && isBookkeeping(step.stack, activity.depth));
      if (step.kind === "wake") noteWoken(group, step, asleep);
    }
    if (step.kind === "sleep") asleep.set(step.actor, step.word);
    else asleep.delete(step.kind === "kill" ? step.target : step.actor);
  }
  return groups;
}

function newGroup(
  kind: HappeningKind,
  actor: number,
  first: number,
  said = "",
  phrase: Phrase | null = null,
  object = "",
): Group {
  return {
    kind,
    actor,
    first,
    last: first - 1,
    said,
    phrase,
    object,
    changes: new Map(),
    lastRead: null,
    woken: null,
    before: null,
    after: null,
  };
}

function kindOf(step: Step): HappeningKind {
  switch (step.kind) {
    case "sleep":
    case "resume":
    case "kill":
    case "abort":
    case "pass":
      return step.kind;
    default:
      return "activity";
  }
}

function isSame(group: Group, phrase: Phrase, object: string): boolean {
  return group.kind === "activity" && group.phrase?.text === phrase.text && group.object === object;
}

/** What the step's activity is about. A step aside, at a record, is about what its activity was. */
function objectOf(phrase: Phrase | null, step: Step, own: Group | undefined): string {
  if (phrase === null) return withArticle(step.word);
  if (phrase.text.includes("{word}")) return withArticle(step.word);
  if (!phrase.text.includes("{lock}")) return "";
  const lock = lockOf(step.word);
  if (lock !== null) return withArticle(lock);
  return own?.phrase?.text === phrase.text ? own.object : "a lock";
}

function noteStep(group: Group, step: Step, bookkeeping: boolean): void {
  if (bookkeeping || step.kind === "wake" || /\brecord\b/.test(step.word)) return;
  group.lastRead = step.kind === "read" ? step : null;
  if (step.kind === "read") return;
  const change = group.changes.get(step.word);
  if (change !== undefined) change.after = step.after;
  else if (step.before !== step.after) {
    group.changes.set(step.word, { before: step.before, after: step.after });
  }
}

function noteWoken(group: Group, step: Step, asleep: ReadonlyMap<number, string>): void {
  group.woken ??= new Set();
  for (const [actor, word] of asleep) if (word === step.word) group.woken.add(actor);
}

/** Whether `group` goes on with what the actor's group before it was doing. */
function continues(group: Group): boolean {
  const { before, phrase } = group;
  return before !== null && phrase !== null && isSame(before, phrase, group.object);
}

/** Whether the activity changed something, in this group or in those that it continues. */
function hasChanged(group: Group): boolean {
  for (let part: Group | null = group; part !== null; part = part.before) {
    if (part.changes.size > 0) return true;
    if (!continues(part)) return false;
  }
  return false;
}

function inWords(story: Story, group: Group): string {
  const step = story.steps[group.first];
  if (step === undefined) return "";
  switch (group.kind) {
    case "sleep":
      return `sleeps on ${sleptOn(step.word)}`;
    case "resume":
      return "wakes up";
    case "kill":
      return `kills ${actorName(story, step.target)}`;
    case "abort":
      return `aborts ${actorName(story, step.target)}`;
    case "pass":
      return "lets time pass";
    default:
      return activityInWords(story, group, step);
  }
}

function activityInWords(story: Story, group: Group, step: Step): string {
  const { after } = group;
  const isCut = after !== null && continues(after);
  const text = sentenceOf(story, group, step)
    .replace("{lock}", group.object)
    .replace("{word}", group.object);
  const lead = continues(group) ? "… " : "";
  return `${lead}${text}${valuesOf(group, isCut)}${wakesOf(story, group)}${isCut ? " …" : ""}`;
}

function sentenceOf(story: Story, group: Group, step: Step): string {
  const { phrase, after } = group;
  if (phrase === null) return stepInWords(story, step);
  if (phrase.role === "queues") return queueSentence(story, group);
  // Whether it ended in vain is known once the actor does something else.
  const hasEnded = after !== null && !continues(after);
  const mustSleep = phrase.role === "takes" && after?.kind === "sleep";
  const inVain = mustSleep || (hasEnded && !hasChanged(group));
  return inVain && phrase.unchanged !== null ? phrase.unchanged : phrase.text;
}

/** A turn of a lock's queue ends in sleep, or with the lock, or with an error. */
function queueSentence(story: Story, group: Group): string {
  let first = group;
  while (continues(first) && first.before !== null) first = first.before;
  const wokeUp = first.before?.kind === "resume";
  const { after } = group;
  if (after === null || after.kind === "sleep" || continues(after)) {
    return wokeUp ? "looks at {lock} again" : "queues for {lock}";
  }
  const isAborted = story.steps.some(
    ({ kind, target }, index) =>
      kind === "abort" && target === group.actor && index < first.first && index > lastSleep(first),
  );
  return isAborted ? "leaves the queue of {lock}" : "takes {lock}";
}

/** The step at which the actor last went to sleep before `group`. */
function lastSleep(group: Group): number {
  let part = group.before;
  while (part !== null && part.kind !== "sleep") part = part.before;
  return part?.first ?? -1;
}

/** In brackets: what changed and, where the activity is cut or has only looked, what it saw last. */
function valuesOf(group: Group, isCut: boolean): string {
  const { phrase } = group;
  if (phrase === null) return "";
  const isOfLock = phrase.role === "takes" || phrase.role === "queues";
  if (isOfLock && !isCut) return "";
  const label = (word: string): string => (phrase.text.includes("{word}") ? "" : `${word}: `);
  const values: string[] = [];
  for (const [word, { before, after }] of isOfLock ? [] : group.changes) {
    if (before !== after) values.push(label(word) + changeInWords(word, before, after));
  }
  const read = group.lastRead;
  if (read !== null && (isCut || values.length === 0)) {
    values.push(label(read.word) + valueInWords(read.word, read.after));
  }
  if (values.length > VALUES_MAX) {
    values.splice(VALUES_MAX, Infinity, `${values.length - VALUES_MAX} more`);
  }
  return values.length === 0 ? "" : ` (${values.join(", ")})`;
}

/** Who was woken. That nobody was is told where a wake-up was lost. */
function wakesOf(story: Story, group: Group): string {
  if (group.woken === null) return "";
  const names = [...group.woken].map((actor) => actorName(story, actor));
  if (names.length > 0) return `, wakes ${names.join(" and ")}`;
  return story.failure?.kind === "lost wake-up" ? ", wakes nobody" : "";
}

/** Who sleeps when the story ends, and on what. */
export function sleepersAtEnd(story: Story): string[] {
  const asleep = new Map<number, string>();
  for (const step of story.steps) {
    if (step.kind === "sleep") asleep.set(step.actor, step.word);
    else asleep.delete(step.kind === "kill" ? step.target : step.actor);
  }
  return [...asleep]
    .sort(([a], [b]) => a - b)
    .map(([actor, word]) => `${actorName(story, actor)} on ${sleptOn(word)}`);
}
