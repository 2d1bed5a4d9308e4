/** Syntax trees as the instrumentation reads them: ESTree, with only the fields that it looks at. */
import { parse } from "acorn";

export interface Tree {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly name?: string;
  readonly kind?: string;
  readonly value?: Tree | string | number | null;
  readonly source?: Tree | null;
  readonly specifiers?: readonly Tree[];
  readonly imported?: Tree;
  readonly exported?: Tree;
  readonly local?: Tree;
  readonly declaration?: Tree | null;
  readonly declarations?: readonly Tree[];
  readonly id?: Tree | null;
  readonly init?: Tree | null;
  readonly params?: readonly Tree[];
  readonly body?: Tree | readonly Tree[];
  readonly callee?: Tree;
  readonly arguments?: readonly Tree[];
  readonly argument?: Tree | null;
  readonly delegate?: boolean;
  readonly object?: Tree;
  readonly property?: Tree;
  readonly key?: Tree;
  readonly computed?: boolean;
  readonly optional?: boolean;
  readonly expression?: boolean | Tree;
  readonly generator?: boolean;
  readonly async?: boolean;
  readonly static?: boolean;
  readonly left?: Tree;
}

export function parseModule(text: string): Tree {
  const program = parse(text, { ecmaVersion: "latest", sourceType: "module" });
  return program as unknown as Tree;
}

function isTree(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && "type" in value && "start" in value;
}

/** The nodes right below a node, in the order of the text. */
export function childrenOf(node: Tree): Tree[] {
  const children: Tree[] = [];
  for (const value of Object.values(node)) {
    if (Array.isArray(value)) children.push(...value.filter(isTree));
    else if (isTree(value)) children.push(value);
  }
  // A switch's cases have their statements before their tests.
  return children.sort((a, b) => a.start - b.start);
}

/** A node's text as it is, but for the nodes right below it: what `emit` gives for each. */
export function rewrite(text: string, node: Tree, emit: (child: Tree) => string): string {
  let out = "";
  let at = node.start;
  for (const child of childrenOf(node)) {
    if (child.start < at) continue;
    out += text.slice(at, child.start) + emit(child);
    at = child.end;
  }
  return out + text.slice(at, node.end);
}

const FUNCTIONS = new Set(["FunctionDeclaration", "FunctionExpression", "ArrowFunctionExpression"]);

export function isFunction(node: Tree): boolean {
  return FUNCTIONS.has(node.type);
}

/** Calls `visit` for a node and all below it; `visit` returns false to leave out what is below. */
export function walk(
  node: Tree,
  visit: (node: Tree, parents: readonly Tree[]) => boolean | undefined,
  parents: Tree[] = [],
): void {
  if (visit(node, parents) === false) return;
  parents.push(node);
  for (const child of childrenOf(node)) walk(child, visit, parents);
  parents.pop();
}

/** Calls `visit` for what a function itself executes: not for what lies in functions inside it. */
export function walkOwn(node: Tree, visit: (node: Tree, parents: readonly Tree[]) => void): void {
  walk(node, (each, parents) => {
    if (each !== node && isFunction(each)) return false;
    visit(each, parents);
    return undefined;
  });
}

/** The name under which a member is called: `x.name()`, `x.#name()`, `x[Symbol.dispose]()`; or null. */
export function memberName(member: Tree): string | null {
  const property = (member.property ?? member.key)!;
  if (property.type === "PrivateIdentifier") return `#${property.name!}`;
  if (member.computed) {
    const isSymbol =
      property.type === "MemberExpression" &&
      property.object?.name === "Symbol" &&
      !property.computed;
    return isSymbol ? `Symbol.${property.property!.name!}` : null;
  }
  return property.name ?? null;
}
