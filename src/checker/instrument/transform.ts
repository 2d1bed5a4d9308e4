/**
 * The checked build of a module: the production source, with a scheduling point before each access to
 * a shared word. Functions that may come to one become generators and are called with `yield*`;
 * everything else, and the order in which everything is evaluated, stays.
 *
 *     load(words, at)       ->  ($point(7, at, 0) && (yield), load(words, at))
 *     enter(thread, lock)   ->  (yield* enter(thread, lock))
 *     visit(record)         ->  (($0 = visit(record)) instanceof $Gen ? yield* $0 : $0)
 *     using lock = take()   ->  const lock = take(); try { ... } finally { lock[Symbol.dispose]() }
 *     invariant(c, () => m) ->  ((c) || $broken(() => m))
 *
 * What runs before threads share anything (constructors, modules' tops) runs to its end at once.
 */
import { ACCESSES, type Colouring, type ModuleSource } from "./colouring.ts";
import { childrenOf, isFunction, memberName, type Tree } from "./syntax.ts";

/** Where an access stands. The index of a site is its number in the code. */
export interface AccessSite {
  readonly path: string;
  readonly function: string;
  readonly operation: string;
  /** Offset in the module's text. */
  readonly at: number;
}

const ARRAY_CALLS = new Set(["every", "some", "map", "filter", "forEach", "find", "flatMap"]);

/** What a function is turned into. */
type Mode = "generator" | "alone" | "plain";

interface Frame {
  readonly node: Tree | null;
  readonly mode: Mode;
  temporaries: number;
}

/** The body of a function ($point, $Gen, $drain, $broken, $iterate, $import) that returns the exports. */
export function transformModule(
  module: ModuleSource,
  colouring: Colouring,
  sites: AccessSite[],
): string {
  return new Emitter(module, colouring, sites).module();
}

class Emitter {
  readonly #module: ModuleSource;
  readonly #colouring: Colouring;
  readonly #sites: AccessSite[];
  readonly #names: string[] = [];
  readonly #exports = new Map<string, string>();
  #frame: Frame = { node: null, mode: "alone", temporaries: 0 };

  constructor(module: ModuleSource, colouring: Colouring, sites: AccessSite[]) {
    this.#module = module;
    this.#colouring = colouring;
    this.#sites = sites;
  }

  module(): string {
    const body = this.#generic(this.#module.program);
    const temporaries = this.#declare(this.#frame.temporaries);
    const names = [...this.#exports].map(([name, local]) => `get ${name}() { return ${local}; }`);
    return `"use strict";${temporaries}${body}\nreturn { ${names.join(", ")} };`;
  }

  #declare(count: number): string {
    if (count === 0) return "";
    return `let ${Array.from({ length: count }, (_, index) => `$${index}`).join(",")};`;
  }

  #temporary(): string {
    return `$${this.#frame.temporaries++}`;
  }

  #text(start: number, end: number): string {
    return this.#module.text.slice(start, end);
  }

  /** A node as it is, what is below it emitted. */
  #generic(node: Tree, from = node.start): string {
    let out = "";
    let at = from;
    for (const child of childrenOf(node)) {
      if (child.start < at) continue;
      out += this.#text(at, child.start) + this.#emit(child);
      at = child.end;
    }
    return out + this.#text(at, node.end);
  }

  #emit(node: Tree): string {
    switch (node.type) {
      case "ImportDeclaration":
        return this.#import(node);
      case "ExportNamedDeclaration":
        return this.#export(node);
      case "ExportDefaultDeclaration":
        this.#exports.set("default", "$default");
        return `const $default = ${this.#emit(node.declaration!)};`;
      case "Property":
        return this.#property(node);
      case "MethodDefinition":
        return this.#method(node);
      case "PropertyDefinition":
        return this.#field(node);
      case "BlockStatement":
      case "StaticBlock":
        return this.#block(node);
      case "YieldExpression":
        return this.#yield(node);
      case "CallExpression":
        return this.#call(node);
      case "MemberExpression":
        return this.#member(node);
      case "ObjectPattern":
        return this.#pattern(node);
      case "ChainExpression":
        return this.#chain(node);
      case "ClassDeclaration":
        this.#names.push(node.id?.name ?? "class");
        try {
          return this.#generic(node);
        } finally {
          this.#names.pop();
        }
      default:
        return isFunction(node) ? this.#function(node) : this.#generic(node);
    }
  }

  #import(node: Tree): string {
    const names = node.specifiers!.map(({ imported, local }) =>
      imported!.name === local!.name ? local!.name : `${imported!.name}: ${local!.name}`,
    );
    const lines = this.#text(node.start, node.end).replace(/[^\n]/g, "");
    return `const { ${names.join(", ")} } = $import(${JSON.stringify(node.source!.value)});${lines}`;
  }

  #export(node: Tree): string {
    if (node.source) return this.#passOn(node);
    for (const { exported, local } of node.specifiers ?? []) {
      this.#exports.set(exported!.name!, local!.name!);
    }
    const { declaration } = node;
    if (!declaration) return "";
    for (const each of declaration.declarations ?? [declaration]) {
      this.#exports.set(each.id!.name!, each.id!.name!);
    }
    return this.#emit(declaration);
  }

  /** `export { a as b } from "./c.js"`. */
  #passOn(node: Tree): string {
    const from = `$from${this.#exports.size}`;
    for (const { exported, local } of node.specifiers!) {
      this.#exports.set(exported!.name!, `${from}.${local!.name!}`);
    }
    return `const ${from} = $import(${JSON.stringify(node.source!.value)});`;
  }

  #property(node: Tree): string {
    const { key, value } = node;
    if (key!.start === (value as Tree).start) return this.#emit(value as Tree); // shorthand
    return this.#method(node);
  }

  /** A method of a class, or any property of an object literal. */
  #method(node: Tree): string {
    const { key } = node;
    const value = node.value as Tree;
    const shorthand =
      isFunction(value) && value.start >= key!.end && value.type === "FunctionExpression";
    const isMethod = shorthand && this.#text(key!.end, value.start).trim().replace("]", "") === "";
    if (!isMethod || !this.#colouring.isColoured(value) || value.generator) {
      return this.#generic(node);
    }
    if (node.kind === "set") throw this.#unsupported(node, "a setter with shared accesses");
    const name = this.#text(key!.start, key!.end);
    const shown = node.computed ? `[${name}]` : name;
    const prefix = node.static ? "static " : "";
    const getter = this.#colouring.isGetter(value);
    return `${prefix}*${getter ? `get$${name}` : shown}${this.#functionRest(value, name)}`;
  }

  #field(node: Tree): string {
    const frame = this.#frame;
    this.#frame = { node: frame.node, mode: "alone", temporaries: 0 };
    const out = this.#generic(node);
    if (this.#frame.temporaries > 0)
      throw this.#unsupported(node, "a call in a field's initialiser");
    this.#frame = frame;
    return out;
  }

  #modeOf(node: Tree): Mode {
    if (this.#colouring.isAlone(node)) return "alone";
    return this.#colouring.isColoured(node) ? "generator" : "plain";
  }

  #function(node: Tree): string {
    const mode = this.#modeOf(node);
    const name = node.id?.name ?? this.#names[this.#names.length - 1] ?? "";
    if (node.type === "ArrowFunctionExpression" && mode === "generator") return this.#arrow(node);
    if (node.type === "ArrowFunctionExpression" || mode !== "generator" || node.generator) {
      return this.#withFrame(node, name, () => this.#wholeFunction(node));
    }
    const rest = this.#functionRest(node, name);
    return `function* ${node.id?.name ?? ""}${rest}`;
  }

  /** A function that stays what it is, with temporaries where it needs some. */
  #wholeFunction(node: Tree): string {
    const body = node.body as Tree;
    const head = this.#headOf(node);
    const inner = this.#emit(body);
    const temporaries = this.#declare(this.#frame.temporaries);
    if (body.type !== "BlockStatement") {
      return temporaries === ""
        ? `${head} (${inner})`
        : `${head} { ${temporaries} return ${inner}; }`;
    }
    if (temporaries === "") return head + inner;
    return `${head}{${temporaries}${inner.slice(1)}`;
  }

  #headOf(node: Tree): string {
    const body = node.body as Tree;
    let head = "";
    let at = node.start;
    for (const child of node.params ?? []) {
      head += this.#text(at, child.start) + this.#emit(child);
      at = child.end;
    }
    const rest = this.#text(at, body.start);
    // The parentheses around an expression are no part of it.
    return (
      head + (body.type === "BlockStatement" ? rest : rest.slice(0, rest.lastIndexOf("=>") + 2))
    );
  }

  /** From the parameters on, as a generator's. */
  #functionRest(node: Tree, name: string): string {
    return this.#withFrame(node, name, () => {
      const params = (node.params ?? []).map((param) => this.#emit(param)).join(", ");
      if (params.includes("yield")) {
        throw this.#unsupported(node, "a shared access in a default parameter");
      }
      const body = node.body as Tree;
      const inner = this.#emit(body);
      const temporaries = this.#declare(this.#frame.temporaries);
      if (body.type !== "BlockStatement") return `(${params}) { ${temporaries} return ${inner}; }`;
      return `(${params}) {${temporaries}${inner.slice(1)}`;
    });
  }

  /** A generator has its own `this`: one that uses the outer is bound to it. */
  #arrow(node: Tree): string {
    const rest = this.#functionRest(node, this.#names[this.#names.length - 1] ?? "");
    const usesThis = /\bthis\b/.test(this.#text(node.start, node.end));
    return usesThis ? `(function* ${rest}).bind(this)` : `(function* ${rest})`;
  }

  #withFrame<T>(node: Tree, name: string, emit: () => T): T {
    const frame = this.#frame;
    this.#frame = { node, mode: this.#modeOf(node), temporaries: 0 };
    this.#names.push(name);
    try {
      return emit();
    } finally {
      this.#names.pop();
      this.#frame = frame;
    }
  }

  /** A block, each `using` of which is spelt out. */
  #block(node: Tree): string {
    const statements = node.body as readonly Tree[];
    let out = "";
    let closing = "";
    let at = node.start;
    for (const statement of statements) {
      out += this.#text(at, statement.start);
      at = statement.end;
      if (statement.type !== "VariableDeclaration" || statement.kind !== "using") {
        out += this.#emit(statement);
        continue;
      }
      for (const declarator of statement.declarations!) {
        const name = declarator.id!.name!;
        out += `const ${name} = ${this.#emit(declarator.init!)}; try {`;
        closing = ` } finally { if (${name} != null) ${this.#dispose(name)}; }${closing}`;
      }
    }
    const end = this.#text(at, node.end);
    return `${out}${end.slice(0, -1)}${closing}}`;
  }

  #dispose(name: string): string {
    return this.#dynamic(`${name}[Symbol.dispose]()`);
  }

  #yield(node: Tree): string {
    const { argument } = node;
    if (!node.delegate || argument?.type !== "CallExpression") return this.#generic(node);
    return `yield* ${this.#plainCall(argument)}`;
  }

  #plainCall(node: Tree): string {
    return this.#generic(node);
  }

  #call(node: Tree): string {
    const name = node.callee!.name;
    if (name === "invariant") return this.#invariant(node);
    const { mode } = this.#frame;
    const kind = this.#colouring.callOf(node, this.#frame.node, this.#module);
    if (mode === "plain" || kind === "plain") return this.#maybeIteration(node);
    if (mode === "alone") {
      return kind === "access" ? this.#plainCall(node) : `$drain(${this.#plainCall(node)})`;
    }
    if (kind === "access") return this.#access(node);
    if (kind === "composite") return this.#composite(node);
    if (kind === "generator") return `(yield* ${this.#plainCall(node)})`;
    return this.#dynamic(this.#plainCall(node));
  }

  #dynamic(call: string): string {
    if (this.#frame.mode === "alone") return `$drain(${call})`;
    const temporary = this.#temporary();
    return `((${temporary} = ${call}) instanceof $Gen ? yield* ${temporary} : ${temporary})`;
  }

  /** An array's own iteration over a callback that has become a generator. */
  #maybeIteration(node: Tree): string {
    const callee = node.callee!;
    this.#refuseNamed(node);
    const callback = node.arguments!.find(
      (each) => isFunction(each) && this.#colouring.isColoured(each),
    );
    if (callback === undefined || callee.type !== "MemberExpression") return this.#plainCall(node);
    const name = memberName(callee);
    if (name === null || !ARRAY_CALLS.has(name)) {
      const own = name !== null && this.#colouring.isMember(name);
      if (own || this.#frame.mode !== "generator") return this.#plainCall(node);
      throw this.#unsupported(node, `a callback with shared accesses, passed to ${name}()`);
    }
    const over = this.#emit(callee.object!);
    const call = `$iterate(${JSON.stringify(name)}, ${over}, ${this.#emit(callback)})`;
    return this.#frame.mode === "generator" ? `(yield* ${call})` : `$drain(${call})`;
  }

  /** A function that is passed by its name to what is not the modules' own: it would not be run. */
  #refuseNamed(node: Tree): void {
    const callee = node.callee!;
    const name = callee.type === "MemberExpression" ? memberName(callee) : null;
    if (name === null || this.#colouring.isMember(name)) return;
    for (const each of node.arguments!) {
      if (!this.#colouring.namesColoured(each, this.#frame.node, this.#module)) continue;
      const what = `a callback with shared accesses, passed by its name to ${name}(): write it in place`;
      throw this.#unsupported(node, what);
    }
  }

  #site(operation: string, at: number): number {
    const names = this.#names.filter((name) => name !== "");
    this.#sites.push({ path: this.#module.path, function: names.join("."), operation, at });
    return this.#sites.length - 1;
  }

  #access(node: Tree): string {
    const operation = this.#module.imports.get(node.callee!.name!)!.name;
    const emitted = node.arguments!.map((each) => this.#emit(each));
    const steady = node.arguments!.map(
      (each, index) => isSteady(each) && !emitted[index]!.includes("yield"),
    );
    const lastUnsteady = steady.lastIndexOf(false);
    const before: string[] = [];
    const [array, at, ...rest] = node.arguments!.map((argument, index) => {
      // What a later argument might change is held, too; but nobody changes which memory it is.
      const changes = index < lastUnsteady && index > 0 && argument.type !== "Literal";
      if (steady[index]! && !changes) return emitted[index]!;
      const temporary = this.#temporary();
      before.push(`${temporary} = ${emitted[index]!}`);
      return temporary;
    });
    const prologue = before.map((each) => `${each}, `).join("");
    const point = `$point(${this.#site(operation, node.start)}, ${at}, ${ACCESSES[operation]}) && (yield)`;
    const call = `${node.callee!.name}(${[array, at, ...rest].join(", ")})`;
    return `(${prologue}${point}, ${call})`;
  }

  #composite(node: Tree): string {
    const operation = this.#module.imports.get(node.callee!.name!)!.name;
    const args = node.arguments!.map((each) => this.#emit(each)).join(", ");
    return `(yield* ${node.callee!.name}(${args}, ${this.#site(operation, node.start)}))`;
  }

  #invariant(node: Tree): string {
    const [condition, statement] = node.arguments!;
    return `((${this.#emit(condition!)}) || $broken(${this.#emit(statement!)}))`;
  }

  #member(node: Tree): string {
    const name = memberName(node);
    if (name === null || !this.#colouring.isColouredGetter(name)) return this.#generic(node);
    const call = `${this.#emit(node.object!)}.get$${name}()`;
    return this.#frame.mode === "generator" ? `(yield* ${call})` : `$drain(${call})`;
  }

  #pattern(node: Tree): string {
    for (const each of childrenOf(node)) {
      const name = each.type === "Property" ? memberName(each) : null;
      if (name !== null && this.#colouring.isColouredGetter(name)) {
        throw this.#unsupported(each, `a getter with shared accesses, read by a pattern: ${name}`);
      }
    }
    return this.#generic(node);
  }

  /** `a?.b().c`: what follows a call that is left out must be left out with it. */
  #chain(node: Tree): string {
    let call: Tree | null = null;
    const last = node.expression as Tree;
    for (let at: Tree | undefined = last; at !== undefined; at = at.callee ?? at.object) {
      const isCall = at !== last && at.type === "CallExpression";
      if (isCall && this.#colouring.callOf(at, this.#frame.node, this.#module) !== "plain")
        call = at;
      if (call !== null && at.optional) {
        throw this.#unsupported(node, "what follows an optional call with shared accesses");
      }
    }
    return this.#generic(node);
  }

  #unsupported(node: Tree, what: string): Error {
    const line = this.#text(0, node.start).split("\n").length;
    return new Error(`${this.#module.path}:${line}: the checked build has no way for ${what}`);
  }
}

/** Whether an expression means the same before and after a scheduling point, and costs nothing twice. */
function isSteady(node: Tree): boolean {
  switch (node.type) {
    case "Identifier":
    case "Literal":
    case "ThisExpression":
    case "PrivateIdentifier":
      return true;
    case "MemberExpression":
    case "BinaryExpression":
    case "UnaryExpression":
      return childrenOf(node).every(isSteady);
    default:
      return false;
  }
}
