// Hashed directories of every kind of hash, which the kernel and Holdfast change in turn: whoever computed
// another hash would not find the other's names, or put its own where e2fsck does not want them.

import * as fs from "node:fs";
import { describe, expect } from "vitest";
import { mountSync, type Volume } from "../../src/index.ts";
import { mkfsExt4, runOk, skipUnless } from "../support/tools.ts";
import { Handed, needs } from "./handed.ts";

const MIB = 2 ** 20;
const ROUNDS = 3;
const NAMES_IN_ROUND = 1000;

const HASHES = [
  ["legacy", 0],
  ["half_md4", 1],
  ["tea", 2],
] as const;
/** The bits of s_flags. */
const SIGNS = [
  ["signed", 1],
  ["unsigned", 2],
] as const;

/** Names of all lengths, most with bytes above 127, where signed and unsigned hashes differ. */
function nameOf(round: number, who: string, index: number): Buffer {
  const high = Buffer.alloc(index % 150, 0x80 + ((index * 7) % 128));
  return Buffer.concat([Buffer.from(`${who}-${round}-${index}-`), high]);
}

/** The calls of both sides on names in "/d". */
interface Side {
  link(name: Buffer): void;
  unlink(name: Buffer): void;
  rename(from: Buffer, to: Buffer): void;
  has(name: Buffer): boolean;
  list(): Buffer[];
}

function pathIn(root: string, name: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${root}/d/`), name]);
}

function ownSide(volume: Volume): Side {
  const at = (name: Buffer) => pathIn("", name);
  return {
    link: (name) => volume.linkSync("/file", at(name)),
    unlink: (name) => volume.unlinkSync(at(name)),
    rename: (from, to) => volume.renameSync(at(from), at(to)),
    has: (name) => volume.existsSync(at(name)),
    list: () =>
      volume
        .readdirSync("/d", { withFileTypes: true })
        .map(({ nameBytes }) => Buffer.from(nameBytes)),
  };
}

function kernelSide(root: string): Side {
  const at = (name: Buffer) => pathIn(root, name);
  return {
    link: (name) => fs.linkSync(`${root}/file`, at(name)),
    unlink: (name) => fs.unlinkSync(at(name)),
    rename: (from, to) => fs.renameSync(at(from), at(to)),
    has: (name) => fs.existsSync(at(name)),
    list: () => fs.readdirSync(Buffer.from(`${root}/d`), { encoding: "buffer" }),
  };
}

/** The names that ought to be there, each as text of one character a byte. */
type Names = Set<string>;
const textOf = (name: Buffer): string => name.toString("latin1");
const bytesOf = (text: string): Buffer => Buffer.from(text, "latin1");

/** Finds all names that there are, then adds, renames and removes some. */
function useNames(side: Side, names: Names, who: string, round: number): void {
  expect(side.list().map(textOf).sort()).toEqual([...names].sort());
  for (const name of names) if (!side.has(bytesOf(name))) throw new Error(`${who}: no ${name}`);
  const others = [...names];
  for (let index = 0; index < NAMES_IN_ROUND; index++) {
    const name = nameOf(round, who, index);
    side.link(name);
    names.add(textOf(name));
  }
  for (const [index, name] of others.entries()) {
    if (index % 3 === 0) {
      side.unlink(bytesOf(name));
      names.delete(name);
    } else if (index % 3 === 1) {
      const renamed = `renamed ${round} ${name}`.slice(0, 255);
      side.rename(bytesOf(name), bytesOf(renamed));
      names.delete(name);
      names.add(renamed);
    }
  }
}

describe.each(HASHES)("%s", (algorithm, version) => {
  skipUnless(...needs, "tune2fs").each(SIGNS)(
    "the kernel and Holdfast find, add, rename and remove each other's names: %s",
    (_sign, flag) => {
      using handed = new Handed();
      mkfsExt4(handed.image, 64 * MIB, ["-b", "1024"]);
      runOk("tune2fs", ["-E", `hash_alg=${algorithm}`, handed.image]);
      runOk("debugfs", ["-w", "-R", `set_super_value flags ${flag}`, handed.image]);
      const names: Names = new Set();
      handed.toHoldfast("making the directory", (volume) => {
        volume.mkdirSync("/d");
        volume.writeFileSync("/file", "");
      });
      for (let round = 0; round < ROUNDS; round++) {
        handed.toKernel("the kernel", (root) => useNames(kernelSide(root), names, "kernel", round));
        handed.toHoldfast("Holdfast", (volume) => useNames(ownSide(volume), names, "own", round));
      }
      const dump = runOk("debugfs", ["-R", "htree_dump /d", handed.image]);
      expect(dump).toMatch(new RegExp(`Hash Version: ${version}\\n`));
      expect(dump).toMatch(/Indirect levels: 1/);

      // With the other sign many are looked for in the wrong place: so it counted above.
      runOk("debugfs", ["-w", "-R", `set_super_value flags ${3 - flag}`, handed.image]);
      using volume = mountSync(handed.image, { readOnly: true });
      const lost = [...names].filter((name) => !ownSide(volume).has(bytesOf(name)));
      expect(lost.length).toBeGreaterThan(names.size / 4);
    },
    120_000,
  );
});
