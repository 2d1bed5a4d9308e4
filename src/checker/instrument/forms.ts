/** What the transformation (transform.ts) numbers and names, and forms of code that it tells apart. */
import { DOOR, type Origin } from "./colouring.ts";
import { childrenOf, type Tree } from "./syntax.ts";

/** Where an access stands. The index of a site is its number in the code. */
export interface AccessSite {
  readonly path: string;
  readonly function: string;
  readonly operation: string;
  /** Offset in the module's text. */
  readonly at: number;
}

/** What is counted over all modules of a program. */
export class Numbers {
  readonly sites: AccessSite[] = [];
  /** Calls that may be plain. */
  calls = 0;
  /** Functions whose code was put outside of others. */
  outside = 0;
}

/** What the text of a module is a function of; it returns the exports. */
export const PROVIDED = [
  ...["$point", "$pass", "$calm", "$twin", "$plain"],
  ...["$Gen", "$drain", "$broken", "$iterate", "$import", "$mutant"],
] as const;

/** The name of a member's plain twin: `x.take()`, `x.#take()`, `x[Symbol.dispose]()`. */
export function twinOf(name: string): string {
  return `${name.replace(".", "_")}$p`;
}

/** What a function that stands for another takes and hands on. */
export function paramsOf(node: Tree): string[] {
  const isSimple = node.params!.every(({ type }) => type === "Identifier");
  return isSimple ? node.params!.map((param) => param.name!) : ["...$all"];
}

export function isDoor(origin: Origin | undefined): boolean {
  return origin?.path.endsWith(DOOR) === true;
}

/** Whether a call, or what it is called on, may be left out: `a?.b.c()`. */
export function isOptional(node: Tree): boolean {
  for (let at: Tree | undefined = node; at !== undefined; at = at.callee ?? at.object) {
    if (at.optional) return true;
  }
  return false;
}

/** Whether an expression means the same before and after a scheduling point, and costs nothing twice. */
export function isSteady(node: Tree): boolean {
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
