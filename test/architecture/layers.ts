// The import table. Imports point down it, never up; a layer may import itself.
//
// (1) A file imports its own layer and the layers below it, and a driver never imports another driver.
// (2) src/index.ts may import volume and what is below; of all layers only cli may import src/index.ts.
// (3) Nothing but cli imports the checker.
// (4) Only sync names Atomics or makes a SharedArrayBuffer: shared words have one door.
// (5) Only base (base/libc.ts) calls the system through koffi.
// (6) A package that is imported is declared, and the package never imports itself by name.
// (7) A file is at most 700 lines.

import { posix } from "node:path";

/** From the bottom up. Layers on one row are of equal height and may not import each other. */
const rows: readonly (readonly string[])[] = [
  ["base"],
  ["sync"],
  ["device"],
  ["metadata"],
  ["pages"],
  ["mapping"],
  ["pin"],
  ["window"],
  ["layout"],
  ["iomap"],
  ["dax"],
  ["drivers/ext", "drivers/ram", "drivers/raw"],
  ["volume"],
  ["fuse"],
  ["index"],
  ["checker"],
  ["cli"],
];

const heightOf = new Map(rows.flatMap((row, height) => row.map((layer) => [layer, height])));

const layersNamingAtomics: readonly string[] = ["sync"];
const layersCallingSystem: readonly string[] = ["base"];
const lineCountMax = 700;

export interface SourceFile {
  /** Relative to src, for example "drivers/ext/inodes/inode.ts". */
  path: string;
  text: string;
}

/** The layer a path relative to src belongs to, or null when the table does not have it. */
export function layerOf(path: string): string | null {
  if (path === "index.ts") return "index";
  const [first, second] = path.split("/");
  const layer = first === "drivers" ? `${first}/${second}` : first;
  return layer !== undefined && layer !== "index" && heightOf.has(layer) ? layer : null;
}

/** What can hold text that looks like code, and the braces that tell where a template goes on. */
const tokens: readonly RegExp[] = [
  /\/\/[^\n]*/, // comment to the end of the line
  /\/\*.*?\*\//, // comment over several lines
  /"(?:\\.|[^"\\\n])*"/,
  /'(?:\\.|[^'\\\n])*'/,
  // a regular expression: a slash where a value may begin, so that it cannot be a division
  /(?<=(?:^|[=(,:[!&|?{};\n]|return)\s*)\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\//,
  /`/,
  /[{}]/,
];

/**
 * The text with comments, and the insides of strings, regular expressions and template text, blanked
 * out: what is left is code, at the same offsets. Expressions inside templates are code and stay.
 */
export function codeOf(text: string): string {
  const token = new RegExp(tokens.map((each) => each.source).join("|"), "sy");
  const blank = (part: string): string => part.replace(/[^\n]/g, " ");
  const openTemplates: number[] = []; // for each template expression we are in, its brace depth
  let code = "";
  let at = 0;
  let depth = 0;

  const skipTemplateText = (): void => {
    const part = /(?:\\.|\$(?!\{)|[^\\`$])*(?:`|\$\{|$)/sy;
    part.lastIndex = at;
    const found = part.exec(text)?.[0] ?? "";
    code += blank(found);
    at += Math.max(found.length, 1);
    if (found.endsWith("${")) {
      openTemplates.push(depth);
      depth = 0;
    }
  };

  while (at < text.length) {
    token.lastIndex = at;
    const found = token.exec(text)?.[0];
    if (found === undefined) {
      code += text[at];
      at += 1;
    } else if (found === "`") {
      code += " ";
      at += 1;
      skipTemplateText();
    } else if (found === "}" && depth === 0 && openTemplates.length > 0) {
      code += " ";
      at += 1;
      depth = openTemplates.pop() ?? 0;
      skipTemplateText();
    } else if (found === "{" || found === "}") {
      code += found;
      at += 1;
      depth += found === "{" ? 1 : -1;
    } else {
      code += blank(found);
      at += found.length;
    }
  }
  return code;
}

/**
 * What a file refers to: static and dynamic imports, re-exports, and `new URL("./x.ts", …)`, by which
 * worker threads are started. Type-only imports count: a layer that needs a type from above is upside
 * down as well.
 */
export function importsOf(text: string): string[] {
  const code = codeOf(text);
  const reference =
    /(?:\bfrom|\bimport|\bimport\s*\(|\bnew\s+URL\s*\()\s*(?=["'`])|\bimport\s+(?=["'])/g;
  const names: string[] = [];
  for (const match of text.matchAll(reference)) {
    const isCode = code.slice(match.index, match.index + match[0].trimEnd().length).trim() !== "";
    const quoted = /(["'`])(.*?)\1/y;
    quoted.lastIndex = match.index + match[0].length;
    const name = quoted.exec(text)?.[2];
    if (!isCode || name === undefined) continue;
    if (match[0].startsWith("new") && !name.startsWith(".")) continue;
    names.push(name);
  }
  return names;
}

function wrongImport(path: string, layer: string, name: string): string | null {
  if (!name.startsWith(".")) return null;
  const target = posix.join(posix.dirname(path), name);
  if (target.startsWith("..")) return `imports ${name}, which lies outside src`;
  if (!name.endsWith(".ts")) return `imports ${name} without its .ts ending`;
  const below = layerOf(target);
  if (below === null) return `imports ${name}, which belongs to no layer`;
  if (below === layer) return null;
  const [height, heightBelow] = [heightOf.get(layer) ?? 0, heightOf.get(below) ?? 0];
  return heightBelow < height ? null : `${layer} imports ${below} (${name}), which is not below it`;
}

function wrongPackage(layer: string, name: string, declared: readonly string[]): string | null {
  if (name.startsWith(".") || name.startsWith("node:")) return null;
  if (name === "koffi" && !layersCallingSystem.includes(layer)) {
    return `${layer} imports koffi; only ${layersCallingSystem.join(", ")} may`;
  }
  const isDeclared = declared.some((known) => name === known || name.startsWith(`${known}/`));
  return isDeclared ? null : `imports ${name}, which package.json does not declare`;
}

/** Every way in which a file breaks the table, as sentences that begin with its path. */
export function violationsOf(file: SourceFile, declared: readonly string[]): string[] {
  const layer = layerOf(file.path);
  if (layer === null) return [`src/${file.path}: belongs to no layer of the table`];
  const found: (string | null)[] = [];
  for (const name of importsOf(file.text)) {
    found.push(wrongImport(file.path, layer, name), wrongPackage(layer, name, declared));
  }
  if (!layersNamingAtomics.includes(layer)) {
    const code = codeOf(file.text);
    if (/\bAtomics\b/.test(code)) found.push("names Atomics; only sync may");
    if (/\bnew\s+SharedArrayBuffer\b/.test(code)) {
      found.push("makes a SharedArrayBuffer; only sync may");
    }
  }
  const lineCount = file.text.trimEnd().split("\n").length;
  if (lineCount > lineCountMax) found.push(`has ${lineCount} lines; the limit is ${lineCountMax}`);
  return found.filter((each) => each !== null).map((each) => `src/${file.path}: ${each}`);
}
