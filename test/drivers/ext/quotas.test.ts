// Quota files: whatever is done to a volume, what they count is what there is. e2fsck sums up all inodes itself and
// compares; debugfs reads the files as their format's library does. (The kernel of most machines cannot be asked:
// it mounts such volumes for writing only if it was built with quotas.)

import { readFileSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect } from "vitest";
import { mountSync, type Volume } from "../../../src/index.ts";
import type { Ino } from "../../../src/base/quantities.ts";
import {
  DiskQuotaEntry,
  DiskQuotaHead,
  DiskQuotaLeaf,
  QuotaFile,
} from "../../../src/drivers/ext/quotas/quota-file.ts";
import { disagreement } from "../../fsck/agreement.ts";
import { codesOf, referee, shown } from "../../fsck/referee.ts";
import { mkfsExt4, run, runOk, skipUnless, temporaryDirectory } from "../../support/tools.ts";
import { startRunner } from "../../volume/threads.ts";
import { type Counted, countedIn } from "./quota-counts.ts";
import { DirectoryImage, errorOf, newInode, rootIno } from "./directory-image.ts";
import { NO_SEAL } from "../../../src/metadata/transaction.ts";

const MIB = 2 ** 20;
const ALL_KINDS = [
  ...["-I", "256", "-O", "quota,project"],
  ...["-E", "quotatype=usrquota:grpquota:prjquota"],
];
const USER_INO = 3 as Ino;
const INHERIT = 0x20000000;
const EXTENTS = 0x80000;

function expectClean(path: string): void {
  const { ours, theirs, report, said } = referee(path);
  expect(theirs, said).toBe("clean");
  expect(ours, shown(report.findings)).toBe("clean");
}

/** What the tree has, by its own attributes. */
function countedByWalk(volume: Volume, idOf: "uid" | "gid" | "project"): Counted {
  const sums = new Map<number, [number, number]>();
  const seen = new Set<number>();
  const walk = (path: string): void => {
    const stats = volume.lstatSync(path);
    if (!seen.has(stats.ino)) {
      seen.add(stats.ino);
      const [space, inodes] = sums.get(stats[idOf]) ?? [0, 0];
      sums.set(stats[idOf], [space + stats.blocks * 512, inodes + 1]);
    }
    if (!stats.isDirectory()) return;
    for (const name of volume.readdirSync(path)) walk(`${path === "/" ? "" : path}/${name}`);
  };
  walk("/");
  return Object.fromEntries(sums);
}

const withTools = skipUnless("mkfs.ext4", "debugfs", "e2fsck");

const KINDS = [
  ["blocks of 1 KiB", ["-b", "1024"]],
  ["blocks of 2 KiB, no checksums", ["-b", "2048", "-O", "^metadata_csum"]],
  ["blocks of 4 KiB", ["-b", "4096"]],
  ["block pointers, no journal", ["-b", "1024", "-O", "^extents,^has_journal,^64bit"]],
  ["values of attributes in inodes", ["-b", "1024", "-O", "ea_inode"]],
  ["data in inodes, orphan file", ["-b", "1024", "-O", "inline_data,orphan_file"]],
] as const;

const IDS = [0, 1, 255, 256, 1000, 65_535, 65_536, 70_000, 4_294_967_290];

type Step = readonly [what: number, file: number, amount: number, id: number];
const steps = fc.array(fc.tuple(fc.nat(9), fc.nat(11), fc.nat(60_000), fc.constantFrom(...IDS)), {
  minLength: 10,
  maxLength: 80,
});

/** One change of a volume, of those that the space or the owner of inodes is changed by. */
function take(volume: Volume, [what, file, amount, id]: Step): void {
  const parent = ["/", "/seven/", "/plain/"][file % 3]!;
  const path = `${parent}file-${file}`;
  const changes: (() => void)[] = [
    () => volume.writeFileSync(path, Buffer.alloc(amount, 1)),
    () => {
      using opened = volume.openSync(path, "r+");
      opened.writeSync(Buffer.alloc(3000, 2), amount * 20);
    },
    () => volume.truncateSync(path, Math.floor(amount / 3)),
    () => volume.chownSync(path, id, IDS[amount % IDS.length]!),
    () => volume.lchownSync(`${parent}link-${file}`, id, id),
    () => volume.unlinkSync(path),
    () => volume.setxattrSync(path, "user.large", Buffer.alloc(amount % 5000, 3)),
    () => volume.symlinkSync("x".repeat(1 + (amount % 200)), `${parent}link-${file}`),
    () => volume.mkdirSync(`${parent}directory-${file}`),
    () => volume.renameSync(path, `${parent}file-${amount % 12}`),
  ];
  try {
    changes[what]!();
  } catch (error) {
    // What cannot be done, because of what was done before, changes nothing.
    if (
      !/ENOENT|EEXIST|ENOTEMPTY|EXDEV|EISDIR|ENOTDIR|ENOSPC/.test((error as { code: string }).code)
    )
      throw error;
  }
}

describe.each(KINDS)("%s", (_name, options) => {
  withTools(
    "after any changes the quotas are what the tree has, to e2fsck, to debugfs and to us",
    () => {
      fc.assert(
        fc.property(steps, (taken) => {
          using directory = temporaryDirectory();
          const path = directory.file("image");
          mkfsExt4(path, 16 * MIB, [...ALL_KINDS, ...options]);
          const expected: Counted[] = [];
          {
            using made = mountSync(path, { regionBytes: 2 ** 26 });
            expect(made.readOnlyReason).toBe(null);
            made.mkdirSync("/seven");
            made.mkdirSync("/plain");
          }
          const flags = INHERIT | (options.some((each) => each.includes("^extents")) ? 0 : EXTENTS);
          runOk("debugfs", ["-w", "-R", "sif /seven projid 7", path]);
          runOk("debugfs", ["-w", "-R", `sif /seven flags ${flags}`, path]);
          run("e2fsck", ["-f", "-y", path]);
          {
            using volume = mountSync(path, { regionBytes: 2 ** 26 });
            for (const step of taken) take(volume, step);
            for (const id of ["uid", "gid", "project"] as const) {
              expected.push(countedByWalk(volume, id));
            }
          }
          expectClean(path);
          const counted = (["user", "group", "project"] as const).map((kind) =>
            countedIn(path, kind),
          );
          // Values in inodes are not seen by a walk. What they use is counted there as it is in quotas.
          const spaces = (each: Counted) =>
            Object.entries(each).map(([id, [space]]) => [id, space]);
          expect(counted.map(spaces)).toEqual(expected.map(spaces));
          if (!options.includes("ea_inode" as never)) expect(counted).toEqual(expected);
        }),
        { numRuns: 6, endOnFailure: true },
      );
    },
    120_000,
  );
});

withTools(
  "thousands of owners have their places in the tree, and keep them when all is gone",
  () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    mkfsExt4(path, 16 * MIB, [...ALL_KINDS, "-b", "1024", "-N", "3000"]);
    const image = new DirectoryImage(path);
    const ids = Array.from({ length: 1500 }, (_, index) => Math.imul(index, 2_654_435_761) >>> 0);
    for (const [index, id] of ids.entries()) {
      const owner = { uid: id, gid: ids[ids.length - 1 - index]! };
      image.create(rootIno, `file-${index}`, newInode("file", owner));
    }
    const file = new QuotaFile(image.volume, USER_INO, "user");
    expect([...file.entries()].length).toBe(1500);
    for (const id of ids.slice(1)) expect(file.usageOf(id)).toEqual({ space: 0, inodes: 1 });
    for (let index = 0; index < 1500; index += 2) image.unlink(rootIno, `file-${index}`);
    image.close();
    expectClean(path);
    expect(Object.keys(countedIn(path, "user")).length).toBe(751);
  },
);

withTools("places that others have freed are taken first", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  mkfsExt4(path, 16 * MIB, [...ALL_KINDS, "-b", "4096"]);
  runOk("debugfs", ["-w", "-R", "sif <3> size 8192", path]);
  const made = new DirectoryImage(path);
  const quotas = new QuotaFile(made.volume, USER_INO, "user");
  const head = quotas.head();
  // Blocks 7 and then 6 are free; the rest of the file's last block is theirs.
  made.change((transaction) => {
    const { view } = transaction.edit(head.block, NO_SEAL);
    DiskQuotaHead.blocks.set(view, head.at, 8);
    DiskQuotaHead.freeBlock.set(view, head.at, 7);
  });
  made.close();
  const bytes = readFileSync(path);
  const last = Number(runOk("debugfs", ["-R", "bmap <3> 1", path])) * 4096;
  const leaf = new DataView(bytes.buffer, bytes.byteOffset + last + 3 * 1024, 16);
  DiskQuotaLeaf.nextFree.set(leaf, 0, 6);
  writeFileSync(path, bytes);

  const image = new DirectoryImage(path);
  const look = () => {
    const { block, at } = new QuotaFile(image.volume, USER_INO, "user").head();
    const { blocks, freeBlock } = DiskQuotaHead;
    return [blocks.get(block.view, at), freeBlock.get(block.view, at)];
  };
  expect(look()).toEqual([8, 7]);
  // Three nodes for the tree, and none for the leaf, which has room.
  image.create(rootIno, "one", newInode("file", { uid: 0x01020304 }));
  expect(look()).toEqual([9, 0]);
  image.close();
  expectClean(path);
  expect(countedIn(path, "user")[0x01020304]).toEqual([0, 1]);
});

withTools("an owner that finds no block is nobody: ENOSPC, and nothing has changed", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  mkfsExt4(path, 4 * MIB, [...ALL_KINDS, "-b", "1024", "-O", "^has_journal"]);
  const image = new DirectoryImage(path);
  const file = image.create(rootIno, "file", newInode("file"));
  const fill = () => {
    for (let at = 0; ; ) {
      const { length } = image.change((transaction) =>
        image.driver.allocate(transaction, file, at, MIB, "write"),
      );
      at += length;
    }
  };
  expect(errorOf(fill)?.code).toBe("ENOSPC");
  const before = [...new QuotaFile(image.volume, USER_INO, "user").entries()].length;
  // The tree has no node for this one; for those like others there is room.
  const make = () => image.create(rootIno, "another", newInode("file", { uid: 0x7000_0000 }));
  expect(errorOf(make)?.code).toBe("ENOSPC");
  expect([...new QuotaFile(image.volume, USER_INO, "user").entries()].length).toBe(before);
  expect(image.find(rootIno, "another")).toBe(null);
  image.create(rootIno, "like others", newInode("file", { uid: 7 }));
  image.unlink(rootIno, "file");
  make();
  image.close();
  expectClean(path);
});

withTools("limits are kept, and hinder nobody", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  mkfsExt4(path, 16 * MIB, [...ALL_KINDS, "-b", "1024"]);
  const image = new DirectoryImage(path);
  const file = image.create(rootIno, "file", newInode("file", { uid: 1000 }));
  const entries = () => [...new QuotaFile(image.volume, USER_INO, "user").entries()];
  const { where } = entries().find(({ id }) => id === 1000)!;
  const { inodesHardLimit, spaceHardLimit } = DiskQuotaEntry;
  image.change((transaction) => {
    const { view } = transaction.edit(where.block, NO_SEAL);
    inodesHardLimit.set(view, where.at, 1);
    spaceHardLimit.set(view, where.at, 10);
  });
  image.change((transaction) => image.driver.allocate(transaction, file, 0, 100 * 1024, "write"));
  image.create(rootIno, "more", newInode("file", { uid: 1000 }));
  expect(entries().find(({ id }) => id === 1000)).toMatchObject({ space: 100 * 1024, inodes: 2 });
  image.unlink(rootIno, "file");
  image.unlink(rootIno, "more");
  expect(entries().find(({ id }) => id === 1000)).toMatchObject({ space: 0, inodes: 0 });
  expect(inodesHardLimit.get(where.block.view, where.at)).toBe(1);
  expect(spaceHardLimit.get(where.block.view, where.at)).toBe(10);
  image.close();
  runOk("debugfs", ["-R", "get_quota user 1000", path]);
});

withTools("threads that change owners at once count as one", async () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  mkfsExt4(path, 32 * MIB, [...ALL_KINDS, "-b", "1024"]);
  const volume = mountSync(path, { regionBytes: 2 ** 28 });
  {
    await using first = await startRunner(volume.share());
    await using second = await startRunner(volume.share());
    const work = (own: Volume, _kept: unknown, name: string) => {
      for (let index = 0; index < 150; index++) {
        own.writeFileSync(`/${name}-${index}`, Buffer.alloc(index * 40, 1));
        own.chownSync(`/${name}-${index}`, index % 40, 7 * index);
        if (index % 3 === 0) own.unlinkSync(`/${name}-${index}`);
      }
    };
    await Promise.all([first.run(work, "first"), second.run(work, "second")]);
    for (const runner of [first, second]) await runner.run((own) => own.close());
  }
  const expected = [countedByWalk(volume, "uid"), countedByWalk(volume, "gid")];
  await volume.close();
  expectClean(path);
  expect([countedIn(path, "user"), countedIn(path, "group")]).toEqual(expected);
});

describe("damage", () => {
  /** An image with a few owners, and the blocks of its user quotas. */
  function makeImage(path: string): { blocks: number[]; owners: number[] } {
    mkfsExt4(path, 4 * MIB, [...ALL_KINDS, "-b", "1024", "-O", "^has_journal"]);
    const image = new DirectoryImage(path);
    const owners = [0, 5, 300, 70_000, 0x01020304];
    for (const uid of owners) image.create(rootIno, `of ${uid}`, newInode("file", { uid }));
    image.close();
    const size = Number(/Size: (\d+)/.exec(runOk("debugfs", ["-R", "stat <3>", path]))![1]);
    const blocks = Array.from({ length: size / 1024 }, (_, index) =>
      Number(runOk("debugfs", ["-R", `bmap <3> ${index}`, path])),
    );
    return { blocks, owners };
  }

  withTools(
    "a head that cannot be leaves the volume readable, and says why it is not written",
    () => {
      using directory = temporaryDirectory();
      const path = directory.file("image");
      const { blocks } = makeImage(path);
      const bytes = readFileSync(path);
      for (const [at, field] of [
        [0, /dqh_magic/],
        [4, /dqh_version/],
        [23, /dqi_blocks/],
      ] as const) {
        const damaged = Buffer.from(bytes);
        damaged[blocks[0]! * 1024 + at]! ^= 0x55;
        writeFileSync(path, damaged);
        {
          using volume = mountSync(path, { regionBytes: 2 ** 26 });
          expect(volume.readOnlyReason).toMatch(/user quotas are damaged/);
          expect(volume.readOnlyReason).toMatch(field);
          expect(volume.readdirSync("/")).toContain("of 5");
        }
        const refereed = referee(path);
        expect(codesOf(refereed.report)).toEqual(["quota-file"]);
        expect(disagreement(refereed, new Map())).toBe(null);
      }
      writeFileSync(path, bytes);
      runOk("debugfs", ["-w", "-R", "sif <3> mode 040600", path]);
      using volume = mountSync(path, { regionBytes: 2 ** 26 });
      expect(volume.readOnlyReason).toMatch(/i_mode/);
    },
  );

  withTools(
    "any bytes end in errors that name the place, and both checks say the same of them",
    () => {
      using directory = temporaryDirectory();
      const path = directory.file("image");
      const { blocks, owners } = makeImage(path);
      const bytes = readFileSync(path);
      const damage = fc.array(
        fc.record({
          block: fc.nat(blocks.length - 1),
          at: fc.oneof(fc.nat(40), fc.nat(400), fc.nat(1023)),
          value: fc.oneof(fc.constantFrom(0, 1, 2, 5, 255), fc.nat(255)),
        }),
        { minLength: 1, maxLength: 6 },
      );
      fc.assert(
        fc.property(damage, (places) => {
          const damaged = Buffer.from(bytes);
          for (const { block, at, value } of places) damaged[blocks[block]! * 1024 + at] = value;
          writeFileSync(path, damaged);
          expect(disagreement(referee(path), new Map())).toBe(null);
          const image = new DirectoryImage(path, 2 ** 26);
          for (const uid of [...owners, 9, 0x0102_0000, 0xf000_0000]) {
            for (const use of [
              () => image.create(rootIno, `new ${uid}`, newInode("file", { uid })),
              () => image.unlink(rootIno, `of ${uid}`),
            ]) {
              const error = errorOf(use);
              if (error !== null && !/EUCLEAN|ENOENT|ENOSPC/.test(error.code ?? "")) throw error;
            }
          }
          image.thread.leave();
        }),
        { numRuns: 120 },
      );
    },
    120_000,
  );
});
