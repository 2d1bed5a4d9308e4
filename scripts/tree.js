// Where sources lie and where the compiler puts what it makes of them.

import { existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
export const src = join(root, "src");
export const dist = join(root, "dist");

/**
 * Every file below a directory, as absolute paths; none when the directory does not exist.
 * @param {string} directory
 * @returns {string[]}
 */
export function filesUnder(directory) {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** The TypeScript sources that the build compiles. */
export function sourceFiles() {
  return filesUnder(src).filter((path) => path.endsWith(".ts") && !path.endsWith(".d.ts"));
}

/**
 * src/sync/lock.ts gives dist/sync/lock.js.
 * @param {string} source
 */
export function builtFileOf(source) {
  return dist + source.slice(src.length).replace(/\.ts$/, ".js");
}

/**
 * dist/sync/lock.js, .js.map, .d.ts and .d.ts.map all give src/sync/lock.ts; so does
 * dist/checked/sync/lock.js, which the checker instruments.
 * @param {string} built
 */
export function sourceFileOf(built) {
  const path = built.slice(dist.length).replace(/^\/checked\//, "/");
  return src + path.replace(/(\.d\.ts|\.js)(\.map)?$/, ".ts");
}
