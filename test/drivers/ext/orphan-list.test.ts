// The list of orphans, changed by several threads: it names those without a name that are open, the last one first, in
// whatever order they come and go, and whoever takes them off.

import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect } from "vitest";
import { mountSync, type Volume } from "../../../src/index.ts";
import {
  e2fsckClean,
  mkfsExt4,
  runOk,
  skipUnless,
  temporaryDirectory,
} from "../../support/tools.ts";
import { type Runner, startRunner } from "../../volume/threads.ts";

const withTools = skipUnless("mkfs.ext4", "e2fsck", "debugfs");
const THREADS = 3;
const LAST_ORPHAN = 1024 + 0xe8;
const DELETION_TIME = 0x14;
const INODE_BYTES = 256;

/** The byte where the inode table of an image begins that has one group. */
function tableOf(image: string): number {
  const [, block] = /block (\d+), offset 0x0000/.exec(runOk("debugfs", ["-R", "imap <1>", image]))!;
  return Number(block) * 1024;
}

function listOf(image: string, table: number): number[] {
  const bytes = readFileSync(image);
  const found: number[] = [];
  for (let ino = bytes.readUInt32LE(LAST_ORPHAN); ino !== 0; ) {
    if (found.includes(ino)) throw new Error(`the list comes to inode ${ino} again`);
    found.push(ino);
    ino = bytes.readUInt32LE(table + (ino - 1) * INODE_BYTES + DELETION_TIME);
  }
  return found;
}

/** A file, opened by one thread and without a name by another; or one of those closed by who opened it, by its place. */
const step = fc.oneof(
  fc.record({ opener: fc.nat(THREADS - 1), unlinker: fc.nat(THREADS - 1) }),
  fc.record({ closed: fc.nat(50) }),
  fc.record({ closed: fc.nat(50) }),
);
/** Many at first, so that there is a middle to take them from. */
const first = fc.array(fc.record({ opener: fc.nat(THREADS - 1), unlinker: fc.nat(THREADS - 1) }), {
  minLength: 5,
  maxLength: 25,
});

async function openNameless(opener: Runner, unlinker: Runner, name: string): Promise<number> {
  const ino = await opener.run((volume: Volume, kept, path: string) => {
    const handle = volume.openSync(path, "w");
    const { ino } = handle.statSync();
    kept[Number(ino)] = handle;
    return Number(ino);
  }, name);
  await unlinker.run((volume: Volume, _, path: string) => volume.unlinkSync(path), name);
  return ino;
}

withTools("threads add to the list and take from it", { timeout: 120_000 }, async () => {
  using directory = temporaryDirectory();
  const image = directory.file("image");
  mkfsExt4(image, 8 << 20, ["-b", "1024", "-N", "256", "-O", "^has_journal,^orphan_file"]);
  const table = tableOf(image);
  const volume = mountSync(image, { regionBytes: 2 ** 26 });
  const runners = await Promise.all(
    Array.from({ length: THREADS }, () => startRunner(volume.share())),
  );
  let names = 0;
  const property = fc.asyncProperty(
    first,
    fc.array(step, { maxLength: 60 }),
    async (opened, steps) => {
      /** The newest first, as the list has them. */
      let orphans: { ino: number; opener: number }[] = [];
      const close = async (closed: { ino: number; opener: number }): Promise<void> => {
        orphans = orphans.filter((orphan) => orphan !== closed);
        await runners[closed.opener]!.run((_, kept, ino: number) => {
          kept[ino].closeSync();
        }, closed.ino);
      };
      for (const each of [...opened, ...steps]) {
        if ("closed" in each) {
          if (orphans.length > 0) await close(orphans[each.closed % orphans.length]!);
          continue;
        }
        const { opener, unlinker } = each;
        const ino = await openNameless(runners[opener]!, runners[unlinker]!, `/f${names++}`);
        orphans.unshift({ ino, opener });
      }
      volume.syncSync();
      const found = listOf(image, table);
      const expected = orphans.map(({ ino }) => ino);
      for (const orphan of orphans) await close(orphan);
      expect(found).toEqual(expected);
    },
  );
  await fc.assert(property, { numRuns: 60 });
  for (const runner of runners) await runner[Symbol.asyncDispose]();
  volume.closeSync();
  expect(listOf(image, table)).toEqual([]);
  expect(e2fsckClean(image)).toMatchObject({ clean: true });
});
