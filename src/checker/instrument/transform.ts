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
 *
 * Most calls come to no word that matters to anybody else. So each such function that does not sleep
 * has a plain *twin*, and each call of it chooses (door.ts, `calm`):
 *
 *     enter(thread, lock)   ->  ($calm(3) ? enter.$p(thread, lock) : yield* enter(thread, lock))
 *     load(words, at)       ->  ($pass(7, at, 0), load(words, at)), in a twin
 */
import { capturedBy } from "./closures.ts";
import { ACCESSES, COMPOSITES, type Colouring, type ModuleSource } from "./colouring.ts";
import { isDoor, isOptional, isSteady, type Numbers, paramsOf, twinOf } from "./forms.ts";
import { childrenOf, isFunction, memberName, rewrite, type Tree } from "./syntax.ts";

const ARRAY_CALLS = new Set(["every", "some", "map", "filter", "forEach", "find", "flatMap"]);

/** What a function is turned into. */
type Mode = "generator" | "twin" | "alone" | "plain";

interface Frame {
  readonly node: Tree | null;
  readonly mode: Mode;
  temporaries: number;
}

/** A class around what is emitted. */
interface ClassAround {
  readonly name: string | null;
  /** Private methods with twins. */
  readonly twins: ReadonlySet<string>;
  /** Code of functions that are made in its methods, as static members. */
  readonly outside: string[];
}

/** The body of a function of `PROVIDED` that returns the exports. */
export function transformModule(
  module: ModuleSource,
  colouring: Colouring,
  numbers: Numbers,
): string {
  return new Emitter(module, colouring, numbers).module();
}

class Emitter {
  readonly #module: ModuleSource;
  readonly #colouring: Colouring;
  readonly #numbers: Numbers;
  /** The site at each place: a function and its twin have the same. */
  readonly #siteAt = new Map<number, number>();
  readonly #names: string[] = [];
  readonly #exports = new Map<string, string>();
  readonly #classes: ClassAround[] = [];
  /** Functions that are written as methods: they can stand nowhere else. */
  readonly #methods = new Set<Tree>();
  /** Functions around, from the outermost. */
  readonly #around: Tree[] = [];
  /** Code of functions that are made in others. */
  readonly #outside: string[] = [];
  #frame: Frame = { node: null, mode: "alone", temporaries: 0 };

  constructor(module: ModuleSource, colouring: Colouring, numbers: Numbers) {
    this.#module = module;
    this.#colouring = colouring;
    this.#numbers = numbers;
  }

  module(): string {
    const body = this.#generic(this.#module.program) + this.#outside.join("");
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
  #generic(node: Tree): string {
    return rewrite(this.#module.text, node, (child) => this.#emit(child));
  }

  #emit(node: Tree): string {
    switch (node.type) {
      case "ImportDeclaration":
        return this.#import(node);
      case "ExportNamedDeclaration":
        return this.#export(node);
      case "ExportDefaultDeclaration":
        return this.#exportDefault(node.declaration!);
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
      case "ClassExpression":
        return this.#class(node);
      default:
        return isFunction(node) ? this.#function(node) : this.#generic(node);
    }
  }

  #class(node: Tree): string {
    this.#names.push(node.id?.name ?? "class");
    const members = (node.body as Tree).body as readonly Tree[];
    const twins = members.filter((each) => each.type === "MethodDefinition" && this.#hasTwin(each));
    const within: ClassAround = {
      name: node.id?.name ?? null,
      twins: new Set(twins.map((each) => memberName(each)!)),
      outside: [],
    };
    this.#classes.push(within);
    try {
      const emitted = this.#generic(node);
      return `${emitted.slice(0, -1)}${within.outside.join("")}}`;
    } finally {
      this.#names.pop();
      this.#classes.pop();
    }
  }

  /** Whether a method has a twin: it is coloured, and does not sleep. */
  #hasTwin(method: Tree): boolean {
    const value = method.value as Tree;
    return this.#colouring.isColoured(value) && !value.generator;
  }

  #exportDefault(declaration: Tree): string {
    this.#exports.set("default", "$default");
    const emitted =
      declaration.type === "FunctionDeclaration"
        ? this.#functionValue(declaration)
        : this.#emit(declaration);
    return `const $default = ${emitted};`;
  }

  #import(node: Tree): string {
    const { imports } = this.#module;
    const names = node.specifiers!.flatMap(({ imported, local }) => {
      const both = (suffix: string): string =>
        `${imported!.name}${suffix}: ${local!.name}${suffix}`;
      const isComposite = isDoor(imports.get(local!.name!)) && COMPOSITES.has(imported!.name!);
      return isComposite ? [both(""), both("$p")] : [both("")];
    });
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
    if (key!.start === (value as Tree).start) {
      this.#refuseAsGetter(node);
      return this.#emit(value as Tree); // shorthand
    }
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
      this.#refuseAsGetter(node);
      if (isMethod) this.#methods.add(value);
      return this.#generic(node) + this.#hiding(node);
    }
    if (node.kind === "set") throw this.#unsupported(node, "a setter with shared accesses");
    const name = this.#text(key!.start, key!.end);
    const shown = node.computed ? `[${name}]` : name;
    const prefix = node.static ? "static " : "";
    const getter = this.#colouring.isGetter(value);
    const generator = this.#functionRest(value, name);
    const twin = this.#functionRest(value, name, "twin");
    if (node.type === "Property" && !getter) {
      return `${shown}: $twin(function* ${generator}, function ${twin})`;
    }
    const method = `${prefix}*${getter ? `get$${name}` : shown}${generator}`;
    const known = memberName(node);
    if (known === null) return method;
    const separator = node.type === "Property" ? "," : "";
    return `${method}${separator} ${prefix}${twinOf(getter ? `get$${known}` : known)}${twin}`;
  }

  /** A method that is none of a coloured name's: it hides a twin that it would inherit. */
  #hiding(node: Tree): string {
    const name = node.type === "MethodDefinition" && !node.static ? memberName(node) : null;
    const hides = name !== null && !name.startsWith("#") && this.#colouring.isColouredMethod(name);
    return hides ? ` get ${twinOf(name)}() { return undefined; }` : "";
  }

  /** A member that is read as it is, under a name by which others are read with shared accesses. */
  #refuseAsGetter(node: Tree): void {
    const name = memberName(node);
    if (name !== null && this.#colouring.isColouredGetter(name))
      throw this.#unsupported(node, `two kinds of '${name}', one a getter with shared accesses`);
  }

  #field(node: Tree): string {
    this.#refuseAsGetter(node);
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
    const name = this.#nameOf(node);
    if (mode !== "generator" || node.generator) {
      const outside = node.generator === true ? this.#putOutside(node, name) : null;
      return outside ?? this.#withFrame(node, name, mode, () => this.#wholeFunction(node));
    }
    if (node.type === "FunctionDeclaration") {
      const twin = `${name}.$p = function ${this.#functionRest(node, name, "twin")};`;
      return `function* ${name}${this.#functionRest(node, name)} ${twin}`;
    }
    return this.#functionValue(node);
  }

  /** A function with its twin, as an expression. */
  #functionValue(node: Tree): string {
    const name = this.#nameOf(node);
    return `$twin(${this.#putOutside(node, name) ?? this.#madeHere(node, name)}, ${this.#plainTwin(node)})`;
  }

  /** A generator function where it stands; within another function it is made when it is called. */
  #madeHere(node: Tree, name: string): string {
    const generator = `(function* ${node.id?.name ?? ""}${this.#functionRest(node, name)})`;
    if (this.#around.length === 0) return generator;
    const params = paramsOf(node);
    return this.#forwarding(node, params, `${generator}.call(${["this", ...params].join(", ")})`);
  }

  /** A function of the same kind, arrow or not, that returns what an expression gives. */
  #forwarding(node: Tree, params: readonly string[], value: string): string {
    if (node.type === "ArrowFunctionExpression") return `((${params.join(", ")}) => ${value})`;
    return `(function (${params.join(", ")}) { return ${value}; })`;
  }

  /** A generator function that is made in another one, its code put outside (closures.ts); or null. */
  #putOutside(node: Tree, name: string): string | null {
    const outermost = this.#around[0];
    if (outermost === undefined || node.type === "FunctionDeclaration") return null;
    if (this.#methods.has(node)) return null;
    const captured = capturedBy(node, outermost);
    if (captured === null) return null;
    const within = captured.isPrivate ? this.#classes[this.#classes.length - 1] : undefined;
    if (captured.isPrivate && !within?.name) return null;
    const code = `$outside${this.#numbers.outside++}`;
    const rest = this.#functionRest(node, name, "generator", captured.names);
    if (within === undefined) this.#outside.push(`\nfunction* ${code}${rest}`);
    else within.outside.push(` static *${code}${rest}`);
    const params = paramsOf(node);
    const given = ["this", ...captured.names, ...params].join(", ");
    const owner = within === undefined ? "" : `${within.name}.`;
    return this.#forwarding(node, params, `${owner}${code}.call(${given})`);
  }

  #plainTwin(node: Tree): string {
    const name = this.#nameOf(node);
    if (node.type !== "ArrowFunctionExpression") {
      return `function ${this.#functionRest(node, name, "twin")}`;
    }
    return this.#withFrame(node, name, "twin", () => this.#wholeFunction(node));
  }

  #nameOf(node: Tree): string {
    return node.id?.name ?? this.#names[this.#names.length - 1] ?? "";
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
  #functionRest(
    node: Tree,
    name: string,
    mode = this.#modeOf(node),
    captured: readonly string[] = [],
  ): string {
    return this.#withFrame(node, name, mode, () => {
      const own = (node.params ?? []).map((param) => this.#emit(param));
      const params = [...captured, ...own].join(", ");
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

  #withFrame<T>(node: Tree, name: string, mode: Mode, emit: () => T): T {
    const frame = this.#frame;
    this.#frame = { node, mode, temporaries: 0 };
    this.#names.push(name);
    this.#around.push(node);
    try {
      return emit();
    } finally {
      this.#around.pop();
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
    return this.#memberCall(name, "Symbol.dispose", "[Symbol.dispose]", []);
  }

  #yield(node: Tree): string {
    const { argument } = node;
    if (!node.delegate || argument?.type !== "CallExpression") return this.#generic(node);
    return `yield* ${this.#generic(argument)}`;
  }

  #call(node: Tree): string {
    const name = node.callee!.name;
    if (name === "invariant") return this.#invariant(node);
    const { mode } = this.#frame;
    const kind = this.#colouring.callOf(node, this.#frame.node, this.#module);
    if (mode === "plain" || kind === "plain") return this.#maybeIteration(node);
    if (mode === "alone" && !this.#mayIterate(node)) {
      return kind === "access" ? this.#generic(node) : `$drain(${this.#generic(node)})`;
    }
    if (kind === "access") return this.#access(node);
    if (kind === "composite") return this.#composite(node);
    if (kind === "delegate" || isOptional(node)) return this.#dynamic(this.#generic(node));
    return this.#choice(node, kind);
  }

  /** A call whose callee may be a function under way. */
  #dynamic(call: string): string {
    const { mode } = this.#frame;
    if (mode === "alone") return `$drain(${call})`;
    if (mode === "twin") return `$plain(${call})`;
    const temporary = this.#temporary();
    return `((${temporary} = ${call}) instanceof $Gen ? yield* ${temporary} : ${temporary})`;
  }

  /** A call of a function that may have a twin. */
  #choice(node: Tree, kind: "generator" | "dynamic"): string {
    const callee = node.callee!;
    const name = callee.type === "MemberExpression" ? memberName(callee) : null;
    const isName = callee.type === "Identifier";
    const spread = node.arguments!.some(({ type }) => type === "SpreadElement");
    if (spread || (!isName && (name === null || callee.object!.type === "Super"))) {
      const call = this.#generic(node);
      return kind === "generator" && this.#frame.mode === "generator"
        ? `(yield* ${call})`
        : this.#dynamic(call);
    }
    if (isName) {
      const { before, held } = this.#hold(node.arguments!);
      return this.#parenthesised(before, this.#namedCall(callee.name!, held, kind));
    }
    const { before, held } = this.#hold([callee.object!, ...node.arguments!]);
    const [object, ...args] = held;
    const property = callee.property!;
    const shown = this.#text(property.start, property.end);
    const member = callee.computed ? `[${shown}]` : `.${shown}`;
    let call = this.#memberCall(object!, name!, member, args);
    if (this.#mayIterate(node)) {
      const iteration = this.#iteration(name!, object!, args[0]!);
      call = `(Array.isArray(${object}) ? ${iteration} : ${call})`;
    }
    return this.#parenthesised(before, call);
  }

  /** Whether a call of a member that the program has, too, may be an array's own iteration. */
  #mayIterate({ callee, arguments: args }: Tree): boolean {
    const name = callee!.type === "MemberExpression" ? memberName(callee!) : null;
    if (name === null || !ARRAY_CALLS.has(name) || args!.length !== 1) return false;
    const [callback] = args!;
    if (isFunction(callback!)) return this.#colouring.isColoured(callback!);
    return this.#colouring.namesColoured(callback!, this.#frame.node, this.#module);
  }

  /** An array's own iteration over a coloured callback with a twin. */
  #iteration(name: string, over: string, callback: string): string {
    const generator = `$iterate(${JSON.stringify(name)}, ${over}, ${callback})`;
    if (this.#frame.mode === "alone") return `$drain(${generator})`;
    const plain = `${over}.${name}(${callback}.$p ?? ${callback})`;
    return this.#frame.mode === "twin"
      ? plain
      : `(${this.#calm()} ? ${plain} : (yield* ${generator}))`;
  }

  #parenthesised(before: readonly string[], last: string): string {
    return before.length === 0 ? last : `(${before.join(", ")}, ${last})`;
  }

  #namedCall(name: string, args: readonly string[], kind: "generator" | "dynamic"): string {
    const list = args.join(", ");
    const twin = this.#frame.mode === "twin";
    if (kind === "generator") {
      if (twin) return `${name}.$p(${list})`;
      return `(${this.#calm()} ? ${name}.$p(${list}) : (yield* ${name}(${list})))`;
    }
    if (twin) return `$plain((${name}.$p ?? ${name})(${list}))`;
    const call = this.#dynamic(`${name}(${list})`);
    return `(${name}.$p !== undefined && ${this.#calm()} ? ${name}.$p(${list}) : ${call})`;
  }

  #memberCall(object: string, name: string, member: string, args: readonly string[]): string {
    const list = args.join(", ");
    const call = this.#dynamic(`${object}${member}(${list})`);
    if (this.#frame.mode === "alone") return call;
    const twin = `${object}.${twinOf(name)}`;
    const isPrivate = name.startsWith("#");
    if (isPrivate && !this.#classes.some(({ twins }) => twins.has(name))) return call;
    const conditions = isPrivate ? [] : [`${twin} !== undefined`];
    if (this.#frame.mode === "generator") conditions.push(this.#calm());
    if (conditions.length === 0) return `${twin}(${list})`;
    return `(${conditions.join(" && ")} ? ${twin}(${list}) : ${call})`;
  }

  /** Whether this call may be plain. */
  #calm(): string {
    return `$calm(${this.#numbers.calls++})`;
  }

  /** Expressions to be evaluated once, in order: some before, and what then stands for each. */
  #hold(nodes: readonly Tree[]): { before: string[]; held: string[] } {
    const emitted = nodes.map((each) => this.#emit(each));
    const steady = nodes.map((each, index) => isSteady(each) && emitted[index] === this.#own(each));
    const lastUnsteady = steady.lastIndexOf(false);
    const before: string[] = [];
    const held = nodes.map((each, index) => {
      // What a later one might change is held, too.
      const fixed = each.type === "Literal" || each.type === "ThisExpression";
      const changes = index < lastUnsteady && !fixed;
      if (steady[index]! && !changes) return emitted[index]!;
      const temporary = this.#temporary();
      before.push(`${temporary} = ${emitted[index]!}`);
      return temporary;
    });
    return { before, held };
  }

  #own(node: Tree): string {
    return this.#text(node.start, node.end);
  }

  /** An array's own iteration over a callback that has become a generator. */
  #maybeIteration(node: Tree): string {
    const callee = node.callee!;
    this.#refuseNamed(node);
    const callback = node.arguments!.find(
      (each) => isFunction(each) && this.#colouring.isColoured(each),
    );
    if (callback === undefined || callee.type !== "MemberExpression") return this.#generic(node);
    const name = memberName(callee);
    if (name === null || !ARRAY_CALLS.has(name)) {
      const own = name !== null && this.#colouring.isMember(name);
      if (own || this.#frame.mode === "alone" || this.#frame.mode === "plain") {
        return this.#generic(node);
      }
      throw this.#unsupported(node, `a callback with shared accesses, passed to ${name}()`);
    }
    const { mode } = this.#frame;
    const { before, held } = this.#hold([callee.object!]);
    const [over] = held;
    const plain = (): string => `${over}.${name}(${this.#plainTwin(callback)})`;
    if (mode === "twin") return this.#parenthesised(before, plain());
    const generator = `$iterate(${JSON.stringify(name)}, ${over}, ${this.#emit(callback)})`;
    if (mode !== "generator") return this.#parenthesised(before, `$drain(${generator})`);
    const choice = `(${this.#calm()} ? ${plain()} : (yield* ${generator}))`;
    return this.#parenthesised(before, choice);
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
    let site = this.#siteAt.get(at);
    if (site === undefined) {
      const { sites } = this.#numbers;
      const names = this.#names.filter((name) => name !== "");
      site = sites.length;
      sites.push({ path: this.#module.path, function: names.join("."), operation, at });
      this.#siteAt.set(at, site);
    }
    return site;
  }

  #access(node: Tree): string {
    const operation = this.#module.imports.get(node.callee!.name!)!.name;
    const { before, held } = this.#hold(node.arguments!);
    const at = held[1]!;
    const shown = `(${this.#site(operation, node.start)}, ${at}, ${ACCESSES[operation]})`;
    const point = this.#frame.mode === "twin" ? `$pass${shown}` : `$point${shown} && (yield)`;
    const call = `${node.callee!.name}(${held.join(", ")})`;
    return this.#parenthesised([...before, point], call);
  }

  #composite(node: Tree): string {
    const operation = this.#module.imports.get(node.callee!.name!)!.name;
    const args = node.arguments!.map((each) => this.#emit(each)).join(", ");
    const call = `(${args}, ${this.#site(operation, node.start)})`;
    const { name } = node.callee!;
    return this.#frame.mode === "twin" ? `${name}$p${call}` : `(yield* ${name}${call})`;
  }

  #invariant(node: Tree): string {
    const [condition, statement] = node.arguments!;
    return `((${this.#emit(condition!)}) || $broken(${this.#emit(statement!)}))`;
  }

  #member(node: Tree): string {
    const name = memberName(node);
    if (name === null || !this.#colouring.isColouredGetter(name)) return this.#generic(node);
    const { before, held } = this.#hold([node.object!]);
    const [object] = held;
    const generator = `${object}.get$${name}()`;
    const twin = `${object}.${twinOf(`get$${name}`)}()`;
    const unless = node.optional ? `${object} == null ? undefined : ` : "";
    if (this.#frame.mode === "twin") return this.#parenthesised(before, `(${unless}${twin})`);
    if (this.#frame.mode !== "generator") {
      return this.#parenthesised(before, `(${unless}$drain(${generator}))`);
    }
    const choice = `(${unless}${this.#calm()} ? ${twin} : (yield* ${generator}))`;
    return this.#parenthesised(before, choice);
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
      const isOptional = at !== last && at.type === "MemberExpression" && at.optional;
      const getter = isOptional ? memberName(at) : null;
      if (getter !== null && this.#colouring.isColouredGetter(getter)) {
        throw this.#unsupported(node, "what follows an optional getter with shared accesses");
      }
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
