/**
 * Mutants: the core weakened in one place at a time, by a machine that knows nothing of it.
 *
 * All mutants of a module are in one text, the module's *schema*: each changed place asks `$mutant(n)`
 * whether it is the one that is tried. A scenario is so linked once for all of them.
 *
 *     wake(words, word);        ->  { if (!$mutant(3)) wake(words, word); }
 *     if (left && !last) ...    ->  if ($mutant(4) ? true : $mutant(5) ? false : (...)) ...
 *     left && !last             ->  ($mutant(6) || left) && ($mutant(7) || !last)
 *     cas(words, word, old, x)  ->  cas(words, word, $mutant(8) ? NaN : old, x)
 */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { checkedModule } from "../instrument/places.ts";
import { isFunction, memberName, parseModule, rewrite, type Tree } from "../instrument/syntax.ts";

export interface Mutant {
  /** From 1, over all files. */
  readonly number: number;
  /** For example "pin/pin.ts". */
  readonly file: string;
  readonly function: string;
  /** What is done, with the text: "left out: wakeAll(words, word)"; unlike any other of the function. */
  readonly what: string;
}

export interface Mutants {
  readonly all: readonly Mutant[];
  /** Texts of the changed modules, by path: "pin/pin.js". */
  readonly schemas: ReadonlyMap<string, string>;
}

/** Single files that are mutated, of layers that are not. */
const FILES = [
  "device/state.ts",
  "drivers/ext/resize/volume-size.ts",
  "volume/grow-steps.ts",
  "volume/inodes.ts",
  "volume/inode-reference.ts",
  "volume/lookups.ts",
  "volume/kernel-lookups.ts",
  "volume/kernel-recalls.ts",
];

/** Layers that are mutated: those whose every access scenarios are meant to guard. */
const LAYERS = [
  "sync",
  "pages",
  "mapping",
  "pin",
  "layout",
  "dax",
  "window",
  "metadata",
  "drivers/ram",
];

/** Of those, what scenarios are not meant to guard, and why. */
const LEFT_OUT: Readonly<Record<string, string>> = {
  "sync/atomics.ts": "the door to memory, which has a stand-in",
  "sync/index.ts": "names only",
  "sync/lock-holders.ts": "only tells",
  "sync/wait-histograms.ts": "figures, which nothing goes by",
  "sync/waits.ts": "kept by the runners, for which the checker stands in",
  "sync/runners.ts": "waits of the event loop and of threads, for which the checker stands in",
  "pin/held-clock.ts": "figures, which nothing goes by",
  "dax/pager.ts": "a loop around a system call, in a thread of its own",
  "dax/evictor.ts": "a loop around a wait, in a thread of its own",
  "window/fault-port.ts": "system calls, for which the checker's port stands in",
  "window/userfaultfd.ts": "system calls",
  "window/addresses.ts": "system calls",
  "drivers/ram/index.ts": "names only",
  "drivers/ram/driver.ts":
    "its format and its names: no concurrency of its own, tested by test/drivers",
  "drivers/ram/layout.ts": "its format",
};

/** Trace points, which only tell (sync/trace.ts). */
const TELLS = /^trace(?=[A-Z]|$)/;

/** Files that are mutated. */
export function mutatedFiles(): string[] {
  const ofLayers = LAYERS.flatMap((layer) =>
    readdirSync(fileURLToPath(checkedModule(`${layer}/`)))
      .filter((name) => name.endsWith(".js"))
      .map((name) => `${layer}/${name.replace(/\.js$/, ".ts")}`)
      .filter((file) => !(file in LEFT_OUT) && !file.endsWith("/trace.ts")),
  );
  return [...ofLayers, ...FILES];
}

/** All mutants of the files, numbered in the order of the texts. */
export function mutantsOf(files: readonly string[]): Mutants {
  const all: Mutant[] = [];
  const schemas = new Map<string, string>();
  for (const file of files) {
    const path = file.replace(/\.ts$/, ".js");
    const text = readFileSync(fileURLToPath(checkedModule(path)), "utf8");
    schemas.set(path, new Schema(file, text, all).text);
  }
  return { all, schemas };
}

/** What `$mutant` tells: the mutant that is tried, and how often each place was come to. */
export class MutantSwitch {
  /** The mutant that is tried; 0: none. */
  active = 0;
  readonly counts: Int32Array;

  constructor(count: number) {
    this.counts = new Int32Array(count + 1);
  }

  readonly is = (mutant: number): boolean => {
    this.counts[mutant]!++;
    return mutant === this.active;
  };
}

const COMPARISONS = new Set(["===", "!==", "<", ">", "<=", ">="]);

/** Writes the schema of one module. */
class Schema {
  readonly text: string;
  readonly #file: string;
  readonly #source: string;
  readonly #all: Mutant[];
  /** Names of the functions around. */
  #function: string | null = null;
  readonly #told = new Set<string>();

  constructor(file: string, source: string, all: Mutant[]) {
    this.#file = file;
    this.#source = source;
    this.#all = all;
    this.text = this.#emit(parseModule(source), []);
  }

  /** The condition that is true when this mutant is tried. */
  #mutant(what: string): string {
    const flat = what.replace(/\s+/g, " ");
    let told = flat;
    for (let count = 2; this.#told.has(`${this.#function} ${told}`); count++) {
      told = `${flat} (${count})`;
    }
    this.#told.add(`${this.#function} ${told}`);
    const number = this.#all.length + 1;
    this.#all.push({ number, file: this.#file, function: this.#function!, what: told });
    return `$mutant(${number})`;
  }

  #shown(node: Tree): string {
    return this.#source.slice(node.start, node.end);
  }

  #emit(node: Tree, parents: readonly Tree[]): string {
    if (this.#function === null && isFunction(node)) {
      this.#function = nameOf(node, parents);
      const out = this.#inside(node, parents);
      this.#function = null;
      return out;
    }
    return this.#function === null ? this.#generic(node, parents) : this.#inside(node, parents);
  }

  #inside(node: Tree, parents: readonly Tree[]): string {
    if (isWording(node)) return this.#shown(node);
    switch (node.type) {
      case "BlockStatement":
        return this.#block(node, parents);
      case "LogicalExpression":
        return this.#logical(node as Logical, parents);
      case "CallExpression":
        return this.#call(node, parents);
      case "IfStatement":
      case "ConditionalExpression":
      case "WhileStatement":
      case "ReturnStatement":
      case "ArrowFunctionExpression":
        return this.#generic(node, parents, conditionOf(node));
      default:
        return this.#generic(node, parents);
    }
  }

  /** A node as it is, what is below it emitted; a condition among that is chosen. */
  #generic(node: Tree, parents: readonly Tree[], condition: Tree | null = null): string {
    const below = [...parents, node];
    return rewrite(this.#source, node, (child) =>
      child === condition ? this.#condition(node, child, below) : this.#emit(child, below),
    );
  }

  #condition(node: Tree, condition: Tree, parents: readonly Tree[]): string {
    const word = CONDITION_WORDS[node.type]!;
    const shown = `${word} (${this.#shown(condition)})`;
    const always =
      node.type === "WhileStatement" ? "" : `${this.#mutant(`always: ${shown}`)} ? true : `;
    const never = `${this.#mutant(`never: ${shown}`)} ? false : `;
    return `(${always}${never}(${this.#emit(condition, parents)}))`;
  }

  /** Each side of `a && b` and `a || b` left out; of `a ?? b` neither is a condition. */
  #logical(node: Logical, parents: readonly Tree[]): string {
    if (node.operator === "??") return this.#generic(node, parents);
    const below = [...parents, node];
    const side = (each: Tree): string => {
      const out = this.#emit(each, below);
      // Of a && b && c, the left side is a && b: its own sides are left out.
      if (each.type === "LogicalExpression") return `(${out})`;
      const mutant = this.#mutant(`without ${this.#shown(each)}: ${this.#shown(node)}`);
      return node.operator === "&&" ? `(${mutant} || (${out}))` : `(!${mutant} && (${out}))`;
    };
    return `(${side(node.left)} ${node.operator} ${side(node.right)})`;
  }

  #call(node: Tree, parents: readonly Tree[]): string {
    const name = node.callee!.name;
    if (name !== "cas" && name !== "casThenStore") return this.#generic(node, parents);
    const below = [...parents, node];
    const args = node.arguments!.map((each, index) => {
      const out = this.#emit(each, below);
      if (index !== 2) return out;
      return `${this.#mutant(`whatever is there: ${this.#shown(node)}`)} ? NaN : (${out})`;
    });
    return `${name}(${args.join(", ")})`;
  }

  /** Statements that only call are left out, and change places with the next. */
  #block(node: Tree, parents: readonly Tree[]): string {
    const statements = node.body as readonly Tree[];
    const below = [...parents, node];
    let out = "";
    let at = node.start;
    let swapped: string | null = null;
    for (const [index, statement] of statements.entries()) {
      out += this.#source.slice(at, statement.start);
      at = statement.end;
      if (tells(statement)) {
        out += this.#shown(statement);
        continue;
      }
      const before = swapped;
      swapped = null;
      if (!isCallStatement(statement)) {
        out += this.#emit(statement, below);
        continue;
      }
      const text = this.#shown(statement);
      const next = statements.slice(index + 1).find((each) => !tells(each));
      const without = this.#mutant(`left out: ${text}`);
      let choice = "";
      if (next !== undefined && isCallStatement(next) && this.#shown(next) !== text) {
        swapped = this.#mutant(`swapped: ${text} ${this.#shown(next)}`);
        choice += `if (${swapped}) { ${this.#shown(next)} } else `;
      }
      if (before !== null) {
        const previous = statements.slice(0, index).findLast((each) => !tells(each))!;
        choice += `if (${before}) { ${this.#shown(previous)} } else `;
      }
      out += `{ ${choice}if (!${without}) { ${this.#generic(statement, below)} } }`;
    }
    return out + this.#source.slice(at, node.end);
  }
}

type Logical = Tree & { readonly left: Tree; readonly right: Tree; readonly operator: string };

const CONDITION_WORDS: Readonly<Record<string, string>> = {
  IfStatement: "if",
  ConditionalExpression: "choice",
  WhileStatement: "while",
  ReturnStatement: "return",
  ArrowFunctionExpression: "=>",
};

/** The condition that a node decides by, or the one that it returns; or null. */
function conditionOf(node: Tree): Tree | null {
  const { test } = node as Tree & { readonly test?: Tree };
  if (test !== undefined) return test;
  const value = node.type === "ReturnStatement" ? node.argument : (node.body as Tree);
  return value && isCondition(value) ? value : null;
}

function isCondition(node: Tree): boolean {
  const { operator } = node as Tree & { readonly operator?: string };
  if (node.type === "BinaryExpression") return COMPARISONS.has(operator!);
  if (node.type === "LogicalExpression") return operator !== "??";
  return node.type === "UnaryExpression" && operator === "!";
}

/** Assertions and the wording of errors are no part of what the core does. */
function isWording(node: Tree): boolean {
  if (node.type === "ThrowStatement") return true;
  return node.type === "CallExpression" && node.callee!.name === "invariant";
}

function isCallStatement(node: Tree): boolean {
  if (node.type !== "ExpressionStatement") return false;
  const expression = node.expression as Tree;
  const call = expression.type === "YieldExpression" ? expression.argument : expression;
  return call?.type === "CallExpression" && !isWording(call) && call.callee!.type !== "Super";
}

function tells(statement: Tree): boolean {
  const call = statement.expression as Tree | undefined;
  return call?.type === "CallExpression" && TELLS.test(call.callee!.name ?? "");
}

function nameOf(node: Tree, parents: readonly Tree[]): string {
  const parent = parents[parents.length - 1]!;
  if (node.id) return node.id.name!;
  if (parent.key !== undefined) return memberName(parent) ?? "";
  return parent.id?.name ?? "";
}
