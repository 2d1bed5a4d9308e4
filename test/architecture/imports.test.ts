import { readFileSync } from "node:fs";
import { relative } from "node:path";
import { describe, expect, test } from "vitest";
import { root, sourceFiles, src } from "../../scripts/tree.js";
import { codeOf, importsOf, violationsOf } from "./layers.ts";

const { dependencies } = JSON.parse(readFileSync(`${root}/package.json`, "utf8"));
const declared = Object.keys(dependencies);

const violations = (path: string, text: string): string[] => violationsOf({ path, text }, declared);

test("every source file keeps to the import table", () => {
  const files = sourceFiles();
  expect(files.length).toBeGreaterThan(0);
  expect(
    files.flatMap((file) => violations(relative(src, file), readFileSync(file, "utf8"))),
  ).toEqual([]);
});

describe("the table refuses", () => {
  const refused: [string, string, string][] = [
    ["an import from a layer above", "base/x.ts", 'import { lock } from "../sync/lock.ts";'],
    ["a type from a layer above", "pin/x.ts", 'import type { W } from "../window/window.ts";'],
    ["a re-export from above", "device/x.ts", 'export * from "../pages/record.ts";'],
    [
      "an import over several lines",
      "base/x.ts",
      'import {\n  a,\n  b,\n} from "../sync/lock.ts";',
    ],
    ["an import for effect from above", "sync/x.ts", 'import "../device/file.ts";'],
    ["a dynamic import from above", "sync/x.ts", 'await import("../dax/fault.ts");'],
    ["a worker from above", "sync/x.ts", 'new URL("../window/pager.ts", import.meta.url)'],
    ["one driver using another", "drivers/ext/x.ts", 'import { a } from "../ram/a.ts";'],
    ["a layer using the index", "volume/x.ts", 'import { mount } from "../index.ts";'],
    ["the core using the checker", "dax/x.ts", 'import { a } from "../checker/a.ts";'],
    ["a directory without a layer", "helpers/x.ts", "export {};"],
    ["an import from such a directory", "cli/x.ts", 'import { a } from "../helpers/a.ts";'],
    ["an import from outside src", "cli/x.ts", 'import { a } from "../../test/a.ts";'],
    ["a built file", "cli/x.ts", 'import { a } from "../volume/a.js";'],
    ["Atomics outside sync", "pages/x.ts", "Atomics.load(words, 0);"],
    ["Atomics in a template", "pages/x.ts", "`${Atomics.load(words, 0)}`;"],
    ["shared memory made outside sync", "window/x.ts", "new SharedArrayBuffer(8);"],
    ["koffi outside base", "window/x.ts", 'import koffi from "koffi";'],
    ["an undeclared package", "base/x.ts", 'import { a } from "left-pad";'],
    ["the package by its own name", "cli/x.ts", 'import { mount } from "holdfast";'],
    ["a file of 701 lines", "base/x.ts", "export {};\n".repeat(701)],
  ];
  test.each(refused)("%s", (_what, path, text) => {
    expect(violations(path, text)).toHaveLength(1);
  });
});

describe("the table allows", () => {
  const allowed: [string, string, string][] = [
    ["an import from below", "volume/x.ts", 'import { a } from "../drivers/ext/a.ts";'],
    ["the own layer", "drivers/ext/x.ts", 'import { a } from "./a.ts";'],
    ["the index using volume", "index.ts", 'export { mount } from "./volume/mount.ts";'],
    ["the command line using the index", "cli/x.ts", 'import { mount } from "../index.ts";'],
    ["the command line using the checker", "cli/x.ts", 'import { a } from "../checker/a.ts";'],
    ["the checker using the core", "checker/x.ts", 'import { a } from "../dax/a.ts";'],
    ["Atomics in sync", "sync/x.ts", "Atomics.load(words, 0);"],
    ["Atomics in a comment", "dax/x.ts", "// Atomics.wait refuses this\n/* Atomics */"],
    ["Atomics in a string", "dax/x.ts", 'const a = "Atomics"; const b = `Atomics ${a} Atomics`;'],
    ["SharedArrayBuffer as a type", "dax/x.ts", "export type Region = SharedArrayBuffer;"],
    ["koffi in base", "base/x.ts", 'import koffi from "koffi";'],
    ["a declared package", "base/x.ts", 'import { crc32 } from "@node-rs/crc32";'],
    ["Node's own modules", "cli/x.ts", 'import { parseArgs } from "node:util";'],
    ["a file of 700 lines", "base/x.ts", "export {};\n".repeat(700)],
  ];
  test.each(allowed)("%s", (_what, path, text) => {
    expect(violations(path, text)).toEqual([]);
  });
});

test("an import that is commented out or quoted does not count", () => {
  expect(
    importsOf('// import "./a.ts"\n/* from "./b.ts" */\nconst c = \'from "./c.ts"\';'),
  ).toEqual([]);
});

test("quotes inside regular expressions and templates do not hide the code after them", () => {
  const text =
    "const a = /[\"'`/]/g; const b = `\"${f(`'${x}`, { y: 1 })}`; const c = 8 / 2 / 1;\nAtomics";
  expect(codeOf(text)).toHaveLength(text.length);
  expect(codeOf(text)).toMatch(/f\(.*x.*y: 1.*8 \/ 2 \/ 1;\nAtomics$/s);
});
