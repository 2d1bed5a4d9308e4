/**
 * What a function takes from the functions around it.
 *
 * A generator function that is made anew each time is dear: the engine makes a shape for what it
 * returns, which lives until a full collection and keeps everything that the function can see. So
 * where it can be, its code is put outside and gets what it takes as arguments (transform.ts).
 */
import { isFunction, type Tree, walk } from "./syntax.ts";

export interface Captured {
  /** Variables of the functions around. */
  readonly names: readonly string[];
  /** Whether it uses private members of the class around. */
  readonly isPrivate: boolean;
}

/**
 * What `inner` takes from the functions around it, of which `outermost` is the first; null when its
 * code has to stay where it is, since one of these variables is assigned to.
 */
export function capturedBy(inner: Tree, outermost: Tree): Captured | null {
  if (inner.id) return null;
  const around = boundAround(outermost, inner);
  const assigned = assignedIn(outermost);
  const names = new Set<string>();
  let isPrivate = false;
  let stays = false;
  walk(inner, (node, parents) => {
    if (node.type === "PrivateIdentifier") isPrivate = true;
    if (node.type === "Super" || node.type === "MetaProperty") stays = true;
    if (node.type !== "Identifier" || !isReference(node, parents)) return undefined;
    const name = node.name!;
    if (name === "arguments") stays = true;
    if (!around.has(name) || parents.some((parent) => boundBy(parent).has(name))) return undefined;
    if (assigned.has(name)) stays = true;
    names.add(name);
    return undefined;
  });
  return stays ? null : { names: [...names], isPrivate };
}

/** Names that are bound in a function and that `inner`, a function in it, may see. */
function boundAround(outermost: Tree, inner: Tree): Set<string> {
  const names = new Set<string>();
  walk(outermost, (node) => {
    if (node === inner) return false;
    for (const name of boundBy(node)) names.add(name);
    if (node.type === "FunctionDeclaration") names.add(node.id!.name!);
    return isFunction(node) && (node.start > inner.start || node.end < inner.end)
      ? false
      : undefined;
  });
  return names;
}

type Scoped = Tree & { readonly param?: Tree | null; readonly cases?: readonly Scoped[] } & {
  readonly consequent?: readonly Tree[];
};

const namesBoundBy = new WeakMap<Tree, ReadonlySet<string>>();

/** Names that a node binds for all that is below it. */
function boundBy(node: Tree): ReadonlySet<string> {
  let names = namesBoundBy.get(node);
  if (names === undefined) {
    names = namesOf(node as Scoped);
    namesBoundBy.set(node, names);
  }
  return names;
}

function namesOf(node: Scoped): Set<string> {
  const names = new Set<string>();
  const declared = (each: Tree | null | undefined): void => {
    for (const declarator of each?.declarations ?? []) bindingNames(declarator.id!, names);
    const isNamed = each?.type === "FunctionDeclaration" || each?.type === "ClassDeclaration";
    if (isNamed && each.id) names.add(each.id.name!);
  };
  if (isFunction(node)) {
    if (node.id) names.add(node.id.name!);
    for (const param of node.params!) bindingNames(param, names);
  }
  if (node.type === "BlockStatement") (node.body as readonly Tree[]).forEach(declared);
  if (/^For/.test(node.type)) [node.init, node.left].forEach(declared);
  if (node.type === "CatchClause" && node.param) bindingNames(node.param, names);
  if (node.type === "SwitchStatement") {
    for (const each of node.cases!) each.consequent!.forEach(declared);
  }
  return names;
}

/** Names that something is assigned to after their declaration. */
function assignedIn(root: Tree): Set<string> {
  const names = new Set<string>();
  walk(root, (node) => {
    const target = node.type === "AssignmentExpression" ? node.left : undefined;
    const updated = node.type === "UpdateExpression" ? node.argument : undefined;
    if (target && target.type !== "MemberExpression") bindingNames(target, names);
    if (updated?.type === "Identifier") names.add(updated.name!);
    return undefined;
  });
  return names;
}

function isReference(node: Tree, parents: readonly Tree[]): boolean {
  const parent = parents[parents.length - 1];
  if (parent === undefined) return true;
  if (parent.type === "MemberExpression") return parent.computed === true || parent.object === node;
  if (parent.key === node) return parent.computed === true;
  return !/^(Labeled|Break|Continue)Statement$/.test(parent.type);
}

/** Names that a pattern binds. */
export function bindingNames(pattern: Tree, names: Set<string>): void {
  if (pattern.type === "Identifier") {
    names.add(pattern.name!);
    return;
  }
  walk(pattern, (node, parents) => {
    if (node.type !== "Identifier") return undefined;
    const parent = parents[parents.length - 1];
    const isKey = parent?.type === "Property" && parent.key === node && parent.value !== node;
    const isDefault = parent?.type === "AssignmentPattern" && parent.left !== node;
    if (!isKey && !isDefault) names.add(node.name!);
    return undefined;
  });
}
