// Which names of node:fs a volume has: all, but for those that docs/fs.md says are left out.

import * as nodeFs from "node:fs";
import { describe, expect, test } from "vitest";
import { root } from "../../scripts/tree.js";
import { temporaryDirectory } from "../support/tools.ts";
import { ram } from "../volume/volumes.ts";

const documented = nodeFs.readFileSync(`${root}/docs/fs.md`, "utf8");
const leftOut = documented.slice(documented.indexOf("## What is left out"));

/** Whether the section names it, as a word. */
function isLeftOut(name: string): boolean {
  return new RegExp(`\\b${name.replace(/Sync$/, "")}\\b`).test(leftOut);
}

/** Of Dir, FileHandle and StatWatcher: not documented, and Node's own business. */
const internals = ["entries", "getAsyncId", "processReadResult", "readSyncRecursive", "start"];

/** Names of an object and of its class. */
function namesOf(value: object): string[] {
  const names = new Set(Object.keys(value));
  const ends = [Object.prototype, nodeFs.promises];
  for (let at = Object.getPrototypeOf(value); at !== null; at = Object.getPrototypeOf(at)) {
    if (ends.includes(at) || at.constructor.name === "EventEmitter") break;
    for (const name of Object.getOwnPropertyNames(at)) names.add(name);
  }
  return [...names].filter((name) => !name.startsWith("_") && name !== "constructor");
}

describe("every name of node:fs is there, or left out for a reason", () => {
  test.each([
    ["node:fs", nodeFs, (fs: object) => fs],
    ["node:fs/promises", nodeFs.promises, (fs: { promises: object }) => fs.promises],
  ] as const)("%s", (_what, host, part) => {
    using made = ram.make();
    const here = part(made.volume.fs as never) as Record<string, unknown>;
    const missing = namesOf(host).filter((name) => name !== "default" && !(name in here));
    expect(missing.filter((name) => !isLeftOut(name))).toEqual([]);
    for (const name of namesOf(host).filter((each) => each in here)) {
      expect([name, typeof here[name]]).toEqual([
        name,
        typeof (host as Record<string, unknown>)[name],
      ]);
    }
  });

  test("what is returned has the names of what Node returns", async () => {
    using directory = temporaryDirectory();
    using made = ram.make();
    const { fs } = made.volume;
    fs.mkdirSync("/top");
    const returned = async (of: typeof fs, top: string): Promise<Record<string, object>> => {
      of.writeFileSync(`${top}/f`, "f");
      const handle = await of.promises.open(`${top}/f`);
      const open = of.opendirSync(top);
      const watcher = of.watch(top);
      const polling = of.watchFile(`${top}/f`, () => {});
      const all = {
        stats: of.statSync(`${top}/f`),
        bigStats: of.statSync(`${top}/f`, { bigint: true }),
        space: of.statfsSync(top),
        entry: of.readdirSync(top, { withFileTypes: true })[0]!,
        directory: open,
        handle,
        watcher,
        polling,
      };
      watcher.close();
      of.unwatchFile(`${top}/f`);
      open.closeSync();
      await handle.close();
      return all;
    };
    const host = await returned(nodeFs as unknown as typeof fs, directory.path);
    const here = await returned(fs, "/top");
    const missing = Object.entries(host).flatMap(([what, value]) =>
      namesOf(value)
        .filter((name) => !(name in here[what]!) && !internals.includes(name))
        .map((name) => `${what}.${name}`),
    );
    expect(missing).toEqual([]);
  });
});
