/**
 * Links a set of modules into one checked program: instrumented modules in their own scope, bound to
 * one door; stand-ins for what reaches out of the program; everything else as it is.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { compileFunction } from "node:vm";
import { InvariantError } from "../../base/invariant.ts";
import { builtModule } from "../../base/modules.ts";
import { simulatedAtomics } from "../engine/atomics.ts";
import type { Door } from "../engine/door.ts";
import { simulatedSystem } from "../engine/system.ts";
import { Colouring, type ModuleSource, type Origin } from "./colouring.ts";
import { checkedModule, checkedPath, shownPath } from "./places.ts";
import { parseModule, type Tree } from "./syntax.ts";
import { type AccessSite, Numbers, PROVIDED } from "./forms.ts";
import { transformModule } from "./transform.ts";

/** One change of the text of a module: what is there, exactly once, and what takes its place. */
export interface Edit {
  /** For example "pin/pin.ts". */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** Where, for a text that may be there more than once. */
  readonly at?: number;
}

/** Modules whose texts hold mutants, and which of those is tried (mutation/mutants.ts). */
export interface Schemas {
  /** By path: "pin/pin.js". */
  readonly texts: ReadonlyMap<string, string>;
  readonly isTried: (mutant: number) => boolean;
}

export type Exports = Readonly<Record<string, unknown>>;

export interface Program {
  readonly exports: Exports;
  readonly sites: readonly AccessSite[];
  /** Another module of the program, by its path below the sources: "sync/thread.js". */
  moduleOf(path: string): Exports;
}

/** Every program has it: the stage makes the actors' threads with it. */
const THREADS = "checker/world/threads.js";
/**
 * Not instrumented below these layers: what runs sleeping functions in production, where the checker
 * does so here, and trace points, which only tell.
 */
const AS_BUILT = /^sync\/runners\.js$|\/trace\.js$/;
/** Layers whose modules are instrumented, below the checked sources, and modules of other layers. */
const INSTRUMENTED =
  /^(sync|pages|mapping|pin|window|layout|dax|iomap|metadata|drivers\/ram|checker\/scenarios|checker\/world)\/|^device\/state\.js$|^volume\/(inodes|inode-reference|lookups|kernel-lookups|kernel-recalls|state|grow-steps)\.js$|^drivers\/ext\/resize\/volume-size\.js$/;

function* nothing(): Generator<void> {}
const GeneratorPrototype = Object.getPrototypeOf(Object.getPrototypeOf(nothing()));
/** `x instanceof CheckedGenerator`: x is a generator. */
function CheckedGenerator(): void {}
CheckedGenerator.prototype = GeneratorPrototype;

/** Whether a call has returned a checked function under way. */
export function isChecked(value: unknown): value is Generator {
  return value instanceof (CheckedGenerator as unknown as new () => object);
}

/** Runs a checked function to its end, alone. */
export function drain<T>(result: T): T extends Generator<unknown, infer R> ? R : T {
  let value: unknown = result;
  if (isChecked(value)) {
    const generator = value;
    let step = generator.next();
    for (let turns = 0; !step.done; turns++) {
      if (turns > 1_000_000) throw new Error("what runs alone waits for somebody else");
      step = generator.next();
    }
    value = step.value;
  }
  return value as T extends Generator<unknown, infer R> ? R : T;
}

/** A checked function, and the same as a plain one. */
type Twinned = ((...args: unknown[]) => unknown) & { $p?: (...args: unknown[]) => unknown };

function withTwin(generator: Twinned, plain: Twinned): Twinned {
  generator.$p = plain;
  return generator;
}

/** Calls a member of a checked object, alone. */
export function callAlone(object: object, name: string, ...args: unknown[]): unknown {
  const members = object as Readonly<Record<string, Twinned | undefined>>;
  const twin = members[`${name}$p`] ?? members[name]!.$p;
  return drain((twin ?? members[name]!).apply(object, args));
}

/** What an `invariant` that fails does. */
function broken(statement: unknown): never {
  throw new InvariantError(
    String(typeof statement === "function" ? drain(statement()) : statement),
  );
}

function* iterate(
  name: string,
  over: readonly unknown[],
  callback: (...args: unknown[]) => unknown,
) {
  const results: unknown[] = [];
  for (const [index, each] of over.entries()) {
    const result = callback(each, index);
    results.push(isChecked(result) ? yield* result : result);
    const last = results[results.length - 1];
    if (name === "every" && !last) return false;
    if (name === "some" && last) return true;
    if (name === "find" && last) return each;
  }
  if (name === "every") return true;
  if (name === "some") return false;
  if (name === "filter") return over.filter((_each, index) => results[index]);
  if (name === "flatMap") return results.flat();
  return name === "map" ? results : undefined;
}

/** Reads, instruments and evaluates `entry` and what it imports. */
export class Linker {
  readonly #door: Door;
  readonly #edits: readonly Edit[];
  readonly #schemas: Schemas;
  readonly #modules = new Map<string, ModuleSource>();
  /** Addresses of the modules whose imports are being loaded, outermost first. */
  readonly #loading: string[] = [];
  readonly #outside = new Map<string, Exports>();
  readonly #evaluated = new Map<string, Exports>();

  constructor(door: Door, edits: readonly Edit[] = [], schemas: Schemas = NO_SCHEMAS) {
    this.#door = door;
    this.#edits = edits;
    this.#schemas = schemas;
  }

  async link(entry: URL): Promise<Program> {
    const unused = new Set(this.#edits);
    await this.#load(checkedModule(THREADS), unused);
    await this.#load(entry, unused);
    for (const { file, find } of unused) {
      throw new Error(`the edit of ${file} applies to no module of the program: ${find}`);
    }
    const colouring = new Colouring([...this.#modules.values()]);
    const numbers = new Numbers();
    for (const module of this.#modules.values()) {
      this.#evaluate(module, transformModule(module, colouring, numbers));
    }
    this.#door.calls(numbers.calls);
    const moduleOf = (path: string): Exports => {
      const found = this.#evaluated.get(checkedModule(path).href);
      if (found === undefined) throw new Error(`the program has no module ${path}`);
      return found;
    };
    return { exports: this.#evaluated.get(entry.href)!, sites: numbers.sites, moduleOf };
  }

  /** Depth first, so that `#modules` is in the order of evaluation. Throws: for a cycle of imports. */
  async #load(url: URL, unused: Set<Edit>): Promise<void> {
    const before = this.#loading.indexOf(url.href);
    if (before >= 0) {
      const way = [...this.#loading.slice(before), url.href]
        .map((path) => shownPath(path))
        .join(" imports ");
      throw new Error(`the checked build has no way for a cycle of imports: ${way}`);
    }
    this.#loading.push(url.href);
    const schema = this.#schemas.texts.get(checkedPath(url.href) ?? "");
    const text = this.#edited(url, schema ?? readFileSync(fileURLToPath(url), "utf8"), unused);
    const program = parsed(text);
    const imports = new Map<string, Origin>();
    const passedOn = new Map<string, Origin>();
    for (const node of program.body as readonly Tree[]) {
      if (!node.source) continue;
      const target = targetOf(String(node.source.value), url.href);
      await this.#need(target, unused);
      for (const { imported, exported, local } of node.specifiers!) {
        if (imported) imports.set(local!.name!, this.#origin(target, imported.name!));
        else passedOn.set(exported!.name!, this.#origin(target, local!.name!));
      }
    }
    if (!this.#modules.has(url.href)) {
      this.#modules.set(url.href, { path: url.href, text, program, imports, passedOn });
    }
    this.#loading.pop();
  }

  /** Where a name that a module exports was declared. */
  #origin(path: string, name: string): Origin {
    return this.#modules.get(path)?.passedOn.get(name) ?? { path, name };
  }

  async #need(target: string, unused: Set<Edit>): Promise<void> {
    if (this.#modules.has(target) || this.#outside.has(target)) return;
    if (!target.startsWith("file:")) {
      this.#outside.set(target, await import(target));
      return;
    }
    const path = checkedPath(target);
    if (path === "sync/atomics.js") this.#outside.set(target, simulatedAtomics(this.#door));
    else if (path === "base/libc.js") this.#outside.set(target, simulatedSystem(this.#door));
    else if (path === null || (INSTRUMENTED.test(path) && !AS_BUILT.test(path)))
      await this.#load(new URL(target), unused);
    else this.#outside.set(target, await import(builtModule(path).href));
  }

  #edited(url: URL, text: string, unused: Set<Edit>): string {
    const path = checkedPath(url.href)?.replace(/\.js$/, ".ts");
    for (const edit of this.#edits) {
      if (edit.file !== path) continue;
      unused.delete(edit);
      const at = edit.at ?? text.indexOf(edit.find);
      if (at < 0 || (edit.at === undefined && text.indexOf(edit.find, at + 1) >= 0)) {
        throw new Error(`${edit.file} must hold this text exactly once: ${edit.find}`);
      }
      text = text.slice(0, at) + edit.replace + text.slice(at + edit.find.length);
    }
    return text;
  }

  #evaluate(module: ModuleSource, body: string): void {
    const outside = ["performance", "process"];
    const run = compileFunction(body, [...PROVIDED, ...outside], {
      filename: `checked:${shownPath(module.path)}`,
    });
    const find = (specifier: string): Exports => {
      const target = targetOf(specifier, module.path);
      return this.#evaluated.get(target) ?? this.#outside.get(target)!;
    };
    const { point, pass, calm, place } = this.#door;
    const { isTried } = this.#schemas;
    const plain = (value: unknown): unknown => {
      if (!isChecked(value)) return value;
      return this.#door.alone ? drain(value) : this.#door.refuse();
    };
    const provided: Record<(typeof PROVIDED)[number], unknown> = {
      $point: point,
      $pass: pass,
      $calm: calm,
      $twin: withTwin,
      $plain: plain,
      $Gen: CheckedGenerator,
      $drain: drain,
      $broken: broken,
      $iterate: iterate,
      $import: find,
      $mutant: (mutant: number) => {
        place();
        return isTried(mutant);
      },
    };
    const clock = { now: () => this.#door.seen(this.#door.nowMs), timeOrigin: 0 };
    const exports = run(...PROVIDED.map((name) => provided[name]), clock, PROCESS);
    this.#evaluated.set(module.path, exports as Exports);
  }
}

const NO_SCHEMAS: Schemas = { texts: new Map(), isTried: () => false };

/** Programs are linked again and again, for variants, of much the same modules. */
const parsedTexts = new Map<string, Tree>();
const PARSED_MAX = 500;

function parsed(text: string): Tree {
  let program = parsedTexts.get(text);
  if (program === undefined) {
    program = parseModule(text);
    if (parsedTexts.size >= PARSED_MAX) parsedTexts.clear();
    parsedTexts.set(text, program);
  }
  return program;
}

/** What an import names: a module's address, or a package's name. */
function targetOf(specifier: string, importer: string): string {
  const known = NAMES[specifier];
  if (known !== undefined) return checkedModule(known).href;
  return specifier.startsWith(".") ? new URL(specifier, importer).href : specifier;
}

/** Names by which modules of one's own import the program's. */
const NAMES: Readonly<Record<string, string>> = {
  "holdfast/sync": "sync/index.js",
  "holdfast/check/core": "checker/world/index.js",
};

const PROCESS = { hrtime: { bigint: () => 0n } };
