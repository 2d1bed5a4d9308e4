// Prints the program the README shows: its first fenced block marked `js`. The test suite and the gate run
// what a reader would copy.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./tree.js";

/**
 * The first fenced `js` block of a Markdown text.
 * @param {string} markdown
 */
export function firstProgram(markdown) {
  const program = /^```js\n(.*?)^```$/ms.exec(markdown)?.[1];
  if (program === undefined) throw new Error("README.md has no fenced block marked js");
  return program;
}

if (process.argv[1] === import.meta.filename) {
  process.stdout.write(firstProgram(readFileSync(join(root, "README.md"), "utf8")));
}
