/**
 * Mutation: the core weakened in one place at a time, by a machine that knows nothing of it. A mutant
 * that no scenario kills is either the same program in other words, or a gap in the scenarios.
 *
 * Mutants of a module's functions: a statement that calls something is left out; two such statements
 * that follow each other change places; the condition of an `if` is always, or never, true.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Checked } from "./check.ts";
import type { Edit } from "./instrument/linker.ts";
import { checkedModule, checkedPath } from "./instrument/places.ts";
import { isFunction, memberName, parseModule, type Tree, walk } from "./instrument/syntax.ts";
import { inLanes } from "./lanes.ts";
import type { ListedScenario } from "./registry.ts";

export interface Mutant {
  /** For example "pin/pin.ts". */
  readonly file: string;
  readonly function: string;
  /** What was done, with the text: "left out: wakeAll(words, word)". */
  readonly what: string;
  readonly edit: Edit;
  /** The function's place in the checked text. */
  readonly start: number;
  readonly end: number;
}

/** What became of a mutant. */
export interface Verdict {
  readonly mutant: Mutant;
  /** The scenario that failed, or null. */
  readonly killedBy: string | null;
  /** Scenarios that come to the mutated function. */
  readonly reachedBy: number;
}

/** Modules that are mutated: those whose every access scenarios are meant to guard. */
export const MUTATED_FILES: readonly string[] = [
  "sync/guard.ts",
  "sync/lock.ts",
  "sync/slab.ts",
  "pages/pages.ts",
  "pin/pin.ts",
  "layout/break.ts",
  "mapping/entries.ts",
  "mapping/tree.ts",
  "metadata/sequence.ts",
  "metadata/transaction.ts",
];

/** All mutants of a module. */
export function mutantsOf(file: string): Mutant[] {
  const text = readFileSync(fileURLToPath(checkedModule(file.replace(/\.ts$/, ".js"))), "utf8");
  const mutants: Mutant[] = [];
  walk(parseModule(text), (node, parents) => {
    const at = parents.findLastIndex(isFunction);
    if (at < 0) return undefined;
    const outer = parents[parents.findIndex(isFunction)]!;
    const name = nameOf(outer, parents);
    const add = (from: number, to: number, replace: string, what: string): void => {
      const edit = { file, find: text.slice(from, to), replace, at: from };
      mutants.push({ file, function: name, what, edit, start: outer.start, end: outer.end });
    };
    mutateStatement(node, text, add);
    if (node.type === "BlockStatement") swapStatements(node, text, add);
    return undefined;
  });
  return mutants;
}

type Add = (from: number, to: number, replace: string, what: string) => void;

function mutateStatement(node: Tree, text: string, add: Add): void {
  const shown = (each: Tree): string => text.slice(each.start, each.end).replace(/\s+/g, " ");
  if (isCallStatement(node)) add(node.start, node.end, ";", `left out: ${shown(node)}`);
  if (node.type === "IfStatement") {
    const test = (node as Tree & { readonly test: Tree }).test;
    add(test.start, test.end, "true", `always: if (${shown(test)})`);
    add(test.start, test.end, "false", `never: if (${shown(test)})`);
  }
}

function swapStatements(block: Tree, text: string, add: Add): void {
  const statements = block.body as readonly Tree[];
  for (const [index, first] of statements.entries()) {
    const second = statements[index + 1];
    if (second === undefined || !isCallStatement(first) || !isCallStatement(second)) continue;
    const [a, b] = [text.slice(first.start, first.end), text.slice(second.start, second.end)];
    if (a === b) continue;
    const between = text.slice(first.end, second.start);
    add(first.start, second.end, `${b}${between}${a}`, `swapped: ${a} ${b}`.replace(/\s+/g, " "));
  }
}

/** A statement that only calls; assertions of the core are no part of what it does. */
function isCallStatement(node: Tree): boolean {
  if (node.type !== "ExpressionStatement") return false;
  const expression = node.expression as Tree;
  const call = expression.type === "YieldExpression" ? expression.argument : expression;
  return call?.type === "CallExpression" && call.callee!.name !== "invariant";
}

function nameOf(node: Tree, parents: readonly Tree[]): string {
  const parent = parents[parents.indexOf(node) - 1]!;
  if (node.id) return node.id.name!;
  if (parent.key !== undefined) return memberName(parent) ?? "";
  return parent.id?.name ?? "";
}

/** Tries mutants on all scenarios that reach them. */
export class MutationRun {
  readonly #scenarios: readonly ListedScenario[];
  readonly #seconds: number;
  /** Per scenario, the accesses of the core that its schedules come to. */
  readonly #reached = new Map<ListedScenario, readonly { path: string; at: number }[]>();

  /** `seconds`: for each scenario of a mutant. */
  constructor(scenarios: readonly ListedScenario[], seconds: number) {
    this.#scenarios = scenarios;
    this.#seconds = seconds;
  }

  /** Finds which functions each scenario comes to. */
  async prepare(): Promise<void> {
    for (const place of this.#scenarios) {
      const checked = await Checked.load(place);
      const reached = checked.accessesReached();
      this.#reached.set(
        place,
        reached.map(({ path, at }) => ({ path: checkedPath(path) ?? "", at })),
      );
    }
  }

  async try(mutant: Mutant): Promise<Verdict> {
    const reaching = this.#reaching(mutant);
    const variant = { name: "mutant", about: mutant.what, edits: [mutant.edit] };
    for (const place of reaching) {
      const failed = await this.#fails(place, variant);
      if (failed) return { mutant, killedBy: place.scenario.name, reachedBy: reaching.length };
    }
    return { mutant, killedBy: null, reachedBy: reaching.length };
  }

  /** Scenarios that come to the function; if it has no access of its own, to its module. */
  #reaching({ file, start, end }: Mutant): ListedScenario[] {
    const path = file.replace(/\.ts$/, ".js");
    const comesTo = (place: ListedScenario, from: number, to: number): boolean =>
      this.#reached
        .get(place)!
        .some((each) => each.path === path && each.at >= from && each.at < to);
    const inside = this.#scenarios.filter((place) => comesTo(place, start, end));
    if (inside.length > 0) return inside;
    return this.#scenarios.filter((place) => comesTo(place, 0, Infinity));
  }

  async #fails(
    place: ListedScenario,
    variant: { name: string; about: string; edits: readonly Edit[] },
  ): Promise<boolean> {
    try {
      const checked = await Checked.load(place, variant);
      return await checked.fails(this.#seconds);
    } catch {
      return true; // it does not even set up
    }
  }
}

/** Tries all mutants on `threads` threads. With `signal`, those not yet tried are left. */
export async function tryMutants(
  mutants: readonly Mutant[],
  threads: number,
  seconds: number,
  onVerdict: (verdict: Verdict) => void,
  signal?: AbortSignal,
): Promise<void> {
  await inLanes<Mutant, Verdict>(mutants, {
    worker: new URL("mutation-worker.js", import.meta.url),
    workerData: { seconds },
    threads,
    signal,
    onMessage(_mutant, verdict) {
      onVerdict(verdict);
      return true;
    },
  });
}
