/**
 * Which functions of a set of modules may come to a shared access, themselves or through what they
 * call. Those become generators. Where a callee cannot be told from its name (a method, a callback),
 * the call is decided when it returns: `dynamic`.
 */
import { Access } from "../engine/door.ts";
import { bindingNames } from "./closures.ts";
import { isFunction, memberName, type Tree, walk, walkOwn } from "./syntax.ts";

/** How an access function of `sync/atomics` is treated. */
export const ACCESSES: Readonly<Record<string, Access>> = {
  load: Access.read,
  loadUnsigned: Access.read,
  loadRelaxed: Access.read,
  loadOwn: Access.ownRead,
  store: Access.write,
  storeOwn: Access.ownWrite,
  add: Access.update,
  or: Access.update,
  and: Access.update,
  exchange: Access.update,
  cas: Access.update,
  wakeAll: Access.wake,
};
/** Those that the simulated door has as generators: two accesses, or a sleep. */
export const COMPOSITES = new Set(["addThenStore", "addThenNote", "casThenStore", "sleepWhile"]);
export const DOOR = "sync/atomics.js";

/** A module, and a name that it declares. */
export interface Origin {
  readonly path: string;
  readonly name: string;
}

export interface ModuleSource {
  /** The module's path, as the linker names it. */
  readonly path: string;
  readonly text: string;
  readonly program: Tree;
  /** Where each import was declared, by its name here. */
  readonly imports: ReadonlyMap<string, Origin>;
  /** Where each export that is another module's was declared, by its name here. */
  readonly passedOn: ReadonlyMap<string, Origin>;
}

/** What a call does to the function that makes it. */
export type Call = "plain" | "access" | "composite" | "generator" | "delegate" | "dynamic";

/** One function of a module, with its name and the functions around it. */
interface Scope {
  readonly node: Tree;
  readonly module: ModuleSource;
  readonly locals: ReadonlySet<string>;
  /** Functions among them. */
  readonly functions: ReadonlyMap<string, Tree>;
  readonly outer: Scope | null;
  /** The name under which it is called as a member, or null. */
  readonly member: string | null;
}

export class Colouring {
  readonly #scopes = new Map<Tree, Scope>();
  /** Functions that a module declares at its top, by path and name. */
  readonly #topLevel = new Map<string, Tree>();
  readonly #coloured = new Set<Tree>();
  readonly #methods = new Set<string>();
  /** Names of all members that are functions of the program. */
  readonly #members = new Set<string>();
  /** Names of private fields: a call of one runs a function that was put there. */
  readonly #fields = new Set<string>();
  readonly #getters = new Set<string>();
  readonly #getterNodes = new Set<Tree>();
  /** Functions that run alone: constructors, field initialisers, `async` ones. */
  readonly #alone = new Set<Tree>();

  constructor(modules: readonly ModuleSource[]) {
    for (const module of modules) this.#collect(module);
    for (let size = -1; size !== this.#coloured.size; ) {
      size = this.#coloured.size;
      for (const scope of this.#scopes.values()) this.#colour(scope);
    }
  }

  isColoured(node: Tree): boolean {
    return this.#coloured.has(node);
  }

  isAlone(node: Tree): boolean {
    return this.#alone.has(node);
  }

  isGetter(node: Tree): boolean {
    return this.#getterNodes.has(node);
  }

  /** Whether reading a member of this name may run a coloured getter. */
  isColouredGetter(name: string): boolean {
    return this.#getters.has(name);
  }

  /** Whether a call of a member of this name may run a coloured function. */
  isColouredMethod(name: string): boolean {
    return this.#methods.has(name);
  }

  /** Whether the program has a member function of this name, which knows what to do with a callback. */
  isMember(name: string): boolean {
    return this.#members.has(name);
  }

  /** What the call does, in the function `within` (null: the top of the module). */
  callOf(call: Tree, within: Tree | null, module: ModuleSource): Call {
    const callee = call.callee!;
    if (callee.type === "Super" || callee.type === "Import") return "plain";
    if (callee.type === "MemberExpression") {
      const name = memberName(callee);
      if (name === null) return "dynamic";
      return this.#methods.has(name) || this.#fields.has(name) ? "dynamic" : "plain";
    }
    if (callee.type !== "Identifier") return "dynamic";
    const name = callee.name!;
    for (let scope = within && this.#scopes.get(within); scope; scope = scope.outer) {
      if (scope.locals.has(name)) return "dynamic";
    }
    const imported = module.imports.get(name);
    if (imported?.path.endsWith(DOOR)) {
      if (COMPOSITES.has(imported.name)) return "composite";
      return imported.name in ACCESSES ? "access" : "plain";
    }
    const path = imported?.path ?? module.path;
    const target = this.#topLevel.get(`${path}\n${imported?.name ?? name}`);
    if (target === undefined) return "plain";
    if (target.generator) return "delegate";
    return this.#coloured.has(target) ? "generator" : "plain";
  }

  #collect(module: ModuleSource): void {
    walk(module.program, (node, parents) => {
      if (node.type === "PropertyDefinition") this.#noteField(node);
      if (!isFunction(node)) return undefined;
      const parent = parents[parents.length - 1];
      const outer = parents.findLast(isFunction);
      const scope: Scope = {
        node,
        module,
        locals: localsOf(node),
        functions: functionsOf(node),
        outer: outer === undefined ? null : this.#scopes.get(outer)!,
        member: parent?.value === node && parent.key !== undefined ? memberName(parent) : null,
      };
      this.#scopes.set(node, scope);
      if (scope.member !== null) this.#members.add(scope.member);
      const isConstructor = parent?.type === "MethodDefinition" && parent.kind === "constructor";
      if (isConstructor || node.async) this.#alone.add(node);
      if (parent?.kind === "get") this.#getterNodes.add(node);
      if (outer === undefined) this.#noteTopLevel(module, node, parents);
      return undefined;
    });
  }

  #noteField({ key, value }: Tree): void {
    if (key?.type !== "PrivateIdentifier" || (value && isFunction(value as Tree))) return;
    this.#fields.add(`#${key.name}`);
  }

  #noteTopLevel(module: ModuleSource, node: Tree, parents: readonly Tree[]): void {
    const parent = parents[parents.length - 1]!;
    const name =
      node.type === "FunctionDeclaration"
        ? node.id!.name!
        : parent.type === "VariableDeclarator"
          ? parent.id!.name
          : undefined;
    if (name !== undefined) this.#topLevel.set(`${module.path}\n${name}`, node);
  }

  #colour(scope: Scope): void {
    const { node } = scope;
    if (this.#coloured.has(node) || this.#alone.has(node)) return;
    if (!node.generator && !this.#reachesAccess(scope)) return;
    this.#coloured.add(node);
    const name = scope.member;
    if (name === null) return;
    if (this.#getterNodes.has(node)) this.#getters.add(name);
    else this.#methods.add(name);
  }

  /** Whether a call gets a function with shared accesses that it calls itself: an array's own do. */
  #callsBack({ callee, arguments: args }: Tree): boolean {
    if (callee!.type !== "MemberExpression") return false;
    const name = memberName(callee!);
    if (name === null || this.isMember(name)) return false;
    return args!.some((each) => isFunction(each) && this.#coloured.has(each));
  }

  /** Whether an argument names a function with shared accesses: in `within`, or at a module's top. */
  namesColoured(argument: Tree, within: Tree | null, module: ModuleSource): boolean {
    if (argument.type !== "Identifier") return false;
    const name = argument.name!;
    for (let scope = within && this.#scopes.get(within); scope; scope = scope.outer) {
      if (!scope.locals.has(name)) continue;
      const named = scope.functions.get(name);
      return named !== undefined && this.#coloured.has(named);
    }
    const { path, name: there } = module.imports.get(name) ?? { path: module.path, name };
    const target = this.#topLevel.get(`${path}\n${there}`);
    return target !== undefined && this.#coloured.has(target);
  }

  #reachesAccess(scope: Scope): boolean {
    let reaches = false;
    walkOwn(scope.node, (node, parents) => {
      if (node.type === "CallExpression" && !isPlainStatement(node)) {
        const kind = this.callOf(node, scope.node, scope.module);
        const delegated = parents[parents.length - 1]?.delegate === true;
        if (kind !== "plain" && !delegated) reaches = true;
        if (this.#callsBack(node)) reaches = true;
      }
      if (node.type === "MemberExpression") {
        const name = memberName(node);
        if (name !== null && this.#getters.has(name)) reaches = true;
      }
      if (node.type === "VariableDeclaration" && node.kind === "using") reaches = true;
    });
    return reaches;
  }
}

/** `invariant(...)` is no call: its condition is tested in place (transform.ts). */
function isPlainStatement(call: Tree): boolean {
  return call.callee!.name === "invariant";
}

/** Names that a function binds: parameters, and what it declares outside inner functions. */
function localsOf(node: Tree): Set<string> {
  const names = new Set<string>();
  for (const param of node.params ?? []) bindingNames(param, names);
  walkOwn(node, (each) => {
    if (each.type === "VariableDeclarator") bindingNames(each.id!, names);
  });
  return names;
}

/** Functions that a function declares under a name. */
function functionsOf(node: Tree): Map<string, Tree> {
  const functions = new Map<string, Tree>();
  walkOwn(node, (each) => {
    const made = each.init;
    if (made && isFunction(made) && each.id!.name) functions.set(each.id!.name, made);
  });
  return functions;
}
