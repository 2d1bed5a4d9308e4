// Packages that take an `fs`: unionfs, with a volume over the host's files, and tinyglobby, which searches it.

import * as nodeFs from "node:fs";
import { text } from "node:stream/consumers";
import { glob, globSync } from "tinyglobby";
import { Union } from "unionfs";
import { expect, test } from "vitest";
import { root } from "../../scripts/tree.js";
import type { VolumeFs } from "../../src/index.ts";
import { temporaryDirectory } from "../support/tools.ts";
import { volumeKinds } from "../volume/volumes.ts";

test.each(volumeKinds)("$name: a volume lies over the host's files in a union", async (kind) => {
  using directory = temporaryDirectory();
  using made = kind.make();
  const { fs } = made.volume;
  const top = directory.path;
  for (const name of ["below", "both"]) nodeFs.writeFileSync(`${top}/${name}`, `host ${name}`);
  fs.mkdirSync(top, { recursive: true });
  for (const name of ["above", "both"]) fs.writeFileSync(`${top}/${name}`, `volume ${name}`);
  const union = new Union();
  union.use(nodeFs).use(fs as unknown as typeof nodeFs);
  expect(union.readFileSync(`${top}/below`, "utf8")).toBe("host below");
  expect(union.readFileSync(`${top}/both`, "utf8")).toBe("volume both");
  expect(await union.promises.readFile(`${top}/above`, "utf8")).toBe("volume above");
  expect((union.readdirSync(top) as string[]).sort()).toEqual(["above", "below", "both"]);
  expect(await text(union.createReadStream(`${top}/both`))).toBe("volume both");
  expect(union.existsSync(`${top}/below`)).toBe(true);
  expect(union.existsSync(`${top}/none`)).toBe(false);
  expect(() => union.statSync(`${top}/none`)).toThrow(expect.objectContaining({ code: "ENOENT" }));
  union.writeFileSync(`${top}/new`, "written");
  await union.promises.writeFile(`${top}/both`, "changed");
  expect(nodeFs.readdirSync(top).sort()).toEqual(["below", "both"]);
  expect(nodeFs.readFileSync(`${top}/both`, "utf8")).toBe("host both");
  expect(fs.readFileSync(`${top}/new`, "utf8")).toBe("written");
  const told = new Promise((resolve, reject) => {
    union.stat(`${top}/below`, (error, stats) => (error ? reject(error) : resolve(stats?.size)));
  });
  expect(await told).toBe("host below".length);
  expect(made.closeAndCheck()).toBe("");
});

/** Copies names, not contents. */
function outline(fs: VolumeFs, from: string, to: string): void {
  fs.mkdirSync(to);
  for (const entry of nodeFs.readdirSync(from, { withFileTypes: true })) {
    if (entry.isDirectory()) outline(fs, `${from}/${entry.name}`, `${to}/${entry.name}`);
    else fs.writeFileSync(`${to}/${entry.name}`, "");
  }
}

test("patterns find on a volume what they find on the host", async () => {
  using made = volumeKinds[0]!.make(64 * 1024 * 1024);
  const { fs } = made.volume;
  outline(fs, `${root}/src/drivers`, "/tree");
  for (const patterns of [
    ["**/*.ts"],
    ["ext/*/"],
    ["**/{index,driver}.ts", "!ram/**"],
    ["**/m?ps/*"],
  ]) {
    const options = { onlyFiles: !patterns[0]!.endsWith("/"), expandDirectories: false };
    const expected = globSync(patterns, { ...options, cwd: `${root}/src/drivers` }).sort();
    const here = { ...options, fs: fs as object, cwd: "/tree" };
    expect(expected.length).toBeGreaterThan(1);
    expect(globSync(patterns, here).sort()).toEqual(expected);
    expect((await glob(patterns, here)).sort()).toEqual(expected);
  }
});
