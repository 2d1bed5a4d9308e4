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
 * code has to stay where it is: a variable is assigned to, or a name means several things.
 */
export function capturedBy(inner: Tree, outermost: Tree): Captured | null {
  if (inner.id) return null;
  const inside = bound(inner, null);
  const around = bound(outermost, inner);
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
    if (!around.has(name)) return undefined;
    if (inside.has(name) || assigned.has(name)) stays = true;
    names.add(name);
    return undefined;
  });
  return stays ? null : { names: [...names], isPrivate };
}

/** Names bound anywhere in a function; with `within`, a function in it, those that this one may see. */
function bound(root: Tree, within: Tree | null): Set<string> {
  const names = new Set<string>();
  walk(root, (node) => {
    if (node === within) return false;
    if (node.type === "VariableDeclarator") bindingNames(node.id!, names);
    if (node.type === "CatchClause") {
      const { param } = node as Tree & { readonly param: Tree | null };
      if (param) bindingNames(param, names);
    }
    if (node.type === "ClassDeclaration" && node.id) names.add(node.id.name!);
    if (!isFunction(node)) return undefined;
    if (node.id) names.add(node.id.name!);
    if (within !== null && (node.start > within.start || node.end < within.end)) return false;
    for (const param of node.params!) bindingNames(param, names);
    return undefined;
  });
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
